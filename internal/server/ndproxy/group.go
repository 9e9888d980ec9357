package ndproxy

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
)

// maxGroups is how many solicited-node groups the uplink joins. Switches that
// snoop MLD keep a table of them, and network cards have room for fewer; beyond
// it the uplink hears all multicast.
const maxGroups = 512

// groups are the solicited-node groups of guests' addresses (RFC 4861 section
// 7.2.8). Addresses that end alike, as those that are made of one MAC, have one
// in common.
type groups struct {
	all    map[netip.Addr]*group
	joined int
}

type group struct {
	addresses int
	joined    bool
}

// add counts an address and returns the group to join, if any.
func (s *groups) add(a netip.Addr) (join netip.Addr) {
	name := ipam.SolicitedNode(a)
	g := s.all[name]
	if g == nil {
		g = &group{}
		s.all[name] = g
	}
	g.addresses++
	if g.joined || s.joined >= maxGroups {
		return netip.Addr{}
	}
	g.joined = true
	s.joined++
	return name
}

// remove discounts an address and returns the group to leave and the one to
// join in its place, if any.
func (s *groups) remove(a netip.Addr) (leave, join netip.Addr) {
	name := ipam.SolicitedNode(a)
	g := s.all[name]
	if g == nil {
		return leave, join
	}
	if g.addresses--; g.addresses > 0 {
		return leave, join
	}
	delete(s.all, name)
	if !g.joined {
		return leave, join
	}
	s.joined--
	if len(s.all) > s.joined {
		for other, g := range s.all {
			if !g.joined {
				g.joined = true
				s.joined++
				return name, other
			}
		}
	}
	return name, join
}

// tooMany reports whether not all of them could be joined.
func (s *groups) tooMany() bool { return len(s.all) > s.joined }

// list returns those that are to be joined.
func (s *groups) list() []netip.Addr {
	out := make([]netip.Addr, 0, s.joined)
	for name, g := range s.all {
		if g.joined {
			out = append(out, name)
		}
	}
	return out
}
