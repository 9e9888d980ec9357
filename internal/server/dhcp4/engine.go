package dhcp4

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// effects is what a step of the engine wants done.
type effects struct {
	send    []reply
	commit  []commit
	release []vnet.Lease
	granted []vnet.Lease // to ports and reservations
}

// commit is a claim to be made; the engine waits for committed(token).
type commit struct {
	token uint64
	lease vnet.Lease
}

// owner is who an address is kept for.
type owner struct {
	port        vnet.ID // or
	reservation vnet.ID
}

// pending is a request whose claim is under way.
type pending struct {
	req   *request
	lease vnet.Lease
	time  time.Duration
	quiet bool // a decline: nobody waits for an answer
}

// engine is the DHCPv4 side of one network. Its methods neither block nor look
// at a clock.
type engine struct {
	host   string
	svc    plan.Service
	guests map[vnet.ID]plan.Guest
	byMAC  map[vnet.MAC]vnet.ID
	owned  map[netip.Addr]owner

	reservations []vnet.Reservation
	reservedMAC  map[vnet.MAC]int
	reservedName map[string]int

	table   *table
	pools   map[vnet.ID]*pool
	pending map[uint64]*pending
	waiting map[string]uint64 // client to token
	token   uint64
	stopped bool // since the last set
	// conflicts are addresses of ports that a guest found in use elsewhere.
	conflicts map[netip.Addr]time.Time
}

func newEngine(host string) *engine {
	return &engine{
		host: host, guests: make(map[vnet.ID]plan.Guest), byMAC: make(map[vnet.MAC]vnet.ID),
		owned: make(map[netip.Addr]owner), table: newTable(), pools: make(map[vnet.ID]*pool),
		pending: make(map[uint64]*pending), waiting: make(map[string]uint64),
		conflicts: make(map[netip.Addr]time.Time),
	}
}

// set takes the wish of the network.
func (e *engine) set(svc plan.Service) {
	for i := range svc.Subnets {
		sub := &svc.Subnets[i]
		if old := e.subnet(sub.ID); sub.Family != vnet.IPv4 || old != nil && e.pools[sub.ID] != nil &&
			old.Prefix == sub.Prefix && reflect.DeepEqual(old.Ranges, sub.Ranges) {
			continue
		}
		e.pools[sub.ID] = newPool(sub)
	}
	e.svc, e.stopped = svc, false
	for id := range e.pools {
		if e.subnet(id) == nil {
			delete(e.pools, id)
		}
	}
}

// subnet returns an IPv4 subnet by its ID, or nil.
func (e *engine) subnet(id vnet.ID) *plan.Subnet {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; s.ID == id && s.Family == vnet.IPv4 {
			return s
		}
	}
	return nil
}

// subnetOf returns the IPv4 subnet that an address is in, or nil.
func (e *engine) subnetOf(a netip.Addr) *plan.Subnet {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; s.Family == vnet.IPv4 && s.Prefix.Contains(a) {
			return s
		}
	}
	return nil
}

// serves reports whether guests of the subnet ask us.
func serves(s *plan.Subnet) bool { return s.Family == vnet.IPv4 && s.Guests == vnet.GuestsDHCP }

// identifier is the server identifier towards clients of a subnet: our
// address in it, else in another one of the link; zero if we have none.
func (e *engine) identifier(sub *plan.Subnet) netip.Addr {
	if sub != nil && sub.Gateway.Is4() {
		return sub.Gateway
	}
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; s.Family == vnet.IPv4 && s.Gateway.Is4() {
			return s.Gateway
		}
	}
	return netip.Addr{}
}

// isIdentifier reports whether a client means us.
func (e *engine) isIdentifier(a netip.Addr) bool {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; s.Family == vnet.IPv4 && s.Gateway.Is4() && s.Gateway == a {
			return true
		}
	}
	return false
}

// active reports whether there is anything to serve.
func (e *engine) active() bool {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; serves(s) && e.identifier(s).IsValid() {
			return true
		}
	}
	return false
}

// nameless reports whether guests ask us and we have no address to answer
// from.
func (e *engine) nameless() bool {
	return !e.active() && slices.ContainsFunc(e.svc.Subnets, func(s plan.Subnet) bool { return serves(&s) })
}

// setGuest takes what is known of a port.
func (e *engine) setGuest(g plan.Guest) {
	e.removeGuest(g.Port)
	e.guests[g.Port] = g
	if !g.MAC.IsZero() {
		e.byMAC[g.MAC] = g.Port
	}
	for _, a := range g.Addresses {
		if a.Address.Is4() {
			e.owned[a.Address] = owner{port: g.Port}
		}
	}
}

// removeGuest forgets a port.
func (e *engine) removeGuest(port vnet.ID) {
	g, ok := e.guests[port]
	if !ok {
		return
	}
	delete(e.guests, port)
	if e.byMAC[g.MAC] == port {
		delete(e.byMAC, g.MAC)
	}
	for _, a := range g.Addresses {
		if e.owned[a.Address] == (owner{port: port}) {
			delete(e.owned, a.Address)
			delete(e.conflicts, a.Address)
		}
	}
	e.ownReserved()
}

// setReservations replaces the network's reservations.
func (e *engine) setReservations(rs []vnet.Reservation) {
	for a, o := range e.owned {
		if o.port == "" {
			delete(e.owned, a)
		}
	}
	e.reservations = rs
	e.reservedMAC, e.reservedName = make(map[vnet.MAC]int), make(map[string]int)
	for i, r := range rs {
		if !r.Address.Is4() {
			continue
		}
		if !r.MAC.IsZero() {
			e.reservedMAC[r.MAC] = i
		} else if n := label(r.Client); n != "" {
			e.reservedName[n] = i
		}
	}
	e.ownReserved()
}

// ownReserved keeps reserved addresses that no port has.
func (e *engine) ownReserved() {
	for _, r := range e.reservations {
		if _, ok := e.owned[r.Address]; !ok && r.Address.Is4() {
			e.owned[r.Address] = owner{reservation: r.ID}
		}
	}
}

// stop ends the service; ports, reservations and leases are kept.
func (e *engine) stop() {
	e.set(plan.Service{})
	e.stopped = true
	clear(e.pending)
	clear(e.waiting)
}

// load takes a lease that is durable already.
func (e *engine) load(l vnet.Lease, now time.Time) {
	if l.Family != vnet.IPv4 || !l.Address.Is4() {
		return
	}
	if l.Deleting != nil {
		if old := e.table.byAddress[l.Address]; old != nil && old.state != offered {
			e.table.release(old)
		}
		return
	}
	en := &entry{lease: l, client: clientOf(&l), state: bound, until: l.Expires}
	switch {
	case l.Declined:
		en.state, en.client = declined, ""
	case l.How != vnet.HowDHCPv4:
		if old := e.table.byAddress[l.Address]; old != nil && old.state == bound {
			return // what we gave, seen in use; or somebody who has no right to it
		}
		en.state, en.client = foreign, ""
	}
	if !l.Expires.IsZero() && !l.Expires.After(now) {
		if en.client == "" {
			return
		}
		en.state, en.until = idle, time.Time{}
	}
	e.table.put(en)
}

// clientOf is the key of a lease's client.
func clientOf(l *vnet.Lease) string {
	if l.Client != "" {
		return "id:" + l.Client
	}
	return "mac:" + l.MAC.String()
}

// receive answers one message.
func (e *engine) receive(b []byte, now time.Time) (effects, error) {
	r, err := parse(b)
	if err != nil {
		return effects{}, err
	}
	e.table.expire(now)
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
	return effects{}, errNotOurs
}
