package agent

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ladder"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Speaker speaks on outside links that networks join: a wire.Speaker.
type Speaker interface {
	// Farewell tells a bridge's guests that routers are gone.
	Farewell(bridge string, routers []vnet.HeardRouter, now time.Time) error
	// Solicit has the routers on a bridge advertise themselves to everybody.
	Solicit(bridge string) error
}

// joined is which outside bridge a network's IPv6 is on, and the routers that
// were heard there.
type joined struct {
	bridge  string
	routers []vnet.HeardRouter
}

// besideOf completes the wish of a network that wants bridged IPv6 beside its
// own IPv4.
func (a *Agent) besideOf(w *ladder.Wish, n *vnet.Network) {
	if plan.Beside(n) {
		w.Beside = true
		w.Wire, w.NoWire = plan.WireOf(a.facts, n)
	}
}

// tendWires follows networks from one outside bridge to another. Their guests
// keep a router for as long as it said, up to hours (RFC 4861 section 6.3.4), and
// ask for another one only when their own link goes down. So the old one takes
// its leave, by us, since it cannot reach them any more, and the new one is
// asked to say that it is there.
func (a *Agent) tendWires() {
	if a.cfg.Speaker == nil {
		return
	}
	for id, n := range a.snap.Networks {
		was, known := a.wires[id]
		now := joined{}
		if plan.Beside(n) && a.rungs[id].V6 == vnet.EgressBridged && a.snap.Started(id) && n.Deleting == nil {
			now.bridge, _ = plan.WireOf(a.facts, n)
			now.routers = a.facts.Uplinks[now.bridge].Routers
		}
		if now.bridge == was.bridge {
			if known && len(now.routers) > 0 {
				a.wires[id] = now
			}
			continue
		}
		if now.bridge == "" && !a.snap.Started(id) {
			delete(a.wires, id)
			continue
		}
		a.rewire(n, was, now)
	}
	for id := range a.wires {
		if a.snap.Networks[id] == nil {
			delete(a.wires, id)
		}
	}
}

func (a *Agent) rewire(n *vnet.Network, was, now joined) {
	a.wires[n.ID] = now
	gone := slices.DeleteFunc(slices.Clone(was.routers), func(r vnet.HeardRouter) bool {
		// The same router may be behind both.
		return slices.ContainsFunc(now.routers, func(o vnet.HeardRouter) bool { return o.Address == r.Address && o.MAC == r.MAC })
	})
	if err := a.cfg.Speaker.Farewell(n.Bridge, gone, a.cfg.Now()); err != nil {
		a.log.Warn("guests not told that their router is gone", "network", n.Name, "error", err)
	}
	if now.bridge == "" {
		delete(a.wires, n.ID)
		a.event(vnet.RefOf(n), "uplink", "its IPv6 is no longer on %s", was.bridge)
		return
	}
	if err := a.cfg.Speaker.Solicit(now.bridge); err != nil {
		a.log.Warn("routers not solicited", "link", now.bridge, "error", err)
	}
	if was.bridge == "" {
		a.event(vnet.RefOf(n), "uplink", "its IPv6 is on %s", now.bridge)
		return
	}
	a.event(vnet.RefOf(n), "uplink", "its IPv6 is on %s now, no longer on %s", now.bridge, was.bridge)
}
