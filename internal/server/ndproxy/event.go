package ndproxy

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// EventKind says what happened to an address.
type EventKind string

// Kinds of events.
const (
	// Found: a guest that nobody had told of has the address. Who asked for it is
	// answered when the agent tells of it, which says that there is a route.
	Found EventKind = "found"
	// Duplicate: somebody wants or uses an address that another has; who had it
	// first keeps it.
	Duplicate EventKind = "duplicate"
	// Contested: somebody outside had the guest's address before it, so that
	// the guest is not answered for.
	Contested EventKind = "contested"
	// Cleared: nobody outside has the contested address any more.
	Cleared EventKind = "cleared"
)

var kinds = []EventKind{Found, Duplicate}

// Event is something about an address that the host's user may want to know.
type Event struct {
	Kind    EventKind
	Uplink  string
	Address netip.Addr
	Network vnet.ID // of the guest that has the address; "": it is outside
	// MAC and Other are the one who wants or uses it as well, and its network,
	// "" being the uplink.
	MAC   vnet.MAC
	Other vnet.ID
}

// tell adds an event to the output, each kind once in a while for an address.
// That a guest is contested or no longer is always told: it is the state of what
// the agent said itself, and follows its trials, which have their own rate.
func (e *engine) tell(kind EventKind, a netip.Addr, has, other int, mac vnet.MAC) {
	if kind != Contested && kind != Cleared {
		k := slices.Index(kinds, kind)
		if _, ok := e.told.get(k, a, e.now); ok || !e.events.allow(eventRate, e.now) {
			return
		}
		life := toldLife
		if kind == Found {
			life = foundLife
		}
		e.told.put(k, a, struct{}{}, e.now+life)
	}
	e.out.events = append(e.out.events, Event{
		Kind: kind, Uplink: e.sides[0].link, Address: a,
		Network: e.sides[has].network, MAC: mac, Other: e.sides[other].network,
	})
}
