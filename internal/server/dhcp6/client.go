package dhcp6

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// client is who sent a message.
type client struct {
	guest    *plan.Guest // nil: no port
	mac      vnet.MAC    // zero: not known
	admitted bool
	// kept are the addresses of the port or of reservations, by whether they
	// are to be used for anything new.
	kept, going []netip.Addr
	// iaid is the IA that gets them; any is for every IA of a message to say
	// whether it is there at all.
	iaid uint32
	has  bool
}

// identify finds out who a message is from.
func (e *engine) identify(r *request) client {
	port, mac := e.portOf(r)
	c := client{mac: mac, admitted: e.Admits()}
	if g := e.Guest(port); g != nil {
		c.guest, c.admitted = g, true
		if c.mac.IsZero() {
			c.mac = g.MAC
		}
		for _, a := range g.Addresses {
			e.keep(&c, a.Address, a.Deprecated)
		}
		e.learn(r.duid, port)
	}
	if c.guest == nil {
		e.reservedFor(r, &c)
	}
	if len(c.kept)+len(c.going) > 0 && len(r.ias) > 0 {
		c.iaid, c.has = e.holder(r, port)
	}
	return c
}

// keep adds an address that is the client's own.
func (e *engine) keep(c *client, a netip.Addr, deprecated bool) {
	sub := e.SubnetOf(a)
	switch {
	case !a.Is6() || sub == nil || !e.Serves(sub):
	case deprecated || sub.Deprecated:
		c.going = append(c.going, a)
	default:
		c.kept = append(c.kept, a)
	}
}

// portOf finds the port that a message is from, and the MAC it is known by.
func (e *engine) portOf(r *request) (vnet.ID, vnet.MAC) {
	if !r.mac.IsZero() { // seen behind the guard: nothing else counts
		return e.PortOf(r.mac), r.mac
	}
	seen, fromAddress := ipam.MACOf(vnet.InterfaceID(r.peer))
	if port := e.PortOf(seen); fromAddress && port != "" {
		return port, seen
	}
	mac, ok := macOfDUID(r.raw)
	if port := e.PortOf(mac); ok && port != "" && !fromAddress {
		return port, mac
	}
	if fromAddress { // a machine of its own, perhaps a clone with another's DUID
		return "", seen
	}
	if port := e.known[r.duid]; r.duid != "" && port != "" {
		if g := e.Guest(port); g != nil {
			return port, g.MAC
		}
		return port, vnet.MAC{}
	}
	return "", mac
}

// learn remembers the DUID of a port.
func (e *engine) learn(duid string, port vnet.ID) {
	if duid == "" || e.known[duid] == port {
		return
	}
	if len(e.known) >= maxKnown {
		clear(e.known) // they come again with the next message
	}
	e.known[duid] = port
}

// holder returns the IAID that gets a port's addresses: the one that has them
// if it is in the message; else the first, unless the message only prolongs
// another IA of the client that has them.
func (e *engine) holder(r *request, port vnet.ID) (uint32, bool) {
	h, held := e.holds[port]
	if port != "" && held && h.duid == r.duid {
		if slices.ContainsFunc(r.ias, func(x ia) bool { return x.iaid == h.iaid }) {
			return h.iaid, true
		}
		if r.prolongs() {
			return 0, false
		}
	}
	return r.ias[0].iaid, true
}

// reservationKey is how a reservation is found: by DUID and IAID, by DUID, by
// MAC or by name.
func reservationKey(r *vnet.Reservation) lease.Key {
	switch {
	case r.DUID != "" && r.IAID != nil:
		return lease.Key{DUID: strings.ToLower(r.DUID), IA: true, IAID: *r.IAID}
	case r.DUID != "":
		return lease.Key{DUID: strings.ToLower(r.DUID)}
	case !r.MAC.IsZero():
		return lease.Key{MAC: r.MAC}
	}
	return lease.Key{Name: dhcp.Label(r.Client)}
}

// reservedFor adds what is reserved for a client without a port, by the first
// key that finds anything. Reservations for one IA are left to its own.
func (e *engine) reservedFor(r *request, c *client) {
	if r.raw == nil {
		return
	}
	keys := make([]lease.Key, 0, maxIAs+3)
	for _, x := range r.ias {
		keys = append(keys, lease.Key{DUID: r.duid, IA: true, IAID: x.iaid})
	}
	keys = append(keys, lease.Key{DUID: r.duid}, lease.Key{MAC: c.mac}, lease.Key{Name: r.name})
	for _, k := range keys {
		for a := range e.Reserved(k) {
			c.admitted = true
			e.keep(c, a, false)
		}
		if len(c.kept)+len(c.going) > 0 {
			return
		}
	}
}

// prolongs reports whether the message asks for no new binding.
func (r *request) prolongs() bool { return r.kind == kindRenew || r.kind == kindRebind }

// lifetimes returns the lifetimes of an address of the subnet.
func (e *engine) lifetimes(sub *plan.Subnet, now time.Time) (preferred, valid time.Duration) {
	valid = e.Service().LeaseTime
	if valid <= 0 {
		valid = lease.DefaultTime
	}
	valid = max(valid, lease.MinTime)
	preferred = valid * 5 / 8
	if !sub.ValidUntil.IsZero() {
		valid = max(0, min(valid, sub.ValidUntil.Sub(now)))
	}
	if !sub.PreferredUntil.IsZero() {
		preferred = max(0, min(preferred, sub.PreferredUntil.Sub(now)))
	}
	if sub.Deprecated {
		preferred = 0
		if sub.ValidUntil.IsZero() {
			valid = 0
		}
	}
	return min(preferred, valid).Truncate(time.Second), valid.Truncate(time.Second)
}
