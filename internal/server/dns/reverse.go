package dns

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// The reverse trees: RFC 1035 section 3.5 and RFC 3596 section 2.5.
const (
	arpa4 = ".in-addr.arpa."
	arpa6 = ".ip6.arpa."
)

// reversed is what a name in the reverse trees stands for: an address, or with
// fewer labels the prefix of that length.
type reversed struct {
	prefix netip.Prefix
	whole  bool // a full address
}

// parseReverse reads a canonical name of the reverse trees.
func parseReverse(full string) (reversed, bool) {
	if s, ok := strings.CutSuffix(full, arpa4); ok {
		return parseReverse4(s)
	}
	if s, ok := strings.CutSuffix(full, arpa6); ok {
		return parseReverse6(s)
	}
	return reversed{}, false
}

func parseReverse4(s string) (reversed, bool) {
	labels := strings.Split(s, ".")
	if len(labels) > 4 {
		return reversed{}, false
	}
	var b [4]byte
	for i, l := range labels {
		n, err := strconv.ParseUint(l, 10, 8)
		if err != nil || (len(l) > 1 && l[0] == '0') || l[0] == '+' {
			return reversed{}, false
		}
		b[len(labels)-1-i] = byte(n)
	}
	return reversed{netip.PrefixFrom(netip.AddrFrom4(b), 8*len(labels)), len(labels) == 4}, true
}

func parseReverse6(s string) (reversed, bool) {
	n := (len(s) + 1) / 2
	if len(s)%2 == 0 || n > 32 {
		return reversed{}, false
	}
	var b [16]byte
	for i := range n {
		c := s[2*i]
		if i > 0 && s[2*i-1] != '.' {
			return reversed{}, false
		}
		var v byte
		switch {
		case c >= '0' && c <= '9':
			v = c - '0'
		case c >= 'a' && c <= 'f':
			v = c - 'a' + 10
		default:
			return reversed{}, false
		}
		at := n - 1 - i // nibble from the left
		if at%2 == 0 {
			v <<= 4
		}
		b[at/2] |= v
	}
	return reversed{netip.PrefixFrom(netip.AddrFrom16(b), 4*n), n == 32}, true
}

// reverseName returns the name in the reverse trees of an address whose
// prefix's length is a multiple of a label's bits.
func reverseName(p netip.Prefix) string {
	var s strings.Builder
	if p.Addr().Is4() {
		b := p.Addr().As4()
		for i := p.Bits()/8 - 1; i >= 0; i-- {
			s.WriteString(strconv.Itoa(int(b[i])))
			if i > 0 {
				s.WriteByte('.')
			}
		}
		return s.String() + arpa4
	}
	const hex = "0123456789abcdef"
	b := p.Addr().As16()
	for i := p.Bits()/4 - 1; i >= 0; i-- {
		v := b[i/2]
		if i%2 == 0 {
			v >>= 4
		}
		s.WriteByte(hex[v&15])
		if i > 0 {
			s.WriteByte('.')
		}
	}
	return s.String() + arpa6
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

// serial is an SOA serial that is the same for the same content, so that
// nothing needs to be counted; nobody transfers these zones.
func serial(s string, n int) uint32 {
	var h uint32 = 2166136261
	for _, c := range []byte(s) {
		h = (h ^ uint32(c)) * 16777619
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}
