package agent

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/sextant-net/sextant/internal/agent/learn"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/ndproxy"
	"github.com/sextant-net/sextant/internal/vnet"
)

// proxying is what the proxy of neighbour discovery was told: the uplinks whose
// prefixes guests share, and who has which address there. It belongs to the
// loop.
type proxying struct {
	uplinks map[string]ndproxy.Uplink
	guests  map[vnet.Ref][]guestAt // by who brought it: a port, a lease
	asked   map[guestAt]int        // how many brought it
	// contested are guests' addresses that somebody on the uplink had before.
	contested map[netip.Addr]bool
}

// guestAt is an address of a network's guest.
type guestAt struct {
	network vnet.ID
	addr    netip.Addr
}

func newProxying() *proxying {
	return &proxying{
		uplinks: map[string]ndproxy.Uplink{}, guests: map[vnet.Ref][]guestAt{}, asked: map[guestAt]int{},
		contested: map[netip.Addr]bool{},
	}
}

// proxyUplinks tells the proxy which links share which prefixes now.
func (a *Agent) proxyUplinks() {
	now := uplinksShared(a.facts, a.srv.services)
	for link := range a.prox.uplinks {
		if _, still := now[link]; !still {
			delete(a.prox.uplinks, link)
			if a.srv.ndproxy != nil {
				a.srv.ndproxy.Remove(link)
			}
		}
	}
	for link, u := range now {
		if reflect.DeepEqual(a.prox.uplinks[link], u) || !a.startProxy() {
			continue
		}
		a.prox.uplinks[link] = u
		a.srv.ndproxy.Set(cloned(u)) // which keeps it
	}
}

// startProxy makes the proxy when it is first needed, and reports whether it
// is there.
func (a *Agent) startProxy() bool {
	if a.srv.ndproxy != nil {
		return true
	}
	s, err := ndproxy.New(ndproxy.Config{InNS: a.cfg.InNS, Links: a.srv.links, Log: a.log.With("server", "ndproxy"), Event: a.proxyEvent})
	if err != nil {
		a.log.Error("guests cannot share an uplink's prefix", "error", err)
		return false
	}
	a.srv.ndproxy = s
	a.srv.proxy.Store(s)
	for g := range a.prox.asked {
		s.SetGuest(g.network, g.addr)
	}
	return true
}

func cloned(u ndproxy.Uplink) ndproxy.Uplink {
	u.Own, u.Shared = slices.Clone(u.Own), slices.Clone(u.Shared)
	for i := range u.Shared {
		u.Shared[i].Sides = slices.Clone(u.Shared[i].Sides)
	}
	return u
}

