package ipam

import (
	"math/bits"
	"net/netip"
)

// Overlaps reports whether a and b have an address in common: whether they are
// equal or one contains the other. A prefix of IPv4-mapped addresses is the
// IPv4 one.
func Overlaps(a, b netip.Prefix) bool {
	return a.IsValid() && b.IsValid() && canonical(a).Overlaps(canonical(b))
}

// Set holds prefixes of both families, each with values, and finds what
// overlaps a prefix in time that depends on the length of an address and on
// what is found, not on what is held: a full routing table is fine. The zero
// Set is empty and ready.
type Set[T any] struct {
	roots [2]*node[T] // IPv4, IPv6
	n     int
}

// node is a node of a binary trie with compressed paths: every prefix below
// lies in its prefix, the next bit says on which side.
type node[T any] struct {
	prefix netip.Prefix
	values []T // none: only a fork
	child  [2]*node[T]
}

// Entry is one prefix of a Set with one of its values.
type Entry[T any] struct {
	Prefix netip.Prefix
	Value  T
}

// Len returns the number of entries.
func (s *Set[T]) Len() int { return s.n }

func (s *Set[T]) root(p netip.Prefix) **node[T] {
	if p.Addr().Is4() {
		return &s.roots[0]
	}
	return &s.roots[1]
}

// Add puts p in with a value; a prefix may be there several times. A prefix
// that is not valid is passed over.
func (s *Set[T]) Add(p netip.Prefix, v T) {
	if !p.IsValid() {
		return
	}
	p = canonical(p)
	s.n++
	at := s.root(p)
	for {
		n := *at
		if n == nil {
			*at = &node[T]{prefix: p, values: []T{v}}
			return
		}
		common := commonBits(n.prefix, p)
		switch {
		case common < n.prefix.Bits() && common == p.Bits(): // p is above n
			up := &node[T]{prefix: p, values: []T{v}}
			up.child[bitOf(n.prefix, common)] = n
			*at = up
			return
		case common < n.prefix.Bits(): // they part below a common prefix
			fork := &node[T]{prefix: netip.PrefixFrom(p.Addr(), common).Masked()}
			fork.child[bitOf(n.prefix, common)] = n
			fork.child[bitOf(p, common)] = &node[T]{prefix: p, values: []T{v}}
			*at = fork
			return
		case common == p.Bits():
			n.values = append(n.values, v)
			return
		}
		at = &n.child[bitOf(p, common)]
	}
}

// Visit calls yield for everything that overlaps p, what contains p first and
// the shortest of these first, until yield returns false.
func (s *Set[T]) Visit(p netip.Prefix, yield func(Entry[T]) bool) {
	if !p.IsValid() {
		return
	}
	p = canonical(p)
	for n := *s.root(p); n != nil; {
		common := commonBits(n.prefix, p)
		switch {
		case common < n.prefix.Bits() && common < p.Bits():
			return
		case n.prefix.Bits() >= p.Bits():
			n.each(yield)
			return
		}
		if !n.own(yield) {
			return
		}
		n = n.child[bitOf(p, common)]
	}
}

// Overlapping returns everything that overlaps p, in the order of Visit.
func (s *Set[T]) Overlapping(p netip.Prefix) []Entry[T] {
	var out []Entry[T]
	s.Visit(p, func(e Entry[T]) bool {
		out = append(out, e)
		return true
	})
	return out
}

// Overlap returns one thing that overlaps p, the shortest prefix that contains
// it if there is any.
func (s *Set[T]) Overlap(p netip.Prefix) (e Entry[T], ok bool) {
	s.Visit(p, func(found Entry[T]) bool {
		e, ok = found, true
		return false
	})
	return e, ok
}

func (n *node[T]) own(yield func(Entry[T]) bool) bool {
	for _, v := range n.values {
		if !yield(Entry[T]{n.prefix, v}) {
			return false
		}
	}
	return true
}

// each visits n and all below; no deeper than an address has bits.
func (n *node[T]) each(yield func(Entry[T]) bool) bool {
	return n == nil || n.own(yield) && n.child[0].each(yield) && n.child[1].each(yield)
}

// commonBits is the length of the longest prefix that contains both.
func commonBits(a, b netip.Prefix) int {
	x, y := wideOf(a.Addr()), wideOf(b.Addr())
	d := wide{x.hi ^ y.hi, x.lo ^ y.lo}
	n := bits.LeadingZeros64(d.hi)
	if d.hi == 0 {
		n = 64 + bits.LeadingZeros64(d.lo)
	}
	if a.Addr().Is4() {
		n -= 96
	}
	return min(n, a.Bits(), b.Bits())
}

// bitOf is bit i of p's address, counted from the left.
func bitOf(p netip.Prefix, i int) int {
	return int(wideOf(p.Addr()).shr(p.Addr().BitLen()-1-i).lo & 1)
}
