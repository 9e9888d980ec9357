package daemon

import (
	"runtime"
	"runtime/debug"
	"time"
)

// By how much the heap may grow before it is collected, in percent. At rest it
// is half of Go's usual value, and of a large heap a fifth: a hundred thousand
// leases are some 80 MB of long-lived objects in the agent, and leaving as much
// again unused would cost more than collecting more often does: nothing while
// nothing changes. In a burst of work collecting a small heap costs a sixth of
// the processor at that value. A large one is collected seldom anyway; what it
// grows by in a burst stays behind as holes between what lives on, which nothing
// gives back.
const (
	paceRest      = 50
	paceBusy      = 200
	paceRestLarge = 20
	paceBusyLarge = 30
	paceSmall     = 48 << 20    // bytes
	paceSoon      = time.Second // since the last collection: busy
	paceAgain     = 2 * paceSoon
)

// pace says by how much the heap may grow.
type pace struct {
	percent int
	busy    bool
	last    time.Time // when was last collected
	set     func(percent int)
}

// collected is told of every collection, and how many bytes were left.
func (p *pace) collected(now time.Time, live uint64) {
	since := now.Sub(p.last)
	p.busy = !p.last.IsZero() && (since < paceSoon || p.busy && since < paceAgain)
	p.last = now
	percent := paceFor(p.busy, live < paceSmall)
	if percent != p.percent {
		p.percent = percent
		p.set(percent)
	}
}

func paceFor(busy, small bool) int {
	switch {
	case busy && small:
		return paceBusy
	case small:
		return paceRest
	case busy:
		return paceBusyLarge
	}
	return paceRestLarge
}

// Pace sees to it, as long as the program runs, that the heap is collected
// seldom in a burst of work and soon at rest.
func Pace() {
	p := &pace{percent: paceRest, set: func(n int) { debug.SetGCPercent(n) }}
	p.set(paceRest)
	type sentinel struct{ _ [16]byte }
	var after func(*sentinel)
	after = func(*sentinel) {
		p.collected(time.Now(), metric("/gc/heap/live:bytes"))
		runtime.SetFinalizer(new(sentinel), after) // which the next collection finds unused
	}
	runtime.SetFinalizer(new(sentinel), after)
}
