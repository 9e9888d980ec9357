package dns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Names that every resolver answers itself.
const (
	localhost    = "localhost." // RFC 6761 section 6.3
	loopback4    = "1.0.0.127.in-addr.arpa."
	loopback6    = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa."
	resolverZone = "resolver.arpa."      // RFC 9462 section 6.4: asked of nobody
	designated   = "_dns.resolver.arpa." // RFC 9462 section 4
)

// special answers the names that have the same meaning on every network, or
// returns nil.
func special(z *zone, full, owner string, qtype uint16) *outcome {
	switch full[max(0, len(full)-5):] { // most names are told apart by their end
	case "host.":
		if ownDomain(full, []string{localhost}) != "" {
			n := &name{v4: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, v6: []netip.Addr{netip.IPv6Loopback()}}
			return found(n, full, owner, qtype, localhost, &zone{})
		}
	case "arpa.":
		switch full {
		case loopback4, loopback6:
			n := &name{rrs: []dns.RR{&dns.PTR{Hdr: head(full, dns.TypePTR, localTTL), Ptr: localhost}}}
			return found(n, full, owner, qtype, full, z)
		case designated:
			return found(&name{rrs: encrypted(z.Encrypted)}, full, owner, qtype, resolverZone, z)
		}
		if ownDomain(full, []string{resolverZone}) != "" {
			return noData(full, resolverZone, z)
		}
		if z.DNS64.IsValid() {
			return special64(z, full, owner, qtype)
		}
	}
	return nil
}

// encrypted returns the SVCB records (RFC 9460, RFC 9461) that designate the
// network's encrypted resolvers.
func encrypted(list []vnet.EncryptedDNS) []dns.RR {
	var out []dns.RR
	for _, r := range list {
		s := &dns.SVCB{Hdr: head(designated, dns.TypeSVCB, localTTL), Priority: r.Priority, Target: dns.Fqdn(r.Name)}
		if len(r.ALPN) > 0 {
			s.Value = append(s.Value, &dns.SVCBAlpn{Alpn: slices.Clone(r.ALPN)})
		}
		if r.Port != 0 {
			s.Value = append(s.Value, &dns.SVCBPort{Port: r.Port})
		}
		var v4, v6 dns.SVCBKeyValue
		for _, a := range r.Addresses {
			if a.Is4() {
				if v4 == nil {
					v4 = &dns.SVCBIPv4Hint{}
				}
				h := v4.(*dns.SVCBIPv4Hint)
				h.Hint = append(h.Hint, a.AsSlice())
				continue
			}
			if v6 == nil {
				v6 = &dns.SVCBIPv6Hint{}
			}
			h := v6.(*dns.SVCBIPv6Hint)
			h.Hint = append(h.Hint, a.AsSlice())
		}
		for _, v := range []dns.SVCBKeyValue{v4, v6} {
			if v != nil {
				s.Value = append(s.Value, v)
			}
		}
		if r.Path != "" {
			s.Value = append(s.Value, &dns.SVCBDoHPath{Template: r.Path})
		}
		out = append(out, s)
	}
	return out
}
