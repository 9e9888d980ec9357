package ipam

import (
	"net/netip"
	"strconv"
	"strings"
)

const (
	zone4 = "in-addr.arpa"
	zone6 = "ip6.arpa"
	hex16 = "0123456789abcdef"
)

// ReverseName returns the name under which a's PTR record is found (RFC 1035
// section 3.5, RFC 3596 section 2.5), without a trailing dot; "" for the zero
// Addr.
func ReverseName(a netip.Addr) string {
	a = a.Unmap()
	if !a.IsValid() {
		return ""
	}
	return reverse(netip.PrefixFrom(a, a.BitLen()))
}

// reverse names a prefix that ends at a label: a multiple of 8 bits (IPv4) or 4
// bits (IPv6).
func reverse(p netip.Prefix) string {
	var b strings.Builder
	if p.Addr().Is4() {
		octets := p.Addr().As4()
		for i := p.Bits()/8 - 1; i >= 0; i-- {
			b.WriteString(strconv.Itoa(int(octets[i])))
			b.WriteByte('.')
		}
		return b.String() + zone4
	}
	octets := p.Addr().As16()
	for i := p.Bits()/4 - 1; i >= 0; i-- {
		b.WriteByte(hex16[octets[i/2]>>(4*(1-i%2))&15])
		b.WriteByte('.')
	}
	return b.String() + zone6
}

// ReverseZones returns the zones whose names are exactly the addresses of p,
// without trailing dots. There is one if p ends at a label; otherwise as many
// as p has parts at the next label: 2 to 8 for IPv6, 2 to 128 for IPv4.
func ReverseZones(p netip.Prefix) []string {
	if !p.IsValid() {
		return nil
	}
	p = canonical(p)
	label := 4
	if p.Addr().Is4() {
		label = 8
	}
	length := (p.Bits() + label - 1) / label * label
	n, _ := SubnetCount(p, length)
	zones := make([]string, 0, n)
	for i := range n {
		sub, err := NthSubnet(p, length, i)
		if err != nil {
			return zones // cannot be: i is below the count
		}
		zones = append(zones, reverse(sub))
	}
	return zones
}

// ParseReverse is the inverse of ReverseName and of ReverseZones: the prefix
// that a name in a reverse zone stands for, a single address if it is complete.
// Case does not matter, a trailing dot may be there. ok is false for any other
// name.
func ParseReverse(name string) (p netip.Prefix, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if rest, ok := cutZone(name, zone4); ok {
		return parse4(rest)
	}
	if rest, ok := cutZone(name, zone6); ok {
		return parse6(rest)
	}
	return netip.Prefix{}, false
}

// cutZone returns the labels below the zone, the last one first.
func cutZone(name, zone string) ([]string, bool) {
	if name == zone {
		return nil, true
	}
	rest, ok := strings.CutSuffix(name, "."+zone)
	if !ok || len(rest) > 63 { // 32 nibbles and the dots between them
		return nil, false
	}
	return strings.Split(rest, "."), true
}

func parse4(labels []string) (netip.Prefix, bool) {
	var b [4]byte
	if len(labels) > len(b) {
		return netip.Prefix{}, false
	}
	for i, l := range labels {
		v, err := strconv.ParseUint(l, 10, 8)
		if err != nil || len(l) > 1 && l[0] == '0' {
			return netip.Prefix{}, false
		}
		b[len(labels)-1-i] = byte(v)
	}
	return netip.PrefixFrom(netip.AddrFrom4(b), 8*len(labels)), true
}

func parse6(labels []string) (netip.Prefix, bool) {
	var b [16]byte
	if len(labels) > 2*len(b) {
		return netip.Prefix{}, false
	}
	for i, l := range labels {
		v := strings.IndexByte(hex16, (l + "x")[0])
		if len(l) != 1 || v < 0 {
			return netip.Prefix{}, false
		}
		n := len(labels) - 1 - i
		b[n/2] |= byte(v) << (4 * (1 - n%2))
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 4*len(labels)), true
}
