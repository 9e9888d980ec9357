package control

import (
	"context"
	"reflect"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// ports get their addresses here, when they are made, so that serving them
// needs no write.
type ports struct{ c *Control }

func (w ports) create(ctx context.Context, d *draft) error {
	p := d.o.(*vnet.Port)
	n, err := w.c.inNetwork(ctx, d, &p.Meta, &p.Network)
	if err != nil {
		return err
	}
	p.Fixed = nil
	w.bind(p)
	if err := validate(p); err != nil {
		return err
	}
	if p.MAC.IsZero() {
		d.chosen["mac"] = true
		p.MAC = w.c.newMAC()
	}
	return w.addresses(ctx, d, n, p, nil)
}

// bind completes a binding: without a host it is this one.
func (w ports) bind(p *vnet.Port) {
	if p.Binding != nil && p.Binding.Host == "" {
		p.Binding.Host = w.c.host
	}
}

// addresses gives the port what it asks for by address and, in every other
// subnet that hands out addresses, one that is free. Of those that it has, it
// keeps what it did not ask to lose.
func (w ports) addresses(ctx context.Context, d *draft, n *vnet.Network, p *vnet.Port, keep []vnet.FixedAddress) error {
	a, err := w.c.allocator(ctx, d, n.ID, p.ID)
	if err != nil {
		return err
	}
	p.Fixed = nil
	asked, clash := map[vnet.ID]bool{}, false
	for _, addr := range p.Addresses {
		f, err := a.explicit(ctx, n, addr)
		if err != nil {
			return err
		}
		clash = clash || a.taken[f.Subnet][f.Host]
		asked[f.Subnet] = true
		p.Fixed = append(p.Fixed, f)
	}
	for _, f := range keep {
		still := slices.ContainsFunc(a.subs, func(s *vnet.Subnet) bool { return s.ID == f.Subnet && hands(s) })
		if still && !asked[f.Subnet] {
			p.Fixed = append(p.Fixed, f)
		}
	}
	before := len(p.Fixed)
	if err := a.all(p); err != nil {
		return err
	}
	d.chosen["addresses"] = len(p.Fixed) > before && !clash
	return nil
}

func (w ports) update(ctx context.Context, d *draft) error {
	p, old := d.o.(*vnet.Port), d.old.(*vnet.Port)
	n, err := w.c.getNetwork(ctx, old.Network)
	if err != nil {
		return err
	}
	if p.Network != old.Network && string(p.Network) != n.Name {
		return vnet.Invalid("network", "a port cannot move to another network").WithHint("make a new one there")
	}
	p.Network = old.Network
	if p.MAC.IsZero() {
		p.MAC = old.MAC
	}
	w.bind(p)
	if err := validate(p); err != nil {
		return err
	}
	if pluggedOnly(p, old) {
		p.Fixed = old.Fixed
		return nil
	}
	var keep []vnet.FixedAddress
	for _, f := range old.Fixed {
		// What was asked for by address and no longer is, is given up; so are
		// addresses made from a MAC that is another now.
		named := slices.Contains(old.Addresses, f.Address)
		if !named && p.MAC == old.MAC {
			keep = append(keep, f)
		}
	}
	return w.addresses(ctx, d, n, p, keep)
}

// pluggedOnly reports whether nothing but the binding is other than before:
// then the addresses stay as they are, so that a plug that is taken back leaves
// nothing behind.
func pluggedOnly(p, old *vnet.Port) bool {
	a, b := *p, *old
	for _, x := range []*vnet.Port{&a, &b} {
		x.Meta, x.Binding, x.Fixed = vnet.Meta{}, nil, nil
	}
	return reflect.DeepEqual(a, b) && !reflect.DeepEqual(p.Binding, old.Binding)
}

// remove takes the port's leases along.
func (w ports) remove(ctx context.Context, d *draft) error {
	p := d.old.(*vnet.Port)
	l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindLease, Network: p.Network})
	if err != nil {
		return err
	}
	const most = 30 // a guest may have used a hundred addresses: their host lets go of the rest
	for _, o := range l.Items {
		if o.(*vnet.Lease).Port == p.ID && len(d.change.Delete) < most {
			d.change.Delete = append(d.change.Delete, vnet.Deletion{Ref: vnet.RefOf(o), Revision: vnet.AnyRevision})
		}
	}
	return nil
}

