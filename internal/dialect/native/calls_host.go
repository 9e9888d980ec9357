package native

import (
	"context"
	"net/http"

	"github.com/sextant-net/sextant/internal/vnet"
)

// OfHost picks a host.
type OfHost struct {
	Host string `query:"host" doc:"of this host only"`
}

// registerHosts adds the uplinks, which are facts of hosts.
func (a *api) registerHosts() {
	register(a, a.op(http.MethodGet, "/v1/uplinks", "list", "uplink", "List uplinks of hosts"),
		func(ctx context.Context, in *OfHost) (*bodyOut[List[HostUplink]], error) {
			l, err := a.uplinks(ctx, in.Host, "")
			return &bodyOut[List[HostUplink]]{l}, err
		})
	type one struct {
		OfHost
		Name string `path:"name" doc:"name of the link"`
	}
	register(a, a.op(http.MethodGet, "/v1/uplinks/{name}", "show", "uplink", "Show one uplink"),
		func(ctx context.Context, in *one) (*bodyOut[HostUplink], error) {
			l, err := a.uplinks(ctx, in.Host, in.Name)
			switch {
			case err != nil:
				return nil, err
			case len(l.Items) == 0:
				return nil, vnet.Errorf(vnet.ErrNotFound, "there is no uplink %q", in.Name).WithHint("see sextant uplink list")
			case len(l.Items) > 1:
				return nil, vnet.Errorf(vnet.ErrInvalid, "more than one host has an uplink %q", in.Name).WithHint("say which: host=NAME")
			}
			return &bodyOut[HostUplink]{l.Items[0]}, nil
		})
}

func (a *api) uplinks(ctx context.Context, host, name string) (List[HostUplink], error) {
	out := List[HostUplink]{Items: []HostUplink{}}
	q := Query{Kind: vnet.KindHost, Limit: pageMax}
	for {
		p, err := a.Verbs.List(ctx, whoFrom(ctx), q)
		if err != nil {
			return out, err
		}
		out.Revision = p.Revision
		for _, o := range p.Items {
			h, ok := o.(*vnet.Host)
			if !ok || host != "" && h.Name != host && string(h.ID) != host {
				continue
			}
			for _, u := range h.Facts.Uplinks {
				if name == "" || u.Name == name {
					out.Items = append(out.Items, HostUplink{Host: string(h.ID), Uplink: u})
				}
			}
		}
		if q.After = p.Next; q.After == "" {
			return out, nil
		}
	}
}
