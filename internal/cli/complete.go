package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
)

// completeTime is how long a shell may have to wait for names.
const completeTime = 2 * time.Second

// completer completes names of objects, then keys.
func (a *app) completer(n *noun, verb string, named bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if named && len(args) == 0 {
			if verb == "create" {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.objectNames(cmd.Context(), n), cobra.ShellCompDirectiveNoFileComp
		}
		if strings.Contains(word, "=") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var keys []string
		switch verb {
		case "create", "set", "plug", "list":
			k := n.written()
			if verb == "list" {
				k = n.keys()
			}
			for _, name := range k.names() {
				keys = append(keys, name+"=")
			}
			for _, name := range n.filters {
				keys = append(keys, name+"=")
			}
		}
		if verb == "plug" {
			for _, k := range plugKeys {
				keys = append(keys, k+"=")
			}
		}
		return keys, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
}

// objectNames asks the daemon; a shell that gets nothing completes nothing.
func (a *app) objectNames(ctx context.Context, n *noun) []string {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	cl, err := a.client()
	if err != nil {
		return nil
	}
	q := url.Values{}
	if a.project != "" {
		q.Set("project", a.project)
	}
	items, err := cl.ListRaw(ctx, client.Plural(n.kind), q)
	if err != nil {
		return nil
	}
	var names []string
	for _, raw := range items {
		var o struct {
			Name    string `json:"name"`
			Address string `json:"address"`
			ID      string `json:"id"`
		}
		if json.Unmarshal(raw, &o) != nil {
			continue
		}
		for _, s := range []string{o.Name, o.ID} {
			if s != "" {
				names = append(names, s)
				break
			}
		}
	}
	return names
}
