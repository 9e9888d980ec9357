package dns

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

// question is what an upstream is asked, and the key of the cache.
type question struct {
	name   string // lower case
	qtype  uint16
	do, cd bool // DNSSEC OK, checking disabled
}

func questionOf(q *dns.Msg) question {
	k := question{name: strings.ToLower(q.Question[0].Name), qtype: q.Question[0].Qtype, cd: q.CheckingDisabled}
	if opt := q.IsEdns0(); opt != nil {
		k.do = opt.Do()
	}
	return k
}

// message returns the query for an upstream with the ID. Nothing of the client
// but the question goes there.
func (k question) message(id uint16) *dns.Msg {
	m := new(dns.Msg)
	m.Id = id
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

// finish turns an upstream's answer into the client's: the client's ID, the
// name as the client wrote it, no more DNSSEC than asked for.
func finish(up, q *dns.Msg, tcp bool) []byte {
	a := *up // shallow: pack adds to Extra, so that is made anew
	a.Id = q.Id
	a.Response = true
	a.Authoritative = false
	a.RecursionDesired = q.RecursionDesired
	a.RecursionAvailable = true
	a.CheckingDisabled = q.CheckingDisabled
	a.Question = q.Question
	opt := q.IsEdns0()
	a.AuthenticatedData = up.AuthenticatedData && (q.AuthenticatedData || (opt != nil && opt.Do()))
	a.Extra = nil
	for _, rr := range up.Extra {
		switch rr.Header().Rrtype {
		case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG: // between us and the upstream
		default:
			a.Extra = append(a.Extra, rr)
		}
	}
	return pack(&a, q, tcp)
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
