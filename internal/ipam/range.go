package ipam

import (
	"math"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// RangeOf returns all addresses of p, both ends included.
func RangeOf(p netip.Prefix) vnet.Range {
	return vnet.Range{First: p.Masked().Addr(), Last: Last(p)}
}

// Hosts returns the addresses of p that hosts may have. For IPv4 these are all
// but the network and the broadcast address; for IPv6 all but the
// subnet-router anycast address. A /31 and a /127 have two (RFC 3021, RFC
// 6164). Reserved interface identifiers are inside: see Reserved.
func Hosts(p netip.Prefix) vnet.Range {
	r := RangeOf(p)
	if hostBits(p) <= 1 {
		return r
	}
	r.First = r.First.Next()
	if p.Addr().Is4() {
		r.Last = r.Last.Prev()
	}
	return r
}

// Size returns the number of addresses in r, capped at the largest uint64.
func Size(r vnet.Range) uint64 {
	if !sound(r) {
		return 0
	}
	d := wideOf(r.Last).sub(wideOf(r.First))
	if d.hi != 0 || d.lo == math.MaxUint64 {
		return math.MaxUint64
	}
	return d.lo + 1
}

// sound reports whether r is a range of one family with its ends in order.
func sound(r vnet.Range) bool {
	return r.First.IsValid() && r.First.BitLen() == r.Last.BitLen() && r.First.Compare(r.Last) <= 0
}

// NextFree returns the first address of r, from the address from onwards and
// then once around, that taken does not know and that is not reserved. It asks
// about no more addresses than are taken, and one. ok is false if none is left.
func NextFree(r vnet.Range, from netip.Addr, taken func(netip.Addr) bool) (a netip.Addr, ok bool) {
	if !sound(r) {
		return netip.Addr{}, false
	}
	if !r.Contains(from) {
		from = r.First
	}
	if a, ok := walk(vnet.Range{First: from, Last: r.Last}, taken); ok || from == r.First {
		return a, ok
	}
	return walk(vnet.Range{First: r.First, Last: from.Prev()}, taken)
}

// walk goes through r upwards, over what is reserved in one step.
func walk(r vnet.Range, taken func(netip.Addr) bool) (netip.Addr, bool) {
	for a := r.First; ; {
		if block, reserved := reservedBlock(a); reserved {
			a = block.Last
		} else if !taken(a) {
			return a, true
		}
		if a.Compare(r.Last) >= 0 {
			return netip.Addr{}, false
		}
		a = a.Next()
	}
}

// FreeHost picks an address for a guest of p: the first free one from a random
// place in the ranges on, so that two who pick at once seldom pick the same,
// and so that IPv6 addresses cannot be guessed (RFC 7707). Without ranges all
// hosts of p are candidates. Gateways, and addresses given before, are
// for taken to know; reserved interface identifiers are never picked. Random
// must return uniformly distributed numbers. ok is false if none is left.
func FreeHost(p netip.Prefix, ranges []vnet.Range, taken func(netip.Addr) bool, random func() uint64) (a netip.Addr, ok bool) {
	if !p.IsValid() {
		return netip.Addr{}, false
	}
	p = p.Masked()
	if len(ranges) == 0 {
		ranges = []vnet.Range{Hosts(p)}
	}
	busy := func(a netip.Addr) bool { return !p.Contains(a) || ReservedIn(p, a) || taken(a) }
	first := 0
	if len(ranges) > 1 {
		first = int(random() % uint64(len(ranges)))
	}
	for i := range ranges {
		r, sane := clip(ranges[(first+i)%len(ranges)], p)
		if !sane {
			continue
		}
		if a, ok := NextFree(r, somewhere(r, random), busy); ok {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// clip cuts r to p, so that a range far larger than its subnet costs nothing.
func clip(r vnet.Range, p netip.Prefix) (vnet.Range, bool) {
	if !sound(r) || !r.Overlaps(RangeOf(p)) {
		return r, false
	}
	all := Hosts(p)
	if r.First.Less(all.First) {
		r.First = all.First
	}
	if all.Last.Less(r.Last) {
		r.Last = all.Last
	}
	// Anycast identifiers fill the end of large IPv6 subnets.
	if b, ok := anycastBlock(p); ok && b.First.Compare(r.Last) <= 0 {
		r.Last = b.First.Prev()
	}
	return r, sound(r)
}

// somewhere returns a random address of r, all alike likely. In a range that is
// larger than a /64 it stays in the first /64, whose last 64 bits name a host.
func somewhere(r vnet.Range, random func() uint64) netip.Addr {
	first, n := wideOf(r.First), random()
	d := wideOf(r.Last).sub(first)
	at := wide{first.hi, n}
	if d.hi == 0 {
		if d.lo != math.MaxUint64 {
			n %= d.lo + 1
		}
		at, _ = first.add(wide{0, n})
	}
	if a := at.addr(r.First.BitLen()); r.Contains(a) {
		return a
	}
	return r.First
}
