package dns

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// outcome is what is known of a name and a type: by our own records, or by an
// upstream's answer.
type outcome struct {
	rcode  int
	answer []dns.RR // aliases first
	ns     []dns.RR // of negative answers
	// next is the alias's target that has still to be looked up; "" if the
	// outcome is complete.
	next string
	// last is the name at the end of the aliases, canonical.
	last string
	ad   bool // the upstream validated it
	ours bool // authoritative
	// unknown marks a name of our own domain without a record of ours, which
	// others may be asked about.
	unknown bool
}

// found is the outcome of a name that exists, with what it has of the type,
// or with "no data".
func found(n *name, full, owner string, qtype uint16, apex string, z *zone) *outcome {
	o := &outcome{ours: true, last: full}
	if c := n.alias(); c != nil && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
		alias := *c
		alias.Hdr.Name = owner
		o.answer = []dns.RR{&alias}
		o.next = strings.ToLower(alias.Target)
		return o
	}
	o.answer = n.records(owner, qtype)
	if full == apex && z.domain == apex && len(o.answer) == 0 {
		o.answer = atApex(owner, qtype, apex, z)
	}
	if len(o.answer) == 0 {
		o.ns = []dns.RR{soa(apex, z)}
	}
	return o
}

// nothing is the outcome "no such name" below the apex.
func nothing(full, apex string, z *zone) *outcome {
	return &outcome{rcode: dns.RcodeNameError, ours: true, last: full, ns: []dns.RR{soa(apex, z)}}
}

// noData is the outcome "no such type" of a name below the apex.
func noData(full, apex string, z *zone) *outcome {
	return &outcome{ours: true, last: full, ns: []dns.RR{soa(apex, z)}}
}

// failed is the outcome without an answer.
func failed(full string) *outcome { return &outcome{rcode: dns.RcodeServerFailure, last: full} }

// outcomeOf reads an upstream's answer to the question. Only what leads from
// the question to its answer is taken (RFC 5452 section 6): aliases and their
// targets, signatures, and what proves that there is nothing.
func outcomeOf(m *dns.Msg, name string, qtype uint16) *outcome {
	o := &outcome{rcode: m.Rcode, last: name, ad: m.AuthenticatedData}
	has := false
	var been []string   // an answer may lead in a circle
	var dnames []dns.RR // RFC 6672; few, for they are compared with each other
	for !has && !slices.Contains(been, o.last) && len(been) <= maxHops {
		been = append(been, o.last)
		at := o.last
		for _, rr := range m.Answer {
			h := rr.Header()
			here := strings.EqualFold(h.Name, at)
			switch {
			case here && (h.Rrtype == qtype || qtype == dns.TypeANY):
				o.answer, has = append(o.answer, rr), true
			case here && h.Rrtype == dns.TypeCNAME:
				o.answer, o.last = append(o.answer, rr), strings.ToLower(rr.(*dns.CNAME).Target)
			case here && h.Rrtype == dns.TypeRRSIG:
				o.answer = append(o.answer, rr)
			case h.Rrtype == dns.TypeDNAME && len(dnames) < maxHops && dns.IsSubDomain(h.Name, at) && !slices.Contains(dnames, rr):
				o.answer, dnames = append(o.answer, rr), append(dnames, rr)
			}
		}
		if has {
			o.last = at
		}
	}
	closed := false
	for _, rr := range m.Ns {
		switch rr.Header().Rrtype {
		case dns.TypeSOA:
			closed = true
			o.ns = append(o.ns, rr)
		case dns.TypeNSEC, dns.TypeNSEC3, dns.TypeRRSIG, dns.TypeDS:
			o.ns = append(o.ns, rr)
		}
	}
	if m.Rcode == dns.RcodeSuccess && !has && !closed && o.last != name {
		o.next = o.last // an upstream that does not follow aliases out of its zones
	}
	return o
}

// atApex returns the SOA or NS records that were asked for.
func atApex(owner string, qtype uint16, apex string, z *zone) []dns.RR {
	switch qtype {
	case dns.TypeSOA, dns.TypeANY:
		return []dns.RR{soa(owner, z)}
	case dns.TypeNS:
		return []dns.RR{&dns.NS{Hdr: head(owner, dns.TypeNS, localTTL), Ns: server(apex, z)}}
	}
	return nil
}

// server returns the name of the zone's name server.
func server(apex string, z *zone) string {
	if z.domain != "" {
		return nameserver + "." + z.domain
	}
	return nameserver + "." + strings.TrimPrefix(apex, ".")
}

func soa(apex string, z *zone) *dns.SOA {
	ns := server(apex, z)
	return &dns.SOA{
		Hdr: head(apex, dns.TypeSOA, negativeTTL),
		Ns:  ns, Mbox: "hostmaster." + strings.TrimPrefix(ns, nameserver+"."),
		Serial: serial(string(z.Network), len(z.names)+len(z.crowd.labels)), Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}
