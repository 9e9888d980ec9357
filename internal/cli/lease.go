package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
)

// leaseVerbs are the verbs of leases beside list and show.
func (a *app) leaseVerbs(n *noun) []*cobra.Command {
	take := a.verb(n, "import FILE network=NETWORK", "Take over the leases of dnsmasq, ISC dhcpd or Kea from their lease file; - is stdin", importLeases)
	take.Flags().String("format", "auto", "whose `FORMAT` the file has: auto, dnsmasq, isc or kea")
	take.Flags().Bool("dry-run", false, "say what it would come to, and change nothing")
	return []*cobra.Command{
		a.verb(n, "release ADDRESS", "Release a lease: the address is free, and kept for its guest while nobody else needs it", release),
		take,
		a.verb(n, "history [PORT|ADDRESS|MAC]", "Show who had which address when, and who has it now", history),
	}
}

func release(ctx context.Context, c *call, args []string) error {
	if err := noArgs(c, args); err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.send(ctx, client.Request{Method: http.MethodPost, Path: c.path() + "/release"}, &raw); err != nil {
		return err
	}
	if c.output != "" {
		return c.write(raw, orderColumns)
	}
	var r client.OrderResult
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if r.Pending {
		return c.say("lease %s: host %s is to release it", c.name, r.Host)
	}
	return c.say("lease %s released", c.name)
}

var orderColumns = []column{col("HOST", "host"), col("DONE", "done"), col("PENDING", "pending"), col("PROBLEMS", "problems.field")}

// history shows past and present stays.
func history(ctx context.Context, c *call, args []string) error {
	if len(args) > 1 {
		return usagef("%s: one port, address or MAC at a time, not %q", c.cmd.CommandPath(), args[1])
	}
	if len(args) == 1 {
		if strings.Contains(args[0], "=") {
			return usagef("%s takes network=NETWORK and a port, an address or a MAC, not %q", c.cmd.CommandPath(), args[0])
		}
		c.query.Set("of", args[0])
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	items, err := cl.ListRaw(ctx, "leases/history", c.query)
	if err != nil {
		return err
	}
	if items, err = pick(items, nil, []string{"from", "until", "address"}); err != nil {
		return err
	}
	return c.writeList(items, historyColumns)
}

var historyColumns = []column{
	col("FROM", "from"), col("UNTIL", "until"), col("NETWORK", "network"), col("ADDRESS", "prefix", "address"), col("MAC", "mac"),
	col("HOW", "how"), col("NAME", "name"), col("PORT", "port"), wide("DUID", "duid"), wide("PROJECT", "project"),
}
