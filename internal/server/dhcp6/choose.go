package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// give is an address or a prefix for an IA.
type give struct {
	address          netip.Addr
	length           int // of a prefix; 0: an address
	subnet           vnet.ID
	preferred, valid time.Duration
	claim            bool // dynamic: to be claimed
	kept             bool // a port's or a reservation's
}

// answer is what one IA of a message is told.
type answer struct {
	ia     *ia
	gives  []give
	status uint16 // statusSuccess is not told
}

// gives reports whether an address or prefix is among what an IA gets.
func (a *answer) has(addr netip.Addr, length int) bool {
	for i := range a.gives {
		if a.gives[i].address == addr && a.gives[i].length == length {
			return true
		}
	}
	return false
}

// settle sets the status of an IA that gets nothing.
func (a *answer) settle() {
	switch {
	case len(a.gives) > 0 || a.status != statusSuccess:
	case a.ia.prefixes:
		a.status = statusNoPrefix
	default:
		a.status = statusNoAddrs
	}
}

// answersTo returns what each IA of a message gets. Its result is used again by
// the next call.
//
// An IA that is only prolonged gets new addresses if it had any: so it follows
// when the network gets another prefix.
func (e *engine) answersTo(r *request, c *client, now time.Time) []answer {
	out := e.answers[:0]
	e.beside, e.given = 0, e.given[:0]
	for i := range r.ias {
		a := answer{ia: &r.ias[i]}
		if n := len(out); n < cap(out) {
			a.gives = out[:n+1][n].gives[:0]
		}
		out = append(out, a)
		e.assign(r, c, &out[i], now, !r.prolongs() || e.hasLease(r, c, a.ia))
		e.dropTaken(out[:i], &out[i])
		if !r.prolongs() {
			out[i].settle()
		}
	}
	e.answers = out
	return out
}

// dropTaken takes from an answer what those before have.
func (e *engine) dropTaken(before []answer, a *answer) {
	kept := a.gives[:0]
	for _, g := range a.gives {
		taken := false
		for i := range before {
			taken = taken || before[i].has(g.address, g.length)
		}
		if !taken {
			kept = append(kept, g)
		}
	}
	a.gives = kept
}

// assign gives an IA what it gets. What is dynamic and new to the IA is only
// given if fresh.
func (e *engine) assign(r *request, c *client, a *answer, now time.Time, fresh bool) {
	if a.ia.prefixes {
		e.assignPrefix(r, c, a, now, fresh)
		return
	}
	mine := c.has && c.iaid == a.ia.iaid
	if mine {
		for _, addr := range c.kept {
			sub := e.SubnetOf(addr)
			g := give{address: addr, subnet: sub.ID, kept: true}
			g.preferred, g.valid = e.lifetimes(sub, now)
			a.gives = append(a.gives, g)
		}
	}
	if !e.Admits() && (!mine || c.port == "") {
		return
	}
	owned := len(a.gives)
	for i := range e.Service().Subnets {
		sub := &e.Service().Subnets[i]
		if !e.Serves(sub) || !e.Gives(sub) || !e.on(r, sub) || gaveOf(a.gives[:owned], sub) {
			continue
		}
		e.pick(r, c, a, sub, now, fresh)
	}
}

// gaveOf reports whether something in a subnet's prefix is among the gives.
func gaveOf(gives []give, sub *plan.Subnet) bool {
	for i := range gives {
		if gives[i].subnet == sub.ID && sub.Prefix.Contains(gives[i].address) {
			return true
		}
	}
	return false
}

// pick gives an IA something dynamic of a subnet, if there is anything.
func (e *engine) pick(r *request, c *client, a *answer, sub *plan.Subnet, now time.Time, fresh bool) bool {
	piece := e.Piece(sub)
	w := lease.Wish{
		Client: c.name(r, a.ia), Holder: c.holderName(r), Known: c.port != "", Fresh: fresh, Beside: e.beside,
		Addresses: e.wishes[:0],
	}
	for _, x := range a.ia.wishes {
		if x.length == piece && !x.address.IsUnspecified() {
			w.Addresses = append(w.Addresses, x.address)
		}
	}
	e.wishes = w.Addresses
	e.recognise(r, c, a.ia, sub)
	if e.inherits(c) {
		w.Former = e.former(c)
		// A guest that was installed anew, or whose loader and system have names
		// of their own, goes on with what its port has.
		w.Inherits = func(en *lease.Entry) bool {
			others := en.Lease.IAID() != a.ia.iaid && r.has(a.ia.prefixes, en.Lease.IAID())
			return !others && !slices.Contains(e.given, en.Address())
		}
	}
	addr, ok := e.Pick(&w, sub, now)
	if !ok {
		return false
	}
	if en := e.Table().At(addr); en == nil || en.State == lease.Idle {
		e.beside++
	}
	e.given = append(e.given, addr)
	g := give{address: addr, length: piece, subnet: sub.ID, claim: true}
	g.preferred, g.valid = e.lifetimes(sub, now)
	a.gives = append(a.gives, g)
	return true
}

// assignPrefix gives an IA_PD one prefix: what it has, else of the subnet that
// fits the client's wishes best (RFC 9915 section 18.3.9, RFC 8168).
func (e *engine) assignPrefix(r *request, c *client, a *answer, now time.Time, fresh bool) {
	svc := e.Service()
	tried := 0
	for range svc.Subnets {
		best, rank := -1, 0
		for i := range svc.Subnets {
			sub := &svc.Subnets[i]
			if i < 64 && tried&(1<<i) != 0 || !e.Delegates(sub) || !e.Gives(sub) {
				continue
			}
			if n := e.rank(r, c, a.ia, sub); best < 0 || n < rank {
				best, rank = i, n
			}
		}
		if best < 0 || best >= 63 || e.pick(r, c, a, &svc.Subnets[best], now, fresh) {
			return
		}
		tried |= 1 << best
	}
}

// rank says how well a subnet fits an IA_PD, the best with the lowest: it has
// something of it; it names a prefix in it; the length is the one it wants; a
// little wider; a little narrower.
func (e *engine) rank(r *request, c *client, x *ia, sub *plan.Subnet) int {
	if en := e.Table().FindIn(c.name(r, x), sub); en != nil && en.State == lease.Bound && e.Usable(sub, en.Address()) {
		return 0
	}
	piece, least := e.Piece(sub), 1000
	for _, w := range x.wishes {
		n := 1000
		switch {
		case w.length == piece && !w.address.IsUnspecified() && sub.Prefix.Contains(w.address):
			n = 1
		case w.length == piece || w.length == 0:
			n = 2
		case piece < w.length:
			n = 2 + w.length - piece
		default:
			n = 200 + piece - w.length
		}
		least = min(least, n)
	}
	return least
}

// hasLease reports whether an IA has a dynamic lease in any subnet.
func (e *engine) hasLease(r *request, c *client, x *ia) bool {
	name := c.name(r, x)
	for i := range e.Service().Subnets {
		sub := &e.Service().Subnets[i]
		if e.Delegates(sub) != x.prefixes {
			continue
		}
		// Also what it has in a prefix that is gone.
		for _, en := range [...]*lease.Entry{e.Table().FindIn(name, sub), e.Table().Find(name, sub.ID)} {
			if en != nil && en.State == lease.Bound {
				return true
			}
		}
	}
	return false
}
