package pd

import (
	"testing"
	"time"
)

// Release says so, a few times, and then it is over whether heard or not.
func TestRelease(t *testing.T) {
	r := newRig(t, nil, "")
	r.bound(pref{"2001:db8:5600::/56", 600, 900, nil})
	r.sent = nil
	r.did(r.Release(r.now))
	more := r.pass(time.Minute)
	if len(more) != 3 || r.State() != Stopped || r.Held() != nil {
		t.Errorf("%d more Releases, %v, %+v", len(more), r.State(), r.Held())
	}
}

// Sleep counts, and a clock that is set does not.
func TestClocks(t *testing.T) {
	r := newRig(t, nil, "")
	r.bound(pref{"2001:db8:5600::/56", 3000, 4000, nil})
	before := r.Held().Prefixes[0].Valid
	r.now.Wall = r.now.Wall.Add(100 * 24 * time.Hour) // somebody set the clock
	if s := r.did(r.Tick(r.now)); !s.Changed {
		t.Error("deadlines were not moved with the clock")
	}
	r.holds("2001:db8:5600::/56")
	if got := r.Held().Prefixes[0].Valid.Sub(before); got != 100*24*time.Hour {
		t.Errorf("the deadline moved by %v", got)
	}
	r.now.Wall = r.now.Wall.Add(-200 * 24 * time.Hour) // and back
	r.did(r.Tick(r.now))
	r.wait(5000 * time.Second) // suspended past everything
	r.did(r.Tick(r.now))
	r.holds("")
}
