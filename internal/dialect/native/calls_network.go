package native

import (
	"context"
	"net/http"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

func (a *api) networks() noun[Network] {
	return noun[Network]{
		kind: vnet.KindNetwork, plural: "networks",
		view: func(ctx context.Context, n *names, o vnet.Object) Network {
			c := *o.(*vnet.Network)
			n.show(ctx, &c)
			return Network{Network: c, Status: networkStatus(n.statuses[o.GetMeta().ID])}
		},
		prepare: func(ctx context.Context, n *names, _ Query, items []vnet.Object) { n.learnStatuses(ctx, items) },
		decode: func(b []byte) (vnet.Object, error) {
			var v Network // with its status, so that what was shown can be sent back
			err := vnet.DecodeJSON(b, &v)
			return &v.Network, err
		},
	}
}

type switchIn struct {
	Named
	Wait string `query:"wait" doc:"wait this long until it is done on its host, for example 10s"`
}

// registerSwitches adds start and stop.
func (a *api) registerSwitches(n noun[Network]) {
	for _, s := range []struct {
		verb, summary string
		call          func(context.Context, Identity, Selector) (vnet.Object, error)
		aim           Condition
	}{
		{"start", "Start a network", a.Verbs.Start, control.Running},
		{"stop", "Stop a network", a.Verbs.Stop, control.Gone},
	} {
		op := a.op(http.MethodPost, "/v1/networks/{name}/"+s.verb, s.verb, "network", s.summary)
		register(a, op, func(ctx context.Context, in *switchIn) (*objectOut[Network], error) {
			wait, err := parseWait(in.Wait)
			if err != nil {
				return nil, err
			}
			o, err := s.call(ctx, whoFrom(ctx), n.selector(&in.Named))
			if err != nil {
				return nil, err
			}
			st, err := a.settle(ctx, o, s.aim, wait, false)
			if err != nil {
				return nil, err
			}
			return n.settled(ctx, newNames(a.Verbs, whoFrom(ctx)), o, st, http.StatusOK), nil
		})
	}
}
