package control

import (
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// allocator picks host parts in the subnets of one network.
type allocator struct {
	c    *Control
	f    *filler
	subs []*vnet.Subnet
	// taken are the host parts known to be in use, by subnet; nil until a pick
	// turned out to be taken: most picks are free, and knowing costs a read of
	// the whole network.
	taken map[vnet.ID]map[uint64]bool
}

func (c *Control) allocator(ctx context.Context, d *draft, network, self vnet.ID) (*allocator, error) {
	fam, err := c.familyOf(ctx, network)
	if err != nil {
		return nil, err
	}
	a := &allocator{c: c, f: newFiller(c, false), subs: fam.subs}
	if d.clashed["addresses"] {
		return a, a.look(ctx, network, self)
	}
	return a, nil
}

// look reads which host parts are taken by others than self.
func (a *allocator) look(ctx context.Context, network, self vnet.ID) error {
	a.taken = map[vnet.ID]map[uint64]bool{}
	take := func(s vnet.ID, host uint64) {
		if a.taken[s] == nil {
			a.taken[s] = map[uint64]bool{}
		}
		a.taken[s][host] = true
	}
	for _, k := range []vnet.Kind{vnet.KindPort, vnet.KindReservation, vnet.KindLease} {
		l, err := a.c.store.List(ctx, vnet.Query{Kind: k, Network: network})
		if err != nil {
			return err
		}
		for _, o := range l.Items {
			if o.GetMeta().ID == self {
				continue
			}
			for _, f := range fixedOf(o) {
				take(f.Subnet, f.Host)
			}
			if l, ok := o.(*vnet.Lease); ok && l.Subnet != "" {
				host := l.HostPart
				if l.Address.Is6() {
					host = vnet.InterfaceID(l.Address)
				}
				take(l.Subnet, host)
			}
		}
	}
	return nil
}

// somePrefix stands for an IPv4 prefix that is decided on the host: host parts
// are picked below it all the same.
var somePrefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, 0}), vnet.AutoPrefixLen4)

// base is the prefix under which host parts of s are picked.
func base(s *vnet.Subnet) (netip.Prefix, bool) {
	switch {
	case s.Prefix.IsValid():
		return s.Prefix, true
	case s.Family == vnet.IPv4:
		return somePrefix, true
	}
	// An IPv6 prefix that moves is a /64: any one will do.
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd}), 64), true
}

// hands reports whether guests of the subnet are given addresses that a port
// can own.
func hands(s *vnet.Subnet) bool {
	return s.Guests != vnet.GuestsManual && s.Guests != vnet.GuestsDelegation && s.Guests != ""
}

// all gives a port one address of each subnet that hands out addresses and in
// which it has none yet.
func (a *allocator) all(p *vnet.Port) error {
	has := map[vnet.ID]bool{}
	for _, f := range p.Fixed {
		has[f.Subnet] = true
	}
	for _, s := range a.subs {
		if has[s.ID] || !hands(s) {
			continue
		}
		f, err := a.pick(s, p.MAC)
		if err != nil {
			return err
		}
		p.Fixed = append(p.Fixed, f)
	}
	return nil
}

// pick finds a host part that is probably free; the store knows. Where guests
// make up the address themselves it is the one that most of them make from
// their MAC (modified EUI-64, RFC 4291 appendix A), so that it is known.
func (a *allocator) pick(s *vnet.Subnet, mac vnet.MAC) (vnet.FixedAddress, error) {
	p, _ := base(s)
	out := vnet.FixedAddress{Subnet: s.ID}
	if s.Guests == vnet.GuestsSLAAC || s.Guests == vnet.GuestsStateless {
		out.Host = ipam.EUI64(mac)
	} else {
		addr, ok := a.free(s, p)
		if !ok {
			e := vnet.Errorf(vnet.ErrExhausted, "no address is left in %s", prefixName(s)).WithHint("delete ports, or add a subnet")
			e.Field, e.Ref = "addresses", &vnet.Ref{Kind: vnet.KindSubnet, ID: s.ID}
			return out, e
		}
		out.Host, _ = ipam.HostPart(p, addr)
	}
	if !s.Prefix.IsValid() {
		return out, nil
	}
	addr, err := ipam.Join(s.Prefix, out.Host)
	if s.Family == vnet.IPv4 {
		// An IPv6 address that nobody asked for follows its prefix: see stranded.
		out.Address = addr
	}
	return out, err
}

