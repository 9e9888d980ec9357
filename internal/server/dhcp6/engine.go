package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// hold says which IA has a port's addresses.
type hold struct {
	duid string
	iaid uint32
}

// engine is the DHCPv6 side of one network.
type engine struct {
	*lease.Book
	duid  []byte // the server's
	holds map[vnet.ID]hold
	// known are the DUIDs and IAIDs that were seen with somebody.
	known map[known]whom
	// leases are those whose DUIDs and IAIDs tell whose they are.
	leases *pack.Set[pack.Lease]
	// cards are the ports that MACs with dynamic leases had.
	cards   map[vnet.MAC]vnet.ID
	grants  map[netip.Addr]grant
	accepts acceptors

	told    []option // of the network
	reports bool     // guests may register addresses of their own

	pending map[uint64]*pending
	waiting map[messageKey]bool // messages whose answers wait for claims
	token   uint64

	*message
}

// message is what is worked with while one message is answered, and used again
// for the next. All networks of a server share one, since it answers one
// message at a time.
type message struct {
	packet      listen.Packet
	tries       int // how often it was worked before
	now         time.Time
	req         request
	client      client
	kept, going []netip.Addr
	answers     []answer
	wishes      []netip.Addr
	given       []netip.Addr // dynamic, by this message
	beside      int          // what the client is being given that it had not
	out         writer
	reply       [1]dhcp.Reply
}

// newEngine returns the engine of a network of which nothing is known. Without
// a secret guests are never told to ask again.
func newEngine(host string, duid, secret []byte, m *message) *engine {
	e := &engine{
		message: m, leases: pack.NewSet(hashOf),
		duid: duid, holds: make(map[vnet.ID]hold), known: make(map[known]whom), cards: make(map[vnet.MAC]vnet.ID), grants: make(map[netip.Addr]grant),
		accepts: acceptors{secret: secret, clients: make(map[string]*acceptor)},
		pending: make(map[uint64]*pending), waiting: make(map[messageKey]bool),
	}
	e.Book = lease.NewBook(lease.Rules{
		Family: vnet.IPv6, How: vnet.HowDHCPv6, Host: host, Serves: serves, Client: appendClient, Key: reservationKey,
		Forgotten: func(port vnet.ID) { delete(e.holds, port) },
		Loaded:    e.loaded,
		Changed:   e.changed,
	})
	return e
}

// changed is told that the network is another one.
func (e *engine) changed(*plan.Service) {
	svc := e.Service()
	e.accepts.set(svc)
	e.told = toldBy(svc)
	e.reports = false
	for i := range svc.Subnets {
		e.reports = e.reports || makesAddresses(&svc.Subnets[i])
	}
}

// serves reports whether guests of an IPv6 subnet get addresses from us.
func serves(s *plan.Subnet) bool {
	return s.Guests == vnet.GuestsStateful || s.Guests == vnet.GuestsSLAACStateful
}

// Active reports whether there is anything to serve: addresses, prefixes, or
// options.
func (e *engine) Active() bool {
	return e.ServesAny() || slices.ContainsFunc(e.Service().Subnets, func(s plan.Subnet) bool {
		return s.Family == vnet.IPv6 && s.Guests == vnet.GuestsStateless
	})
}

// Abandon forgets the claims under way.
func (e *engine) Abandon() {
	clear(e.pending)
	clear(e.waiting)
}

// Receive answers one message.
func (e *engine) Receive(p listen.Packet, now time.Time) (dhcp.Effects, error) {
	return e.handle(p, 0, now)
}

// handle answers a message that was worked so often before.
func (e *engine) handle(p listen.Packet, tries int, now time.Time) (dhcp.Effects, error) {
	e.packet, e.tries, e.now = p, tries, now
	r := &e.req
	if err := r.parse(p); err != nil {
		return dhcp.Effects{}, err
	}
	if !e.Active() {
		return dhcp.Effects{}, errIgnored
	}
	if err := e.readRelays(r, p); err != nil {
		return dhcp.Effects{}, err
	}
	if err := e.checkIdentity(r); err != nil {
		return dhcp.Effects{}, err
	}
	e.Table().Expire(now)
	e.client = e.identify(r)
	c := &e.client
	if !c.admitted {
		return dhcp.Effects{}, nil
	}
	if e.unheard(r, c) {
		return dhcp.Effects{}, errUnheard
	}
	e.accepts.heard(r)
	switch r.kind {
	case kindSolicit:
		return e.solicit(r, c, now), nil
	case kindRequest:
		return e.request(r, c, now), nil
	case kindRenew, kindRebind:
		return e.renew(r, c, now), nil
	case kindConfirm:
		return e.confirm(r), nil
	case kindRelease:
		return e.release(r, c, now), nil
	case kindDecline:
		return e.decline(r, c, now), nil
	case kindRegister:
		return e.register(r, c, now)
	default:
		return e.inform(r), nil
	}
}
