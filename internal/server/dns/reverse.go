package dns

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/ipam"
)

// reverse answers for the networks' prefixes, or returns nil. first is the
// network that was asked.
func (v *view) reverse(first *zone, full, owner string, qtype uint16) *outcome {
	named, ok := ipam.ParseReverse(full)
	if !ok {
		return nil
	}
	prefix, zones := v.within(named)
	if zones == nil {
		return nil
	}
	apexPrefix := reverseApex(named.Addr(), prefix)
	if named.Bits() < apexPrefix.Bits() {
		return nil // above where our zone is cut
	}
	apex := reverseName(apexPrefix)
	exists := full == apex
	o := &outcome{ours: true, last: full}
	if exists && !named.IsSingleIP() {
		o.answer = atApex(owner, qtype, apex, zones[0])
	}
	for _, z := range zones {
		target, known := z.pointer(named.Addr())
		switch {
		case !named.IsSingleIP(): // RFC 8020: what lies above a name exists
			exists = exists || z.hasWithin(named)
		case known:
			exists = true
			if len(o.answer) == 0 && (qtype == dns.TypePTR || qtype == dns.TypeANY) {
				o.answer = []dns.RR{&dns.PTR{Hdr: head(owner, dns.TypePTR, localTTL), Ptr: target}}
			}
		}
	}
	if !exists && first.hasForwarder(full, apex) {
		return nil
	}
	if len(o.answer) == 0 {
		o.ns = []dns.RR{soa(apex, zones[0])}
	}
	if !exists {
		o.rcode = dns.RcodeNameError
	}
	return o
}

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
