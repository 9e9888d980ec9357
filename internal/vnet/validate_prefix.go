package vnet

import "net/netip"

// special lists what cannot be a network of guests, with the reason.
var special = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "means this host"},
	{netip.MustParsePrefix("127.0.0.0/8"), "is the loopback range"},
	{netip.MustParsePrefix("169.254.0.0/16"), "is the link-local range, which is not routed"},
	{netip.MustParsePrefix("224.0.0.0/4"), "is the multicast range"},
	{netip.MustParsePrefix("255.255.255.255/32"), "is the broadcast address"},
	{netip.MustParsePrefix("::/128"), "means no address"},
	{netip.MustParsePrefix("::1/128"), "is the loopback address"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "holds IPv4-mapped addresses, which are not used on the wire"},
	{netip.MustParsePrefix("fe80::/10"), "is the link-local range, which every link has by itself"},
	{netip.MustParsePrefix("ff00::/8"), "is the multicast range"},
}

// ULARange is the range of unique local addresses (RFC 4193 section 3.1).
var ULARange = netip.MustParsePrefix("fc00::/7")

// checkFamily says that a is of the other family.
func checkFamily(field string, f Family, a netip.Addr) error {
	if a.Is4In6() {
		return Invalid(field, "%s is an IPv4-mapped address, which is not used on the wire", a).WithHint("write %s", a.Unmap())
	}
	switch got := FamilyOf(a); {
	case got == 0:
		return Invalid(field, "the address is missing")
	case f != 0 && got != f && f == IPv6:
		return Invalid(field, "%s is an IPv4 address, an IPv6 one is wanted", a).WithHint("write it as 2001:db8::1")
	case f != 0 && got != f:
		return Invalid(field, "%s is an IPv6 address, an IPv4 one is wanted", a).WithHint("write it as 192.168.150.1")
	}
	return nil
}

// checkUnicast says why a cannot be the address of a guest. f is the family
// that is wanted, 0 for either.
func checkUnicast(field string, f Family, a netip.Addr) error {
	if err := checkFamily(field, f, a); err != nil {
		return err
	}
	if a.Zone() != "" {
		return Invalid(field, "%s has a zone, and the name of a link means something on one host only", a).WithHint("write %s", a.WithZone(""))
	}
	for _, s := range special {
		if s.prefix.Contains(a) {
			return Invalid(field, "%s cannot be a guest's address: %s %s", a, s.prefix, s.why)
		}
	}
	return nil
}

// checkMasked refuses host bits, with the masked form as the hint.
func checkMasked(p netip.Prefix) error {
	if p == p.Masked() {
		return nil
	}
	return Invalid("", "%s has host bits below /%d", p, p.Bits()).WithHint("write %s", p.Masked())
}

// checkPrefix says why p, an address with its length or a masked prefix,
// cannot be a network with guests. f is the family that is wanted, 0 for
// either.
func checkPrefix(field string, f Family, p netip.Prefix) error {
	if !p.IsValid() {
		return Invalid(field, "the prefix is missing").WithHint("write it as 192.168.150.1/24 or 2001:db8:5::1/64")
	}
	if err := checkFamily(field, f, p.Addr()); err != nil {
		return err
	}
	if p.Bits() == 0 {
		return Invalid(field, "%s is everything there is", p).WithHint("write the length of the network, for example /%d", usualBits(p.Addr()))
	}
	for _, s := range special {
		// ::/128 and ::1/128 are inside every prefix of zeros: those are
		// caught here as well, and nobody can own them.
		if s.prefix.Overlaps(p) {
			return Invalid(field, "%s cannot be a network of guests: %s %s", p, s.prefix, s.why).WithHint("%s", suggestion(p.Addr()))
		}
	}
	return nil
}

func suggestion(a netip.Addr) string {
	if a.Is4() {
		return "use a prefix of yours or a private one, for example 192.168.150.1/24"
	}
	return "use a prefix of yours, for example 2001:db8:5::1/64, or leave it out for a private one"
}

// checkRoom refuses a prefix that has no room for a gateway and a guest.
func checkRoom(field string, p netip.Prefix) error {
	if p.Bits() == p.Addr().BitLen() {
		return Invalid(field, "%s is one address, there is none left for a guest", p).
			WithHint("write the length of the network, for example /%d", usualBits(p.Addr()))
	}
	return nil
}

