package control

import (
	"context"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// reservations are addresses for guests that have no port.
type reservations struct{ c *Control }

func (w reservations) create(ctx context.Context, d *draft) error {
	r := d.o.(*vnet.Reservation)
	n, err := w.c.inNetwork(ctx, d, &r.Meta, &r.Network)
	if err != nil {
		return err
	}
	r.Fixed = vnet.FixedAddress{}
	if err := validate(r); err != nil {
		return err
	}
	return w.address(ctx, d, n, r)
}

// address finds the place of the address in the network's subnets.
func (w reservations) address(ctx context.Context, d *draft, n *vnet.Network, r *vnet.Reservation) error {
	a, err := w.c.allocator(ctx, d, n.ID, r.ID)
	if err != nil {
		return err
	}
	r.Fixed, err = a.explicit(ctx, n, r.Address)
	return inFieldInstead(err, "address")
}

func inFieldInstead(err error, field string) error {
	if e, ok := err.(*vnet.Error); ok && e != nil {
		c := *e
		c.Field = field
		return &c
	}
	return err
}

func (w reservations) update(ctx context.Context, d *draft) error {
	r, old := d.o.(*vnet.Reservation), d.old.(*vnet.Reservation)
	if r.Network != old.Network {
		return vnet.Invalid("network", "a reservation cannot move to another network").WithHint("make a new one there")
	}
	if err := validate(r); err != nil {
		return err
	}
	r.Fixed = old.Fixed
	n, err := w.c.getNetwork(ctx, r.Network)
	if err != nil {
		return err
	}
	fam, err := w.c.familyOf(ctx, n.ID)
	if err != nil {
		return err
	}
	// The address is shown completed; as long as it is the same, it stays.
	for _, s := range fam.subs {
		if s.ID != old.Fixed.Subnet {
			continue
		}
		prefix, err := newFiller(w.c, false).prefix(ctx, s)
		if err != nil {
			return err
		}
		if now, err := ipam.Join(prefix, old.Fixed.Host); err == nil && now == r.Address {
			r.Address = old.Address
			return nil
		}
	}
	return w.address(ctx, d, n, r)
}

func (reservations) remove(context.Context, *draft) error { return nil }
