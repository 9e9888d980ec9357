package ladder

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

// sixNet is a network whose IPv6 prefix comes from an uplink.
func sixNet(id string, number int, mode vnet.Egress) Wish {
	source := map[vnet.Egress]vnet.Source{vnet.EgressDelegated: vnet.SourceDelegated, vnet.EgressProxied: vnet.SourceProxied}[mode]
	if source == "" {
		source = vnet.SourceULA
	}
	return Wish{Network: vnet.ID(id), Name: id, Number: number, IPv4: vnet.EgressNone, IPv6: mode,
		Subnets: []vnet.Subnet{{Meta: vnet.Meta{ID: vnet.ID(id + "-6")}, Family: vnet.IPv6, Source: source, Primary: true}}}
}

// offered is an uplink eth0 with IPv6 that offers prefixes since an hour.
func offered(delegated, onLink string) Uplink {
	u := Uplink{V6: true, Link6: "eth0", Addresses6: prefixes("2001:db8::7/64")}
	for _, p := range strings.Fields(delegated) {
		u.Delegated = append(u.Delegated, Source{Prefix: pfx(p), Link: "eth0", From: "DHCPv6 on eth0", Since: start.Add(-time.Hour)})
	}
	for _, p := range strings.Fields(onLink) {
		u.OnLink = append(u.OnLink, Source{Prefix: pfx(p), Link: "eth0", From: "a router on eth0", Since: start.Add(-time.Hour)})
	}
	return u
}

// six is an active assignment of sixNet(id).
func six(id, prefix string, rung vnet.Egress) vnet.PrefixAssignment {
	return vnet.PrefixAssignment{Meta: vnet.Meta{ID: vnet.ID("a-" + id + prefix)}, Network: vnet.ID(id), Subnet: vnet.ID(id + "-6"), Host: "h",
		Family: vnet.IPv6, Prefix: pfx(prefix), Scope: vnet.ScopeHost, Rung: rung, State: vnet.PrefixActive, Since: start.Add(-time.Hour)}
}

func gone(a vnet.PrefixAssignment) vnet.PrefixAssignment {
	a.State, a.PreferredUntil, a.ValidUntil, a.Cut = vnet.PrefixDeprecated, start, start.Add(time.Hour), true
	return a
}

// summary is one word for each assignment: network, prefix, rung or "old" or
// "cut".
func summary(out Output) string {
	var w []string
	for _, h := range out.Held {
		what := string(h.Rung)
		switch {
		case h.State == vnet.PrefixDeprecated && h.Cut:
			what = "cut"
		case h.State == vnet.PrefixDeprecated:
			what = "old"
		}
		w = append(w, fmt.Sprintf("%s:%s:%s", h.Network, h.Prefix, what))
	}
	slices.Sort(w)
	return strings.Join(w, " ")
}

