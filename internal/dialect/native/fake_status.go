package native

import (
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Status shows the networks as their host reports them.
func (f *Fake) Status(ctx context.Context, who Identity) (*Overview, error) {
	out := &Overview{Version: "test", Host: "host1", Ready: true, ULA: netip.MustParsePrefix("fd00:1:2::/48")}
	nets, err := f.List(ctx, who, Query{Kind: vnet.KindNetwork, Limit: pageMax, AllProjects: true})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range nets.Items {
		n := o.(*vnet.Network)
		s := f.statusOf(n)
		v := control.NetworkOverview{
			ID: n.ID, Name: n.Name, Project: n.Project, Started: n.Started != nil && *n.Started, State: s.State,
			Bridge: n.Bridge, MTU: s.MTU, Mode4: n.IPv4.Mode, Mode6: n.IPv6.Mode, Rung4: s.Rung4, Rung6: s.Rung6,
			Why4: s.Why4, Why6: s.Why6, Prefixes: s.Prefixes,
		}
		if err := f.Broken[n.Name]; err != nil {
			v.State, v.Prefixes = vnet.StateFailed, nil
			v.Problems = []vnet.Problem{{Kind: vnet.ErrHost, Msg: "nft is missing", Hint: "apt install nftables"}}
		}
		out.Networks = append(out.Networks, v)
	}
	return out, nil
}

// Prefixes shows what Status shows as gateways.
func (f *Fake) Prefixes(ctx context.Context, who Identity) ([]PrefixUse, error) {
	o, err := f.Status(ctx, who)
	if err != nil {
		return nil, err
	}
	var out []PrefixUse
	for _, n := range o.Networks {
		for _, p := range n.Prefixes {
			out = append(out, PrefixUse{
				Prefix: p.Masked(), Network: n.Name, Source: vnet.SourceAuto, State: vnet.PrefixActive, Host: "host1", ValidUntil: fakeTime,
			})
		}
	}
	return out, nil
}
