package learn

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// absentLife is how long it is remembered what a guest had whose link went,
	// or lost its carrier.
	absentLife = 5 * time.Minute
	// maxAbsent bounds the addresses that are remembered of such guests.
	maxAbsent = 16384
	// askFirst is how soon after its return a guest is asked for the second
	// time, and how much later each time that follows is doubled: the bridge may
	// not forward yet. A guest that is silent maxAsks times has left them.
	askFirst = 100 * time.Millisecond
	maxAsks  = 8
)

// guest tells guests apart whose link is gone.
type guest struct {
	network vnet.ID
	mac     vnet.MAC
}

// absent is a guest whose link is gone, or was gone: a guest says what it has
// when it takes it and not when somebody has pulled its link out of a bridge and
// put it back, so it is asked.
type absent struct {
	holder Holder              // of one that is back, as it is now
	had    map[netip.Addr]bool // whether temporary
	until  time.Time
	asks   int // 0: it is not back yet
	at     time.Time
}

// miss remembers that a guest had an address.
func (e *Engine) miss(now time.Time, h Holder, a netip.Addr, temporary bool) {
	if e.missed >= maxAbsent {
		e.makeRoom(now)
	}
	who := guest{h.Network, h.MAC}
	g := e.absent[who]
	if g == nil {
		g = &absent{had: map[netip.Addr]bool{}}
		e.absent[who] = g
	}
	if _, known := g.had[a]; !known {
		if len(g.had) >= MaxPerPort {
			return
		}
		e.missed++
	}
	g.holder, g.until, g.asks = h, now.Add(absentLife), 0
	g.had[a] = temporary
	delete(e.back, g)
}

// makeRoom forgets absent guests whose time is over, and one more if that was
// none.
func (e *Engine) makeRoom(now time.Time) {
	before := e.missed
	for _, g := range e.absent {
		if !now.Before(g.until) {
			e.forget(g)
		}
	}
	for _, g := range e.absent {
		if e.missed < before {
			return
		}
		e.forget(g)
	}
}

// forget forgets what an absent guest had.
func (e *Engine) forget(g *absent) {
	e.missed -= len(g.had)
	delete(e.absent, guest{g.holder.Network, g.holder.MAC})
	delete(e.back, g)
}

// Miss remembers what a guest had whose link is not there: it is asked for it
// when it is back.
func (e *Engine) Miss(now time.Time, h Holder, a netip.Addr, temporary bool) {
	e.miss(now, h, a, temporary)
}

// LinkBack asks the guests on a link for what they had when it went. The
// holder's MAC does not matter.
func (e *Engine) LinkBack(now time.Time, h Holder) Result {
	var r Result
	for _, g := range e.absent {
		was := g.holder
		if g.asks == 0 && was.Network == h.Network && (was.Link == h.Link || was.Port == h.Port && h.Port != "") {
			h.MAC = was.MAC
			r.add(e.ask(now, g, h))
		}
	}
	return r
}

// recall asks a guest that was absent and speaks again, wherever, for what else
// it had.
func (e *Engine) recall(now time.Time, h Holder) Result {
	g := e.absent[guest{h.Network, h.MAC}]
	if g == nil || g.asks > 0 {
		return Result{}
	}
	return e.ask(now, g, h)
}

// ask asks a guest that is back, and sets the time of the next question.
func (e *Engine) ask(now time.Time, g *absent, h Holder) Result {
	if g.asks == 0 && !now.Before(g.until) || g.asks >= maxAsks {
		e.forget(g)
		return Result{}
	}
	g.holder = h
	var r Result
	for _, a := range slices.SortedFunc(maps.Keys(g.had), netip.Addr.Compare) {
		n := e.networks[h.Network]
		if n == nil || !n.mayLearn(a) || e.entries[key{h.Network, a}] != nil {
			e.unmiss(g, a)
			continue
		}
		r.Seeks = append(r.Seeks, Probe{h, a})
	}
	if len(g.had) > 0 {
		g.at = now.Add(askFirst << g.asks)
		g.asks++
		e.back[g] = true
	}
	return r
}

// unmiss forgets one address of an absent guest, and with the last one the
// guest.
func (e *Engine) unmiss(g *absent, a netip.Addr) {
	delete(g.had, a)
	if e.missed--; len(g.had) == 0 {
		e.forget(g)
	}
}

// found reports whether a guest that was absent had the address, and if so, as
// a temporary one. It is absent no longer.
func (e *Engine) found(h Holder, a netip.Addr) (temporary, had bool) {
	g := e.absent[guest{h.Network, h.MAC}]
	if g == nil {
		return false, false
	}
	if temporary, had = g.had[a]; had {
		e.unmiss(g, a)
	}
	return temporary, had
}

// askAgain asks those whose time has come.
func (e *Engine) askAgain(now time.Time) Result {
	var r Result
	for g := range e.back {
		if !g.at.After(now) {
			r.add(e.ask(now, g, g.holder))
		}
	}
	return r
}

// nextAsk is when askAgain has something to do; zero: not before somebody is
// back.
func (e *Engine) nextAsk() (at time.Time) {
	for g := range e.back {
		if at.IsZero() || g.at.Before(at) {
			at = g.at
		}
	}
	return at
}

// Seek takes a hint that a guest may have an address which it must be known to
// have, since the address is shared with an uplink: it sent from there. The
// guest is asked, and has the address if it says so: anybody can send from any
// address.
func (e *Engine) Seek(h Holder, a netip.Addr) Result {
	n := e.networks[h.Network]
	if n == nil || !n.mayLearn(a) || !n.subnetOf(a).OffLink || e.entries[key{h.Network, a}] != nil {
		return Result{}
	}
	return Result{Seeks: []Probe{{h, a}}}
}
