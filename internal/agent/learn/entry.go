package learn

import (
	"container/heap"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// State is where an address is.
type State string

// The states of an address.
const (
	Free      State = "free"
	Tentative State = "tentative" // a guest asks if it is free, or just began to use it
	Held      State = "held"
)

// entry is an address that is not free.
type entry struct {
	key
	holder    Holder
	state     State
	used      bool // tentative, and in use
	temporary bool
	back      bool      // its guest was absent
	heard     time.Time // when the holder last used it
	misses    int       // probes without an answer
	// rival also uses the address, and gets it if the holder does not answer.
	rival        *Holder
	contestAfter time.Time

	at    time.Time // when something is due
	index int       // in dues
}

// silent reports whether nothing is awaited for x but that its holder has been
// silent for too long.
func (x *entry) silent() bool { return x.state == Held && x.misses == 0 && x.rival == nil }

// transition is what a sighting makes of an address.
func (e *Engine) transition(now time.Time, h Holder, s Sighting) Result {
	x := e.entries[key{h.Network, s.Address}]
	switch {
	case x == nil:
		return e.appear(now, h, s)
	case x.holder.Link == h.Link:
		return e.again(now, x, h, s)
	case x.state == Held:
		return e.contest(now, x, h)
	case x.used: // the first to come has it; it will defend itself
	case s.Tentative: // both ask at once: neither may have it (RFC 4862 section 5.4.3)
		e.trace(x, Free, "two ask at once")
		e.remove(x)
	default: // somebody had it already, and says so
		e.trace(x, Free, "defended")
		e.remove(x)
		return e.appear(now, h, s)
	}
	return Result{}
}

// appear is the first sighting of a free address.
func (e *Engine) appear(now time.Time, h Holder, s Sighting) Result {
	if !e.room(h) {
		return Result{}
	}
	temporary, had := e.found(h, s.Address)
	x := e.insert(h, s.Address)
	x.state, x.used = Free, !s.Tentative
	if had && x.used {
		x.back, x.temporary = true, temporary
		return e.hold(now, x, "back")
	}
	e.trace(x, Tentative, "heard")
	x.state = Tentative
	e.schedule(x, now.Add(e.wait(x)))
	return Result{}
}

// again is a further sighting from the holder.
func (e *Engine) again(now time.Time, x *entry, h Holder, s Sighting) Result {
	x.holder = h // the MAC or the port may be known better now
	switch {
	case x.state == Held:
		x.heard, x.misses, x.rival = now, 0, nil
		e.schedule(x, now.Add(spread(x.addr, e.conf.ProbeEvery)))
	case !x.used:
		x.used = !s.Tentative
		e.schedule(x, now.Add(e.wait(x)))
	}
	return Result{}
}

// contest is a sighting of an address that somebody else holds: the holder is
// asked, and loses it if it is silent.
func (e *Engine) contest(now time.Time, x *entry, h Holder) Result {
	if x.rival != nil || now.Before(x.contestAfter) {
		return Result{}
	}
	x.rival, x.misses, x.contestAfter = &h, 0, now.Add(contestEvery)
	return e.probe(now, x)
}

// expire does what is due for x.
func (e *Engine) expire(now time.Time, x *entry) Result {
	if x.state == Tentative {
		if x.used {
			return e.hold(now, x, "used")
		}
		return e.hold(now, x, "nobody objected")
	}
	if x.misses >= maxMisses {
		return e.drop(now, x, "silent")
	}
	return e.probe(now, x)
}

func (e *Engine) probe(now time.Time, x *entry) Result {
	x.misses++
	e.schedule(x, now.Add(probeWait))
	return Result{Probes: []Probe{{x.holder, x.addr}}}
}

// hold makes x its holder's.
func (e *Engine) hold(now time.Time, x *entry, why string) Result {
	n := e.networks[x.network]
	if n == nil || n.subnetOf(x.addr) == nil {
		e.remove(x)
		return Result{}
	}
	e.trace(x, Held, why)
	x.state, x.heard, x.misses = Held, now, 0
	e.schedule(x, now.Add(spread(x.addr, e.conf.ProbeEvery)))
	e.askOthers(now, x)
	sub := n.subnetOf(x.addr)
	how := howOf(x.addr, x.holder.MAC, sub)
	if !x.back { // else it is known
		x.temporary = how == vnet.HowSLAAC && e.isTemporary(x)
	}
	return Result{Claims: []vnet.Lease{{
		Network: x.network, Subnet: sub.ID, Port: x.holder.Port, Address: x.addr, Family: sub.Family,
		How: how, MAC: x.holder.MAC, Temporary: x.temporary,
	}}}
}

// askOthers has the holder's other addresses probed soon: a guest that takes
// an address has often given up another.
func (e *Engine) askOthers(now time.Time, x *entry) {
	for y := range e.link(x.holder.Link).entries {
		soon := now.Add(spread(y.addr, probeWait))
		if y != x && y.state == Held && y.misses == 0 && y.rival == nil && y.addr.Is4() == x.addr.Is4() &&
			now.Sub(y.heard) > fresh && soon.Before(y.at) {
			e.schedule(y, soon)
		}
	}
}

// drop frees x; its rival, if any, gets the address.
func (e *Engine) drop(now time.Time, x *entry, why string) Result {
	e.trace(x, Free, why)
	e.remove(x)
	var r Result
	if x.state == Held {
		r.Releases = []Release{{x.network, x.addr, why}}
	}
	if x.rival != nil && e.room(*x.rival) {
		y := e.insert(*x.rival, x.addr)
		y.state = Free
		r.add(e.hold(now, y, "the holder before is gone"))
	}
	return r
}

// wait is how long a tentative address stays so.
func (e *Engine) wait(x *entry) time.Duration {
	switch {
	case x.used:
		return settle
	case x.addr.Is4():
		return arpWait
	}
	if n := e.networks[x.network]; n != nil {
		if s := n.subnetOf(x.addr); s != nil && s.OffLink {
			return offLinkWait
		}
	}
	return dadWait
}

// spread returns d, or up to a tenth less, always the same for an address: so
// that addresses learnt together are not all probed together.
func spread(a netip.Addr, d time.Duration) time.Duration {
	h := fnv.New32a()
	b := a.As16()
	_, _ = h.Write(b[:])
	return d - d*time.Duration(h.Sum32()%1000)/10000
}

// dues is a heap of entries by what is due first.
type dues []*entry

var _ heap.Interface = (*dues)(nil)

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push adds an entry, for container/heap.
func (d *dues) Push(x any) {
	it := x.(*entry)
	it.index = len(*d)
	*d = append(*d, it)
}

// Pop removes the last entry, for container/heap.
func (d *dues) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = slices.Delete(old, len(old)-1, len(old))
	return x
}
