package dhcp6

import (
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// client is who sent a message.
type client struct {
	guest    *plan.Guest // nil: no port that is known
	port     vnet.ID     // "": none, or only a relay that is not believed says so
	mac      vnet.MAC    // zero: not known
	seen     bool        // the MAC is more than what the client says of itself
	holder   string      // see holderName
	admitted bool
	// kept are the addresses of the port or of reservations, going those of
	// them that are not to be used for anything new.
	kept, going []netip.Addr
	// iaid is the IA_NA that gets them; has is for every IA of a message to say
	// whether it is there at all.
	iaid uint32
	has  bool
}

// identify finds out who a message is from.
func (e *engine) identify(r *request) client {
	port, mac, seen := e.portOf(r)
	c := client{port: port, mac: mac, seen: seen, admitted: e.Admits(), kept: e.kept[:0], going: e.going[:0]}
	if g := e.Guest(port); g != nil {
		c.guest, c.admitted = g, true
		if c.mac.IsZero() {
			c.mac = g.MAC
		}
		for i := range g.Addresses {
			e.keep(r, &c, g.Addresses[i].Address, g.Addresses[i].Deprecated)
		}
		if len(r.hops) > 0 && !r.trusted {
			// Anybody can say so: it is told the port's addresses, which it cannot
			// use, and gets nothing else in the port's name.
			c.port = ""
		} else {
			e.learn(r, port)
		}
	} else {
		c.port = ""
	}
	if len(c.kept)+len(c.going) == 0 { // nor has a port that was made for somebody else's device
		e.reservedFor(r, &c)
	}
	if !c.has && (c.guest != nil || len(c.kept)+len(c.going) > 0) {
		c.iaid, c.has = e.holder(r, c.port)
	}
	e.kept, e.going = c.kept, c.going
	return c
}

// unheard reports whether a stranger wants something of which nobody can tell to
// whom it would go, on a network where that can be told of others. Hearing is
// limited for each port, so these are of a port that floods us with made up
// addresses, or they come a moment too early: who repeats itself is heard. Who
// has a lease is known by its DUID and IAID. Where one may have more than by default, they are served.
func (e *engine) unheard(r *request, c *client) bool {
	switch r.kind {
	case kindSolicit, kindRequest, kindRenew, kindRebind:
	default:
		return false
	}
	return e.packet.Heard && r.MAC.IsZero() && r.Port == "" && len(r.hops) == 0 &&
		c.guest == nil && len(c.kept)+len(c.going) == 0 && e.learnt(r) == (whom{}) && e.Service().DHCP.Limit <= lease.DefaultLimit
}

// on reports whether a subnet is on the client's link.
func (e *engine) on(r *request, sub *plan.Subnet) bool {
	return !r.link.IsValid() || sub.Prefix.Contains(r.link)
}

// onLink returns the subnet on the client's link that an address is in, or nil.
func (e *engine) onLink(r *request, a netip.Addr) *plan.Subnet {
	if sub := e.SubnetOf(a); sub != nil && e.on(r, sub) {
		return sub
	}
	return nil
}

// keep adds an address that is the client's own.
func (e *engine) keep(r *request, c *client, a netip.Addr, deprecated bool) {
	if !a.Is6() {
		return
	}
	sub := e.onLink(r, a)
	switch {
	case sub == nil || !e.Serves(sub):
	case deprecated || sub.Deprecated:
		c.going = append(c.going, a)
	default:
		c.kept = append(c.kept, a)
	}
}

// portOf finds the port that a message is from, and the MAC it is known by, in
// the order of the package comment; seen says that others than the client vouch
// for the MAC.
func (e *engine) portOf(r *request) (port vnet.ID, mac vnet.MAC, seen bool) {
	switch {
	case r.Port != "":
		return r.Port, r.MAC, !r.MAC.IsZero()
	case !r.MAC.IsZero(): // seen behind the guard: nothing else counts
		return e.PortOf(r.MAC), r.MAC, true
	}
	if r.trusted {
		if port, mac = e.portOfRelays(r); port != "" || !mac.IsZero() {
			return port, mac, true
		}
	}
	vouched := len(r.hops) == 0 || r.trusted
	ofPeer, fromAddress := ipam.MACOf(vnet.InterfaceID(r.peer))
	if port := e.PortOf(ofPeer); fromAddress && port != "" {
		return port, ofPeer, vouched
	}
	mac, ok := r.raw.MAC()
	ok = ok && mac.IsUnicast()
	if port := e.PortOf(mac); ok && port != "" && !fromAddress {
		return port, mac, false
	}
	if fromAddress { // a machine of its own, perhaps a clone with another's DUID
		return "", ofPeer, vouched
	}
	if w := e.learnt(r); e.Guest(w.port) != nil {
		return w.port, e.Guest(w.port).MAC, false
	} else if !w.mac.IsZero() && vouched {
		return "", w.mac, true
	}
	if !ok {
		mac = vnet.MAC{}
	}
	return "", mac, false
}

// known is how a client was seen: by DUID and IAID, or by DUID alone in
// messages without an IA.
type known struct {
	duid string
	iaid uint32
	any  bool
}

// whom is who it was: a port, else the MAC of somebody who has a lease.
type whom struct {
	port vnet.ID
	mac  vnet.MAC
}

// learn remembers the DUID and the IAIDs of a port.
func (e *engine) learn(r *request, port vnet.ID) {
	if r.duid == "" {
		return
	}
	e.remember(known{duid: r.duid, any: true}, whom{port: port})
	for i := range r.ias {
		e.remember(known{duid: r.duid, iaid: r.ias[i].iaid}, whom{port: port})
	}
}

func (e *engine) remember(k known, w whom) {
	if e.known[k] == w {
		return
	}
	if len(e.known) >= maxKnown {
		clear(e.known) // they come again with the next message
	}
	e.known[k] = w
}

// loaded remembers whom a lease is of.
func (e *engine) loaded(l *pack.Lease) {
	duid, port, mac := l.DUID(), l.Port(), l.MAC()
	switch {
	case duid == "":
		return
	case port != "":
		e.remember(known{duid: duid, any: true}, whom{port: port})
		e.rememberLease(duid, l)
	case !mac.IsZero():
		e.rememberLease(duid, l)
		delete(e.cards, mac)
	}
	if port != "" && !mac.IsZero() && e.cards[mac] != port {
		if len(e.cards) >= maxKnown {
			clear(e.cards)
		}
		e.cards[mac] = port
	}
}

// rememberLease is remember of whom a lease is of; it is kept anyway.
func (e *engine) rememberLease(duid string, l *pack.Lease) {
	delete(e.known, known{duid: duid, iaid: l.IAID()})
	if old := e.leaseOf(duid, l.IAID()); old != nil {
		e.leases.Replace(old, l)
		return
	}
	if e.leases.Len() >= maxKnown {
		e.leases.Clear()
	}
	e.leases.Add(l)
}

// leaseOf returns the lease with a DUID and an IAID, or nil.
func (e *engine) leaseOf(duid string, iaid uint32) *pack.Lease {
	var buf [maxDUID * 3]byte
	return e.leases.Find(withIAID(maphash.String(seed, duid), iaid), func(l *pack.Lease) bool {
		return l.IAID() == iaid && string(l.AppendDUID(buf[:0])) == duid
	})
}

// seed keeps clients from choosing what collides.
var seed = maphash.MakeSeed()

// hashOf is what leases are found by.
func hashOf(l *pack.Lease) uint64 {
	var buf [maxDUID * 3]byte
	return withIAID(maphash.Bytes(seed, l.AppendDUID(buf[:0])), l.IAID())
}

// withIAID makes another hash for each IAID: the constant is that of Fibonacci
// hashing.
func withIAID(duid uint64, iaid uint32) uint64 { return duid + uint64(iaid)*0x9e3779b97f4a7c15 }

// learnt returns who was seen with the client's DUID and IAID.
func (e *engine) learnt(r *request) whom {
	for i := range r.ias {
		if w, ok := e.known[known{duid: r.duid, iaid: r.ias[i].iaid}]; ok {
			return w
		}
		if l := e.leaseOf(r.duid, r.ias[i].iaid); l != nil && l.Port() != "" {
			return whom{port: l.Port()}
		} else if l != nil {
			return whom{mac: l.MAC()}
		}
	}
	if len(r.ias) > 0 || r.duid == "" {
		return whom{}
	}
	return e.known[known{duid: r.duid, any: true}]
}

// holder returns the IAID of the IA_NA that gets a port's addresses: the one
// that has them if it is in the message; else the first, unless the message
// only prolongs another IA of the client that has them.
func (e *engine) holder(r *request, port vnet.ID) (uint32, bool) {
	h, held := e.holds[port]
	if port != "" && held && h.duid == r.duid {
		if r.has(false, h.iaid) {
			return h.iaid, true
		}
		if r.prolongs() {
			return 0, false
		}
	}
	for i := range r.ias {
		if !r.ias[i].prefixes {
			return r.ias[i].iaid, true
		}
	}
	return 0, false
}

// name is the key of the client of a dynamic address. A port's belong to the
// port, whatever DUID its present system has; a stranger's to its MAC, DUID and
// IAID, so that clones do not take each other's.
func (c *client) name(r *request, x *ia) string {
	if x.key == "" {
		mac := vnet.MAC{}
		if c.seen {
			mac = c.mac
		}
		x.key = clientName(c.port, mac, r.duid, x.iaid)
	}
	return x.key
}

// clientOf is the key of a lease's client.
func clientOf(l *vnet.Lease) string { return clientName(l.Port, l.MAC, l.DUID, l.IAID) }

func clientName(port vnet.ID, mac vnet.MAC, duid string, iaid uint32) string {
	var buf [maxDUID*3 + 32]byte
	b, whole := beginName(buf[:0], port, mac)
	if !whole {
		b = append(b, duid...)
	}
	return string(endName(b, iaid))
}

// appendClient appends clientOf of a lease that is packed.
func appendClient(b []byte, l *pack.Lease) []byte {
	b, whole := beginName(b, l.Port(), l.MAC())
	if !whole {
		b = l.AppendDUID(b)
	}
	return endName(b, l.IAID())
}

// beginName begins the key of a client; whole says that no DUID belongs to it.
func beginName(b []byte, port vnet.ID, mac vnet.MAC) (_ []byte, whole bool) {
	switch {
	case port != "":
		return append(append(b, "port:"...), port...), true
	case !mac.IsZero():
		b = append(hex.AppendEncode(append(b, "mac:"...), mac[:]), '/')
	}
	return b, false
}

func endName(b []byte, iaid uint32) []byte {
	return strconv.AppendUint(append(b, '/'), uint64(iaid), 10)
}

// inherits reports whether a client goes on with what its port or its MAC has
// under another DUID or IAID. Where the network lets one MAC have more
// addresses than by default, it may be many guests, and each has its own.
func (e *engine) inherits(c *client) bool {
	return c.port != "" || c.seen && e.Service().DHCP.Limit <= lease.DefaultLimit
}

// former is whom a client's addresses counted against before, if its MAC was a
// port's that is gone, as ports are that were made for somebody else's devices,
// or nobody's port.
func (e *engine) former(c *client) string {
	switch old := e.cards[c.mac]; {
	case !c.seen || c.mac.IsZero():
		return ""
	case old != "" && old != c.port && e.Guest(old) == nil:
		return "port:" + string(old)
	case c.port != "":
		return "mac:" + c.mac.String()
	}
	return ""
}

// recognise gives what a client has, from before its MAC was seen, to it.
func (e *engine) recognise(r *request, c *client, x *ia, sub *plan.Subnet) {
	if c.port != "" || !c.seen || e.Table().FindIn(c.name(r, x), sub) != nil {
		return
	}
	en := e.Table().FindIn(clientName("", vnet.MAC{}, r.duid, x.iaid), sub)
	if en != nil && en.State != lease.Offered {
		e.Rename(en, c.name(r, x), "")
	}
}

// holderName is whom dynamic addresses count against: the port, else the MAC,
// else whom a relay that is believed means, else the address that the message
// came from. A DUID, and a MAC inside of it, anybody can make up.
func (c *client) holderName(r *request) string {
	switch {
	case c.holder != "":
	case c.port != "":
		c.holder = "port:" + string(c.port)
	case c.seen:
		c.holder = "mac:" + c.mac.String()
	case len(r.hops) > 0 && r.trusted:
		c.holder = "client:" + r.duid
	default:
		c.holder = "peer:" + r.from.String()
	}
	return c.holder
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

// reservedFor adds what is reserved for a client without addresses of a port, by
// the first key that finds anything. Reservations for one IA are left to its own.
func (e *engine) reservedFor(r *request, c *client) {
	if r.raw == "" || !e.HasReservations() {
		return
	}
	for i := range r.ias {
		if iaid := r.ias[i].iaid; !c.has && !r.ias[i].prefixes && e.reservedBy(r, c, lease.Key{DUID: r.duid, IA: true, IAID: iaid}) {
			c.iaid, c.has = iaid, true
		}
	}
	for _, k := range [...]lease.Key{{DUID: r.duid}, {MAC: c.mac}, {Name: r.name}} {
		if len(c.kept)+len(c.going) > 0 {
			return
		}
		if k != (lease.Key{}) {
			e.reservedBy(r, c, k)
		}
	}
}

func (e *engine) reservedBy(r *request, c *client, k lease.Key) (found bool) {
	for a := range e.Reserved(k) {
		c.admitted = true
		e.keep(r, c, a, false)
	}
	return len(c.kept)+len(c.going) > 0
}

// lifetimes returns the lifetimes of what is given of the subnet.
func (e *engine) lifetimes(sub *plan.Subnet, now time.Time) (preferred, valid time.Duration) {
	valid = e.Service().LeaseTime
	if valid <= 0 {
		valid = lease.DefaultTime
	}
	valid = max(valid, lease.MinTime)
	if preferred = e.Service().DHCP.Preferred.Std(); preferred <= 0 {
		preferred = valid * 5 / 8
	}
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
