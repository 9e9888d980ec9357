package dhcp4

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// grant is an address for a client; without address it is the subnet that the
// client is on.
type grant struct {
	address netip.Addr
	sub     *plan.Subnet
}

// reaches reports whether the client is where the subnet is: behind its relay,
// or on the link.
func (e *engine) reaches(r *request, sub *plan.Subnet) bool {
	return (r.sub == nil || r.sub == sub) && e.speaks(sub)
}

// fixed returns the address that is kept for the client: its port's, else one
// reserved for it, as a port has none that was made for somebody else's device.
// A port with addresses only in subnets that are going still gets the newest of
// these.
func (e *engine) fixed(r *request) (grant, bool) {
	var best grant
	var own []plan.GuestAddress
	if r.guest != nil {
		own = r.guest.Addresses
	}
	for i := range own {
		a := &own[i]
		if !a.Address.Is4() {
			continue
		}
		sub := e.SubnetOf(a.Address)
		if sub == nil || !e.reaches(r, sub) {
			continue
		}
		if !a.Deprecated && !sub.Deprecated {
			return grant{a.Address, sub}, true
		}
		if best.sub == nil {
			best = grant{a.Address, sub}
		}
	}
	if best.sub == nil {
		return e.reserved(r)
	}
	return best, true
}

// reserved returns the address that is reserved for a client without one of its
// port: by its MAC, else by its DUID, else by its name; of several, the last.
func (e *engine) reserved(r *request) (g grant, ok bool) {
	if !e.HasReservations() {
		return g, false
	}
	for _, k := range r.reservationKeys() {
		for a := range e.Reserved(k) {
			if sub := e.SubnetOf(a); sub != nil && e.reaches(r, sub) {
				g, ok = grant{a, sub}, true
			}
		}
		if ok {
			return g, true
		}
	}
	return g, false
}

// admitted reports whether the client may have a dynamic address.
func (e *engine) admitted(r *request) bool { return r.guest != nil || e.Admits() }

// choose returns a dynamic address for the client: the one it has or had, else
// the one it wishes, else one from a pool.
func (e *engine) choose(r *request, now time.Time) (grant, bool) {
	e.adopt(r)
	e.reclaim(r, r.requested)
	w := lease.Wish{Client: r.client(), Holder: e.holder(r), Known: r.guest != nil, Fresh: true}
	if r.requested.IsValid() {
		w.Addresses = []netip.Addr{r.requested}
	}
	for i := range e.Service().Subnets {
		sub := &e.Service().Subnets[i]
		if sub.Family != vnet.IPv4 || !e.Gives(sub) || !e.reaches(r, sub) {
			continue
		}
		if a, ok := e.Pick(&w, sub, now); ok {
			return grant{a, sub}, true
		}
	}
	return grant{}, false
}

// takes returns the grant that a client names itself, if it may have it.
func (e *engine) takes(r *request, sub *plan.Subnet, a netip.Addr, now time.Time) (grant, bool) {
	w := lease.Wish{Client: r.client(), Holder: e.holder(r), Known: r.guest != nil, Addresses: []netip.Addr{a}}
	got, ok := e.Pick(&w, sub, now)
	return grant{a, sub}, ok && got == a
}