// TestReach is the decision table of prefixes that come from uplinks.
func TestReach(t *testing.T) {
	auto := func(id string, n int) Wish { return sixNet(id, n, vnet.EgressAuto) }
	other := offered("2001:db8:b00::/56", "")
	other.Delegated[0].Link = "wwan0"
	past := offered("2001:db8:a00::/56", "")
	past.Delegated[0].PreferredUntil = start.Add(-time.Second)
	past.Delegated[0].ValidUntil = start.Add(30 * time.Minute)
	exclude := offered("2001:db8:a00::/63", "")
	exclude.Delegated[0].Exclude = pfx("2001:db8:a00:1::/64")
	young := offered("2001:db8:a00::/56", "")
	young.Delegated[0].Since = start.Add(-5 * time.Second)
	for _, tc := range []struct {
		what    string
		uplink  Uplink
		wishes  []Wish
		held    []vnet.PrefixAssignment
		present map[vnet.ID]vnet.Egress
		want    string // as summary
		rungs   string // of the networks, in order
		why     string // part of the first one's
	}{
		{"nothing", offered("", ""), []Wish{auto("a", 1)}, nil, nil, "", "nat66", "no prefix is delegated to this host; no router on the uplink advertises"},
		{"a /56, two networks", offered("2001:db8:a00::/56", "2001:db8::/64"), []Wish{auto("a", 1), auto("b", 2)}, nil, nil,
			"a:2001:db8:a00:1::/64:delegated b:2001:db8:a00:2::/64:delegated", "delegated delegated", "2001:db8:a00::/56, from DHCPv6 on eth0"},
		{"on-link only", offered("", "2001:db8::/64"), []Wish{auto("a", 1), auto("b", 2)}, nil, nil,
			"a:2001:db8::/64:proxied b:2001:db8::/64:proxied", "proxied proxied", "no prefix is delegated"},
		{"a /64 delegated, two networks", offered("2001:db8:a00::/64", ""), []Wish{auto("b", 2), auto("a", 1)}, nil, nil,
			"a:2001:db8:a00::/64:delegated", "delegated nat66", ""},
		{"by name comes first", offered("2001:db8:a00::/64", ""), []Wish{auto("a", 1), sixNet("z", 9, vnet.EgressDelegated)}, nil, nil,
			"z:2001:db8:a00::/64:delegated", "nat66 delegated", "every /64 of 2001:db8:a00::/64"},
		{"who has it keeps it", offered("2001:db8:a00::/64", ""), []Wish{auto("a", 1), sixNet("z", 9, vnet.EgressDelegated)},
			[]vnet.PrefixAssignment{six("a", "2001:db8:a00::/64", vnet.EgressDelegated)}, nil, "a:2001:db8:a00::/64:delegated", "delegated delegated", ""},
		{"excluded", exclude, []Wish{auto("a", 1), auto("b", 2)}, nil, nil, "a:2001:db8:a00::/64:delegated", "delegated nat66", ""},
		{"a fixed subnet is in it", offered("2001:db8:a00::/63", ""), []Wish{auto("a", 0), fixedNet("f", "2001:db8:a00::/64")}, nil, nil,
			"a:2001:db8:a00:1::/64:delegated", "delegated routed", ""},
		{"of the other uplink", other, []Wish{auto("a", 1)}, nil, nil, "", "nat66", ""},
		{"stays", offered("2001:db8:a00::/56", ""), []Wish{auto("a", 1)}, []vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)}, nil,
			"a:2001:db8:a00:77::/64:delegated", "delegated", ""},
		{"renumbered: the same number", offered("2001:db8:b00::/56", ""), []Wish{auto("a", 1)}, []vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)},
			map[vnet.ID]vnet.Egress{"a": vnet.EgressDelegated}, "a:2001:db8:a00:77::/64:cut a:2001:db8:b00:77::/64:delegated", "delegated", ""},
		{"deprecated by the provider", past, []Wish{auto("a", 1)}, []vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)}, nil,
			"a:2001:db8:a00:77::/64:old", "nat66", ""},
		{"lost", offered("", ""), []Wish{auto("a", 1)}, []vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)},
			map[vnet.ID]vnet.Egress{"a": vnet.EgressDelegated}, "a:2001:db8:a00:77::/64:cut", "nat66", ""},
		{"lost, but there is an on-link /64", offered("", "2001:db8::/64"), []Wish{auto("a", 1)}, []vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)},
			map[vnet.ID]vnet.Egress{"a": vnet.EgressDelegated}, "a:2001:db8::/64:proxied a:2001:db8:a00:77::/64:cut", "proxied", ""},
		{"back", offered("2001:db8:a00::/56", ""), []Wish{auto("a", 1)}, []vnet.PrefixAssignment{gone(six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated))},
			map[vnet.ID]vnet.Egress{"a": vnet.EgressNAT66}, "a:2001:db8:a00:77::/64:delegated", "delegated", ""},
		{"back, but not yet believed", young, []Wish{auto("a", 1)}, []vnet.PrefixAssignment{gone(six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated))},
			map[vnet.ID]vnet.Egress{"a": vnet.EgressNAT66}, "a:2001:db8:a00:77::/64:old", "nat66", "has just come"},
		{"new, and the first choice", young, []Wish{auto("a", 1)}, nil, nil, "a:2001:db8:a00:1::/64:delegated", "delegated", ""},
		{"new, and by name", young, []Wish{sixNet("a", 1, vnet.EgressDelegated)}, nil, map[vnet.ID]vnet.Egress{"a": vnet.EgressDelegated},
			"a:2001:db8:a00:1::/64:delegated", "delegated", "by name"},
		{"climbs", offered("2001:db8:a00::/56", "2001:db8::/64"), []Wish{auto("a", 1)}, []vnet.PrefixAssignment{six("a", "2001:db8::/64", vnet.EgressProxied)},
			map[vnet.ID]vnet.Egress{"a": vnet.EgressProxied}, "a:2001:db8::/64:old a:2001:db8:a00:1::/64:delegated", "delegated", ""},
		{"nptv6", offered("2001:db8:a00::/56", ""), []Wish{sixNet("a", 3, vnet.EgressNPTv6)}, nil, nil, "a:2001:db8:a00:3::/64:nptv6", "nptv6", "by name"},
		{"by name without", offered("", ""), []Wish{sixNet("a", 1, vnet.EgressDelegated)}, nil, nil, "", "delegated", "but no prefix is delegated"},
		{"stopped keeps", offered("", ""), []Wish{func() Wish { w := auto("a", 1); w.Stopped = true; return w }()},
			[]vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)}, nil, "a:2001:db8:a00:77::/64:delegated", "nat66", ""},
		{"another mode now", offered("2001:db8:a00::/56", ""), []Wish{sixNet("a", 1, vnet.EgressNPTv6)}, []vnet.PrefixAssignment{six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)}, nil,
			"a:2001:db8:a00:77::/64:nptv6 a:2001:db8:a00:77::/64:old", "nptv6", ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			in := Input{Now: start, Host: "h", Uplink: tc.uplink, Wishes: tc.wishes, Held: tc.held, Present: tc.present, ULA: pfx("fd00:1:2::/48")}
			out := Decide(in)
			if got := summary(out); got != tc.want {
				t.Errorf("holds\n %s, want\n %s", got, tc.want)
			}
			var rungs []string
			for _, w := range out.inOrder() {
				rungs = append(rungs, string(out.Networks[w].Rung6))
			}
			if got := strings.Join(rungs, " "); got != tc.rungs {
				t.Errorf("rungs %s, want %s (%s)", got, tc.rungs, out.Networks[tc.wishes[0].Network].Why6)
			}
			if why := out.Networks[tc.wishes[0].Network].Why6; !strings.Contains(why, tc.why) {
				t.Errorf("why: %s", why)
			}
			in.Held = out.Held
			in.Present = map[vnet.ID]vnet.Egress{}
			for id, dec := range out.Networks {
				in.Present[id] = dec.Rung6
			}
			if again := Decide(in); len(again.Claim)+len(again.Release)+len(again.Moves) != 0 {
				t.Errorf("decided otherwise the second time: claims %v, releases %v", again.Claim, again.Release)
			}
		})
	}
}

