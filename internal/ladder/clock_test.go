package ladder

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

// setTo moves what an uplink offers with the wall clock.
func (u Uplink) setTo(by time.Duration) Uplink {
	moved := func(all []Source) (out []Source) {
		for _, s := range all {
			for _, t := range []*time.Time{&s.Since, &s.PreferredUntil, &s.ValidUntil} {
				if !t.IsZero() {
					*t = t.Add(by)
				}
			}
			out = append(out, s)
		}
		return out
	}
	u.Delegated, u.OnLink = moved(u.Delegated), moved(u.OnLink)
	return u
}

// left is what is held, and for how long.
func left(out Output, now time.Time) []string {
	rest := func(t time.Time) string {
		if t.IsZero() {
			return "ever"
		}
		return t.Sub(now).String()
	}
	var w []string
	for _, h := range out.Held {
		w = append(w, fmt.Sprintf("%s %s %s %s cut=%v preferred for %s, valid for %s", h.Network, h.Prefix, h.Rung, h.State, h.Cut, rest(h.PreferredUntil), rest(h.ValidUntil)))
	}
	return w
}

// TestClockSet: whatever the wall clock is set to, however often, what is held
// lasts as long as it did, and nobody moves; and what the store is to have is
// what is held.
func TestClockSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := func(u *Uplink) {
			for _, list := range [][]Source{u.Delegated, u.OnLink} {
				for i := range list {
					valid := time.Duration(rapid.IntRange(7200, 90000).Draw(t, "valid")) * time.Second
					list[i].ValidUntil, list[i].PreferredUntil = start.Add(valid), start.Add(valid/2)
				}
			}
		}
		stale := gone(six("c", "2001:db8:f00:7::/64", vnet.EgressDelegated))
		in := Input{Now: start, Host: "h", Present: map[vnet.ID]vnet.Egress{}, Held: []vnet.PrefixAssignment{stale},
			Wishes: []Wish{sixNet("a", 1, vnet.EgressAuto), sixNet("b", 2, vnet.EgressProxied), sixNet("c", 3, vnet.EgressAuto), autoNet("v4")},
			Uplink: offered("2001:db8:a00::/63", "2001:db8::/64"), ULA: pfx("fd12:3456:789a::/48")}
		life(&in.Uplink)
		decide := func() Output {
			out := Decide(in)
			in.Held = out.Held
			for i := range in.Held {
				h := &in.Held[i]
				h.ID = vnet.ID("a-" + string(h.Network) + h.Prefix.String())
			}
			for id, d := range out.Networks {
				in.Present[id] = d.Rung6
			}
			in.ClockSet = 0
			return out
		}
		before := decide()
		for range rapid.IntRange(1, 6).Draw(t, "jumps") {
			want, now := left(before, in.Now), in.Now
			by := time.Duration(rapid.IntRange(-3*86400, 3*86400).Draw(t, "by")) * time.Second
			in.Now, in.Uplink, in.ClockSet = now.Add(by), in.Uplink.setTo(by), by
			after := decide()
			if got := left(after, in.Now); !reflect.DeepEqual(got, want) {
				t.Fatalf("set by %v: held\n%v\nwant\n%v", by, got, want)
			}
			if len(after.Moves)+len(after.Release) > 0 || !reflect.DeepEqual(after.Networks, before.Networks) {
				t.Fatalf("set by %v: %+v", by, after)
			}
			claimed := map[vnet.ID]bool{}
			for _, c := range after.Claim {
				claimed[c.ID] = true
			}
			for _, h := range after.Held {
				if timed := !h.ValidUntil.IsZero(); by != 0 && timed != claimed[h.ID] {
					t.Fatalf("set by %v: %v of %s, claimed %v", by, h.Prefix, h.Network, claimed[h.ID])
				}
			}
			if again := decide(); len(again.Claim)+len(again.Release) > 0 {
				t.Fatalf("set by %v: not at rest: %+v", by, again)
			}
			before = after
		}
	})
}
