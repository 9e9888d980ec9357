package control

import (
	"context"

	"github.com/sextant-net/sextant/internal/vnet"
)

// supported refuses a family that the user asks for by name where the kernel
// of this host does not have it. `auto` takes what there is, and what was there
// before the kernel changed stays: only the wish of the moment is judged.
func (w networks) supported(ctx context.Context, n, old *vnet.Network) error {
	mode := n.IPv6.Mode
	switch {
	case mode == "" || mode == vnet.EgressAuto || mode == vnet.EgressNone || mode == vnet.EgressBridged:
		return nil
	case old != nil && old.IPv6.Mode == mode:
		return nil
	}
	o, err := w.c.store.Get(ctx, vnet.Ref{Kind: vnet.KindHost, ID: vnet.ID(w.c.host)})
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil // the host has not spoken yet; its plan judges
	}
	if err != nil {
		return err
	}
	h, ok := o.(*vnet.Host)
	if !ok {
		return nil
	}
	for _, f := range h.Facts.Features {
		if f.Name == vnet.FeatureIPv6 && !f.Present {
			e := vnet.Errorf(vnet.ErrUnsupported, "%s: the kernel of host %s has no IPv6", mode, w.c.host).
				WithHint("start it without ipv6.disable=1, or set ipv6=none")
			e.Field = "ipv6"
			return e
		}
	}
	return nil
}
