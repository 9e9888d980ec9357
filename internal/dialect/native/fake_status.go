package native

import (
	"context"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Status shows the host, and networks as Wait has them.
func (f *Fake) Status(ctx context.Context, who Identity) (*Overview, error) {
	out := &Overview{}
	hosts, err := f.List(ctx, who, Query{Kind: vnet.KindHost, Limit: pageMax})
	if err != nil {
		return nil, err
	}
	for _, o := range hosts.Items {
		out.Hosts = append(out.Hosts, o.(*vnet.Host))
	}
	nets, err := f.List(ctx, who, Query{Kind: vnet.KindNetwork, Limit: pageMax})
	if err != nil {
		return nil, err
	}
	for _, o := range nets.Items {
		st, err := f.Wait(ctx, vnet.RefOf(o), o.GetMeta().Revision, "", control.Applied)
		if err != nil {
			st = &vnet.Status{Target: vnet.RefOf(o), Host: "host1", State: vnet.StateFailed}
		}
		out.Statuses = append(out.Statuses, st)
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
	for _, s := range o.Statuses {
		for _, p := range s.Prefixes {
			out = append(out, PrefixUse{Prefix: p.Masked(), Network: string(s.Target.ID)})
		}
	}
	return out, nil
}
