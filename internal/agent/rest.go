package agent

import (
	"context"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// cleanup removes everything that Sextant put on this host. The agent then
// rests until it is started again; what is wished stays in the store.
func (a *Agent) cleanup(ctx context.Context) (Cleaned, error) {
	a.resting = true
	for id := range a.srv.services {
		a.srv.setService(id, nil, nil)
	}
	a.proxyUplinks()
	if a.cfg.Translator != nil {
		a.cfg.Translator.Set(nil)
	}
	done, err := Clean(ctx, a.cfg.Kernel)
	a.failed = a.cfg.Kernel.Errors()
	for _, r := range plan.Owners(a.snap) {
		a.changed[r] = true
	}
	return done, err
}

// reportResting says of everything that is, or is now, wished that it is not
// done, so that nobody waits for it in vain.
func (a *Agent) reportResting() {
	for r := range a.dirty {
		a.changed[r] = true
	}
	for r := range a.changed {
		s := &vnet.Status{Target: r, Host: a.cfg.Host, Applied: a.snap.Revision, State: vnet.StateStopped}
		if wished := a.snap.Get(r) != nil && r.Kind == vnet.KindUplink; wished || len(plan.FragmentOf(a.snap, a.facts, r).Items) > 0 {
			s.State = vnet.StateFailed
			s.Problems = []vnet.Problem{{
				Kind: vnet.ErrUnavailable, Msg: "this host was cleaned up, nothing is done on it",
				Hint: "restart the daemon: systemctl restart sextant",
			}}
		}
		switch r.Kind {
		case vnet.KindNetwork, vnet.KindPort, vnet.KindRouter, vnet.KindSubnet, vnet.KindReservation, vnet.KindUplink:
			a.rep.status(s)
		}
	}
	clear(a.dirty)
	clear(a.changed)
	clear(a.zones)
}
