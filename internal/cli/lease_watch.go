package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
)

// watched follows what becomes of leases: first those that are, then each that
// comes, changes or ends.
type watched struct {
	c       *call
	filters map[string]string
	known   map[string]json.RawMessage // as it was last shown, by ID
}

func watchLeases(ctx context.Context, c *call, filters map[string]string) error {
	if !slices.Contains([]string{"", "table", "wide", "json"}, c.output) {
		return usagef("%s --watch: say -o table, wide or json", c.cmd.CommandPath())
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	items, revision, err := cl.ListRevision(ctx, client.Plural(c.noun.kind), c.query)
	if err != nil {
		return err
	}
	if items, err = pick(items, filters, c.noun.sort); err != nil {
		return err
	}
	w := &watched{c: c, filters: filters, known: map[string]json.RawMessage{}}
	for _, raw := range items {
		id, _, err := w.read(raw)
		if err != nil {
			return err
		}
		w.known[id] = raw
		if c.output == "json" {
			if err := c.writeLine(leaseLine{"is", raw}); err != nil {
				return err
			}
		}
	}
	if c.output != "json" {
		if err := c.writeList(items, c.noun.columns); err != nil {
			return err
		}
	}
	if err := cl.WatchLeases(ctx, c.query, revision, w.change); ctx.Err() == nil {
		return err
	}
	return nil // Ctrl-C is how one stops following
}

// leaseLine is a change as programs read it.
type leaseLine struct {
	What  string          `json:"what"` // is, new, renewed, changed, ended
	Lease json.RawMessage `json:"lease"`
}

func (w *watched) read(raw json.RawMessage) (id string, o map[string]any, err error) {
	o, err = decode(raw)
	return text(o, "id", ""), o, err
}

func (w *watched) change(raw json.RawMessage, ended bool) error {
	id, o, err := w.read(raw)
	if err != nil {
		return err
	}
	old, had := w.known[id]
	matches := !ended
	for path, want := range w.filters {
		matches = matches && slices.Contains(strings.Split(text(o, path, ","), ","), want)
	}
	switch {
	case !matches && !had:
		return nil
	case !matches:
		delete(w.known, id)
		return w.say("ended", old)
	case !had:
		w.known[id] = raw
		return w.say("new", raw)
	}
	w.known[id] = raw
	what, err := difference(old, o)
	if err != nil || what == "" {
		return err
	}
	return w.say(what, raw)
}

// difference says in a word what became of a lease; "" if nothing that is
// shown.
func difference(was json.RawMessage, now map[string]any) (string, error) {
	old, err := decode(was)
	if err != nil {
		return "", err
	}
	now = maps.Clone(now)
	for _, o := range []map[string]any{old, now} {
		delete(o, "revision")
	}
	if equalJSON(old, now) {
		return "", nil
	}
	delete(old, "expires")
	delete(now, "expires")
	if equalJSON(old, now) {
		return "renewed", nil
	}
	return "changed", nil
}

func (w *watched) say(what string, raw json.RawMessage) error {
	if w.c.output == "json" {
		return w.c.writeLine(leaseLine{what, raw})
	}
	values, err := cells(raw, heads(w.c.noun.columns, w.c.output == "wide"), ",")
	if err != nil {
		return err
	}
	line := []string{time.Now().Format("15:04:05"), what}
	for _, v := range values {
		line = append(line, printable(v))
	}
	return w.c.print("%s", strings.Join(line, "  "))
}
