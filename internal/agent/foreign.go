package agent

import (
	"context"
	"log/slog"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/nft"
	"github.com/sextant-net/sextant/internal/vnet"
)

// ForeignRules looks, in the host's namespace, for other programs' rules that
// would drop what guests behind the links send or need.
func ForeignRules(spaces *netns.Set, log *slog.Logger) func(ctx context.Context, links []string) []vnet.Problem {
	return func(ctx context.Context, links []string) []vnet.Problem {
		found, err := nft.Foreign(ctx, spaces, "", links)
		if err != nil {
			log.Warn("other programs' rules cannot be read", "error", err)
		}
		var out []vnet.Problem
		for _, f := range found {
			out = append(out, f.Problem())
		}
		return out
	}
}
