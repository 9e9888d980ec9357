package ndproxy

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestFind: before a network gives an address it is looked for.
func TestFind(t *testing.T) {
	var zero vnet.MAC
	// finds says what becomes of looking for somebody's address, heard of or not.
	for name, tc := range map[string]struct {
		before func(*rig)
		during func(*rig)
		at     time.Duration // when it is known
		by     vnet.MAC
	}{
		"nobody has it": {at: findLife},
		"a neighbour has it": {
			during: func(r *rig) { r.heard(sideUplink, naAll(neighbour, somebody), r.at) }, by: neighbour},
		"a neighbour wants it, too": {
			during: func(r *rig) { r.heard(sideUplink, dad(neighbour, somebody), r.at) }, by: neighbour},
		"another network's guest has it, unknown": {
			during: func(r *rig) { r.heard(sideB, naAll(guestTwo, somebody), r.at) }, by: guestTwo},
		"the network's own guest says something": {
			during: func(r *rig) { r.heard(sideA, naAll(guestOne, somebody), r.at) }, at: findLife},
		"a neighbour is known to have it": {
			before: func(r *rig) { r.heard(sideUplink, naAll(neighbour, somebody), r.at) }, at: -1, by: neighbour},
		"another network's guest is known to have it": {
			before: func(r *rig) { r.setGuest(somebody, "b", r.at) }, at: -1, by: gatewayB},
		"its guest has it already": {
			before: func(r *rig) { r.setGuest(somebody, "a", r.at) }, at: -1},
		"the host has it": {
			before: func(r *rig) {
				w := wish()
				w.Own = append(w.Own, somebody)
				r.engine.set(w, r.at)
			}, at: -1, by: hostMAC},
		"the network shares it no more": {
			during: func(r *rig) {
				w := wish()
				w.Shared[0].Sides = w.Shared[0].Sides[1:]
				r.engine.set(w, r.at)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if tc.before != nil {
				tc.before(r)
				r.pass(time.Second)
			}
			begun := r.at
			o, by, wait := r.find(somebody, "a", r.at)
			if tc.at < 0 {
				if wait || by != tc.by || len(o.frames) != 0 {
					t.Errorf("by %v, awaited %v", by, wait)
				}
				return
			}
			if !wait {
				t.Fatalf("not awaited: %v", by)
			}
			expect(t, "asked", r.told(o), "uplink: DAD 2001:db8:1::f2", "B: DAD 2001:db8:1::f2")
			if o, _, wait = r.find(somebody, "a", r.at); !wait || len(o.frames) != 0 {
				t.Error("asked twice")
			}
			o.found = nil
			if tc.during != nil {
				tc.during(r)
			}
			for len(r.out.found) == 0 {
				at, ok := r.deadline()
				if !ok {
					t.Fatal("no answer")
				}
				r.at = max(at, r.at)
				r.tick(r.at)
			}
			if got := r.out.found[0]; got.addr != somebody || got.by != tc.by || r.at-begun != tc.at {
				t.Errorf("%+v after %v, want %v after %v", got, r.at-begun, tc.by, tc.at)
			}
			if len(r.finds) != 0 {
				t.Error("it is still looked for")
			}
		})
	}
	t.Run("elsewhere", func(t *testing.T) {
		r := newRig(t)
		if _, by, wait := r.find(somebody, "c", r.at); wait || by != zero {
			t.Error("looked for beyond the prefix")
		}
	})
	t.Run("bounded", func(t *testing.T) {
		r := newRig(t)
		for n := range 10_000 {
			r.find(nth(n), "a", r.at)
		}
		if len(r.finds) != maxFinds {
			t.Errorf("%d are looked for", len(r.finds))
		}
		if r.pass(time.Second); len(r.finds) != 0 {
			t.Errorf("%d are left", len(r.finds))
		}
	})
}

// TestKernelFind asks a neighbour that was never heard.
func TestKernelFind(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve(t)
	l.slaac(t)
	said := make(chan vnet.MAC, 1)
	finds := func(a netip.Addr, want bool) {
		t.Helper()
		netnstest.Eventually(t, 10*time.Second, "it is found, or not", func() error {
			l.server.Find("a", a, func(by vnet.MAC) { said <- by })
			if by := <-said; by.IsZero() == want {
				return fmt.Errorf("found: %v", by)
			}
			return nil
		})
	}
	finds(somebody, true)
	finds(nobody, false)
	l.server.Find("a", nobody, func(by vnet.MAC) { said <- by })
	l.server.Remove("eth0")
	if by := <-said; !by.IsZero() {
		t.Errorf("found where nothing is: %v", by)
	}
}