// Plug binds a port to a device; a binding without a host is for this one. If
// the port is not there, it is made from port, unless that is nil. Plugging it
// in once more in the same place changes nothing; in another place it must be
// unplugged first.
func (c *Control) Plug(ctx context.Context, who Identity, sel Selector, port *vnet.Port, b vnet.Binding) (*vnet.Port, error) {
	const op = "port plug"
	sel.Kind = vnet.KindPort
	if b.Host == "" {
		b.Host = c.host
	}
	if err := b.Validate(); err != nil {
		return nil, inOp(err, op)
	}
	_, err := c.find(ctx, who, sel)
	if vnet.Is(err, vnet.ErrNotFound) && port != nil {
		return c.plugNew(ctx, who, sel, port, b)
	}
	if err != nil {
		return nil, inOp(err, op)
	}
	o, err := c.Update(ctx, who, sel, 0, func(o vnet.Object) error {
		p := o.(*vnet.Port)
		if err := asItIs(port, p); err != nil {
			return err
		}
		if p.Binding != nil && (p.Binding.Host != b.Host || p.Binding.Plug != b.Plug || p.Binding.Device != b.Device || p.Binding.Netns != b.Netns) {
			e := vnet.Errorf(vnet.ErrInUse, "port %s is plugged into %s on host %s", p.Name, p.Binding.Device, p.Binding.Host).
				WithHint("unplug it first: sextant port unplug %s", p.Name)
			e.Field = "device"
			return e
		}
		p.Binding = &b
		return nil
	})
	if err != nil {
		return nil, inOp(err, op)
	}
	return o.(*vnet.Port), nil
}

// asItIs makes sure that a port that is there is what the caller would have
// made.
func asItIs(asked, p *vnet.Port) error {
	if asked == nil {
		return nil
	}
	if !asked.MAC.IsZero() && asked.MAC != p.MAC {
		return vnet.Invalid("mac", "port %s is there already, with the MAC %v", p.Name, p.MAC).
			WithHint("leave mac out, or change it first: sextant port set %s mac=%v", p.Name, asked.MAC)
	}
	for _, a := range asked.Addresses {
		if !slices.ContainsFunc(p.Fixed, func(f vnet.FixedAddress) bool { return f.Address == a }) {
			return vnet.Invalid("addresses", "port %s is there already, without %v", p.Name, a).
				WithHint("leave the addresses out, or change them first: sextant port set %s addresses=%v", p.Name, a)
		}
	}
	return nil
}

func (c *Control) plugNew(ctx context.Context, who Identity, sel Selector, port *vnet.Port, b vnet.Binding) (*vnet.Port, error) {
	o, err := clone(port)
	if err != nil {
		return nil, err
	}
	p := o.(*vnet.Port)
	p.Binding = &b
	if p.Name == "" {
		p.Name = sel.Name
	}
	if p.Network == "" {
		p.Network = vnet.ID(sel.Network)
	}
	made, err := c.Create(ctx, who, sel.Project, p)
	if err != nil {
		return nil, inOp(err, "port plug")
	}
	return made.(*vnet.Port), nil
}

// Unplug lets a port go of its device; the port and its addresses stay.
func (c *Control) Unplug(ctx context.Context, who Identity, sel Selector) (*vnet.Port, error) {
	sel.Kind = vnet.KindPort
	o, err := c.Update(ctx, who, sel, 0, func(o vnet.Object) error {
		o.(*vnet.Port).Binding = nil
		return nil
	})
	if err != nil {
		return nil, inOp(err, "port unplug")
	}
	return o.(*vnet.Port), nil
}