// inOrder lists the networks of a decision.
func (o Output) inOrder() []vnet.ID {
	var out []vnet.ID
	for id := range o.Networks {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// A prefix ends when it was promised to: two hours after it was lost, or when
// the provider said if that is sooner, or as configured if that is later.
func TestDeprecation(t *testing.T) {
	for want, change := range map[time.Duration]func(*Wish, *vnet.PrefixAssignment){
		2 * time.Hour:    func(*Wish, *vnet.PrefixAssignment) {},
		20 * time.Minute: func(_ *Wish, h *vnet.PrefixAssignment) { h.ValidUntil = start.Add(20 * time.Minute) },
		9 * time.Hour:    func(w *Wish, _ *vnet.PrefixAssignment) { w.Subnets[0].Advertise.Valid = vnet.Duration(9 * time.Hour) },
	} {
		w, h := sixNet("a", 1, vnet.EgressAuto), six("a", "2001:db8:a00:77::/64", vnet.EgressDelegated)
		change(&w, &h)
		out := Decide(Input{Now: start, Host: "h", Uplink: offered("", ""), Wishes: []Wish{w}, Held: []vnet.PrefixAssignment{h}})
		if len(out.Claim) != 1 || out.Claim[0].ValidUntil.Sub(start) != want || !out.Claim[0].PreferredUntil.Equal(start) {
			t.Errorf("want %v: %+v", want, out.Claim)
		}
		if !out.Next.Equal(start.Add(want)) {
			t.Errorf("looks again at %v, want after %v", out.Next, want)
		}
	}
}

// TestReachProperties: whatever uplinks do, no two networks have one delegated
// /64, every active prefix is offered, a decision is a fixed point, and a
// prefix that flaps more often than the settling time is never climbed to.
func TestReachProperties(t *testing.T) {
	pool := []string{"2001:db8:a00::/56", "2001:db8:b00::/60", "2001:db8:c00::/64", "2001:db8:a00:80::/57"}
	rapid.Check(t, func(t *rapid.T) {
		var wishes []Wish
		modes := []vnet.Egress{vnet.EgressAuto, vnet.EgressAuto, vnet.EgressDelegated, vnet.EgressNPTv6, vnet.EgressProxied}
		for i := range rapid.IntRange(1, 6).Draw(t, "networks") {
			wishes = append(wishes, sixNet(fmt.Sprint("n", i), i, rapid.SampledFrom(modes).Draw(t, "mode")))
		}
		in := Input{Now: start, Host: "h", Wishes: wishes, ULA: pfx("fd00:1:2::/48"), Present: map[vnet.ID]vnet.Egress{}}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			in.Now = in.Now.Add(time.Duration(rapid.IntRange(1, 9000).Draw(t, "wait")) * time.Second)
			in.Uplink = offered("", "")
			for _, p := range pool {
				if rapid.Bool().Draw(t, p) {
					in.Uplink.Delegated = append(in.Uplink.Delegated, Source{Prefix: pfx(p), Link: "eth0", Since: in.Now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "since")) * time.Second)})
				}
			}
			if rapid.Bool().Draw(t, "on-link") {
				in.Uplink.OnLink = []Source{{Prefix: pfx("2001:db8::/64"), Link: "eth0", Since: in.Now}}
			}
			out := Decide(in)
			owner := map[netip.Prefix]vnet.ID{}
			for _, h := range out.Held {
				if h.State != vnet.PrefixActive || h.Rung == vnet.EgressProxied {
					continue
				}
				if o, taken := owner[h.Prefix]; taken {
					t.Fatalf("%s is %s's and %s's", h.Prefix, o, h.Network)
				}
				owner[h.Prefix] = h.Network
				if !slices.ContainsFunc(in.Uplink.Delegated, func(s Source) bool { return s.holds(h.Prefix) }) {
					t.Fatalf("%s is offered by nobody", h.Prefix)
				}
			}
			for id, dec := range out.Networks {
				before, stood := in.Present[id]
				if stood && height(dec.Rung6) > height(before) && dec.Rung6 == vnet.EgressDelegated && sixMode(wishes, id) == vnet.EgressAuto {
					if !slices.ContainsFunc(in.Uplink.Delegated, func(s Source) bool { return in.Now.Sub(s.Since) >= Settle }) {
						t.Fatalf("%s climbed to what had just come", id)
					}
				}
				in.Present[id] = dec.Rung6
			}
			in.Held = out.Held
			if again := Decide(in); len(again.Claim)+len(again.Release) != 0 {
				t.Fatalf("not a fixed point: %v, %v", again.Claim, again.Release)
			}
		}
	})
}

func sixMode(wishes []Wish, id vnet.ID) vnet.Egress {
	for _, w := range wishes {
		if w.Network == id {
			return w.IPv6
		}
	}
	return ""
}
