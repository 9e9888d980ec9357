package control

import (
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// findLease finds the lease of an address.
func (c *Control) findLease(ctx context.Context, who Identity, sel Selector, a netip.Addr) (vnet.Object, error) {
	q, err := c.query(ctx, who, Query{Kind: vnet.KindLease, Network: sel.Network, Project: sel.Project})
	if err != nil {
		return nil, err
	}
	l, err := c.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	var found vnet.Object
	for _, o := range l.Items {
		if o.(*vnet.Lease).Address != a {
			continue
		}
		ok, err := c.visible(ctx, who, o)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if found != nil {
			return nil, vnet.Invalid("network", "several networks have a lease of %s", a).WithHint("say which: network=NAME")
		}
		found = o
	}
	if found == nil {
		return nil, missing(sel)
	}
	return found, nil
}

// ReleaseLease takes a lease back: the address may be given to others. Its
// host's servers see it go. A guest that still uses it learns so when it asks
// to renew.
func (c *Control) ReleaseLease(ctx context.Context, who Identity, sel Selector) error {
	const op = "lease release"
	sel.Kind = vnet.KindLease
	err := c.repeat(ctx, &draft{who: who}, func(d *draft) error {
		o, err := c.find(ctx, who, sel)
		if err != nil {
			return err
		}
		d.change.Delete = []vnet.Deletion{{Ref: vnet.RefOf(o), Revision: o.GetMeta().Revision}}
		d.note(c, o, "deleted")
		_, err = c.store.Commit(ctx, &d.change)
		return err
	})
	return inOp(err, op)
}
