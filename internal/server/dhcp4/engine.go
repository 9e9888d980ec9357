package dhcp4

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// pending is a request whose claim is under way.
type pending struct {
	req   *request
	lease vnet.Lease
	time  time.Duration
	quiet bool // a decline: nobody waits for an answer
}

// engine is the DHCPv4 side of one network.
type engine struct {
	*lease.Book
	pending map[uint64]*pending
	waiting map[string]uint64 // client to token
	token   uint64
}

func newEngine(host string) *engine {
	return &engine{
		Book: lease.NewBook(lease.Rules{
			Family: vnet.IPv4, How: vnet.HowDHCPv4, Host: host, Serves: serves, Client: clientOf, Key: reservationKey,
		}),
		pending: make(map[uint64]*pending), waiting: make(map[string]uint64),
	}
}

// serves reports whether guests of an IPv4 subnet ask us.
func serves(s *plan.Subnet) bool { return s.Guests == vnet.GuestsDHCP }

// clientOf is the key of a lease's client.
func clientOf(l *vnet.Lease) string {
	if l.Client != "" {
		return "id:" + l.Client
	}
	return "mac:" + l.MAC.String()
}

// reservationKey is how a reservation is found: by MAC or by name.
func reservationKey(r *vnet.Reservation) lease.Key {
	if !r.MAC.IsZero() {
		return lease.Key{MAC: r.MAC}
	}
	return lease.Key{Name: dhcp.Label(r.Client)}
}

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

// Active reports whether there is anything to serve.
func (e *engine) Active() bool {
	for i := range e.Service().Subnets {
		if s := &e.Service().Subnets[i]; e.Serves(s) && e.identifier(s).IsValid() {
			return true
		}
	}
	return false
}

// Abandon forgets the claims under way.
func (e *engine) Abandon() {
	clear(e.pending)
	clear(e.waiting)
}

// Receive answers one message.
func (e *engine) Receive(p listen.Packet, now time.Time) (dhcp.Effects, error) {
	r, err := parse(p.Data)
	if err != nil {
		return dhcp.Effects{}, err
	}
	e.Table().Expire(now)
	switch r.kind {
	case dhcpv4.MessageTypeDiscover:
		return e.discover(r, now), nil
	case dhcpv4.MessageTypeRequest:
		return e.request(r, now), nil
	case dhcpv4.MessageTypeDecline:
		return e.decline(r, now), nil
	case dhcpv4.MessageTypeRelease:
		return e.release(r, now), nil
	case dhcpv4.MessageTypeInform:
		return e.inform(r), nil
	}
	return dhcp.Effects{}, errNotOurs
}
