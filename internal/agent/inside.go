package agent

import (
	"context"
	"slices"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// insider is a Finder that can also watch routing namespaces for drift.
type insider interface {
	Inside(ctx context.Context, names []string)
}

// watchRouters has the finder watch the namespaces of the routers that run
// here. One that was made in this pass is listened to anew: what was listened
// to under its name may be gone.
func (a *Agent) watchRouters(ctx context.Context, made []plan.Key) {
	w, ok := a.cfg.Finder.(insider)
	if !ok || len(a.snap.Routers)+len(a.inside) == 0 {
		return
	}
	var names []string
	for id := range a.snap.Routers {
		f := a.union.fragments[vnet.Ref{Kind: vnet.KindRouter, ID: id}]
		if f == nil {
			continue
		}
		for _, i := range f.Items {
			if ns, ok := i.(plan.Netns); ok {
				names = append(names, ns.Name)
			}
		}
	}
	slices.Sort(names)
	fresh := slices.ContainsFunc(made, func(k plan.Key) bool { return k.Kind == "netns" })
	if !fresh && slices.Equal(names, a.inside) {
		return
	}
	if fresh {
		w.Inside(ctx, nil)
		a.ears.listenAnew()
	}
	w.Inside(ctx, names)
	a.inside = names
}
