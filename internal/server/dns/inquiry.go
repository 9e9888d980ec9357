package dns

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// maxHops bounds the aliases that are followed from one question (RFC 1034
// section 5.2.2 leaves the bound to the server), and with them the questions
// that one query may cost.
const maxHops = 8

// inquiry is a query on its way to its answer: along aliases, between our own
// names and the upstreams'.
type inquiry struct {
	client client
	query  *dns.Msg
	name   string   // canonical: what is looked for now
	owner  string   // the same as whoever asked for it spells it
	qtype  uint16   // which type of it
	chain  []dns.RR // the aliases that led here
	hops   int
	ours   bool // the name in the question is ours
	mixed  bool // something in the answer is not validated, whatever upstreams say
	// six is, while DNS64 looks for IPv4 addresses, the outcome without IPv6
	// ones.
	six *outcome
}

// errand is a question for the upstreams, on behalf of an inquiry.
type errand struct {
	question
	servers []upstream
	trail   []byte // see trail.go
	client  client
	inquiry *inquiry
}

// verdict is what becomes of a query: nothing (both nil), an answer, or an
// errand whose outcome resume takes.
type verdict struct {
	answer []byte
	ask    *errand
}

// pursue goes on with the inquiry until it is answered or an upstream has to
// be asked.
func (e *engine) pursue(now time.Time, z *zone, i *inquiry) verdict {
	for {
		o := e.local(z, i.name, i.owner, i.qtype)
		if o == nil {
			via := e.route(z, i.name)
			switch {
			case via.nobody:
				o = nothing(i.name, via.apex, z)
			case !i.query.RecursionDesired:
				return e.unasked(i)
			default:
				q := question{via: via.key, name: i.name, qtype: i.qtype, do: wantsDNSSEC(i.query), cd: i.query.CheckingDisabled}
				m := e.cache.get(now, q)
				if m == nil {
					return verdict{ask: &errand{question: q, servers: via.servers, trail: trailOf(i.query), client: i.client, inquiry: i}}
				}
				o = outcomeOf(m, i.name, i.qtype)
			}
		}
		if b, done := e.take(z, i, o); done {
			return verdict{answer: b}
		}
	}
}

// resume goes on with an inquiry whose errand came back with an upstream's
// answer, or with nil.
func (e *engine) resume(now time.Time, i *inquiry, m *dns.Msg) verdict {
	z := e.zones[i.client.network]
	if z == nil {
		return verdict{}
	}
	o := failed(i.name)
	if m != nil {
		o = outcomeOf(m, i.name, i.qtype)
	}
	if b, done := e.take(z, i, o); done {
		return verdict{answer: b}
	}
	return e.pursue(now, z, i)
}

// take takes an outcome in; done says that it was the last one, and that b is
// the answer.
func (e *engine) take(z *zone, i *inquiry, o *outcome) (b []byte, done bool) {
	if i.hops == 0 && i.six == nil {
		i.ours = o.ours
	}
	i.mixed = i.mixed || o.ours
	i.hops++
	if o.next != "" {
		if i.hops > maxHops {
			return pack(failure(i.query, dns.RcodeServerFailure), i.query, i.client.tcp), true
		}
		i.chain = append(i.chain, o.answer...)
		i.name, i.owner = o.next, o.next
		return nil, false
	}
	switch {
	case i.six != nil:
		o = i.synthesise(z.DNS64, o)
	case i.wants64(z, o):
		o = without64(o)
		if o.last != i.name { // what aliases of an upstream lead to
			i.chain = append(i.chain, o.answer...)
			o.answer = nil
		}
		i.six, i.qtype, i.name, i.owner = o, dns.TypeA, o.last, owned(i.owner, o.last)
		if i.hops <= maxHops {
			return nil, false
		}
	}
	return e.answer(z, i, o), true
}

// owned keeps the spelling where only that differs.
func owned(owner, name string) string {
	if dns.CanonicalName(owner) == name {
		return owner
	}
	return name
}

// unasked ends an inquiry that would need an upstream and did not desire
// recursion: aliases of ours are told, the cache is not (RFC 1034 section
// 4.3.2 step 3a).
func (e *engine) unasked(i *inquiry) verdict {
	a := failure(i.query, dns.RcodeRefused)
	if len(i.chain) > 0 {
		a = reply(i.query)
		a.Answer = i.chain
	}
	return verdict{answer: pack(a, i.query, i.client.tcp)}
}

// answer makes the message out of the chain and the last outcome.
func (e *engine) answer(z *zone, i *inquiry, o *outcome) []byte {
	a := reply(i.query)
	a.Authoritative = i.ours
	a.Rcode = o.rcode
	a.Answer, a.Ns = o.answer, o.ns
	if len(i.chain) > 0 {
		a.Answer = slices.Concat(i.chain, o.answer)
	}
	// RFC 6840 section 5.8: AD for those who ask for it.
	a.AuthenticatedData = o.ad && !i.mixed && (i.query.AuthenticatedData || wantsDNSSEC(i.query))
	if o.ours {
		a.Extra = e.additional(z, o.answer)
	}
	if o.rcode == dns.RcodeServerFailure || o.rcode == dns.RcodeRefused {
		a.Authoritative, a.Answer = false, nil
	}
	return pack(a, i.query, i.client.tcp)
}

// maxAdditional bounds the targets whose addresses come along.
const maxAdditional = 16

// additional returns the addresses that we have of the targets of SRV (RFC
// 2782), MX and NS records.
func (e *engine) additional(z *zone, answer []dns.RR) []dns.RR {
	var targets []string
	for _, rr := range answer {
		t := ""
		switch rr := rr.(type) {
		case *dns.SRV:
			t = rr.Target
		case *dns.MX:
			t = rr.Mx
		case *dns.NS:
			t = rr.Ns
		}
		if t != "" && !slices.Contains(targets, t) && len(targets) < maxAdditional {
			targets = append(targets, t)
		}
	}
	var out []dns.RR
	for _, t := range targets {
		for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
			if o := e.local(z, dns.CanonicalName(t), t, qtype); o != nil && o.next == "" && o.rcode == dns.RcodeSuccess {
				out = append(out, o.answer...)
			}
		}
	}
	return out
}

// wantsDNSSEC reports whether the DO bit is set (RFC 3225).
func wantsDNSSEC(q *dns.Msg) bool {
	opt := q.IsEdns0()
	return opt != nil && opt.Do()
}
