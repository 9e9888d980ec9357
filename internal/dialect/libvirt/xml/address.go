package xml

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// parseAddr reads an address as getaddrinfo does with AI_NUMERICHOST: IPv4 also
// with fewer than four numbers and in other bases (inet_aton).
func parseAddr(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() && a.Zone() == "" {
		return a, nil
	}
	if a, ok := parseInetAton(s); ok {
		return a, nil
	}
	return netip.Addr{}, failFrom(DomainNone, CodeSystem, "Cannot parse socket address '%s': Name or service not known", s)
}

// parseInetAton reads one to four numbers, decimal, octal or hexadecimal, the
// last of which fills what is left of the address.
func parseInetAton(s string) (netip.Addr, bool) {
	words := strings.Split(s, ".")
	if len(words) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, w := range words {
		if w == "" || w[0] < '0' || w[0] > '9' {
			return netip.Addr{}, false
		}
		bits := 8
		if i == len(words)-1 {
			bits = 8 * (5 - len(words))
		}
		n, ok := number(w, 0, bits)
		if !ok {
			return netip.Addr{}, false
		}
		if i < len(words)-1 {
			v |= n << (24 - 8*i)
		} else {
			v |= n
		}
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

// formatAddr writes an address as getnameinfo does: IPv4 addresses inside of
// IPv6 ones keep their dots.
func formatAddr(a netip.Addr) string {
	if a.Is6() {
		b := a.As16()
		low := b[:12]
		if strings.Trim(string(low), "\x00") == "" && (b[12] != 0 || b[13] != 0) {
			return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
		}
	}
	return a.String()
}

// addrAttr is an attribute with an address, nothing if there is none.
func addrAttr(name string, a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return fmt.Sprintf(" %s='%s'", name, formatAddr(a))
}

// maskBits counts the bits of an IPv4 netmask, -1 if they have gaps.
func maskBits(a netip.Addr) int {
	b := a.As4()
	text := fmt.Sprintf("%08b%08b%08b%08b", b[0], b[1], b[2], b[3])
	if ones := strings.TrimRight(text, "0"); !strings.Contains(ones, "0") {
		return len(ones)
	}
	return -1
}

// masked is the network of an address, invalid if the prefix is too long.
func masked(a netip.Addr, bits int) netip.Addr {
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// checkRange checks a range of addresses, in the network of an address if that
// is given (virSocketAddrGetRange).
func checkRange(start, end, network netip.Addr, prefix int) error {
	bad := func(format string, args ...any) error {
		args = append([]any{formatAddr(start), formatAddr(end)}, args...)
		return failFrom(DomainNone, CodeInternal, format, args...)
	}
	f := vnet.FamilyOf(start)
	if f != vnet.FamilyOf(end) {
		return bad("mismatch of address family in range %s - %s")
	}
	if network.IsValid() {
		if err := checkRangeIn(start, end, network, prefix, bad); err != nil {
			return err
		}
	}
	a, b := start.AsSlice(), end.AsSlice()
	last := len(a) - 2
	if string(a[:last]) != string(b[:last]) {
		return bad("range %s - %s is too large (> 65535)")
	}
	if end.Less(start) {
		if f == vnet.IPv4 {
			return bad("range %s - %s is reversed ")
		}
		return bad("range %s - %s start larger than end")
	}
	return nil
}

func checkRangeIn(start, end, network netip.Addr, prefix int, bad func(string, ...any) error) error {
	net := formatAddr(network)
	if vnet.FamilyOf(start) != vnet.FamilyOf(network) {
		return bad("mismatch of address family in range %s - %s for network %s", net)
	}
	p, err := network.Prefix(prefix)
	if err != nil {
		return failFrom(DomainNone, CodeInternal, "bad prefix %d for network %s when  checking range %s - %s",
			prefix, net, formatAddr(start), formatAddr(end))
	}
	if !p.Contains(start) || !p.Contains(end) {
		return bad("range %s - %s is not entirely within network %s/%d", net, prefix)
	}
	if network.Is4() && start == p.Addr() {
		return bad("start of range %s - %s in network %s/%d is the network address", net, prefix)
	}
	if network.Is4() && end == lastAddr(p) {
		return bad("end of range %s - %s in network %s/%d is the broadcast address", net, prefix)
	}
	return nil
}

// lastAddr is the broadcast address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// parseMAC reads an Ethernet address with one or two digits in each part
// (virMacAddrParse).
func parseMAC(s string) (mac [6]byte, ok bool) {
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' }); i >= 0 {
		s = s[:i]
	}
	words := strings.Split(s, ":")
	if len(words) != 6 {
		return mac, false
	}
	for i, w := range words {
		n, err := strconv.ParseUint(w, 16, 8)
		if err != nil || len(w) > 2 {
			return mac, false
		}
		mac[i] = byte(n)
	}
	return mac, true
}

func formatMAC(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// sameMAC compares two texts as Ethernet addresses.
func sameMAC(a, b string) bool {
	x, ok := parseMAC(a)
	y, ok2 := parseMAC(b)
	return ok && ok2 && x == y
}

// parseUUID reads 32 digits with blanks and dashes anywhere between pairs, and
// returns the usual form (virUUIDParse).
func parseUUID(s string) (string, bool) {
	const space = " \t\n\v\f\r"
	var digits strings.Builder
	s = strings.TrimLeft(s, space)
	for digits.Len() < 32 {
		if s != "" && (s[0] == '-' || s[0] == ' ') && digits.Len()%2 == 0 {
			s = s[1:]
			continue
		}
		if s == "" || !strings.Contains("0123456789abcdefABCDEF", s[:1]) {
			return "", false
		}
		digits.WriteByte(s[0])
		s = s[1:]
	}
	if strings.Trim(s, space) != "" {
		return "", false
	}
	d := strings.ToLower(digits.String())
	return d[:8] + "-" + d[8:12] + "-" + d[12:16] + "-" + d[16:20] + "-" + d[20:], true
}
