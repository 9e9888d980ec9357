package dns

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
)

// reverseApex returns the zone in the reverse trees that holds a within the
// network's prefix: where the prefix ends inside a label, the next longer one.
func reverseApex(a netip.Addr, prefix netip.Prefix) netip.Prefix {
	unit := 4
	if a.Is4() {
		unit = 8
	}
	bits := min((prefix.Bits()+unit-1)/unit*unit, a.BitLen())
	p, err := a.Prefix(max(bits, unit))
	if err != nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return p
}

// reverseName returns the canonical name of a prefix that ends at a label.
func reverseName(p netip.Prefix) string {
	zones := ipam.ReverseZones(p)
	if len(zones) == 0 {
		return ""
	}
	return zones[0] + "."
}

// serial is an SOA serial that is the same for the same content, so that
// nothing needs to be counted; nobody transfers these zones.
func serial(s string, n int) uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d", s, n)
	return h.Sum32()
}
