package radv

import (
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// roster is the known guests of one network.
type roster struct {
	ports map[vnet.ID]*guest
	macs  map[vnet.MAC]*guest
	// deviants counts the guests whose default network is another one. One of
	// them ends multicast: everybody gets frames of their own.
	deviants int
}

// guest is a port.
type guest struct {
	plan.Guest
	// forgets is until when it is told that resolvers it was told of before are
	// not its any more; 0: never.
	forgets time.Duration
}

func newRoster() *roster { return &roster{ports: map[vnet.ID]*guest{}, macs: map[vnet.MAC]*guest{}} }

func (r *roster) set(g plan.Guest) {
	var forgets time.Duration
	if old := r.ports[g.Port]; old != nil && !g.DefaultRoute {
		forgets = old.forgets
	}
	r.remove(g.Port)
	n := &guest{g, forgets}
	r.ports[g.Port] = n
	r.macs[g.MAC] = n
	if !g.DefaultRoute {
		r.deviants++
	}
}

func (r *roster) remove(port vnet.ID) {
	old := r.ports[port]
	if old == nil {
		return
	}
	delete(r.ports, port)
	if r.macs[old.MAC] == old {
		delete(r.macs, old.MAC)
	}
	if !old.DefaultRoute {
		r.deviants--
	}
}

// variant is what the guest is told; nil is one that is not known.
func (g *guest) variant(boot time.Duration) variant {
	switch {
	case g == nil || g.DefaultRoute:
		return whole
	case boot < g.forgets:
		return recalled
	}
	return aside
}

// target is one guest, or all behind a device that is no port of ours, to be
// told by frames on the device.
type target struct {
	device string
	mac    vnet.MAC
	told   variant
}

// allNodesMAC is where multicast to all nodes goes on Ethernet (RFC 2464
// section 7).
var allNodesMAC = vnet.MAC{0x33, 0x33, 0, 0, 0, 1}

// A round of frames is not one burst: its guests answer with solicitations of
// neighbours.
const (
	stepFrames = 16
	stepEvery  = 10 * time.Millisecond
	// hasteEvery is the least time between two rounds ahead of a multicast: what
	// changes without end is not told without end.
	hasteEvery = 500 * time.Millisecond
)

// targets are all whom an unsolicited advertisement concerns.
func (e *engine) targets(now Instant) []target {
	out := e.known(now)
	if e.svc.RA.Policy.UnicastOnly {
		return out
	}
	ports := len(out)
	for _, device := range e.svc.Strangers {
		if !slices.ContainsFunc(out[:ports], func(t target) bool { return t.device == device }) {
			out = append(out, target{device, allNodesMAC, whole})
		}
	}
	return out
}

// known are the guests that can be told one by one.
func (e *engine) known(now Instant) []target {
	out := make([]target, 0, len(e.guests.ports)+len(e.svc.Strangers))
	for _, g := range e.guests.ports {
		if g.Device != "" && g.MAC.IsUnicast() {
			out = append(out, target{g.Device, g.MAC, g.variant(now.Boot)})
		}
	}
	slices.SortFunc(out, func(a, b target) int { return strings.Compare(a.device, b.device) })
	return out
}

// hasten has the known guests told of a change by frames of their own where the
// multicast must wait: what the rate limit of RFC 4861 section 6.2.6 spares are
// those whom it does not concern. Guests whose prefix an uplink just took with it
// would be without a way out until then.
func (e *engine) hasten(now Instant) {
	at := now.Boot
	if e.hasty > at { // a round that has yet to begin
		at = e.hasty
	} else if e.hasty >= 0 {
		at = max(at, e.hasty+hasteEvery)
	}
	if at >= e.next {
		return // the multicast comes as soon
	}
	if e.round = e.known(now); len(e.round) > 0 {
		e.step, e.hasty = at, at
	}
}

// goOn returns the next frames of the round that is under way.
func (e *engine) goOn(now Instant) []message {
	if len(e.round) == 0 || now.Boot < e.step {
		return nil
	}
	out := e.out[:0]
	n := min(stepFrames, len(e.round))
	for _, t := range e.round[:n] {
		out = e.frames(out, t.device, t.mac, allNodes, e.render(t.told, now))
	}
	e.round, e.step = e.round[n:], now.Boot+stepEvery
	e.out = out
	return out
}
