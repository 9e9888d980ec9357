package control

import (
	"context"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// subnets: further prefixes of a network beside its primary ones, which are
// changed through the network.
type subnets struct{ c *Control }

func (w subnets) create(ctx context.Context, d *draft) error {
	s := d.o.(*vnet.Subnet)
	n, err := w.c.inNetwork(ctx, d, &s.Meta, &s.Network)
	if err != nil {
		return err
	}
	s.Primary = false
	if s.Pool != "" {
		if err := w.cut(ctx, d, s); err != nil {
			return err
		}
	}
	if s.Source == "" && !s.Prefix.IsValid() && s.Pool == "" {
		return vnet.Invalid("prefix", "the prefix is missing").WithHint("say prefix=PREFIX, pool=NAME or source=delegated")
	}
	if err := validate(s); err != nil {
		return err
	}
	if s.Source == vnet.SourceULA && !s.Prefix.IsValid() {
		inst, err := w.c.installation(ctx)
		if err != nil {
			return err
		}
		if s.Prefix, err = ipam.NthSubnet(inst.ULA, 64, uint64(n.Number)); err != nil {
			return err
		}
	}
	if err := w.fits(ctx, n, s); err != nil {
		return err
	}
	if err := w.c.retireSubnet(ctx, d, n, nil, s); err != nil {
		return err
	}
	return w.claim(ctx, d, n, s)
}

// inNetwork finds the network that a new object lies in, checks that things may
// still be put there, and gives the object the network's project.
func (c *Control) inNetwork(ctx context.Context, d *draft, m *vnet.Meta, id *vnet.ID) (*vnet.Network, error) {
	if *id == "" {
		return nil, vnet.Invalid("network", "the network is missing").WithHint("say network=NAME")
	}
	n, err := c.network(ctx, d.who, string(d.project.ID), string(*id))
	if err != nil {
		return nil, err
	}
	if err := c.mayWrite(ctx, d.who, n); err != nil {
		return nil, err
	}
	if n.Deleting != nil {
		e := vnet.Errorf(vnet.ErrConflict, "network %s is being deleted", n.Name).WithHint("finish it: sextant network delete %s", n.Name)
		e.Op = finalOp
		return nil, e
	}
	*id, m.Project = n.ID, n.Project
	return n, nil
}

// fits refuses a prefix of a family that the network does not have, and one
// that overlaps another of the same network.
func (w subnets) fits(ctx context.Context, n *vnet.Network, s *vnet.Subnet) error {
	mode := n.Policy(s.Family).Mode
	if mode == vnet.EgressNone || mode == vnet.EgressLinkLocal {
		return vnet.Invalid("prefix", "network %s has %s=%s", n.Name, s.Family, mode).
			WithHint("say sextant network set %s %s=routed first", n.Name, s.Family)
	}
	if err := ofUplink(n, s); err != nil {
		return err
	}
	fam, err := w.c.familyOf(ctx, n.ID)
	if err != nil {
		return err
	}
	for _, other := range fam.subs {
		if other.ID != s.ID && s.Prefix.IsValid() && other.Prefix.IsValid() && other.Prefix.Overlaps(s.Prefix) {
			ref := vnet.RefOf(other)
			e := vnet.Errorf(vnet.ErrOverlap, "%s overlaps %s of the same network", s.Prefix, other.Prefix).WithHint("choose another prefix")
			e.Field, e.Ref = "prefix", &ref
			return e
		}
	}
	return nil
}

// ofUplink refuses a prefix of the uplink where it would lead nowhere: on a
// network without a way out, or with one that hides guests' addresses.
func ofUplink(n *vnet.Network, s *vnet.Subnet) error {
	mode := n.IPv6.Mode
	if s.Source != vnet.SourceDelegated && s.Source != vnet.SourceProxied || mode.LeadsOut() && mode != vnet.EgressNAT66 {
		return nil
	}
	return vnet.Invalid("source", "a prefix of the uplink is of no use on network %s, which has ipv6=%s", n.Name, mode).
		WithHint("say sextant network set %s ipv6=auto first", n.Name)
}

// claim serialises the prefix with the others of the scope while the network
// is started.
func (w subnets) claim(ctx context.Context, d *draft, n *vnet.Network, s *vnet.Subnet) error {
	fam, err := w.c.familyOf(ctx, n.ID)
	if err != nil || !fam.started() {
		return err
	}
	return w.c.claimPrefixes(ctx, d, n, []*vnet.Subnet{s})
}

func (w subnets) update(ctx context.Context, d *draft) error {
	s, old := d.o.(*vnet.Subnet), d.old.(*vnet.Subnet)
	if old.Primary {
		return vnet.Errorf(vnet.ErrInvalid, "this is the network's own subnet").
			WithHint("change it through the network: sextant network set NAME %s.address=…", old.Family)
	}
	if s.Network != old.Network {
		return vnet.Invalid("network", "a subnet cannot move to another network").WithHint("make a new one there")
	}
	if s.Pool != old.Pool || s.Family != old.Family || s.Source != old.Source {
		return vnet.Invalid("prefix", "where a subnet's prefix comes from cannot change").WithHint("make a new one")
	}
	s.Primary = false
	if err := validate(s); err != nil {
		return err
	}
	n, err := w.c.getNetwork(ctx, s.Network)
	if err != nil {
		return err
	}
	if err := w.c.stranded(ctx, n, old, s); err != nil {
		return err
	}
	if s.Prefix == old.Prefix {
		return nil
	}
	if err := w.fits(ctx, n, s); err != nil {
		return err
	}
	if err := w.c.retireSubnet(ctx, d, n, old, s); err != nil {
		return err
	}
	return w.claim(ctx, d, n, s)
}

func (w subnets) remove(ctx context.Context, d *draft) error {
	s := d.old.(*vnet.Subnet)
	if s.Primary {
		return vnet.Errorf(vnet.ErrInvalid, "this is the network's own subnet").
			WithHint("switch the family off instead: sextant network set NAME %s=none", s.Family)
	}
	n, err := w.c.getNetwork(ctx, s.Network)
	if err != nil {
		return err
	}
	return w.c.retireSubnet(ctx, d, n, s, nil)
}

// stranded refuses a change of a subnet that would take away addresses which
// ports or reservations own there. With is nil when the subnet goes. IPv6
// addresses that were chosen follow the prefix: guests are told of the new one,
// and the old one is retired.
func (c *Control) stranded(ctx context.Context, n *vnet.Network, was, with *vnet.Subnet) error {
	if with != nil && with.Prefix == was.Prefix && with.Source == was.Source && with.Gateway == was.Gateway {
		return nil
	}
	for _, k := range []vnet.Kind{vnet.KindPort, vnet.KindReservation} {
		l, err := c.store.List(ctx, vnet.Query{Kind: k, Network: n.ID})
		if err != nil {
			return err
		}
		for _, o := range l.Items {
			for _, a := range fixedOf(o) {
				if a.Subnet != was.ID {
					continue
				}
				if with != nil && !with.Prefix.IsValid() && was.Source.Moves() || follows(a, was, with) {
					continue
				}
				if full, err := ipam.Join(was.Prefix, a.Host); err == nil && !a.Address.IsValid() {
					a.Address = full
				}
				ref := vnet.RefOf(o)
				e := vnet.Errorf(vnet.ErrInUse, "%s %s has the address %s in %s", o.Kind(), o.GetMeta().Name, a.Address, prefixName(was)).
					WithHint("delete it, or make another subnet beside this one")
				e.Field, e.Ref = prefixField(n, was), &ref
				return e
			}
		}
	}
	return nil
}

// follows reports whether a fixed address goes on below the subnet's new prefix:
// it was chosen, not asked for, and is not the new gateway's.
func follows(a vnet.FixedAddress, was, with *vnet.Subnet) bool {
	if with == nil || a.Address.IsValid() || was.Family != vnet.IPv6 || with.Family != vnet.IPv6 || !hands(with) {
		return false
	}
	before, _ := base(was)
	after, _ := base(with)
	if before.Bits() != after.Bits() {
		return false
	}
	full, err := ipam.Join(after, a.Host)
	return err == nil && full != with.GatewayAddr(after)
}

func prefixName(s *vnet.Subnet) string {
	if s.Prefix.IsValid() {
		return s.Prefix.String()
	}
	return "the network's " + s.Family.String() + " prefix"
}

func fixedOf(o vnet.Object) []vnet.FixedAddress {
	switch o := o.(type) {
	case *vnet.Port:
		return o.Fixed
	case *vnet.Reservation:
		return []vnet.FixedAddress{o.Fixed}
	}
	return nil
}
