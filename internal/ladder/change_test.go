package ladder

import (
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestChanges is what becomes of what is held when the uplink is only just
// heard, comes and goes, or the clock is set.
func TestChanges(t *testing.T) {
	delegated := six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)
	shared := six("a", "2001:db8::/64", vnet.EgressProxied)
	over := delegated
	over.PreferredUntil, over.ValidUntil = start.Add(-time.Hour), start.Add(-time.Minute)
	unheard := offered("", "")
	unheard.UnheardDelegated, unheard.UnheardOnLink = true, true
	heard := offered("2001:db8:b00::/56", "")
	heard.UnheardOnLink = true
	unplugged := Uplink{}
	unplugged.Delegated = offered("2001:db8:a00::/56", "").Delegated
	back := offered("2001:db8:a00::/56", "")
	back.Since6 = start.Add(-time.Second)
	ahead := offered("2001:db8:b00::/56", "")
	ahead.Delegated[0].Since = start.Add(time.Hour)
	for _, tc := range []struct {
		what    string
		uplink  Uplink
		held    vnet.PrefixAssignment
		present vnet.Egress
		want    string // as summary
		why     string
		moves   int
	}{
		{"nobody was heard yet: delegated", unheard, delegated, "", "a:2001:db8:a00:77::/64:delegated", "as before", 0},
		{"nobody was heard yet: shared", unheard, shared, "", "a:2001:db8::/64:proxied", "as before", 0},
		{"another delegation was heard", heard, delegated, "", "a:2001:db8:a00:77::/64:cut a:2001:db8:b00:77::/64:delegated", "2001:db8:b00::/56", 1},
		{"a better one before the routers", heard, shared, "", "a:2001:db8::/64:old a:2001:db8:b00:1::/64:delegated", "2001:db8:b00::/56", 1},
		{"what was cut meanwhile stays so", unheard, gone(delegated), "", "a:2001:db8:a00:77::/64:cut", "nat66", 0},
		{"the cable is pulled out", unplugged, delegated, "delegated", "a:2001:db8:a00:77::/64:old", "an IPv6 default route would lift it", 1},
		{"it is back, just now", back, gone(delegated), "ula", "a:2001:db8:a00:77::/64:old", "has just come", 0},
		{"it is back, first choice", back, gone(delegated), "", "a:2001:db8:a00:77::/64:delegated", "2001:db8:a00::/56", 0},
		{"the clock was set past its end", offered("2001:db8:a00::/56", ""), over, "delegated", "a:2001:db8:a00:77::/64:delegated", "2001:db8:a00::/56", 0},
		{"the clock was set back", ahead, gone(delegated), "nat66", "a:2001:db8:a00:77::/64:cut a:2001:db8:b00:77::/64:delegated", "2001:db8:b00::/56", 0},
		{"its end has come", offered("", ""), over, "delegated", "", "nat66", 0},
		{"an old one of a lower rung, offered again", offered("2001:db8:b00::/56", "2001:db8::/64"), gone(shared), "",
			"a:2001:db8::/64:old a:2001:db8:b00:1::/64:delegated", "2001:db8:b00::/56", 0},
	} {
		in := Input{Now: start, Host: "h", Uplink: tc.uplink, Wishes: []Wish{sixNet("a", 1, vnet.EgressAuto)}, Held: []vnet.PrefixAssignment{tc.held}}
		if tc.present != "" {
			in.Present = map[vnet.ID]vnet.Egress{"a": tc.present}
		}
		out := Decide(in)
		if got := summary(out); got != tc.want || !strings.Contains(out.Networks["a"].Why6, tc.why) || len(out.Moves) != tc.moves {
			t.Errorf("%s: %s (%s), %d moves: %+v\nwant %s (…%s…), %d", tc.what, got, out.Networks["a"].Why6, len(out.Moves), out.Moves, tc.want, tc.why, tc.moves)
		}
		in.Held = out.Held
		if again := Decide(in); len(again.Claim)+len(again.Release) != 0 {
			t.Errorf("%s: not a fixed point: %v, %v", tc.what, again.Claim, again.Release)
		}
	}
}

// TestOwnAgain: of what a subnet held, the prefix of the highest rung comes back,
// as itself: its addresses are what guests know.
func TestOwnAgain(t *testing.T) {
	shared, delegated := gone(six("a", "2001:db8::/64", vnet.EgressProxied)), gone(six("a", "2001:db8:a00:1::/64", vnet.EgressDelegated))
	shared.Since = delegated.Since.Add(-time.Minute)
	other := six("a", "2001:db8:b00:1::/64", vnet.EgressDelegated)
	in := Input{Now: start, Host: "h", Uplink: offered("2001:db8:a00::/56", "2001:db8::/64"), Wishes: []Wish{sixNet("a", 1, vnet.EgressAuto)},
		Held: []vnet.PrefixAssignment{shared, delegated, other}, Present: map[vnet.ID]vnet.Egress{"a": vnet.EgressDelegated}}
	out := Decide(in)
	if got, want := summary(out), "a:2001:db8::/64:old a:2001:db8:a00:1::/64:delegated a:2001:db8:b00:1::/64:cut"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, h := range out.Held {
		if h.ID == "" {
			t.Errorf("%v is claimed as a new one", h.Prefix)
		}
	}
}

// TestRefreshed: what was promised is looked at again in time to promise more.
func TestRefreshed(t *testing.T) {
	u := offered("2001:db8:a00::/56", "")
	u.Delegated[0].PreferredUntil, u.Delegated[0].ValidUntil = start.Add(time.Hour), start.Add(2*time.Hour)
	in := Input{Now: start, Host: "h", Uplink: u, Wishes: []Wish{sixNet("a", 1, vnet.EgressAuto)}}
	out := Decide(in)
	if !out.Next.Equal(start.Add(30*time.Minute + time.Second)) {
		t.Errorf("looks again at %v", out.Next)
	}
	in.Held, in.Now = out.Held, out.Next
	u.Delegated[0].PreferredUntil, u.Delegated[0].ValidUntil = in.Now.Add(time.Hour), in.Now.Add(2*time.Hour)
	out = Decide(in)
	if len(out.Claim) != 1 || !out.Claim[0].PreferredUntil.Equal(in.Now.Add(time.Hour)) {
		t.Errorf("promises %+v", out.Claim)
	}
	in.Held = out.Held
	in.Now = in.Now.Add(59*time.Minute + 55*time.Second) // never refreshed
	if out = Decide(in); !out.Next.Equal(u.Delegated[0].PreferredUntil) {
		t.Errorf("looks again at %v, want when it ends", out.Next)
	}
}
