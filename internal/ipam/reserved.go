package ipam

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Reserved interface identifiers (RFC 5453, the IANA registry).
const (
	// The block of the IANA Ethernet address, proxy mobile IPv6 in it.
	ianaFirst uint64 = 0x02005efffe000000
	ianaLast  uint64 = 0x02005efffeffffff
	// The subnet anycast identifiers of RFC 2526 section 2 for /64s.
	anycastFirst uint64 = 0xfdffffffffffff80
	anycastLast  uint64 = 0xfdffffffffffffff
)

// leastAnycast is the number of host bits from which on the 128 anycast
// identifiers at the end of a subnet that is not a /64 are kept free. RFC 2526
// has them in every subnet, but in a /120 they would be half of it, and nobody
// uses them there.
const leastAnycast = 16

// ReservedIID reports whether an interface identifier of 64 bits must not be
// given to a host: the subnet-router anycast address, the IANA block and the
// anycast identifiers (RFC 5453, RFC 2526).
func ReservedIID(iid uint64) bool {
	return iid == 0 || iid >= ianaFirst && iid <= ianaLast || iid >= anycastFirst && iid <= anycastLast
}

// ReservedIn reports whether a may not be a host's address in p: the network
// and broadcast address of IPv4, the anycast and other reserved interface
// identifiers of IPv6. An address outside p is not.
func ReservedIn(p netip.Prefix, a netip.Addr) bool {
	if !p.Contains(a) || hostBits(p) <= 1 {
		return false
	}
	if a == p.Masked().Addr() || a.Is4() && a == Last(p) {
		return true
	}
	if a.Is4() {
		return false
	}
	if p.Bits() == 64 {
		return ReservedIID(vnet.InterfaceID(a))
	}
	b, ok := anycastBlock(p)
	return ok && b.Contains(a)
}

// anycastBlock returns the anycast identifiers at the end of an IPv6 prefix
// that is not a /64 (RFC 2526 section 2), where they are kept free.
func anycastBlock(p netip.Prefix) (vnet.Range, bool) {
	if p.Addr().Is4() || p.Bits() == 64 || hostBits(p) < leastAnycast {
		return vnet.Range{}, false
	}
	last := Last(p)
	first := wideOf(last).and(ones(7).not()).addr(128)
	return vnet.Range{First: first, Last: last}, true
}

// reservedBlock returns the run of reserved identifiers of a /64 that a lies
// in, other than the first address.
func reservedBlock(a netip.Addr) (vnet.Range, bool) {
	if a.Is4() {
		return vnet.Range{}, false
	}
	w := wideOf(a)
	for _, b := range [][2]uint64{{ianaFirst, ianaLast}, {anycastFirst, anycastLast}} {
		if w.lo >= b[0] && w.lo <= b[1] {
			return vnet.Range{First: wide{w.hi, b[0]}.addr(128), Last: wide{w.hi, b[1]}.addr(128)}, true
		}
	}
	return vnet.Range{}, false
}
