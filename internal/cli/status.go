package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

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
			return a.fetch(background(cmd), "prefixes", nil, prefixColumns)
		},
	})
	return cmd
}

var prefixColumns = []column{
	col("PREFIX", "prefix"), col("NETWORK", "network"), col("SOURCE", "source"), col("STATE", "state"),
	col("PREFERRED", "preferredUntil"), col("VALID", "validUntil"), wide("HOST", "host"),
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
			switch a.output {
			case "json":
				return a.writeJSON(raw)
			case "yaml":
				return a.writeYAML(raw)
			}
			return a.sayStatus(raw)
		},
	}
}

// sayStatus is the overview for people.
func (a *app) sayStatus(raw json.RawMessage) error {
	var o struct {
		Hosts    []*vnet.Host   `json:"hosts"`
		Statuses []*vnet.Status `json:"statuses"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	for _, h := range o.Hosts {
		if err := a.print("host %s", h.ID); err != nil {
			return err
		}
	}
	return nil
}
