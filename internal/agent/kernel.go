package agent

import (
	"context"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/nft"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/reconcile"
)

// Kernel makes the host's kernel fit a plan: a reconcile.Reconciler.
type Kernel interface {
	// Reconcile applies a change of what is wanted.
	Reconcile(ctx context.Context, put []plan.Item, del []plan.Key) reconcile.Result[plan.Key]
	// Want replaces all that is wanted; Resync then compares it with all that
	// carries our mark, and applies the difference: what is not wanted goes only
	// with prune.
	Want(all []plan.Item)
	Resync(ctx context.Context, prune bool) (reconcile.Result[plan.Key], error)
	// Errors says what is not as wanted.
	Errors() map[plan.Key]error
}

// NewKernel returns the reconciler of the host that spaces stands on. stateDir
// is where the original values of the host's settings are kept.
func NewKernel(spaces *netns.Set, stateDir string) (*reconcile.Reconciler[plan.Key, plan.Item], error) {
	links, err := link.New(spaces, stateDir)
	if err != nil {
		return nil, err
	}
	return KernelOf(spaces, links), nil
}

// KernelOf is NewKernel for links that others need as well.
func KernelOf(spaces *netns.Set, links *link.Links) *reconcile.Reconciler[plan.Key, plan.Item] {
	tables := nft.New(spaces)
	var layers []reconcile.Layer[plan.Key, plan.Item]
	for s := plan.StageNetns; s <= plan.StageForward; s++ {
		l := reconcile.Layer[plan.Key, plan.Item]{Stage: int(s), Target: links}
		if s == plan.StageFilter {
			l.Target, l.Together = tables, true
		}
		layers = append(layers, l)
	}
	r := reconcile.New(plan.Item.Key, func(i plan.Item) int { return int(i.Stage()) }, layers...)
	r.Needs(link.Needs, link.Gives)
	return r
}
