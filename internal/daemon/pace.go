package daemon

import (
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

// paces say by how much the heap may grow before it is collected, in percent.
// At rest it is half of Go's usual value, and of a large heap a fifth: a hundred
// thousand leases are some 80 MB of long-lived objects in the agent, and leaving
// as much again unused would cost more than collecting more often does: nothing
// while nothing changes. In a burst of work collecting a small heap costs a sixth
// of the processor at that value. A larger one is collected seldom anyway; what
// it grows by in a burst stays behind as holes between what lives on, which
// nothing gives back.
var paces = []struct {
	below      uint64 // bytes in use
	rest, busy int
}{
	{24 << 20, 50, 200},
	{48 << 20, 50, 75},
	{math.MaxUint64, 20, 30},
}

const (
	paceSoon  = time.Second // since the last collection: busy
	paceAgain = 2 * paceSoon
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
	percent := paceFor(p.busy, live)
	if percent != p.percent {
		p.percent = percent
		p.set(percent)
	}
}

func paceFor(busy bool, live uint64) int {
	at := 0
	for live >= paces[at].below && at < len(paces)-1 {
		at++
	}
	if busy {
		return paces[at].busy
	}
	return paces[at].rest
}

// Pace sees to it, as long as the program runs, that the heap is collected
// seldom in a burst of work and soon at rest.
func Pace() {
	p := &pace{percent: paces[0].rest, set: func(n int) { debug.SetGCPercent(n) }}
	p.set(p.percent)
	type sentinel struct{ _ [16]byte }
	var after func(*sentinel)
	after = func(*sentinel) {
		p.collected(time.Now(), metric("/gc/heap/live:bytes"))
		runtime.SetFinalizer(new(sentinel), after) // which the next collection finds unused
	}
	runtime.SetFinalizer(new(sentinel), after)
}
