package vnet

import (
	"net/netip"
	"strconv"
	"strings"
)

// The parsers below take every textual form that people and programs write,
// and say in an *Error (ErrInvalid, without Field: see InField) what is wrong
// and what to write instead. Printing is netip's, which is RFC 5952.

// quote shows input in an error: on one line, and cut when it is long, since
// the input may be anything.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// ParseAddr reads an address of either family. It takes every form of RFC 4291
// section 2.2 (upper case, leading zeros, embedded IPv4 such as
// 64:ff9b::192.0.2.1) and brackets around IPv6. A zone is refused: see
// ParseAddrZone. An IPv4-mapped address stays one (it is not unmapped).
func ParseAddr(s string) (netip.Addr, error) {
	a, err := ParseAddrZone(s)
	if err != nil {
		return netip.Addr{}, err
	}
	if a.Zone() != "" {
		return netip.Addr{}, Invalid("", "%s has a zone, and the name of a link means something on one host only", quote(s)).
			WithHint("write %s", a.WithZone(""))
	}
	return a, nil
}

// ParseAddrZone is ParseAddr for the few places where a zone means something
// (fe80::1%eth0): addresses that this host itself is to talk to.
func ParseAddrZone(s string) (netip.Addr, error) {
	t, err := unbracket(strings.TrimSpace(s))
	if err != nil {
		return netip.Addr{}, err
	}
	a, perr := netip.ParseAddr(t)
	if perr != nil {
		return netip.Addr{}, badAddr(s, t)
	}
	return a, nil
}

// unbracket takes the brackets off [2001:db8::1].
func unbracket(s string) (string, error) {
	if !strings.HasPrefix(s, "[") {
		return s, nil
	}
	inner, after, ok := strings.Cut(s[1:], "]")
	switch {
	case !ok:
		return "", Invalid("", "%s has no closing bracket", quote(s))
	case strings.HasPrefix(after, ":"):
		return "", Invalid("", "%s has a port, an address alone is wanted", quote(s)).WithHint("write %s", inner)
	case after != "" || !strings.Contains(inner, ":"):
		return "", Invalid("", "%s is no address", quote(s)).WithHint("brackets go around an IPv6 address and nothing else")
	}
	return inner, nil
}

// badAddr says what is wrong with t, which netip did not take.
func badAddr(s, t string) error {
	e := Invalid("", "%s is no IPv4 or IPv6 address", quote(s))
	switch {
	case t == "":
		return Invalid("", "the address is empty").WithHint("write it as 192.0.2.1 or 2001:db8::1")
	case strings.Contains(t, "/"):
		return e.WithHint("an address without a prefix length is wanted")
	case strings.Count(t, "::") > 1 || strings.Contains(t, ":::"):
		return e.WithHint("an IPv6 address has one :: at most")
	case strings.Contains(t, ":"):
		return e.WithHint("write it as 2001:db8::1: at most 8 groups of 1 to 4 hex digits, one of the gaps as ::")
	case leadingZero(t):
		return e.WithHint("leave out the leading zeros: some programs read them as octal")
	}
	return e.WithHint("write it as 192.0.2.1 or 2001:db8::1")
}

// leadingZero reports whether t is an IPv4 address but for leading zeros.
func leadingZero(t string) bool {
	parts := strings.Split(t, ".")
	if len(parts) != 4 {
		return false
	}
	for i, p := range parts {
		p = strings.TrimLeft(p, "0")
		if p == "" {
			p = "0"
		}
		parts[i] = p
	}
	_, err := netip.ParseAddr(strings.Join(parts, "."))
	return err == nil
}

// ParseInterfacePrefix reads an address with its prefix length
// (2001:db8:5::1/64, 192.168.1.1/24, 192.168.1.1/255.255.255.0); bits below
// the length are kept.
func ParseInterfacePrefix(s string) (netip.Prefix, error) {
	t := strings.TrimSpace(s)
	addr, length, ok := strings.Cut(t, "/")
	if !ok {
		a, err := ParseAddr(t)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.Prefix{}, Invalid("", "%s has no prefix length", a).WithHint("write %s/%d", a, usualBits(a))
	}
	if i := strings.LastIndexByte(length, '%'); i >= 0 || strings.Contains(addr, "%") {
		return netip.Prefix{}, Invalid("", "%s has a zone, and a prefix cannot have one", quote(s)).
			WithHint("leave out the %% and what follows it")
	}
	a, err := ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, err
	}
	bits, err := parseBits(s, a, strings.TrimSpace(length))
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, bits), nil
}

// usualBits is the prefix length to suggest.
func usualBits(a netip.Addr) int {
	if a.Is4() {
		return 24
	}
	return 64
}

