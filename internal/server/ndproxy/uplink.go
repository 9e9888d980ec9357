package ndproxy

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Uplink is a link of the host's own namespace whose on-link prefixes guests
// share.
type Uplink struct {
	Link string
	MAC  vnet.MAC
	// LinkLocal is the host's link-local address there, from which answers come.
	// Invalid: the one that is made of the MAC.
	LinkLocal netip.Addr
	// Own are the host's other addresses on the link: the kernel answers for
	// them there, and we do towards guests.
	Own    []netip.Addr
	Shared []Shared
}

// Shared is a prefix of the uplink, and the networks whose guests live in it.
type Shared struct {
	Prefix netip.Prefix // IPv6; usually a /64
	Sides  []Side
}

// Side is the gateway link of a network. A network has one, also if it is
// named under several prefixes.
type Side struct {
	Network  vnet.ID
	NS, Link string
	MAC      vnet.MAC // the gateway's
	// LinkLocal is the gateway's; invalid: the one that is made of the MAC.
	LinkLocal netip.Addr
}

// place is where a side is.
type place struct{ ns, link string }

// side is one link that frames come from and go to; the first of an engine is
// the uplink.
type side struct {
	network vnet.ID // "": the uplink
	place
	mac  vnet.MAC
	addr netip.Addr // that messages come from
}

// shared is a prefix with its sides, without the uplink.
type shared struct {
	prefix netip.Prefix
	sides  []int
}

// layout is an uplink's links and prefixes, the links by number.
type layout struct {
	sides     []side
	prefixes  []shared
	byNetwork map[vnet.ID]int
	own       map[netip.Addr]bool
}

// lay numbers the links of an uplink.
func lay(u Uplink) layout {
	l := layout{
		sides:     []side{{place: place{link: u.Link}, mac: u.MAC, addr: sourceOr(u.LinkLocal, u.MAC)}},
		byNetwork: map[vnet.ID]int{}, own: map[netip.Addr]bool{},
	}
	for _, a := range u.Own {
		l.own[a.WithZone("")] = true
	}
	for _, p := range u.Shared {
		if !p.Prefix.IsValid() || !p.Prefix.Addr().Is6() {
			continue
		}
		s := shared{prefix: p.Prefix.Masked()}
		for _, x := range p.Sides {
			n, ok := l.byNetwork[x.Network]
			if !ok {
				n = len(l.sides)
				l.byNetwork[x.Network] = n
				l.sides = append(l.sides, side{x.Network, place{x.NS, x.Link}, x.MAC, sourceOr(x.LinkLocal, x.MAC)})
			}
			if !slices.Contains(s.sides, n) {
				s.sides = append(s.sides, n)
			}
		}
		l.prefixes = append(l.prefixes, s)
	}
	return l
}

func sourceOr(a netip.Addr, m vnet.MAC) netip.Addr {
	if a.IsValid() {
		return a.WithZone("")
	}
	return ipam.LinkLocal(m)
}

// sharedOf returns the prefix that an address is in, if that is shared by the
// side; nil if not, and for the anycast address of the prefix's routers (RFC
// 4291 section 2.6.1), which are outside.
func (l *layout) sharedOf(a netip.Addr, on int) *shared {
	for i := range l.prefixes {
		p := &l.prefixes[i]
		if !p.prefix.Contains(a) {
			continue
		}
		if on != 0 && !slices.Contains(p.sides, on) || p.prefix.Bits() < 127 && a == p.prefix.Addr() {
			return nil
		}
		return p
	}
	return nil
}

// same reports whether two layouts number the same links alike.
func (l *layout) same(o *layout) bool {
	return slices.EqualFunc(l.sides, o.sides, func(a, b side) bool { return a.network == b.network }) &&
		slices.EqualFunc(l.prefixes, o.prefixes, func(a, b shared) bool {
			return a.prefix == b.prefix && slices.Equal(a.sides, b.sides)
		})
}
