package native

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

func (a *api) networks() noun[Network] {
	return noun[Network]{
		kind: vnet.KindNetwork, plural: "networks",
		view: func(ctx context.Context, n *names, o vnet.Object) Network {
			c := *o.(*vnet.Network)
			n.show(ctx, &c)
			out := Network{Network: c, Status: networkStatus(n.statuses[o.GetMeta().ID])}
			if out.Status != nil {
				out.Status.Prefixes = n.found[o.GetMeta().ID]
			}
			return out
		},
		prepare: func(ctx context.Context, n *names, _ Query, items []vnet.Object) {
			n.learnStatuses(ctx, items)
			n.learnPrefixes(ctx, items)
		},
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

// learnPrefixes reads what hosts found for a network that is shown alone; lists
// have `prefix list` beside them.
func (n *names) learnPrefixes(ctx context.Context, items []vnet.Object) {
	if len(items) != 1 {
		return
	}
	o := items[0].GetMeta()
	p, err := n.verbs.List(ctx, n.who, Query{Kind: vnet.KindAssignment, Project: string(o.Project), Network: string(o.ID), Limit: pageMax})
	if err != nil {
		return // it is shown without
	}
	for _, x := range p.Items {
		if a, ok := x.(*vnet.PrefixAssignment); ok {
			n.found[o.ID] = append(n.found[o.ID], NetworkPrefix{Prefix: a.Prefix, Rung: a.Rung, Uplink: a.Uplink, State: a.State,
				PreferredUntil: a.PreferredUntil, ValidUntil: a.ValidUntil, Host: a.Host})
		}
	}
	slices.SortFunc(n.found[o.ID], func(a, b NetworkPrefix) int {
		return cmp.Or(cmp.Compare(a.State, b.State), a.Prefix.Compare(b.Prefix))
	})
}
