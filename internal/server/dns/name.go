package dns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// name is what a zone knows of one owner name. A name without anything is an
// empty non-terminal (RFC 8020): it exists because something below it does.
type name struct {
	v4, v6 []netip.Addr // of ports and guests
	chosen bool         // by a guest
	// rrs are the operator's records. Where they are of type A or AAAA, or an
	// alias, addresses of that family, or all, are not in v4 and v6.
	rrs []dns.RR
	// size is that of rrs on the wire, in bytes.
	size int
}

const (
	// maxSet bounds the addresses of a name, and maxSize an operator's records
	// of one, in bytes: one reader serves all networks, and must not be held up
	// by answers that nobody can use.
	maxSet  = 256
	maxSize = 16 << 10
)

// add reports whether the name has the address now.
func (n *name) add(a netip.Addr) bool {
	list, t := &n.v4, dns.TypeA
	if a.Is6() {
		list, t = &n.v6, dns.TypeAAAA
	}
	if n.alias() != nil || n.has(t) {
		return false
	}
	if slices.Contains(*list, a) {
		return true
	}
	if len(*list) >= maxSet {
		return false
	}
	*list = append(*list, a)
	return true
}

// alias returns the operator's CNAME, if the name is one.
func (n *name) alias() *dns.CNAME {
	if len(n.rrs) == 0 {
		return nil
	}
	c, _ := n.rrs[0].(*dns.CNAME)
	return c
}

// has reports whether the operator has records of the type here.
func (n *name) has(t uint16) bool {
	return slices.ContainsFunc(n.rrs, func(rr dns.RR) bool { return rr.Header().Rrtype == t })
}

// level gives all records of a type the least of their TTLs: a set has one (RFC
// 2181 section 5.2).
func (n *name) level() {
	if len(n.rrs) < 2 {
		return
	}
	least := map[uint16]uint32{}
	for _, rr := range n.rrs {
		h := rr.Header()
		if ttl, known := least[h.Rrtype]; !known || h.Ttl < ttl {
			least[h.Rrtype] = h.Ttl
		}
	}
	for _, rr := range n.rrs {
		rr.Header().Ttl = least[rr.Header().Rrtype]
	}
}

// empty reports whether the name exists only for those below it.
func (n *name) empty() bool { return len(n.v4)+len(n.v6)+len(n.rrs) == 0 }

// records returns what the name has of the type, in owner's spelling. Of ANY
// it is one type's (RFC 8482 section 4.1).
func (n *name) records(owner string, qtype uint16) []dns.RR {
	if qtype == dns.TypeANY {
		switch {
		case len(n.v4) > 0:
			qtype = dns.TypeA
		case len(n.v6) > 0:
			qtype = dns.TypeAAAA
		case len(n.rrs) > 0:
			qtype = n.rrs[0].Header().Rrtype
		}
	}
	var out []dns.RR
	switch qtype {
	case dns.TypeA:
		for _, x := range n.v4 {
			out = append(out, &dns.A{Hdr: head(owner, dns.TypeA, localTTL), A: x.AsSlice()})
		}
	case dns.TypeAAAA:
		for _, x := range n.v6 {
			out = append(out, &dns.AAAA{Hdr: head(owner, dns.TypeAAAA, localTTL), AAAA: x.AsSlice()})
		}
	}
	for _, rr := range n.rrs {
		if rr.Header().Rrtype == qtype {
			rr = dns.Copy(rr)
			rr.Header().Name = owner
			out = append(out, rr)
		}
	}
	return out
}

func head(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}
