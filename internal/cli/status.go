package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// background is the command's context.
func background(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// exactly refuses any other number of arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == n:
			return nil
		case n == 0:
			return usagef("%s takes no %q", cmd.CommandPath(), args[0])
		}
		return usagef("%s needs %s", cmd.CommandPath(), what)
	}
}

func (a *app) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "why ADDRESS", Short: "Say who uses an address, and how it came to be", Args: exactly(1, "an address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			items, err := cl.ListRaw(background(cmd), "why/"+url.PathEscape(args[0]), nil)
			if err != nil {
				return err
			}
			if a.output == "" {
				if len(items) == 0 {
					return a.print("nothing of Sextant's uses %s", args[0])
				}
				for _, raw := range items {
					if err := a.sayReason(raw); err != nil {
						return err
					}
				}
				return nil
			}
			return a.writeList(items, []column{
				col("ADDRESS", "address"), col("WHAT", "ref.kind"), col("NAME", "name"), col("NETWORK", "network"),
				col("MAC", "mac"), col("PREFIX", "prefix"), col("EXPIRES", "expires"), col("WHY", "text"),
			})
		},
	}
}

// sayReason writes one reason as a line.
func (a *app) sayReason(raw json.RawMessage) error {
	o, err := decode(raw)
	if err != nil {
		return err
	}
	line := text(o, "ref.kind", "")
	if name := text(o, "name", ""); name != "" {
		line += " " + name
	}
	return a.print("%s: %s", printable(line), printable(text(o, "text", "")))
}

func (a *app) prefixCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "prefix", Short: "Prefixes in use", Args: cobra.ArbitraryArgs, RunE: unknownSub("verb")}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List every prefix in use, its source and its lifetimes", Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.fetch(background(cmd), "prefixes", prefixColumns)
		},
	})
	return cmd
}

var prefixColumns = []column{
	col("PREFIX", "prefix"), col("NETWORK", "network"), col("SOURCE", "source"), col("UPLINK", "uplink"), col("RUNG", "rung"),
	col("STATE", "state"), col("PREFERRED", "preferredUntil"), col("VALID", "validUntil"), wide("HOST", "host"), wide("FROM", "from"),
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how everything fares; exits 0 once the daemon is ready", Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ctx := background(cmd)
			if err := cl.Ready(ctx); err != nil {
				return err
			}
			var raw json.RawMessage
			if err := cl.Do(ctx, client.Request{Method: http.MethodGet, Path: "/v1/status"}, &raw); err != nil {
				return err
			}
			return a.answer(raw, a.sayStatus)
		},
	}
}

// sayStatus is the overview for people: what runs, then what does not.
func (a *app) sayStatus(raw json.RawMessage) error {
	var o struct {
		Version  string            `json:"version"`
		Host     string            `json:"host"`
		Ready    bool              `json:"ready"`
		Networks []json.RawMessage `json:"networks"`
		Problems []vnet.Problem    `json:"problems"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	if !o.Ready {
		return vnet.Errorf(vnet.ErrUnavailable, "status: the agent of host %s has not reported yet", o.Host).
			WithHint("wait, or see its log: journalctl -u sextant")
	}
	if a.output == "csv" {
		return a.writeList(o.Networks, statusColumns)
	}
	if err := a.print("sextant %s on %s: ready, %s", o.Version, o.Host, counted(len(o.Networks), "network")); err != nil {
		return err
	}
	if len(o.Networks) > 0 {
		if err := a.writeTable(o.Networks, statusColumns, a.output == "wide"); err != nil {
			return err
		}
	}
	for _, p := range o.Problems {
		if err := a.print("problem: %s", problemLine(p)); err != nil {
			return err
		}
	}
	for _, n := range o.Networks {
		if err := a.sayTroubles(n); err != nil {
			return err
		}
	}
	return a.sayRungs(o.Networks)
}

// rungsMost is how many different reasons are said below the table.
const rungsMost = 8

// sayRungs writes why IPv6 of networks that choose it themselves is what it is,
// and what would lift it. Networks of which the same is to be said share a line.
func (a *app) sayRungs(networks []json.RawMessage) error {
	names := map[string][]string{}
	var lines []string
	for _, raw := range networks {
		var n struct {
			Name    string      `json:"name"`
			Started bool        `json:"started"`
			Mode6   vnet.Egress `json:"mode6"`
			Rung6   vnet.Egress `json:"rung6"`
			Why6    string      `json:"why6"`
		}
		if err := json.Unmarshal(raw, &n); err != nil {
			return err
		}
		if !n.Started || n.Mode6 != vnet.EgressAuto || n.Rung6 == "" || n.Why6 == "" {
			continue
		}
		line := fmt.Sprintf("IPv6 %s: %s", n.Rung6, strings.TrimPrefix(n.Why6, string(n.Rung6)+": "))
		if names[line] == nil {
			lines = append(lines, line)
		}
		names[line] = append(names[line], n.Name)
	}
	for i, line := range lines {
		if i == rungsMost {
			return a.print("and %s: see sextant status -o wide", counted(len(lines)-i, "other network"))
		}
		who := "network " + names[line][0]
		if n := len(names[line]); n > 1 {
			who = fmt.Sprintf("%s and %s", who, counted(n-1, "other"))
		}
		if err := a.print("%s: %s", who, printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// sayTroubles writes what is wrong with a network.
func (a *app) sayTroubles(raw json.RawMessage) error {
	var n struct {
		Name     string         `json:"name"`
		Problems []vnet.Problem `json:"problems"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return err
	}
	for _, p := range n.Problems {
		if err := a.print("problem: network %s: %s", n.Name, problemLine(p)); err != nil {
			return err
		}
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

var statusColumns = []column{
	col("NETWORK", "name"), col("STATE", "state"), col("BRIDGE", "bridge"), col("IPV4", "rung4", "mode4"),
	col("IPV6", "rung6", "mode6"), col("GATEWAYS", "prefixes"), wide("WHY IPV4", "why4"), wide("WHY IPV6", "why6"),
	wide("MTU", "mtu"), wide("PROJECT", "project"),
}