// parseBits reads a prefix length or an IPv4 netmask.
func parseBits(s string, a netip.Addr, length string) (int, error) {
	if a.Is4() && strings.Contains(length, ".") {
		m, err := netip.ParseAddr(length)
		if err != nil || !m.Is4() {
			return 0, Invalid("", "%s: %s is no netmask", quote(s), quote(length)).WithHint("write the prefix length, for example /24")
		}
		b := m.As4()
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		bits := 0
		for bits < 32 && v&(1<<(31-bits)) != 0 {
			bits++
		}
		if v<<bits != 0 && bits < 32 {
			return 0, Invalid("", "%s: the netmask %s has gaps", quote(s), m).WithHint("write the prefix length, for example /24")
		}
		return bits, nil
	}
	bits := -1
	if n := len(length); n >= 1 && n <= 3 && strings.Trim(length, "0123456789") == "" {
		bits, _ = strconv.Atoi(length) // three digits at most
	}
	if bits < 0 || bits > a.BitLen() {
		return 0, Invalid("", "%s: /%s is no prefix length of %s", quote(s), strings.Trim(quote(length), `"`), FamilyOf(a)).
			WithHint("write /0 to /%d", a.BitLen())
	}
	return bits, nil
}

// ParsePrefix reads a prefix (2001:db8:5::/64, 192.168.1.0/24,
// 192.168.1.0/255.255.255.0). Bits below the length are refused, and the
// masked form is suggested.
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := ParseInterfacePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if err := checkMasked(p); err != nil {
		return netip.Prefix{}, err
	}
	return p, nil
}

// ParseRange reads "FIRST-LAST", with or without blanks, or a single address.
// Within a valid IPv6 prefix, addresses that have nothing but zeros where the
// prefix is are relative to it: with 2001:db8::/64, "::10-::20" is
// 2001:db8::10-2001:db8::20.
func ParseRange(s string, within netip.Prefix) (Range, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	var r Range
	for _, end := range []struct {
		text string
		to   *netip.Addr
	}{{first, &r.First}, {last, &r.Last}} {
		if ok && strings.TrimSpace(end.text) == "" {
			return Range{}, Invalid("", "%s lacks one end", quote(s)).WithHint("write it as FIRST-LAST")
		}
		a, err := ParseAddr(end.text)
		if err != nil {
			return Range{}, err
		}
		*end.to = complete(a, within)
	}
	if err := r.check(); err != nil {
		return Range{}, err
	}
	return r, nil
}

// complete puts the prefix in front of a relative IPv6 address.
func complete(a netip.Addr, within netip.Prefix) netip.Addr {
	if !within.IsValid() || !within.Addr().Is6() || !a.Is6() || a.Is4In6() {
		return a
	}
	zero := netip.PrefixFrom(netip.IPv6Unspecified(), within.Bits())
	if !zero.Contains(a) {
		return a
	}
	b, p := a.As16(), within.Masked().Addr().As16()
	for i := range b {
		b[i] |= p[i]
	}
	return netip.AddrFrom16(b)
}

// FormatAddr prints an address in the form of RFC 5952: lower case, no leading
// zeros, the longest run of two or more zero groups as ::. Of the embedded
// IPv4 addresses of its section 5, IPv4-mapped ones (::ffff:192.0.2.1) are
// printed in dotted form and all others in hex (64:ff9b::c000:201), as netip
// and so our JSON print them: one address has one form everywhere.
func FormatAddr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// FormatPrefix prints a prefix or an address with its length, "" if there is
// none.
func FormatPrefix(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// String returns "FIRST-LAST", or the address alone if there is only one.
func (r Range) String() string {
	if r.First == r.Last {
		return FormatAddr(r.First)
	}
	return FormatAddr(r.First) + "-" + FormatAddr(r.Last)
}

// Contains reports whether a lies in r.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// Overlaps reports whether r and o have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.First.BitLen() == o.First.BitLen() && r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}

// check reports whether r is a range at all.
func (r Range) check() error {
	switch {
	case !r.First.IsValid() || !r.Last.IsValid():
		return Invalid("", "the range lacks an end").WithHint("write it as FIRST-LAST")
	case r.First.BitLen() != r.Last.BitLen():
		return Invalid("", "the range %s mixes IPv4 and IPv6", r)
	case r.First.Zone() != "" || r.Last.Zone() != "":
		return Invalid("", "the range %s has a zone", r).WithHint("leave out the %% and what follows it")
	case r.Last.Less(r.First):
		return Invalid("", "the range %s ends before it begins", r).WithHint("write %s", Range{r.Last, r.First})
	}
	return nil
}

// FamilyOf returns a's family: IPv4 for IPv4 only, IPv6 for everything else
// that is valid, 0 for the zero Addr.
func FamilyOf(a netip.Addr) Family {
	switch {
	case !a.IsValid():
		return 0
	case a.Is4():
		return IPv4
	}
	return IPv6
}

// Bits is the length of the family's addresses.
func (f Family) Bits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}
