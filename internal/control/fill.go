package control

import (
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// fewToFill is up to how many objects are completed one by one; for more it is
// cheaper to read everything once.
const fewToFill = 8

// fill completes objects as they are shown: a network's short form and
// activation, a port's addresses under prefixes that move.
func (c *Control) fill(ctx context.Context, objects ...vnet.Object) error {
	f := newFiller(c, len(objects) > fewToFill)
	for _, o := range objects {
		var err error
		switch o := o.(type) {
		case *vnet.Network:
			err = f.network(ctx, o)
		case *vnet.Port:
			for i := range o.Fixed {
				if err = f.address(ctx, o.Network, &o.Fixed[i]); err != nil {
					break
				}
			}
		case *vnet.UplinkPolicy:
			o.Fold(c.now())
		case *vnet.Reservation:
			if err = f.address(ctx, o.Network, &o.Fixed); err == nil && !o.Address.IsValid() {
				o.Address = o.Fixed.Address
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// filler reads what completes objects, once.
type filler struct {
	c   *Control
	all bool

	loaded bool
	subs   map[vnet.ID][]*vnet.Subnet   // by network
	acts   map[vnet.ID]*vnet.Activation // by network, on this host
	given  map[vnet.ID]netip.Prefix     // assigned prefix by subnet
	seen   map[vnet.ID]bool             // networks whose subnets are in subs
	asked  map[vnet.ID]bool             // networks whose assignments are in given
}

func newFiller(c *Control, all bool) *filler {
	return &filler{
		c: c, all: all, subs: map[vnet.ID][]*vnet.Subnet{}, acts: map[vnet.ID]*vnet.Activation{}, given: map[vnet.ID]netip.Prefix{},
		seen: map[vnet.ID]bool{}, asked: map[vnet.ID]bool{},
	}
}

func (f *filler) load(ctx context.Context, network vnet.ID) error {
	if f.all {
		return f.loadAll(ctx)
	}
	if f.seen[network] {
		return nil
	}
	fam, err := f.c.familyOf(ctx, network)
	if err != nil {
		return err
	}
	f.seen[network] = true
	f.subs[network] = fam.subs
	f.acts[network] = fam.act
	return nil
}

func (f *filler) loadAll(ctx context.Context) error {
	if f.loaded {
		return nil
	}
	f.loaded = true
	l, err := f.c.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		s := o.(*vnet.Subnet)
		f.subs[s.Network] = append(f.subs[s.Network], s)
	}
	if l, err = f.c.store.List(ctx, vnet.Query{Kind: vnet.KindActivation, Host: f.c.host}); err != nil {
		return err
	}
	for _, o := range l.Items {
		a := o.(*vnet.Activation)
		f.acts[a.Network] = a
	}
	f.given, err = f.c.assignments(ctx, "")
	return err
}

// prefix is the subnet's prefix, or the one it was assigned.
func (f *filler) prefix(ctx context.Context, s *vnet.Subnet) (netip.Prefix, error) {
	if !s.Source.Moves() || s.Prefix.IsValid() {
		return s.Prefix, nil
	}
	if !f.all && !f.asked[s.Network] {
		f.asked[s.Network] = true
		given, err := f.c.assignments(ctx, s.Network)
		if err != nil {
			return netip.Prefix{}, err
		}
		for id, p := range given {
			f.given[id] = p
		}
	}
	return f.given[s.ID], nil
}

// assignments returns the active prefix of each subnet that moves, the newest
// on this host. With no network it is that of all.
func (c *Control) assignments(ctx context.Context, network vnet.ID) (map[vnet.ID]netip.Prefix, error) {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindAssignment, Network: network})
	if err != nil {
		return nil, err
	}
	out := map[vnet.ID]netip.Prefix{}
	best := map[vnet.ID]*vnet.PrefixAssignment{}
	for _, o := range l.Items {
		a := o.(*vnet.PrefixAssignment)
		if a.State != vnet.PrefixActive {
			continue
		}
		b := best[a.Subnet]
		if b == nil || (a.Host == c.host) != (b.Host == c.host) && a.Host == c.host || a.Host == b.Host && a.Since.After(b.Since) {
			best[a.Subnet], out[a.Subnet] = a, a.Prefix
		}
	}
	return out, nil
}

func (f *filler) network(ctx context.Context, n *vnet.Network) error {
	if err := f.load(ctx, n.ID); err != nil {
		return err
	}
	for _, s := range f.subs[n.ID] {
		if !s.Primary || n.Policy(s.Family).Mode == vnet.EgressBridged {
			continue
		}
		prefix, err := f.prefix(ctx, s)
		if err != nil {
			return err
		}
		p := n.Policy(s.Family)
		p.Address, p.Guests, p.Ranges = shown(s, prefix), s.Guests, s.Ranges
		if s.Family == vnet.IPv6 {
			n.Advertise = s.Advertise
		}
	}
	started, autostart := false, true
	if a := f.acts[n.ID]; a != nil {
		started, autostart = a.Started, a.Autostart
	}
	n.Started, n.Autostart = &started, &autostart
	return nil
}

// address completes a fixed address.
func (f *filler) address(ctx context.Context, network vnet.ID, a *vnet.FixedAddress) error {
	if a.Address.IsValid() || a.Subnet == "" {
		return nil
	}
	if err := f.load(ctx, network); err != nil {
		return err
	}
	for _, s := range f.subs[network] {
		if s.ID != a.Subnet {
			continue
		}
		prefix, err := f.prefix(ctx, s)
		if err != nil {
			return err
		}
		if full, err := ipam.Join(prefix, a.Host); err == nil {
			a.Address = full
		}
	}
	return nil
}
