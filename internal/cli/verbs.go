package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// waitDefault is how long a command waits for its host.
const waitDefault = time.Minute

// call is one run of a command on a noun.
type call struct {
	*app
	noun  *noun
	cmd   *cobra.Command
	name  string
	query url.Values
	// wait is how long a write waits for its host; 0 does not wait.
	wait time.Duration
}

func (a *app) nounCommand(n *noun) *cobra.Command {
	cmd := &cobra.Command{
		Use: n.name, Short: n.short, Args: cobra.ArbitraryArgs, RunE: unknownSub("verb"),
	}
	if !n.readOnly && n.part == "" {
		cmd.AddCommand(a.verb(n, "create NAME [key=value …]", "Create a "+n.name, create))
	}
	cmd.AddCommand(
		a.verb(n, "list [key=value …]", "List "+n.name+"s; keys narrow the list", list),
		a.verb(n, "show NAME", "Show a "+n.name+" as YAML, which edit takes back", show))
	if !n.readOnly {
		cmd.AddCommand(
			a.verb(n, "edit NAME", "Edit a "+n.name+" in $VISUAL or $EDITOR", edit),
			a.verb(n, "set NAME key=value …", "Change keys of a "+n.name+"; key= is back to the default, += and -= edit lists", set),
			a.verb(n, "delete NAME", "Delete a "+n.name, remove))
	}
	switch n.kind {
	case vnet.KindNetwork:
		cmd.AddCommand(
			a.verb(n, "start NAME", "Start a network", turn("start")),
			a.verb(n, "stop NAME", "Stop a network; its definition stays", turn("stop")))
	case vnet.KindPort:
		cmd.AddCommand(
			a.verb(n, "plug NAME network=NETWORK netns=NS device=DEVICE | tap=TAP [owner=USER] [key=value …]",
				"Plug a port into a device; makes the port if there is none", plug),
			a.verb(n, "unplug NAME", "Unplug a port; the port stays", unplug))
	case vnet.KindLease:
		cmd.AddCommand(a.leaseVerbs(n)...)
	case vnet.KindUplink:
		uplinkVerbs(cmd)
	}
	return cmd
}

// verb makes the command for a verb of a noun: it takes the name off the
// arguments (list has none) and the network where that only says where to look.
func (a *app) verb(n *noun, use, short string, run func(context.Context, *call, []string) error) *cobra.Command {
	verb, rest, _ := strings.Cut(use, " ")
	named := strings.HasPrefix(rest, "NAME") || strings.HasPrefix(rest, "ADDRESS")
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	var noWait, everywhere bool
	var wait time.Duration
	if n.waits && verb != "list" && verb != "show" && verb != "history" {
		cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until the host has done it")
		cmd.Flags().DurationVar(&wait, "wait", waitDefault, "how long to wait until the host has done it")
	}
	if verb == "list" && !n.readOnly && n.part == "" && n.kind != vnet.KindProject {
		cmd.Flags().BoolVarP(&everywhere, "all-projects", "A", false, "list those of every project")
	}
	if verb == "list" && n.kind == vnet.KindLease {
		cmd.Flags().BoolP("watch", "w", false, "go on, and show what becomes of them: each that comes, is renewed, changes or ends")
	}
	cmd.ValidArgsFunction = a.completer(n, verb, named)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := &call{app: a, noun: n, cmd: cmd, query: url.Values{}, wait: wait}
		if noWait {
			c.wait = 0
		}
		if everywhere {
			c.query.Set("all-projects", "true")
		}
		if a.project != "" {
			c.query.Set("project", a.project)
		}
		if named {
			if len(args) == 0 || strings.Contains(args[0], "=") {
				return usagef("%s needs a name: %s", cmd.CommandPath(), cmd.UseLine())
			}
			c.name, args = args[0], args[1:]
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		return run(ctx, c, c.scope(args))
	}
	return cmd
}

// scope takes network= and the list's filters off the arguments.
func (c *call) scope(args []string) []string {
	var rest []string
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if c.noun.networked && key == "network" {
			c.query.Set(key, value)
			continue
		}
		isFilter := false
		for _, f := range c.noun.filters {
			isFilter = isFilter || f == key
		}
		if isFilter {
			c.query.Set(key, value)
			continue
		}
		rest = append(rest, arg)
	}
	return rest
}

func (c *call) path() string { return client.Path(c.noun.kind, c.name) }

// send makes a request; writes wait for their host, and say so on a terminal.
func (c *call) send(ctx context.Context, r client.Request, out any) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	r.Query = c.query
	if r.Method != http.MethodGet && c.wait > 0 {
		r.Query.Set("wait", c.wait.String())
		defer c.progress(c.noun.name + " " + c.name)()
	}
	return cl.Do(ctx, r, out)
}

