package lease

import (
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// place is one prefix of a subnet: a subnet may be served in several at once,
// which is so while it is renumbered, and where uplinks give it prefixes beside
// its own. A client has an address in each.
type place struct {
	subnet vnet.ID
	prefix netip.Prefix // masked; zero: of none that is in service
}

func placeOf(s *plan.Subnet) place { return place{s.ID, s.Prefix.Masked()} }

// places are the prefixes in service of each subnet.
type places map[vnet.ID][]netip.Prefix

func placesOf(svc *plan.Service, f vnet.Family) places {
	out := places{}
	for i := range svc.Subnets {
		if s := &svc.Subnets[i]; s.Family == f {
			out[s.ID] = append(out[s.ID], s.Prefix.Masked())
		}
	}
	for _, list := range out { // the order says nothing
		slices.SortFunc(list, netip.Prefix.Compare)
	}
	return out
}

// of is the place of an address of a subnet.
func (p places) of(subnet vnet.ID, a netip.Addr) place {
	for _, prefix := range p[subnet] {
		if prefix.Contains(a) {
			return place{subnet, prefix}
		}
	}
	return place{subnet: subnet}
}

// placeOf is where an entry is.
func (t *Table) placeOf(e *Entry) place { return t.places.of(e.Lease.Subnet(), e.Address()) }

// setPlaces says which prefixes are in service now.
func (t *Table) setPlaces(now places) {
	if maps.EqualFunc(t.places, now, slices.Equal) {
		return
	}
	var known []*Entry
	for e := range t.byAddress.All() {
		if !t.IsOf(e, "") {
			known = append(known, e)
		}
	}
	t.byClient.Clear()
	t.places = now
	for _, e := range known {
		t.byClient.Add(e)
	}
}

// inPlace is the hash of a client's key in a place.
func inPlace(key uint64, p place) uint64 {
	key += 31 * maphash.String(seed, string(p.subnet))
	if p.prefix.IsValid() {
		key += 37 * maphash.Comparable(seed, p.prefix)
	}
	return key
}

// FindIn returns the client's entry in a prefix of a subnet, or nil.
func (t *Table) FindIn(client string, s *plan.Subnet) *Entry { return t.findAt(client, placeOf(s)) }

func (t *Table) findAt(client string, p place) *Entry {
	return t.byClient.Find(inPlace(maphash.String(seed, client), p), func(e *Entry) bool {
		return e.Lease.Subnet() == p.subnet && t.IsOf(e, client) && t.placeOf(e) == p
	})
}

// Find returns an entry of the client in a subnet, whichever its prefix, or
// nil.
func (t *Table) Find(client string, subnet vnet.ID) *Entry {
	for _, prefix := range t.places[subnet] {
		if e := t.findAt(client, place{subnet, prefix}); e != nil {
			return e
		}
	}
	return t.findAt(client, place{subnet: subnet})
}

// identified returns the address of a prefix with the interface identifier that
// the client has elsewhere in the subnet, so that it stays the same when the
// prefix changes; false if it has none.
func (b *Book) identified(client string, sub *plan.Subnet) (netip.Addr, bool) {
	if b.rules.Family != vnet.IPv6 || pieceOf(sub) > 0 || sub.Prefix.Bits() < 64 {
		return netip.Addr{}, false
	}
	e := b.table.Find(client, sub.ID)
	if e == nil || b.table.placeOf(e) == placeOf(sub) || e.Lease.Length() != 0 {
		return netip.Addr{}, false
	}
	from, to := e.Address().As16(), sub.Prefix.Masked().Addr().As16()
	copy(from[:8], to[:8])
	a := netip.AddrFrom16(from)
	return a, sub.Prefix.Contains(a)
}
