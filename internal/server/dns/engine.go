package dns

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

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

// engine decides what each query gets. It has no sockets and no clock. What
// sets something excludes every other call; the rest may run at the same time.
type engine struct {
	host      map[netip.Addr]bool // the host's own addresses
	upstreams []upstream          // the host's resolvers
	zones     map[vnet.ID]*zone
	views     map[viewKey]*view
	cache     *cache
	limit     *limiter
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

// setUpstreams takes the host's resolvers and reports whether they changed.
func (e *engine) setUpstreams(servers []netip.AddrPort) bool {
	list := usable(servers)
	if slices.Equal(list, e.upstreams) {
		return false
	}
	e.upstreams = list
	return true
}

// client is who asks.
type client struct {
	network vnet.ID    // whose gateway address was asked
	addr    netip.Addr // the source, without its scope
	local   bool       // a link-local source on the network's own link, or the host itself
	tcp     bool
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
	if msg[2]>>3&0xf != dns.OpcodeQuery { // whose questions may be shaped otherwise
		return verdict{answer: header(msg, dns.RcodeNotImplemented)}
	}
	q := new(dns.Msg)
	if err := q.Unpack(msg); err != nil || len(q.Question) != 1 { // RFC 9619: exactly one
		return verdict{answer: header(msg, dns.RcodeFormatError)}
	}
	if !oneOPT(q) {
		return verdict{answer: header(msg, dns.RcodeFormatError)}
	}
	if a := unfit(q); a != nil {
		return verdict{answer: pack(a, q, c.tcp)}
	}
	question := q.Question[0]
	return e.pursue(now, z, &inquiry{
		client: c, query: q, name: strings.ToLower(question.Name), owner: question.Name, qtype: question.Qtype,
	})
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

// oneOPT reports whether the message has at most one OPT record, and that of
// the root (RFC 6891 section 6.1.1).
func oneOPT(q *dns.Msg) bool {
	n := 0
	for _, rr := range q.Extra {
		if h := rr.Header(); h.Rrtype == dns.TypeOPT {
			if n++; n > 1 || h.Name != "." {
				return false
			}
		}
	}
	return true
}

// unfit answers what is no plain query.
func unfit(q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	opt := q.IsEdns0()
	switch {
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
// name is not ours. owner is the name as it was asked for.
func (e *engine) local(z *zone, full, owner string, qtype uint16) *outcome {
	v := e.views[viewKey{z.NS, z.Project}]
	if o := special(z, full, owner, qtype); o != nil {
		return o
	}
	if o := v.elsewhere(z, full, owner, qtype); o != nil {
		return o
	}
	if o := v.reverse(z, full, owner, qtype); o != nil {
		return o
	}
	if domain, zones := v.domainOf(full, z); zones != nil {
		o := inDomain(zones, full, owner, qtype, domain)
		if o.unknown && (z.hasForwarder(full, domain) || slices.ContainsFunc(zones, func(z *zone) bool { return z.Upwards })) {
			return nil
		}
		return o
	}
	if label, rest, _ := strings.Cut(full, "."); rest == "" && label != "" {
		return v.single(z, label, full, owner, qtype)
	}
	return nil
}