// noArgs refuses what is left over.
func noArgs(c *call, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no %q", c.cmd.CommandPath(), args[0])
	}
	return nil
}

func create(ctx context.Context, c *call, args []string) error {
	b := body{"name": c.name}
	edits, err := b.fill(c.noun.keys(), args)
	if err != nil {
		return err
	}
	for _, e := range edits {
		if err := b.editList(e, nil); err != nil {
			return err
		}
	}
	var out json.RawMessage
	err = c.send(ctx, client.Request{Method: http.MethodPost, Path: "/v1/" + client.Plural(c.noun.kind), Body: b}, &out)
	if err != nil {
		return err
	}
	return c.done("created", out)
}

// editList applies += or -= at its path in b; now is the whole object that the
// list is taken from.
func (b body) editList(e assignment, now map[string]any) error {
	var current []any
	if v, ok := lookup(b, e.path); ok {
		current, _ = v.([]any)
	} else if v, ok := lookup(now, e.path); ok {
		current, _ = v.([]any)
	}
	next, err := e.edit(current)
	if err != nil {
		return err
	}
	b.set(e.path, next)
	return nil
}

func set(ctx context.Context, c *call, args []string) error {
	if len(args) == 0 {
		return usagef("%s: say what to change: key=value", c.cmd.CommandPath())
	}
	b := body{}
	edits, err := b.fill(c.noun.written(), args)
	if err != nil {
		return err
	}
	if err := c.onTrial(); err != nil {
		return err
	}
	r := client.Request{
		Method: http.MethodPatch, Path: c.path(), Body: c.noun.in(b), ContentType: "application/merge-patch+json",
	}
	if len(edits) > 0 {
		now, revision, err := c.read(ctx)
		if err != nil {
			return err
		}
		var object map[string]any
		if err := json.Unmarshal(now, &object); err != nil {
			return err
		}
		if part, ok := object[c.noun.part].(map[string]any); ok {
			object = part
		}
		for _, e := range edits {
			if err := b.editList(e, object); err != nil {
				return err
			}
		}
		// The list may have changed since it was read.
		r.IfMatch = revision
	}
	var out json.RawMessage
	if err := c.send(ctx, r, &out); err != nil {
		return err
	}
	return c.done("changed", out)
}

// read returns the object and its revision.
func (c *call) read(ctx context.Context) (json.RawMessage, int64, error) {
	var out json.RawMessage
	if err := c.send(ctx, client.Request{Method: http.MethodGet, Path: c.path()}, &out); err != nil {
		return nil, 0, err
	}
	var meta struct {
		Revision int64 `json:"revision"`
	}
	err := json.Unmarshal(out, &meta)
	return out, meta.Revision, err
}

func show(ctx context.Context, c *call, args []string) error {
	if err := noArgs(c, args); err != nil {
		return err
	}
	out, _, err := c.read(ctx)
	if err != nil {
		return err
	}
	if c.output == "" && c.noun.kind == vnet.KindUplink {
		return c.showUplink(out)
	}
	if c.output == "" {
		return c.writeYAML(out)
	}
	return c.write(out, c.noun.columns)
}

func remove(ctx context.Context, c *call, args []string) error {
	if err := noArgs(c, args); err != nil {
		return err
	}
	if err := c.send(ctx, client.Request{Method: http.MethodDelete, Path: c.path()}, nil); err != nil {
		return err
	}
	if c.noun.part != "" {
		return c.say("%s %s is used as it is found", c.noun.name, c.name)
	}
	return c.say("%s %s deleted", c.noun.name, c.name)
}

// turn is start or stop.
func turn(verb string) func(context.Context, *call, []string) error {
	return func(ctx context.Context, c *call, args []string) error {
		if err := noArgs(c, args); err != nil {
			return err
		}
		var out json.RawMessage
		if err := c.send(ctx, client.Request{Method: http.MethodPost, Path: c.path() + "/" + verb}, &out); err != nil {
			return err
		}
		if verb == "stop" {
			return c.done("stopped", out)
		}
		return c.done("started", out)
	}
}

// done says what came of a write: in a few words, or as the object if a format
// was asked for.
func (c *call) done(what string, object json.RawMessage) error {
	if c.output != "" {
		return c.write(object, c.noun.columns)
	}
	if c.noun.kind == vnet.KindNetwork {
		return c.sayNetwork(what, object)
	}
	if c.noun.kind == vnet.KindPort {
		return c.sayPort(what, object)
	}
	if c.noun.kind == vnet.KindUplink {
		return c.sayUplink(what, object)
	}
	return c.say("%s %s %s", c.noun.name, c.name, what)
}

// say writes one line for people; nothing if a format was asked for.
func (c *call) say(format string, args ...any) error {
	if c.output != "" {
		return nil
	}
	_, err := fmt.Fprintf(c.Stdout, format+"\n", args...)
	return err
}
