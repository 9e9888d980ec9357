package daemon

import (
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	small, middle, large := paces[0], paces[1], paces[2]
	var set []int
	p := pace{percent: small.rest, set: func(n int) { set = append(set, n) }}
	now := time.Unix(1000, 0)
	for _, wait := range []time.Duration{
		0, time.Minute, // at rest
		500 * time.Millisecond, 100 * time.Millisecond, 1500 * time.Millisecond, // a burst, with the larger heap
		3 * time.Second, time.Minute, // over
	} {
		now = now.Add(wait)
		p.collected(now, 1<<20)
	}
	for _, live := range []uint64{small.below, middle.below, middle.below} { // a large heap
		now = now.Add(10 * time.Millisecond)
		p.collected(now, live)
	}
	for range 2 { // which is at rest
		now = now.Add(time.Minute)
		p.collected(now, middle.below)
	}
	if want := []int{small.busy, small.rest, middle.busy, large.busy, large.rest}; !slices.Equal(set, want) {
		t.Errorf("set %v, want %v", set, want)
	}
}

// The collector does tell us.
func TestPaceHears(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	Pace()
	deadline := time.Now().Add(20 * time.Second)
	for {
		runtime.GC()
		n := debug.SetGCPercent(paces[0].rest)
		debug.SetGCPercent(n)
		if n == paces[0].busy {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the heap may grow by %d percent after many collections", n)
		}
		runtime.Gosched()
	}
}