// checkGateway says why gw cannot be our address in p.
func checkGateway(field string, p netip.Prefix, gw netip.Addr) error {
	if err := checkFamily(field, FamilyOf(p.Addr()), gw); err != nil {
		return err
	}
	p = p.Masked()
	if !p.Contains(gw) {
		return Invalid(field, "%s is not in %s", gw, p).WithHint("write for example %s", FirstAddr(p))
	}
	if p.Bits() >= p.Addr().BitLen()-1 { // RFC 3021, RFC 6164: both addresses are hosts'
		return nil
	}
	switch {
	case gw == p.Addr() && gw.Is4():
		return Invalid(field, "%s is the network itself, not an address in it", gw).WithHint("write for example %s", FirstAddr(p))
	case gw == p.Addr():
		return Invalid(field, "%s is the subnet-router anycast address of %s (RFC 4291 section 2.6.1)", gw, p).
			WithHint("write for example %s", FirstAddr(p))
	case gw.Is4() && gw == lastAddr(p):
		return Invalid(field, "%s is the broadcast address of %s", gw, p).WithHint("write for example %s", FirstAddr(p))
	}
	return nil
}

// FirstAddr returns the first address of p that a host may have: the one after
// the network (IPv4) or the subnet-router anycast address (IPv6), and the
// first of all where there are no such addresses (/31, /32, /127, /128). It is
// where our gateway is if nothing else is said.
func FirstAddr(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	if p.Bits() >= a.BitLen()-1 {
		return a
	}
	return a.Next()
}

// GatewayPrefix returns the gateway address that a network's short form
// (ipv4.address, ipv6.address) means, with its length: p itself, or the first
// address if all bits below the length are zero, so that 2001:db8:5::/64 and
// 2001:db8:5::1/64 mean the same.
func GatewayPrefix(p netip.Prefix) netip.Prefix {
	if p.IsValid() && p == p.Masked() {
		return netip.PrefixFrom(FirstAddr(p), p.Bits())
	}
	return p
}

// lastAddr returns the last address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// checkRanges says why rs cannot be the dynamic ranges of p, whose gateway is
// gw (the zero Addr: not ours).
func checkRanges(field string, p netip.Prefix, gw netip.Addr, rs []Range) error {
	p = p.Masked()
	for i, r := range rs {
		if err := InField(r.check(), field); err != nil {
			return err
		}
		if err := checkFamily(field, FamilyOf(p.Addr()), r.First); err != nil {
			return err
		}
		if !p.Contains(r.First) || !p.Contains(r.Last) {
			return Invalid(field, "the range %s is not inside %s", r, p)
		}
		if gw.IsValid() && r.Contains(gw) {
			return Invalid(field, "the range %s contains the gateway %s", r, gw).WithHint("leave the gateway out, for example %s", without(r, gw))
		}
		if p.Addr().Is4() && p.Bits() < 31 {
			if last := lastAddr(p); r.First == p.Addr() || r.Last == last {
				inner := r
				if r.First == p.Addr() {
					inner.First = r.First.Next()
				}
				if r.Last == last {
					inner.Last = r.Last.Prev()
				}
				return Invalid(field, "the range %s contains the network or broadcast address of %s", r, p).WithHint("write %s", inner)
			}
		}
		for _, o := range rs[:i] {
			if r.Overlaps(o) {
				return Invalid(field, "the ranges %s and %s overlap", o, r)
			}
		}
	}
	return nil
}

// without suggests the larger part of r beside gw.
func without(r Range, gw netip.Addr) string {
	switch {
	case r.First == r.Last:
		return "another address"
	case r.First == gw:
		return Range{gw.Next(), r.Last}.String()
	case r.Last == gw:
		return Range{r.First, gw.Prev()}.String()
	}
	return Range{r.First, gw.Prev()}.String() + " and " + Range{gw.Next(), r.Last}.String()
}

// checkGuests says why g is no way for guests of a prefix of the family to get
// their addresses. Bits is the prefix length, 0 if it is not known yet.
func checkGuests(field string, f Family, bits int, g Guests) error {
	switch {
	case g == "" || g == GuestsManual:
		return nil
	case f == IPv4:
		if g == GuestsDHCP {
			return nil
		}
		return Invalid(field, "%s is no way to get an IPv4 address", quote(string(g))).WithHint("say dhcp or manual")
	case g == GuestsStateful || g == GuestsDelegation:
		return nil
	case g == GuestsSLAAC || g == GuestsStateless || g == GuestsSLAACStateful:
		if bits == 0 || bits == 64 {
			return nil
		}
		return Invalid(field, "SLAAC needs a /64, this prefix is a /%d", bits).WithHint("say stateful, or use a /64")
	case g == GuestsDHCP:
		return Invalid(field, "%s is said of IPv4", quote(string(g))).WithHint("say stateful for DHCPv6")
	}
	return Invalid(field, "%s is no way to get an IPv6 address", quote(string(g))).
		WithHint("say slaac, stateless, stateful, slaac+stateful, delegation or manual")
}

// defaultGuests is how guests of a prefix of the length get their addresses if
// nothing is said; 0 is a length not known yet.
func defaultGuests(f Family, bits int) Guests {
	switch {
	case f == IPv4:
		return GuestsDHCP
	case bits == 0 || bits == 64:
		return GuestsSLAACStateful
	}
	return GuestsStateful
}
