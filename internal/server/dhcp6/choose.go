package dhcp6

import (
	"net/netip"
	"time"

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
			sub := e.SubnetOf(a)
			g := give{address: a, subnet: sub.ID, kept: true}
			g.preferred, g.valid = e.lifetimes(sub, now)
			out = append(out, g)
		}
		return out
	}
	if !e.Admits() {
		return nil
	}
	var out []give
	name := clientName(r.duid, x.iaid)
	for i := range e.Service().Subnets {
		sub := &e.Service().Subnets[i]
		if !e.Gives(sub) {
			continue
		}
		a, ok := e.Choose(name, sub, x.addrs, fresh, now)
		if !ok {
			continue
		}
		g := give{address: a, subnet: sub.ID, claim: true}
		g.preferred, g.valid = e.lifetimes(sub, now)
		out = append(out, g)
	}
	return out
}
