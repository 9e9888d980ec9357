package dns

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// localTTL is the TTL in seconds of guests' names: they come and go.
	localTTL = 30
	// negativeTTL is the TTL in seconds of "no such name" about guests (RFC
	// 2308 section 5): short, for a guest may appear a moment later.
	negativeTTL = 3
	// maxUDP bounds UDP answers, in bytes, so that none is fragmented on any
	// path with IPv6's least MTU.
	maxUDP = 1232
	// minUDP is what every client takes (RFC 1035 section 4.2.1).
	minUDP = 512
)

// engine decides what each query gets. It has no sockets and no clock. setZone
// and removeZone exclude every other call; the rest may run at the same time.
type engine struct {
	host  map[netip.Addr]bool // the host's own addresses
	zones map[vnet.ID]*zone
	views map[viewKey]*view
	cache *cache
	limit *limiter
}

func newEngine() *engine {
	return &engine{zones: map[vnet.ID]*zone{}, views: map[viewKey]*view{}, cache: newCache(), limit: newLimiter()}
}

func (e *engine) setZone(z *zone) {
	e.removeZone(z.Network)
	e.zones[z.Network] = z
	key := viewKey{z.NS, z.Project}
	if e.views[key] == nil {
		e.views[key] = newView()
	}
	e.views[key].insert(z)
}

func (e *engine) removeZone(network vnet.ID) {
	z := e.zones[network]
	if z == nil {
		return
	}
	delete(e.zones, network)
	key := viewKey{z.NS, z.Project}
	if v := e.views[key]; v != nil {
		v.remove(z)
		if v.zones == 0 {
			delete(e.views, key)
		}
	}
}

// client is who asks.
type client struct {
	network vnet.ID    // whose gateway address was asked
	addr    netip.Addr // the source, without its scope
	local   bool       // a link-local source on the network's own link, or the host itself
	tcp     bool
}

// verdict is what becomes of a query: nothing (both nil), an answer, or a
// question for the upstreams whose outcome finish turns into the answer.
type verdict struct {
	answer []byte
	ask    *question
	query  *dns.Msg
}

// handle decides about one message from a client.
func (e *engine) handle(now time.Time, c client, msg []byte) verdict {
	z := e.zones[c.network]
	if z == nil || len(msg) < 12 || msg[2]&0x80 != 0 { // a response: never answered, or two servers could talk for ever
		return verdict{}
	}
	if !e.mayAsk(z, c) {
		return verdict{answer: refuse(msg)}
	}
	if !e.limit.take(now, c.addr) {
		return verdict{}
	}
	q := new(dns.Msg)
	if err := q.Unpack(msg); err != nil || len(q.Question) != 1 {
		return verdict{answer: header(msg, dns.RcodeFormatError)}
	}
	if a := e.unfit(q); a != nil {
		return verdict{answer: pack(a, q, c.tcp)}
	}
	if a := e.local(z, q); a != nil {
		return verdict{answer: pack(a, q, c.tcp)}
	}
	if !q.RecursionDesired {
		return verdict{answer: pack(failure(q, dns.RcodeRefused), q, c.tcp)}
	}
	ask := questionOf(q)
	if a := e.cache.get(now, ask); a != nil {
		return verdict{answer: finish(a, q, c.tcp)}
	}
	return verdict{ask: &ask, query: q}
}

// mayAsk reports whether the client belongs to the network: we are no open
// resolver, whatever the firewall does.
func (e *engine) mayAsk(z *zone, c client) bool {
	if c.local || z.NS == "" && e.host[c.addr] {
		return true
	}
	if c.addr.IsLinkLocalUnicast() {
		return false
	}
	if slices.ContainsFunc(z.Prefixes, func(p netip.Prefix) bool { return p.Contains(c.addr) }) {
		return true
	}
	_, zones := e.views[viewKey{z.NS, z.Project}].within(netip.PrefixFrom(c.addr, c.addr.BitLen()))
	return len(zones) > 0
}

// unfit answers what is no plain query.
func (e *engine) unfit(q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	opt := q.IsEdns0()
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return failure(q, dns.RcodeNotImplemented)
	case opt != nil && opt.Version() != 0:
		return failure(q, dns.RcodeBadVers)
	case question.Qclass != dns.ClassINET:
		return failure(q, dns.RcodeRefused)
	}
	switch question.Qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		return failure(q, dns.RcodeRefused)
	case dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeNone:
		return failure(q, dns.RcodeFormatError)
	}
	return nil
}

