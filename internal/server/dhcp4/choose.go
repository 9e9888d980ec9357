package dhcp4

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
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
			sub := e.subnetOf(a.Address)
			if !a.Address.Is4() || sub == nil || !serves(sub) || !e.identifier(sub).IsValid() {
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
	i, ok := e.reservedMAC[r.mac]
	if !ok && r.hostname != "" {
		i, ok = e.reservedName[r.hostname]
	}
	if !ok {
		return grant{}, false
	}
	a := e.reservations[i].Address
	sub := e.subnetOf(a)
	if sub == nil || !serves(sub) || e.owned[a].port != "" || !e.identifier(sub).IsValid() {
		return grant{}, false
	}
	return grant{a, sub, nil}, true
}

// guest returns the client's port, or nil.
func (e *engine) guest(r *request) *plan.Guest {
	port, ok := e.byMAC[r.mac]
	if !ok {
		return nil
	}
	g := e.guests[port]
	return &g
}

// admits reports whether the client may have a dynamic address.
func (e *engine) admits() bool { return e.svc.Admit == vnet.AdmitAny }

// choose returns a dynamic address for the client: the one it has or had, else
// the one it wishes, else one from a pool.
func (e *engine) choose(r *request, now time.Time) (grant, bool) {
	for i := range e.svc.Subnets {
		sub := &e.svc.Subnets[i]
		p := e.pools[sub.ID]
		if !serves(sub) || sub.Deprecated || p == nil || !e.identifier(sub).IsValid() {
			continue
		}
		if en := e.table.find(r.client, sub.ID); en != nil && e.usable(sub, en.lease.Address) {
			return grant{en.lease.Address, sub, nil}, true
		}
		if e.free(sub, r.requested) {
			return grant{r.requested, sub, nil}, true
		}
		a, ok := p.pick(r.client, now,
			func(a netip.Addr) bool { return e.free(sub, a) },
			func() (netip.Addr, bool) { return e.oldestIdle(sub) })
		if ok {
			return grant{a, sub, nil}, true
		}
	}
	return grant{}, false
}

// usable reports whether the address may be a dynamic one of the subnet.
func (e *engine) usable(sub *plan.Subnet, a netip.Addr) bool {
	p := e.pools[sub.ID]
	if p == nil || !a.Is4() || !p.contains(a) || a == sub.Gateway || a == sub.Router || slices.Contains(sub.Reserved, a) {
		return false
	}
	if sub.Prefix.Bits() < 31 { // RFC 3021
		first := sub.Prefix.Masked().Addr()
		if a == first || a == broadcast(sub.Prefix) {
			return false
		}
	}
	_, taken := e.owned[a]
	return !taken
}

// free reports whether the address is usable and nothing is known of it.
func (e *engine) free(sub *plan.Subnet, a netip.Addr) bool {
	return e.table.byAddress[a] == nil && e.usable(sub, a)
}

// oldestIdle returns the address of the subnet that nobody has used for
// longest. It looks at a bounded number of entries.
func (e *engine) oldestIdle(sub *plan.Subnet) (netip.Addr, bool) {
	elem := e.table.idles.Front()
	for range sweepSteps {
		if elem == nil {
			break
		}
		en := elem.Value.(*entry)
		if en.lease.Subnet == sub.ID && e.usable(sub, en.lease.Address) {
			return en.lease.Address, true
		}
		elem = elem.Next()
	}
	return netip.Addr{}, false
}

// broadcast is the last address of a prefix.
func broadcast(p netip.Prefix) netip.Addr {
	return add(p.Masked().Addr(), 1<<(32-p.Bits())-1)
}

// defaultSpans is what a subnet without ranges gives: all of it.
func defaultSpans(p netip.Prefix) []vnet.Range {
	if !p.Addr().Is4() {
		return nil
	}
	return []vnet.Range{{First: p.Addr(), Last: broadcast(p)}}
}
