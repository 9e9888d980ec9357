package dns

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// question is what upstreams are asked, and the key of the cache.
type question struct {
	via    string // of the route: which upstreams
	name   string // lower case
	qtype  uint16
	do, cd bool // DNSSEC OK, checking disabled
}

// message returns the query for an upstream, still without an ID. Nothing of
// the client but the question goes there.
func (k question) message() *dns.Msg {
	m := new(dns.Msg)
	m.RecursionDesired = true
	m.CheckingDisabled = k.cd
	// RFC 6840 section 5.7: AD asks the upstream to say if it validated.
	m.AuthenticatedData = true
	m.Question = []dns.Question{{Name: k.name, Qtype: k.qtype, Qclass: dns.ClassINET}}
	m.SetEdns0(maxUDP, k.do)
	return m
}

// reply starts an answer of our own.
func reply(q *dns.Msg) *dns.Msg {
	a := new(dns.Msg)
	a.SetReply(q)
	a.Authoritative = true
	a.RecursionAvailable = true
	a.CheckingDisabled = q.CheckingDisabled
	return a
}

// failure is an answer that is only a code.
func failure(q *dns.Msg, rcode int) *dns.Msg {
	a := reply(q)
	a.Authoritative = false
	a.Rcode = rcode
	return a
}

// pack encodes an answer to q, truncated to what the client takes by UDP.
func pack(a, q *dns.Msg, tcp bool) []byte {
	size := minUDP
	if opt := q.IsEdns0(); opt != nil {
		size = min(max(int(opt.UDPSize()), minUDP), maxUDP)
		a.SetEdns0(maxUDP, opt.Do())
	} else if a.Rcode > 0xf {
		a.Rcode = dns.RcodeServerFailure // extended codes need EDNS
	}
	if tcp {
		size = dns.MaxMsgSize
	}
	a.Compress = true
	a.Truncate(size)
	b, err := a.Pack()
	if err != nil || len(b) > size {
		f := failure(q, dns.RcodeServerFailure)
		if b, err = f.Pack(); err != nil {
			return nil
		}
	}
	return b
}

// refuse answers without reading more than the header.
func refuse(msg []byte) []byte { return header(msg, dns.RcodeRefused) }

// header answers a message that cannot be read, or is not worth it, with the
// header alone.
func header(msg []byte, rcode int) []byte {
	b := make([]byte, 12)
	copy(b, msg[:2])
	flags := binary.BigEndian.Uint16(msg[2:])
	// QR, the client's opcode and RD, and the code.
	binary.BigEndian.PutUint16(b[2:], 1<<15|flags&0x7900|uint16(rcode&0xf))
	return b
}
