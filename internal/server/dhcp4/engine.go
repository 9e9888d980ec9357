package dhcp4

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// engine is the DHCPv4 side of one network. What its steps return to be sent
// is good until the next step of any engine at the same desk.
type engine struct {
	*lease.Book
	*desk
	told told
	// pending are the claims under way, probes the addresses that are looked
	// for on the link, each by token; waiting and probing are the tokens of
	// clients.
	pending map[uint64]*pending
	waiting map[string]uint64
	probes  map[uint64]*pending
	probing map[string]uint64
	token   uint64
	most    int // claims at a time, since there were none
}

// desk is where messages are answered. All networks of a server share one: it
// answers one message at a time, and a thousand desks are megabytes.
type desk struct {
	req    request // that is being answered
	writer writer
	out    [1]dhcp.Reply
}

// pending is a request that waits for a claim or for a probe.
type pending struct {
	req   *request
	grant grant
	lease vnet.Lease
	time  time.Duration
	quiet bool // a decline: nobody waits for an answer
}

func newEngine(host string, d *desk) *engine {
	e := &engine{
		desk: d, pending: make(map[uint64]*pending), waiting: make(map[string]uint64),
		probes: make(map[uint64]*pending), probing: make(map[string]uint64),
	}
	e.Book = lease.NewBook(lease.Rules{
		Family: vnet.IPv4, How: vnet.HowDHCPv4, Host: host, Serves: serves, Client: appendClient, Key: reservationKey,
		Changed: func(*plan.Service) { e.told = tell(e.Service()) },
	})
	return e
}

// serves reports whether guests of an IPv4 subnet ask us.
func serves(s *plan.Subnet) bool { return s.Guests == vnet.GuestsDHCP }

// speaks reports whether guests of a subnet ask us and we have an address to
// answer from.
func (e *engine) speaks(s *plan.Subnet) bool { return e.Serves(s) && e.identifier(s).IsValid() }

// identifier is the server identifier towards clients of a subnet: our
// address in it, else in another one of the link; zero if we have none.
func (e *engine) identifier(sub *plan.Subnet) netip.Addr {
	if sub != nil && sub.Gateway.Is4() {
		return sub.Gateway
	}
	for i := range e.Service().Subnets {
		if s := &e.Service().Subnets[i]; s.Family == vnet.IPv4 && s.Gateway.Is4() {
			return s.Gateway
		}
	}
	return netip.Addr{}
}

// isIdentifier reports whether a client means us.
func (e *engine) isIdentifier(a netip.Addr) bool {
	for i := range e.Service().Subnets {
		if s := &e.Service().Subnets[i]; s.Family == vnet.IPv4 && s.Gateway.Is4() && s.Gateway == a {
			return true
		}
	}
	return false
}

// another reports whether a client means another server.
func (e *engine) another(r *request) bool { return r.server.IsValid() && !e.isIdentifier(r.server) }

// Active reports whether there is anything to serve.
func (e *engine) Active() bool {
	for i := range e.Service().Subnets {
		if s := &e.Service().Subnets[i]; e.speaks(s) {
			return true
		}
	}
	return false
}

// Abandon forgets the claims and probes under way.
func (e *engine) Abandon() {
	clear(e.pending)
	clear(e.waiting)
	clear(e.probes)
	clear(e.probing)
}

// Receive answers one message.
func (e *engine) Receive(p listen.Packet, now time.Time) (dhcp.Effects, error) {
	r := &e.req
	if err := r.parse(p); err != nil {
		return dhcp.Effects{}, err
	}
	if err := e.identify(r); err != nil {
		return dhcp.Effects{}, err
	}
	e.Table().Expire(now)
	if p.Heard && !p.Seen && e.unheard(r) {
		return dhcp.Effects{}, errUnheard
	}
	switch r.kind {
	case kindDiscover:
		return e.discover(r, now), nil
	case kindRequest:
		return e.request(r, now), nil
	case kindDecline:
		return e.decline(r, now), nil
	case kindRelease:
		return e.release(r, now), nil
	case kindInform:
		return e.inform(r), nil
	}
	return dhcp.Effects{}, errNotOurs
}

// nextToken names one more claim or probe.
func (e *engine) nextToken() uint64 {
	e.token++
	return e.token
}
