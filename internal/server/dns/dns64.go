package dns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/ipam"
)

// wellKnown is the prefix of RFC 6052 section 2.1. Private IPv4 addresses are
// never written below it (section 3.1).
var wellKnown = netip.MustParsePrefix("64:ff9b::/96")

// mapped addresses in AAAA records are no IPv6 addresses (RFC 6147 section
// 5.1.4).
var mapped = netip.MustParsePrefix("::ffff:0:0/96")

const (
	// ipv4only is how hosts find the prefix (RFC 7050); a DNS64 answers it
	// without asking anybody (RFC 8880 section 7.1).
	ipv4only = "ipv4only.arpa."
	// ttl64 bounds the TTL in seconds of made addresses where the negative
	// answer has no SOA (RFC 6147 section 5.1.7).
	ttl64 = 600
)

// ipv4onlyAddrs are the well-known addresses of ipv4only.arpa.
var ipv4onlyAddrs = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

// embed writes an IPv4 address below a prefix of 32, 40, 48, 56, 64 or 96
// bits, around the octet that is always zero (RFC 6052 section 2.2).
func embed(p netip.Prefix, a netip.Addr) netip.Addr {
	out, v4 := p.Masked().Addr().As16(), a.As4()
	at := p.Bits() / 8
	for _, b := range v4 {
		if at == 8 {
			at++
		}
		out[at] = b
		at++
	}
	return netip.AddrFrom16(out)
}

// extract is the inverse of embed. ok is false for an address that embed does
// not make.
func extract(p netip.Prefix, a netip.Addr) (v4 netip.Addr, ok bool) {
	if !p.Contains(a) {
		return netip.Addr{}, false
	}
	in := a.As16()
	var out [4]byte
	at := p.Bits() / 8
	for i := range out {
		if at == 8 {
			at++
		}
		out[i] = in[at]
		at++
	}
	v4 = netip.AddrFrom4(out)
	return v4, embed(p, v4) == a
}

// translatable reports whether the address may be written below the prefix.
func translatable(p netip.Prefix, a netip.Addr) bool {
	return p != wellKnown || isPublic(a) || slices.Contains(ipv4onlyAddrs, a)
}

// wants64 reports whether the outcome of a question for IPv6 addresses calls
// for IPv4 ones: there are none, and nobody checks signatures himself (RFC
// 6147 sections 5.1.1 to 5.1.4 and 5.5).
func (i *inquiry) wants64(z *zone, o *outcome) bool {
	if !z.DNS64.IsValid() || i.qtype != dns.TypeAAAA || o.rcode == dns.RcodeNameError {
		return false
	}
	if i.query.CheckingDisabled && wantsDNSSEC(i.query) {
		return false
	}
	// What others have counts as excluded (section 5.1.4) where it is out of reach.
	return z.Only64 && !o.ours || !slices.ContainsFunc(o.answer, isSix)
}

// isSix reports whether the record has an IPv6 address.
func isSix(rr dns.RR) bool {
	r, ok := rr.(*dns.AAAA)
	if !ok {
		return false
	}
	a, ok := netip.AddrFromSlice(r.AAAA)
	return ok && !mapped.Contains(a)
}

// without64 returns the outcome without addresses that are none, and their
// signatures.
func without64(o *outcome) *outcome {
	c := *o
	c.answer = slices.DeleteFunc(slices.Clone(o.answer), func(rr dns.RR) bool {
		sig, signed := rr.(*dns.RRSIG)
		return rr.Header().Rrtype == dns.TypeAAAA || signed && sig.TypeCovered == dns.TypeAAAA
	})
	return &c
}

// synthesise makes the answer to the question for IPv6 addresses out of the
// outcome of the one for IPv4 ones. Without any, the first outcome stands.
func (i *inquiry) synthesise(p netip.Prefix, o *outcome) *outcome {
	limit := uint32(ttl64)
	for _, rr := range i.six.ns {
		if soa, ok := rr.(*dns.SOA); ok {
			limit = soa.Hdr.Ttl
		}
	}
	if i.six.ours { // the SOA is short-lived for names that are not there yet
		limit = localTTL
	}
	made := &outcome{last: o.last, ours: o.ours}
	var addrs int
	for _, rr := range o.answer {
		switch rr := rr.(type) {
		case *dns.CNAME, *dns.DNAME:
			made.answer = append(made.answer, rr)
		case *dns.A:
			a, ok := netip.AddrFromSlice(rr.A.To4())
			if !ok || !translatable(p, a) {
				continue
			}
			addrs++
			made.answer = append(made.answer, &dns.AAAA{
				Hdr: head(rr.Hdr.Name, dns.TypeAAAA, min(rr.Hdr.Ttl, limit)), AAAA: embed(p, a).AsSlice(),
			})
		}
	}
	switch {
	case o.rcode != dns.RcodeSuccess && o.rcode != dns.RcodeNameError:
		return o // "no data" would be kept, and there may be some
	case addrs == 0 || o.rcode != dns.RcodeSuccess:
		return i.six
	}
	i.mixed = true
	return made
}

// special64 answers what a DNS64 answers itself: ipv4only.arpa, and the names
// of addresses below the prefix, which are those of the IPv4 addresses in them
// (RFC 6147 section 5.3.1).
func special64(z *zone, full, owner string, qtype uint16) *outcome {
	if full == ipv4only {
		n := &name{v4: ipv4onlyAddrs}
		for _, a := range ipv4onlyAddrs {
			n.v6 = append(n.v6, embed(z.DNS64, a))
		}
		return found(n, full, owner, qtype, ipv4only, z)
	}
	p, ok := ipam.ParseReverse(full)
	if !ok || !p.IsSingleIP() {
		return nil
	}
	if slices.Contains(ipv4onlyAddrs, p.Addr()) {
		n := &name{rrs: []dns.RR{&dns.PTR{Hdr: head(full, dns.TypePTR, localTTL), Ptr: ipv4only}}}
		return found(n, full, owner, qtype, full, z)
	}
	v4, ok := extract(z.DNS64, p.Addr())
	if !ok {
		return nil
	}
	n := &name{rrs: []dns.RR{&dns.CNAME{Hdr: head(full, dns.TypeCNAME, ttl64), Target: ipam.ReverseName(v4) + "."}}}
	return found(n, full, owner, qtype, full, z)
}