// free picks an address from a random start, outside of the ranges that are
// for guests without a port as long as there is one.
func (a *allocator) free(s *vnet.Subnet, p netip.Prefix) (netip.Addr, bool) {
	gw := s.GatewayAddr(p)
	taken := a.taken[s.ID]
	busy := func(x netip.Addr) bool {
		if x == gw {
			return true
		}
		host, ok := ipam.HostPart(p, x)
		return !ok || taken[host]
	}
	if left := outside(p, s.Ranges); len(s.Ranges) > 0 && len(left) > 0 {
		if x, ok := ipam.FreeHost(p, left, busy, a.c.random); ok {
			return x, true
		}
	}
	return ipam.FreeHost(p, nil, busy, a.c.random)
}

// explicit is the fixed address that a wish for addr means.
func (a *allocator) explicit(ctx context.Context, n *vnet.Network, addr netip.Addr) (vnet.FixedAddress, error) {
	for _, s := range a.subs {
		p, err := a.f.prefix(ctx, s)
		if err != nil {
			return vnet.FixedAddress{}, err
		}
		if !p.IsValid() || !p.Contains(addr) {
			continue
		}
		if s.Guests == vnet.GuestsDelegation {
			return vnet.FixedAddress{}, vnet.Invalid("addresses", "%s lies in %s, of which guests get whole prefixes", addr, p).WithHint("choose one in another subnet")
		}
		if addr == s.GatewayAddr(p) {
			return vnet.FixedAddress{}, vnet.Invalid("addresses", "%s is the gateway of network %s", addr, n.Name).WithHint("choose another one in %s", p)
		}
		if ipam.ReservedIn(p, addr) {
			return vnet.FixedAddress{}, vnet.Invalid("addresses", "%s is reserved in %s, no guest can have it", addr, p).WithHint("choose another one")
		}
		host, ok := ipam.HostPart(p, addr)
		if !ok {
			return vnet.FixedAddress{}, vnet.Invalid("addresses", "%s is too far into %s", addr, p).WithHint("choose one within the first /64")
		}
		f := vnet.FixedAddress{Subnet: s.ID, Host: host}
		if !s.Source.Moves() {
			f.Address = addr
		}
		return f, nil
	}
	e := vnet.Invalid("addresses", "%s is in no subnet of network %s", addr, n.Name)
	for _, s := range a.subs {
		if p, _ := a.f.prefix(ctx, s); p.IsValid() && p.Addr().Is4() == addr.Is4() {
			return vnet.FixedAddress{}, e.WithHint("choose one in %s", p)
		}
	}
	return vnet.FixedAddress{}, e.WithHint("see `sextant subnet list network=%s`", n.Name)
}

// outside returns what the ranges leave of p.
func outside(p netip.Prefix, ranges []vnet.Range) []vnet.Range {
	left := []vnet.Range{ipam.Hosts(p)}
	for _, r := range ranges {
		var next []vnet.Range
		for _, l := range left {
			if !l.Overlaps(r) {
				next = append(next, l)
				continue
			}
			if l.First.Compare(r.First) < 0 {
				next = append(next, vnet.Range{First: l.First, Last: r.First.Prev()})
			}
			if r.Last.Compare(l.Last) < 0 {
				next = append(next, vnet.Range{First: r.Last.Next(), Last: l.Last})
			}
		}
		left = next
	}
	return left
}
