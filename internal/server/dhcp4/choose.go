package dhcp4

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
)

// grant is an address for a client.
type grant struct {
	address netip.Addr
	sub     *plan.Subnet
	guest   *plan.Guest // nil: no port
}

// fixed returns the address that is kept for the client: its port's, else one
// reserved for its MAC, else for its name. A port with addresses only in
// subnets that are going still gets the newest of these.
func (e *engine) fixed(r *request) (grant, bool) {
	g := e.guest(r)
	if g != nil {
		var best grant
		for _, a := range g.Addresses {
			sub := e.SubnetOf(a.Address)
			if !a.Address.Is4() || sub == nil || !e.Serves(sub) || !e.identifier(sub).IsValid() {
				continue
			}
			if !a.Deprecated && !sub.Deprecated {
				return grant{a.Address, sub, g}, true
			}
			if best.sub == nil {
				best = grant{a.Address, sub, g}
			}
		}
		return best, best.sub != nil
	}
	a, ok := e.reserved(r)
	sub := e.SubnetOf(a)
	if !ok || sub == nil || !e.Serves(sub) || !e.identifier(sub).IsValid() {
		return grant{}, false
	}
	return grant{a, sub, nil}, true
}

// reserved returns the address that is reserved for a client without a port:
// of several for one MAC or name, the last.
func (e *engine) reserved(r *request) (a netip.Addr, ok bool) {
	for _, k := range []lease.Key{{MAC: r.mac}, {Name: r.hostname}} {
		if k == (lease.Key{}) {
			continue
		}
		for a = range e.Reserved(k) {
			ok = true
		}
		if ok {
			return a, true
		}
	}
	return a, false
}

// guest returns the client's port, or nil.
func (e *engine) guest(r *request) *plan.Guest { return e.Guest(e.PortOf(r.mac)) }

// choose returns a dynamic address for the client: the one it has or had, else
// the one it wishes, else one from a pool.
func (e *engine) choose(r *request, now time.Time) (grant, bool) {
	for i := range e.Service().Subnets {
		sub := &e.Service().Subnets[i]
		if !e.Gives(sub) || !e.identifier(sub).IsValid() {
			continue
		}
		if a, ok := e.Choose(r.client, sub, []netip.Addr{r.requested}, true, now); ok {
			return grant{a, sub, nil}, true
		}
	}
	return grant{}, false
}
