package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
)

func list(ctx context.Context, c *call, args []string) error {
	keys := c.noun.keys()
	filters := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return usagef("%s takes key=value, not %q; one %s is shown by: sextant %s show %s", c.cmd.CommandPath(), arg, c.noun.name, c.noun.name, arg)
		}
		path, err := keys.shown(key)
		if err != nil {
			return err
		}
		filters[path] = value
	}
	if watch, _ := c.cmd.Flags().GetBool("watch"); watch {
		return watchLeases(ctx, c, filters)
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	items, err := cl.ListRaw(ctx, client.Plural(c.noun.kind), c.query)
	if err != nil {
		return err
	}
	items, err = pick(items, filters, c.noun.sort)
	if err != nil {
		return err
	}
	return c.writeList(items, c.noun.columns)
}

// shown returns the path of a key that a list may be narrowed by: any that is
// shown.
func (k keyed) shown(key string) (string, error) {
	for _, f := range k.fields {
		if sameKey(f.Path, key) || sameKey(f.Path, k.aliases[key]) {
			return f.Path, nil
		}
	}
	_, err := keyed{k.fields, nil}.find(key)
	if err == nil {
		return key, nil // a label: tags.NAME
	}
	return "", err
}

// pick keeps the items whose values are as the filters say, in order.
func pick(items []json.RawMessage, filters map[string]string, by []string) ([]json.RawMessage, error) {
	type row struct {
		raw  json.RawMessage
		keys []string
	}
	var rows []row
	for _, raw := range items {
		o, err := decode(raw)
		if err != nil {
			return nil, err
		}
		keep := true
		for path, want := range filters {
			keep = keep && slices.Contains(strings.Split(text(o, path, ","), ","), want)
		}
		if !keep {
			continue
		}
		r := row{raw: raw}
		for _, p := range by {
			r.keys = append(r.keys, text(o, p, ","))
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return slices.CompareFunc(a.keys, b.keys, compareText) })
	out := make([]json.RawMessage, len(rows))
	for i := range rows {
		out[i] = rows[i].raw
	}
	return out, nil
}

// compareText compares addresses as addresses, times as times and the rest as
// text.
func compareText(a, b string) int {
	if s, err := time.Parse(time.RFC3339Nano, a); err == nil {
		if t, err := time.Parse(time.RFC3339Nano, b); err == nil {
			return s.Compare(t)
		}
	}
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	if err1 == nil && err2 == nil {
		return x.Compare(y)
	}
	return cmp.Compare(a, b)
}

// decode reads an object without losing digits of its numbers.
func decode(raw json.RawMessage) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o map[string]any
	err := d.Decode(&o)
	return o, err
}

// lookup finds the value at a dotted path.
func lookup(o map[string]any, path string) (any, bool) {
	head, rest, deeper := strings.Cut(path, ".")
	v, ok := o[head]
	if !ok || v == nil {
		return nil, false
	}
	if !deeper {
		return v, true
	}
	switch v := v.(type) {
	case map[string]any:
		return lookup(v, rest)
	case body:
		return lookup(v, rest)
	case []any: // the values of each
		var all []any
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				if x, ok := lookup(m, rest); ok {
					all = append(all, x)
				}
			}
		}
		return all, len(all) > 0
	}
	return nil, false
}

// text is the value at a path as a cell of a table shows it.
func text(o map[string]any, path, sep string) string {
	v, ok := lookup(o, path)
	if !ok {
		return ""
	}
	return cell(v, sep)
}

func cell(v any, sep string) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.Local().Format("2006-01-02 15:04:05")
		}
		return v
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = cell(v[i], sep)
		}
		return strings.Join(parts, sep)
	case map[string]any:
		if first, ok := v["first"]; ok {
			return fmt.Sprint(first, "-", v["last"])
		}
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// write shows one object in the format that was asked for.
func (a *app) write(object json.RawMessage, columns []column) error {
	switch a.output {
	case "json":
		return a.writeJSON(object)
	case "yaml":
		return a.writeYAML(object)
	}
	return a.writeList([]json.RawMessage{object}, columns)
}

// writeList shows objects in the format that was asked for.
func (a *app) writeList(items []json.RawMessage, columns []column) error {
	switch a.output {
	case "", "table":
		return a.writeTable(items, columns, false)
	case "wide":
		return a.writeTable(items, columns, true)
	case "csv":
		return a.writeCSV(items, columns)
	case "json", "yaml":
		if items == nil {
			items = []json.RawMessage{}
		}
		all, err := json.Marshal(items)
		if err != nil {
			return err
		}
		if a.output == "yaml" {
			return a.writeYAML(all)
		}
		return a.writeJSON(all)
	}
	return usagef("-o %s: say table, wide, json, yaml or csv", a.output)
}

func (a *app) writeJSON(raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := a.Stdout.Write(b.Bytes())
	return err
}

// answer writes what the server said, as it came where that is wished, else in
// the words of say.
func (a *app) answer(raw json.RawMessage, say func(json.RawMessage) error) error {
	switch a.output {
	case "json":
		return a.writeJSON(raw)
	case "yaml":
		return a.writeYAML(raw)
	}
	return say(raw)
}

func (a *app) writeYAML(raw json.RawMessage) error {
	b, err := toYAML(raw)
	if err != nil {
		return err
	}
	_, err = a.Stdout.Write(b)
	return err
}

func heads(columns []column, all bool) (out []column) {
	for _, c := range columns {
		if all || !c.wide {
			out = append(out, c)
		}
	}
	return out
}

// cells is a row of a table.
func cells(raw json.RawMessage, columns []column, sep string) ([]string, error) {
	o, err := decode(raw)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(columns))
	for i, c := range columns {
		for _, p := range c.paths {
			if out[i] = text(o, p, sep); out[i] != "" {
				break
			}
		}
	}
	return out, nil
}

func (a *app) writeTable(items []json.RawMessage, columns []column, all bool) error {
	columns = heads(columns, all)
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	var head table.Row
	for _, c := range columns {
		head = append(head, c.head)
	}
	t.AppendHeader(head)
	for _, raw := range items {
		values, err := cells(raw, columns, ", ")
		if err != nil {
			return err
		}
		var row table.Row
		for _, v := range values {
			row = append(row, printable(v))
		}
		t.AppendRow(row)
	}
	for _, line := range strings.Split(t.Render(), "\n") {
		if _, err := fmt.Fprintln(a.Stdout, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// printable keeps control characters, which a guest may have put into its
// name, away from the terminal.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func (a *app) writeCSV(items []json.RawMessage, columns []column) error {
	w := csv.NewWriter(a.Stdout)
	var head []string
	for _, c := range columns {
		head = append(head, strings.ToLower(c.head))
	}
	rows := [][]string{head}
	for _, raw := range items {
		row, err := cells(raw, columns, " ")
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return w.WriteAll(rows)
}

// fetch reads a list that is no noun's and shows it.
func (a *app) fetch(ctx context.Context, plural string, columns []column, by ...string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	items, err := cl.ListRaw(ctx, plural, nil)
	if err != nil {
		return err
	}
	if len(by) > 0 {
		if items, err = pick(items, nil, by); err != nil {
			return err
		}
	}
	return a.writeList(items, columns)
}

// writeLine writes a value as JSON on one line.
func (a *app) writeLine(v any) error { return json.NewEncoder(a.Stdout).Encode(v) }
