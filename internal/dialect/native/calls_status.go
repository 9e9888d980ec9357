package native

import (
	"context"
	"net/http"

	"github.com/sextant-net/sextant/internal/vnet"
)

// registerOverview adds the calls that show many things at once.
func (a *api) registerOverview() {
	type none struct{}
	register(a, a.op(http.MethodGet, "/v1/status", "status", "", "Show how everything fares"),
		func(ctx context.Context, _ *none) (*bodyOut[*Overview], error) {
			who := whoFrom(ctx)
			o, err := a.Verbs.Status(ctx, who)
			if err != nil {
				return nil, err
			}
			ns := newNames(a.Verbs, who)
			for i := range o.Networks {
				n := &o.Networks[i]
				n.Project = vnet.ID(ns.name(ctx, vnet.KindProject, "", n.Project))
			}
			return &bodyOut[*Overview]{o}, nil
		})
	register(a, a.op(http.MethodGet, "/v1/prefixes", "list", "prefix", "List every prefix in use, with its source and lifetimes"),
		func(ctx context.Context, _ *none) (*bodyOut[List[PrefixUse]], error) {
			items, err := a.Verbs.Prefixes(ctx, whoFrom(ctx))
			if items == nil {
				items = []PrefixUse{}
			}
			return &bodyOut[List[PrefixUse]]{List[PrefixUse]{Items: items}}, err
		})
	type whyIn struct {
		Address string `path:"address" doc:"an IPv4 or IPv6 address"`
	}
	register(a, a.op(http.MethodGet, "/v1/why/{address}", "why", "", "Say why an address is in use, and by whom"),
		func(ctx context.Context, in *whyIn) (*bodyOut[List[Reason]], error) {
			addr, err := vnet.ParseAddrZone(in.Address)
			if err != nil {
				return nil, inField(err, "address")
			}
			items, err := a.Verbs.Why(ctx, whoFrom(ctx), addr.Unmap().WithZone(""))
			if items == nil {
				items = []Reason{}
			}
			return &bodyOut[List[Reason]]{List[Reason]{Items: items}}, err
		})
}
