package dhcp6

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

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

// hold says which IA has a port's addresses.
type hold struct {
	duid string
	iaid uint32
}

// engine is the DHCPv6 side of one network. Its methods neither block nor look
// at a clock.
type engine struct {
	host   string
	duid   []byte // the server's
	svc    plan.Service
	guests map[vnet.ID]plan.Guest
	byMAC  map[vnet.MAC]vnet.ID
	owned  map[netip.Addr]owner
	holds  map[vnet.ID]hold
	// known are the DUIDs that were seen with a port.
	known map[string]vnet.ID

	reservations []vnet.Reservation
	reserved     map[string][]int // by key of reservationKey

	table   *table
	pools   map[vnet.ID]*pool
	pending map[uint64]*pending
	waiting map[string]uint64 // message to token
	token   uint64
	stopped bool // since the last set
	// conflicts are addresses of ports that a guest found in use elsewhere.
	conflicts map[netip.Addr]time.Time
}

func newEngine(host string, duid []byte) *engine {
	return &engine{
		host: host, duid: duid, guests: make(map[vnet.ID]plan.Guest), byMAC: make(map[vnet.MAC]vnet.ID),
		owned: make(map[netip.Addr]owner), holds: make(map[vnet.ID]hold), known: make(map[string]vnet.ID),
		table: newTable(), pools: make(map[vnet.ID]*pool),
		pending: make(map[uint64]*pending), waiting: make(map[string]uint64),
		conflicts: make(map[netip.Addr]time.Time),
	}
}

// set takes the wish of the network.
func (e *engine) set(svc plan.Service) {
	for i := range svc.Subnets {
		sub := &svc.Subnets[i]
		if old := e.subnet(sub.ID); sub.Family != vnet.IPv6 || old != nil && e.pools[sub.ID] != nil &&
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

// subnet returns an IPv6 subnet by its ID, or nil.
func (e *engine) subnet(id vnet.ID) *plan.Subnet {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; s.ID == id && s.Family == vnet.IPv6 {
			return s
		}
	}
	return nil
}

// subnetOf returns the IPv6 subnet that an address is in, or nil.
func (e *engine) subnetOf(a netip.Addr) *plan.Subnet {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; s.Family == vnet.IPv6 && s.Prefix.Contains(a) {
			return s
		}
	}
	return nil
}

// serves reports whether guests of the subnet get addresses from us.
func serves(s *plan.Subnet) bool {
	return s.Family == vnet.IPv6 && (s.Guests == vnet.GuestsStateful || s.Guests == vnet.GuestsSLAACStateful)
}

// active reports whether there is anything to serve: addresses, or options.
func (e *engine) active() bool {
	for i := range e.svc.Subnets {
		if s := &e.svc.Subnets[i]; serves(s) || s.Family == vnet.IPv6 && s.Guests == vnet.GuestsStateless {
			return true
		}
	}
	return false
}

// setGuest takes what is known of a port.
func (e *engine) setGuest(g plan.Guest) {
	e.removeGuest(g.Port)
	e.guests[g.Port] = g
	if !g.MAC.IsZero() {
		e.byMAC[g.MAC] = g.Port
	}
	for _, a := range g.Addresses {
		if a.Address.Is6() {
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
	delete(e.holds, port)
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
	e.reservations, e.reserved = rs, make(map[string][]int)
	for i, r := range rs {
		if k := reservationKey(&r); k != "" && r.Address.Is6() {
			e.reserved[k] = append(e.reserved[k], i)
		}
	}
	e.ownReserved()
}

// ownReserved keeps reserved addresses that no port has.
func (e *engine) ownReserved() {
	for _, r := range e.reservations {
		if _, ok := e.owned[r.Address]; !ok && r.Address.Is6() {
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
	if l.Family != vnet.IPv6 || !l.Address.Is6() {
		return
	}
	if l.Deleting != nil {
		if old := e.table.byAddress[l.Address]; old != nil && old.state != offered {
			e.table.release(old)
		}
		return
	}
	if l.Port != "" && l.DUID != "" {
		e.learn(l.DUID, l.Port)
	}
	en := &entry{lease: l, client: clientOf(&l), state: bound, until: l.Expires}
	switch {
	case l.Declined:
		en.state, en.client = declined, ""
	case l.How != vnet.HowDHCPv6:
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
func clientOf(l *vnet.Lease) string { return clientName(l.DUID, l.IAID) }

// clientName is the key of a client: dynamic addresses belong to (DUID, IAID).
func clientName(duid string, iaid uint32) string { return fmt.Sprintf("%s/%d", duid, iaid) }

// receive answers one message.
func (e *engine) receive(p packet, now time.Time) (effects, error) {
	r, err := parse(p)
	if err != nil {
		return effects{}, err
	}
	if !e.active() {
		return effects{}, errIgnored
	}
	if err := e.checkIdentity(r); err != nil {
		return effects{}, err
	}
	e.table.expire(now)
	c := e.identify(r)
	if !c.admitted {
		return effects{}, nil
	}
	switch r.kind {
	case dhcpv6.MessageTypeSolicit:
		return e.solicit(r, c, now), nil
	case dhcpv6.MessageTypeRequest:
		return e.request(r, c, now), nil
	case dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		return e.renew(r, c, now), nil
	case dhcpv6.MessageTypeConfirm:
		return e.confirm(r), nil
	case dhcpv6.MessageTypeRelease:
		return e.release(r, now), nil
	case dhcpv6.MessageTypeDecline:
		return e.decline(r, c, now), nil
	default:
		return e.inform(r), nil
	}
}

// checkIdentity holds the rules about identifiers of RFC 9915 section 16.
func (e *engine) checkIdentity(r *request) error {
	ours := bytes.Equal(r.server, e.duid)
	switch r.kind {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if r.raw == nil || r.server != nil {
			return errIdentity
		}
	case dhcpv6.MessageTypeInformationRequest:
		if r.server != nil && !ours || len(r.ias) > 0 || len(r.pds) > 0 {
			return errIdentity
		}
	default:
		if r.raw == nil || !ours {
			return errIdentity
		}
	}
	return nil
}
