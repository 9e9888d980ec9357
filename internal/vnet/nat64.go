package vnet

import (
	"net/netip"
	"strings"
)

// NAT64 says whether and how guests without IPv4 reach hosts that have nothing
// else: NAT64Auto, NAT64Off, or the prefix of a translator that is there
// already (RFC 6052). Empty means NAT64Auto.
type NAT64 string

// The words of NAT64.
const (
	// NAT64Auto is a translator where the network has no IPv4 and its IPv6
	// leads out: that of the provider if one is heard of, else our own.
	NAT64Auto NAT64 = "auto"
	NAT64Off  NAT64 = "off"
)

// WellKnownNAT64 is the prefix that translators have if nothing else is said
// (RFC 6052 section 2.1).
var WellKnownNAT64 = netip.MustParsePrefix("64:ff9b::/96")

// ParseNAT64 reads a word or a prefix of one of the lengths of RFC 6052
// section 2.2. The prefix is zero for a word.
func ParseNAT64(s string) (NAT64, netip.Prefix, error) {
	switch w := NAT64(strings.ToLower(strings.TrimSpace(s))); w {
	case "", NAT64Auto, NAT64Off:
		return w, netip.Prefix{}, nil
	}
	bad := Invalid("nat64", "%s is no way to reach IPv4", quote(s)).WithHint("say auto, off, or the prefix of a translator, for example %s", WellKnownNAT64)
	p, err := ParseInterfacePrefix(s)
	if err != nil {
		return "", netip.Prefix{}, bad
	}
	if err := CheckPREF64("nat64", p); err != nil {
		return "", netip.Prefix{}, err
	}
	// RFC 6052 section 2.2: bits 64 to 71 are zero, whatever the length.
	if p.Addr().As16()[8] != 0 {
		return "", netip.Prefix{}, Invalid("nat64", "%s has bits between 64 and 71, which are zero in a NAT64 prefix (RFC 6052 section 2.2)", p)
	}
	if err := checkPrefix("nat64", IPv6, p); err != nil {
		return "", netip.Prefix{}, Invalid("nat64", "%s cannot be a translator's prefix", p).WithHint("say for example %s", WellKnownNAT64)
	}
	return NAT64(p.String()), p, nil
}

// normal is n in the form in which it is compared; what cannot be read stays.
func (n NAT64) normal() NAT64 {
	if w, _, err := ParseNAT64(string(n)); err == nil {
		return w
	}
	return n
}

// Prefix is that of the translator that was named, zero if none was.
func (n NAT64) Prefix() netip.Prefix {
	_, p, err := ParseNAT64(string(n))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// NAT64Wanted reports whether guests of n are to reach IPv4 by translation:
// over the translator that NAT64 names, or, by default, any, where they have
// no IPv4 and their IPv6 leads out.
func (n *Network) NAT64Wanted() bool {
	switch n.NAT64.normal() {
	case NAT64Off:
		return false
	case "", NAT64Auto:
		return n.IPv4.Mode == EgressNone && n.IPv6.Mode.LeadsOut()
	}
	return n.IPv6.Mode.LeadsOut()
}

// checkNAT64 checks the key nat64 with what it means for others.
func (n *Network) checkNAT64() error {
	_, p, err := ParseNAT64(string(n.NAT64))
	if err != nil || !p.IsValid() {
		return err
	}
	if !n.IPv6.Mode.LeadsOut() {
		return Invalid("nat64", "with ipv6=%s guests reach no translator over us", n.IPv6.Mode).WithHint("leave it out, or say ipv6=auto")
	}
	if d := n.DNS.DNS64; d.IsValid() && d != p {
		return Invalid("nat64", "dns.dns64 has another prefix, %s", d).WithHint("leave dns.dns64 out: it follows nat64")
	}
	if q := n.RA.PREF64; q.IsValid() && q != p {
		return Invalid("nat64", "ra.pref64 has another prefix, %s", q).WithHint("leave ra.pref64 out: it follows nat64")
	}
	return nil
}