// uplinksShared are the uplinks whose prefixes the running networks share. What
// no uplink carries any more is shared with nobody.
func uplinksShared(f *plan.Facts, services map[vnet.ID]*plan.Service) map[string]ndproxy.Uplink {
	out := map[string]ndproxy.Uplink{}
	for _, id := range slices.Sorted(maps.Keys(services)) {
		svc := services[id]
		for _, sub := range svc.Subnets {
			l, there := f.Links[sub.Uplink]
			if !sub.OffLink || sub.Cut || !there {
				continue
			}
			u, known := out[sub.Uplink]
			if !known {
				u = uplinkOf(l)
			}
			i := slices.IndexFunc(u.Shared, func(s ndproxy.Shared) bool { return s.Prefix == sub.Prefix })
			if i < 0 {
				i = len(u.Shared)
				u.Shared = append(u.Shared, ndproxy.Shared{Prefix: sub.Prefix})
			}
			u.Shared[i].Sides = append(u.Shared[i].Sides, ndproxy.Side{
				Network: svc.Network, NS: svc.NS, Link: svc.Link, MAC: svc.MAC, LinkLocal: linkLocal(svc.MAC),
			})
			out[sub.Uplink] = u
		}
	}
	for _, u := range out { // an address belongs to the longest prefix that it is in
		slices.SortStableFunc(u.Shared, func(a, b ndproxy.Shared) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	}
	return out
}

// uplinkOf is a link with the host's addresses there.
func uplinkOf(l plan.Link) ndproxy.Uplink {
	u := ndproxy.Uplink{Link: l.Name, MAC: l.MAC}
	for _, p := range l.Addresses {
		switch a := p.Addr(); {
		case !a.Is6():
		case a.IsLinkLocalUnicast():
			if !u.LinkLocal.IsValid() {
				u.LinkLocal = a
			}
		default:
			u.Own = append(u.Own, a)
		}
	}
	slices.SortFunc(u.Own, netip.Addr.Compare)
	return u
}

// proxyGuests tells the proxy what the owners' guests have now: after the
// kernel has their routes, since packets follow at once.
func (a *Agent) proxyGuests(owners []vnet.Ref) {
	for _, r := range owners {
		if r.Kind != vnet.KindPort && r.Kind != vnet.KindLease {
			continue
		}
		var now []guestAt
		if f := a.union.fragments[r]; f != nil && len(f.Proxied) > 0 {
			network := a.snap.NetworkOf(r)
			for _, addr := range f.Proxied {
				now = append(now, guestAt{network, addr})
			}
		}
		was := a.prox.guests[r]
		if slices.Equal(was, now) {
			continue
		}
		if a.prox.guests[r] = now; now == nil {
			delete(a.prox.guests, r)
		}
		for _, g := range now {
			a.prox.asked[g]++
		}
		for _, g := range was {
			if a.prox.asked[g]--; a.prox.asked[g] == 0 {
				a.proxyEnd(g)
			}
		}
		for _, g := range now {
			if a.srv.ndproxy != nil && !slices.Contains(was, g) {
				a.srv.ndproxy.SetGuest(g.network, g.addr)
			}
		}
	}
}

// proxyEnd tells the proxy that a guest has an address no more.
func (a *Agent) proxyEnd(g guestAt) {
	delete(a.prox.asked, g)
	delete(a.prox.contested, g.addr)
	if a.srv.ndproxy != nil {
		a.srv.ndproxy.RemoveGuest(g.network, g.addr)
	}
}

// proxyEvent takes what the proxy says into the loop; it is called by the
// proxy.
func (a *Agent) proxyEvent(ev ndproxy.Event) {
	select {
	case a.calls <- func() { a.proxySaid(ev) }:
	case <-a.ctx.Done():
	}
}

// proxySaid works in what happened to an address on an uplink.
func (a *Agent) proxySaid(ev ndproxy.Event) {
	ref := vnet.Ref{Kind: vnet.KindNetwork, ID: ev.Network}
	switch ev.Kind {
	case ndproxy.Found:
		a.ears.found(ev.Network, ev.Address, ev.MAC)
	case ndproxy.Contested:
		a.contest(ev.Address, true)
		a.event(ref, "problem", "%v was %v's on the uplink %s before a guest took it: the guest is not reachable by it", ev.Address, ev.MAC, ev.Uplink)
	case ndproxy.Cleared:
		a.contest(ev.Address, false)
		a.event(ref, "mended", "%v is the guest's: nobody on the uplink %s has it any more", ev.Address, ev.Uplink)
	case ndproxy.Duplicate:
		where := "on the uplink " + ev.Uplink
		if n := a.snap.Networks[ev.Other]; n != nil {
			where = "in network " + n.Name
		}
		if ev.Network == "" { // the host's own, or somebody's outside
			ref.ID = ev.Other
		}
		if ref.ID != "" {
			a.event(ref, "problem", "%v %s wants %v, which another has", ev.MAC, where, ev.Address)
		}
	}
}

// contest notes that somebody outside has a guest's address, or no longer.
func (a *Agent) contest(addr netip.Addr, is bool) {
	if a.prox.contested[addr] == is {
		return
	}
	holders := a.snap.HoldersOf(addr)
	if a.prox.contested[addr] = is; !is || len(holders) == 0 {
		delete(a.prox.contested, addr)
	}
	for _, r := range holders {
		a.dirty[r] = true
	}
}

// found works in that a guest answered for an address: whoever was asked for
// may have been silent until now, or what it said was not heard.
func (h *hearing) found(network vnet.ID, addr netip.Addr, mac vnet.MAC) {
	if h.a.claim.holder(network, addr) != "" || h.a.index.ownerOf(network, addr) != "" {
		return
	}
	port := h.macs[macKey{network, mac}]
	for _, l := range h.links {
		if port == "" || h.devices[l.Name] != port {
			continue
		}
		h.refresh()
		h.carryOut(h.engine.Hear(h.a.cfg.Now(), learn.Holder{Link: l.Index, Network: network, Port: port, MAC: mac}, &hear.Advertisement{Source: addr, Target: addr}))
		return
	}
	h.seek(learn.Holder{Network: network, MAC: mac}, addr)
}