// local answers from the networks that z's guests see, or returns nil if the
// name is not ours.
func (e *engine) local(z *zone, q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	full := strings.ToLower(question.Name)
	v := e.views[viewKey{z.NS, z.Project}]
	if a := special(q, full); a != nil {
		return a
	}
	if a := v.reverse(q, full); a != nil {
		return a
	}
	if domain, zones := v.domainOf(full, z); zones != nil {
		return inDomain(q, full, domain, zones)
	}
	for _, owner := range v.outside[full] {
		return found(q, owner.outside[full], full, owner)
	}
	if label, rest, _ := strings.Cut(full, "."); rest == "" && label != "" {
		if n := z.names[label+"."+z.domain]; n != nil && len(n.v4)+len(n.v6) > 0 {
			return found(q, n, full, z)
		}
	}
	return nil
}

// special answers the names that RFC 6761 gives to every resolver itself.
func special(q *dns.Msg, full string) *dns.Msg {
	switch {
	case under(full, "localhost."):
		n := &name{v4: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, v6: []netip.Addr{netip.IPv6Loopback()}}
		return found(q, n, "localhost.", &zone{})
	case under(full, "invalid."), under(full, "onion."): // RFC 6761 section 6.4, RFC 7686
		return failure(q, dns.RcodeNameError)
	}
	return nil
}

// inDomain answers a name at or below a domain of ours. Networks may share a
// domain; the first that knows the name answers.
func inDomain(q *dns.Msg, full, domain string, zones []*zone) *dns.Msg {
	for _, z := range zones {
		if n := z.names[full]; n != nil && (len(n.v4)+len(n.v6) > 0 || len(zones) == 1) {
			return found(q, n, domain, z)
		}
	}
	for _, z := range zones {
		if n := z.names[full]; n != nil {
			return found(q, n, domain, z)
		}
	}
	a := reply(q)
	a.Rcode = dns.RcodeNameError
	a.Ns = []dns.RR{soa(domain, zones[0])}
	return a
}

// found answers for a name that exists, with what it has of the type asked
// for, or with "no data".
func found(q *dns.Msg, n *name, apex string, z *zone) *dns.Msg {
	a := reply(q)
	question := q.Question[0]
	any := question.Qtype == dns.TypeANY
	if question.Qtype == dns.TypeA || any {
		for _, x := range n.v4 {
			a.Answer = append(a.Answer, &dns.A{Hdr: head(question.Name, dns.TypeA, localTTL), A: x.AsSlice()})
		}
	}
	if question.Qtype == dns.TypeAAAA || any {
		for _, x := range n.v6 {
			a.Answer = append(a.Answer, &dns.AAAA{Hdr: head(question.Name, dns.TypeAAAA, localTTL), AAAA: x.AsSlice()})
		}
	}
	if strings.EqualFold(question.Name, apex) && z.domain == apex {
		a.Answer = append(a.Answer, atApex(question, apex, z)...)
	}
	if len(a.Answer) == 0 {
		a.Ns = []dns.RR{soa(apex, z)}
	}
	return a
}

// reverse answers for the networks' prefixes, or returns nil.
func (v *view) reverse(q *dns.Msg, full string) *dns.Msg {
	named, ok := ipam.ParseReverse(full)
	if !ok {
		return nil
	}
	prefix, zones := v.within(named)
	if zones == nil {
		return nil
	}
	apexPrefix := reverseApex(named.Addr(), prefix)
	if named.Bits() < apexPrefix.Bits() {
		return nil // above where our zone is cut
	}
	apex := reverseName(apexPrefix)
	a := reply(q)
	question := q.Question[0]
	exists := full == apex
	if full == apex && !named.IsSingleIP() {
		a.Answer = atApex(question, apex, zones[0])
	}
	for _, z := range zones {
		target, known := z.pointers[named.Addr()]
		switch {
		case !named.IsSingleIP(): // RFC 8020: what lies above a name exists
			exists = exists || z.hasWithin(named)
		case known:
			exists = true
			if len(a.Answer) == 0 && (question.Qtype == dns.TypePTR || question.Qtype == dns.TypeANY) {
				a.Answer = []dns.RR{&dns.PTR{Hdr: head(question.Name, dns.TypePTR, localTTL), Ptr: target}}
			}
		}
	}
	if len(a.Answer) == 0 {
		a.Ns = []dns.RR{soa(apex, zones[0])}
	}
	if !exists {
		a.Rcode = dns.RcodeNameError
	}
	return a
}

// hasWithin reports whether an address of the prefix has a name.
func (c *zone) hasWithin(p netip.Prefix) bool {
	for a := range c.pointers {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// atApex returns the SOA and NS records that were asked for.
func atApex(question dns.Question, apex string, z *zone) []dns.RR {
	var out []dns.RR
	if question.Qtype == dns.TypeSOA || question.Qtype == dns.TypeANY {
		out = append(out, soa(apex, z))
	}
	if question.Qtype == dns.TypeNS || question.Qtype == dns.TypeANY {
		out = append(out, &dns.NS{Hdr: head(apex, dns.TypeNS, localTTL), Ns: server(apex, z)})
	}
	return out
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
		Serial: serial(string(z.Network), len(z.names)), Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}

func head(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}
