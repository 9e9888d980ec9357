package ndproxy

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// Whoever scans the prefix makes it wait and wake all the time: that must not
// make garbage, which would look like a leak.
func TestWaitMakesNoGarbage(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ready := make([]unix.EpollEvent, 16)
	allocs := testing.AllocsPerRun(100, func() {
		now := listen.BootTime()
		if err := p.in(0, now); err != nil {
			t.Fatal(err)
		}
		if n, err := p.wait(ready); n != 1 || err != nil {
			t.Fatalf("%d are ready, %v", n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for each time it waits", allocs)
	}
}
