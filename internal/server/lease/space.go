package lease

import "net/netip"

// cut is a prefix that pieces of one length are cut from.
type cut struct {
	prefix netip.Prefix
	length int
}

// space knows which prefixes overlap with what somebody has. Pieces of one
// length never overlap; those of others are there after an edit only, and so
// are addresses inside of prefixes that pieces are cut from now.
type space struct {
	lengths map[int]int // how many live entries have each prefix length
	cuts    []cut
	inside  map[netip.Prefix]int // live entries that are smaller than the piece they are in
}

func newSpace() space {
	return space{lengths: make(map[int]int), inside: make(map[netip.Prefix]int)}
}

// count adds a live entry to, or takes it from, what is taken up.
func (s *space) count(e *Entry, by int) {
	if n := e.Lease.Length(); n > 0 {
		if s.lengths[n] += by; s.lengths[n] == 0 {
			delete(s.lengths, n)
		}
	}
	s.countInside(e, by)
}

func (s *space) countInside(e *Entry, by int) {
	for _, c := range s.cuts {
		if e.bits() <= c.length || !c.prefix.Contains(e.Address()) {
			continue
		}
		p := netip.PrefixFrom(e.Address(), c.length).Masked()
		if s.inside[p] += by; s.inside[p] == 0 {
			delete(s.inside, p)
		}
	}
}

// setCuts says what pieces are cut from now on.
func (t *Table) setCuts(cuts []cut) {
	t.space.cuts = cuts
	clear(t.space.inside)
	if len(cuts) == 0 {
		return
	}
	for e := range t.byAddress.All() {
		if e.isLive() {
			t.space.countInside(e, 1)
		}
	}
}

// overlaps reports whether somebody has anything of p, which is one address or
// a piece of a cut. What the client itself has at the start of p does not
// count.
func (t *Table) overlaps(p netip.Prefix, client string) bool {
	if t.space.inside[p] > 0 {
		return true
	}
	if e := t.At(p.Addr()); e != nil && e.isLive() && e.bits() >= p.Bits() && (client == "" || !t.IsOf(e, client)) {
		return true
	}
	for n := range t.space.lengths {
		if n >= p.Bits() {
			continue
		}
		wider := netip.PrefixFrom(p.Addr(), n).Masked()
		if e := t.At(wider.Addr()); e != nil && e.isLive() && e.Lease.Length() == n {
			return true
		}
	}
	return false
}
