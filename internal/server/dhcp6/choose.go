package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// give is an address for an IA.
type give struct {
	address          netip.Addr
	subnet           vnet.ID
	preferred, valid time.Duration
	claim            bool // dynamic: to be claimed
	kept             bool // a port's or a reservation's
}

// assign returns what an IA gets. A dynamic address that is new to the IA is
// only given if fresh.
func (e *engine) assign(r *request, c client, x ia, now time.Time, fresh bool) []give {
	if c.has && c.iaid == x.iaid && len(c.kept) > 0 {
		var out []give
		for _, a := range c.kept {
			sub := e.subnetOf(a)
			g := give{address: a, subnet: sub.ID, kept: true}
			g.preferred, g.valid = e.lifetimes(sub, now)
			out = append(out, g)
		}
		return out
	}
	if e.svc.Admit != vnet.AdmitAny {
		return nil
	}
	var out []give
	name := clientName(r.duid, x.iaid)
	for i := range e.svc.Subnets {
		sub := &e.svc.Subnets[i]
		if !serves(sub) || sub.Deprecated || e.pools[sub.ID] == nil {
			continue
		}
		a, ok := e.choose(name, x, sub, now, fresh)
		if !ok {
			continue
		}
		g := give{address: a, subnet: sub.ID, claim: true}
		g.preferred, g.valid = e.lifetimes(sub, now)
		out = append(out, g)
	}
	return out
}

// choose returns a dynamic address of the subnet: the one that the IA has or
// had, else the one it names, else, if fresh, one from the pool.
func (e *engine) choose(name string, x ia, sub *plan.Subnet, now time.Time, fresh bool) (netip.Addr, bool) {
	if en := e.table.find(name, sub.ID); en != nil && e.usable(sub, en.lease.Address) {
		return en.lease.Address, true
	}
	for _, a := range x.addrs {
		if sub.Prefix.Contains(a) && e.free(sub, a) {
			return a, true
		}
	}
	if !fresh {
		return netip.Addr{}, false
	}
	return e.pools[sub.ID].pick(name, now,
		func(a netip.Addr) bool { return e.free(sub, a) },
		func() (netip.Addr, bool) { return e.oldestIdle(sub) })
}

// usable reports whether the address may be a dynamic one of the subnet.
func (e *engine) usable(sub *plan.Subnet, a netip.Addr) bool {
	p := e.pools[sub.ID]
	if p == nil || !a.Is6() || !p.contains(a) || a == sub.Gateway || a == sub.Router || slices.Contains(sub.Reserved, a) {
		return false
	}
	if sub.Prefix.Bits() < 127 && a == sub.Prefix.Masked().Addr() { // RFC 4291 section 2.6.1
		return false
	}
	if reservedIdentifier(a) {
		return false
	}
	_, taken := e.owned[a]
	return !taken
}

// reservedIdentifier reports whether the last 64 bits are reserved (RFC 5453)
// or made from a MAC, which belongs to whoever has that MAC.
func reservedIdentifier(a netip.Addr) bool {
	b := a.As16()
	if b[8] == 0xfd && b[15] >= 0x80 && slices.Equal(b[9:15], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) {
		return true
	}
	return b[11] == 0xff && b[12] == 0xfe
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

// defaultSpans is what a subnet without ranges gives: the host parts of 64
// bits at most, from the first subnet of a shorter prefix.
func defaultSpans(p netip.Prefix) []vnet.Range {
	if !p.Addr().Is6() {
		return nil
	}
	size := uint64(1)<<(128-max(p.Bits(), 65))<<1 - 1 // 2^64 wraps to 0, less 1: all ones
	if p.Bits() > 64 {
		size = uint64(1)<<(128-p.Bits()) - 1
	}
	return []vnet.Range{{First: p.Addr(), Last: add(p.Addr(), size)}}
}
