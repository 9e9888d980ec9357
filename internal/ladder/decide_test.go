package ladder

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pfx   = netip.MustParsePrefix
)

// autoNet is a network with one IPv4 subnet that moves.
func autoNet(id string) Wish {
	return Wish{Network: vnet.ID(id), Name: id, IPv4: vnet.EgressAuto, IPv6: vnet.EgressNone,
		Subnets: []vnet.Subnet{{Meta: vnet.Meta{ID: vnet.ID(id + "-4")}, Family: vnet.IPv4, Source: vnet.SourceAuto, Primary: true}}}
}

// fixedNet is a network with one subnet that does not move.
func fixedNet(id, prefix string) Wish {
	p := pfx(prefix)
	return Wish{Network: vnet.ID(id), Name: id, IPv4: vnet.EgressNAT, IPv6: vnet.EgressRouted,
		Subnets: []vnet.Subnet{{Meta: vnet.Meta{ID: vnet.ID(id + "-s")}, Family: vnet.FamilyOf(p.Addr()), Source: vnet.SourceFixed, Prefix: p, Primary: true}}}
}

func used(ss ...string) []Used {
	var out []Used
	for _, p := range prefixes(ss...) {
		out = append(out, Used{Prefix: p, Label: "a route over eth0"})
	}
	return out
}

// holding is an active assignment of autoNet(id).
func holding(id, prefix string) vnet.PrefixAssignment {
	return vnet.PrefixAssignment{Meta: vnet.Meta{ID: vnet.ID("a-" + prefix)}, Network: vnet.ID(id), Subnet: vnet.ID(id + "-4"), Host: "h",
		Family: vnet.IPv4, Prefix: pfx(prefix), Scope: vnet.ScopeHost, Rung: vnet.EgressNAT, State: vnet.PrefixActive, Since: start.Add(-time.Hour)}
}

// TestPrefixes is the decision table of prefixes: what is held, what is used,
// and what becomes of it. "*" stands for any other prefix that is free.
func TestPrefixes(t *testing.T) {
	const held = "192.168.230.0/24"
	for _, tc := range []struct {
		what   string
		wishes []Wish
		used   []Used
		taken  []Used
		held   []vnet.PrefixAssignment
		want   string // "network prefix state", sorted by network; + claimed, - released
	}{
		{"nothing wished", nil, nil, nil, nil, ""},
		{"a first prefix", []Wish{autoNet("a")}, nil, nil, nil, "+a * active"},
		{"a held one stays", []Wish{autoNet("a")}, nil, nil, []vnet.PrefixAssignment{holding("a", held)}, "a " + held + " active"},
		{"beside what does not clash", []Wish{autoNet("a")}, used("192.168.231.0/24", "10.0.0.0/8"), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "a " + held + " active"},
		{"the very same appears", []Wish{autoNet("a")}, used(held), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated, +a * active"},
		{"one around it appears", []Wish{autoNet("a")}, used("192.168.0.0/16"), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated, +a * active"},
		{"an address in it appears", []Wish{autoNet("a")}, used("192.168.230.53/32"), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated, +a * active"},
		{"a default route in pieces is no clash", []Wish{autoNet("a")}, used("0.0.0.0/1", "128.0.0.0/1", "192.0.0.0/3"), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "a " + held + " active"},
		{"another router's scope is no clash", []Wish{autoNet("a")}, []Used{{pfx(held), "router-1", "x"}}, nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "a " + held + " active"},
		{"another host's network", []Wish{autoNet("a")}, nil, used(held),
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated, +a * active"},
		{"a fixed network of ours", []Wish{autoNet("a"), fixedNet("b", "192.168.228.0/22")}, nil, nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated, +a * active"},
		{"two of ours: the older stays", []Wish{autoNet("a"), autoNet("b")}, nil, nil,
			[]vnet.PrefixAssignment{later(holding("a", held)), holding("b", held)},
			"+a " + held + " deprecated, +a * active, b " + held + " active"},
		{"the network is gone", nil, nil, nil, []vnet.PrefixAssignment{holding("a", held)}, "-a " + held + " active"},
		{"the network is stopped", []Wish{stopped(autoNet("a"))}, used(held), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "a " + held + " active"},
		{"stopped and nothing held", []Wish{stopped(autoNet("a"))}, nil, nil, nil, ""},
		{"the wish is fixed now", []Wish{fixedNet("a", "10.9.9.0/24")}, nil, nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "-a " + held + " active"},
		{"deprecated, its time is not over", []Wish{autoNet("a")}, nil, nil,
			[]vnet.PrefixAssignment{holding("a", "10.50.1.0/24"), old(holding("a", held), time.Second)},
			"a 10.50.1.0/24 active, a " + held + " deprecated"},
		{"deprecated, its time is over", []Wish{autoNet("a")}, nil, nil,
			[]vnet.PrefixAssignment{holding("a", "10.50.1.0/24"), old(holding("a", held), 0)},
			"a 10.50.1.0/24 active, -a " + held + " deprecated"},
		{"two for one subnet", []Wish{autoNet("a")}, nil, nil,
			[]vnet.PrefixAssignment{holding("a", held), later(holding("a", "10.50.1.0/24"))},
			"a " + held + " active, +a 10.50.1.0/24 deprecated"},
		{"another host's assignment", []Wish{autoNet("a")}, nil, nil,
			[]vnet.PrefixAssignment{holding("a", held), onHost("other", holding("a", "10.50.1.0/24"))}, "a " + held + " active"},
		{"a VPN takes all private ranges", []Wish{autoNet("a")}, used("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated, +a * active"},
		{"nothing is left", []Wish{autoNet("a")}, used("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"), nil,
			[]vnet.PrefixAssignment{holding("a", held)}, "+a " + held + " deprecated"},
	} {
		in := Input{Now: start, Host: "h", Wishes: tc.wishes, Used: tc.used, Taken: tc.taken, Held: tc.held}
		out := Decide(in)
		if got := describe(out, tc.want); !sameWords(got, tc.want) {
			t.Errorf("%s:\n got %s\nwant %s", tc.what, got, tc.want)
		}
		checkStable(t, in, out)
	}
}

func stopped(w Wish) Wish { w.Stopped = true; return w }

func later(a vnet.PrefixAssignment) vnet.PrefixAssignment {
	a.Since = a.Since.Add(time.Minute)
	return a
}

func onHost(host string, a vnet.PrefixAssignment) vnet.PrefixAssignment { a.Host = host; return a }

func old(a vnet.PrefixAssignment, left time.Duration) vnet.PrefixAssignment {
	a.State, a.ValidUntil = vnet.PrefixDeprecated, start.Add(left)
	return a
}

// describe writes the outcome as the tables do; prefixes that the table does
// not name become "*".
func describe(out Output, table string) string {
	claimed := map[string]bool{}
	word := func(a vnet.PrefixAssignment) string {
		p := a.Prefix.String()
		if !strings.Contains(table, p) {
			p = "*"
		}
		return fmt.Sprintf("%s %s %s", a.Network, p, a.State)
	}
	for _, a := range out.Claim {
		claimed[a.Prefix.String()+string(a.Subnet)] = true
	}
	var words []string
	for _, a := range out.Held {
		sign := ""
		if claimed[a.Prefix.String()+string(a.Subnet)] {
			sign = "+"
		}
		words = append(words, sign+word(a))
	}
	for _, a := range out.Release {
		words = append(words, "-"+word(a))
	}
	return strings.Join(words, ", ")
}

func sameWords(a, b string) bool {
	return cmp.Equal(strings.Split(a, ", "), strings.Split(b, ", "), cmpopts.SortSlices(func(x, y string) bool { return x < y }))
}

// checkStable holds that deciding again on the outcome changes nothing, and
// that nothing active overlaps anything.
func checkStable(t interface {
	Helper()
	Fatalf(string, ...any)
}, in Input, out Output) {
	t.Helper()
	in.Held = out.Held
	again := Decide(in)
	if len(again.Claim) != 0 || len(again.Release) != 0 || len(again.Moves) != 0 {
		t.Fatalf("deciding again claims %v, releases %v, moves %v", again.Claim, again.Release, again.Moves)
	}
	if d := cmp.Diff(out.Held, again.Held, cmpPrefix, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("deciding again changes what is held: %s", d)
	}
	stoppedNets := map[vnet.ID]bool{}
	for _, w := range in.Wishes {
		stoppedNets[w.Network] = w.Stopped
	}
	seen := map[vnet.Scope][]vnet.PrefixAssignment{}
	for _, a := range out.Held {
		if a.State != vnet.PrefixActive || stoppedNets[a.Network] {
			continue
		}
		for _, list := range [][]Used{in.Used, in.Taken} {
			for _, u := range list {
				if scopeOr(u.Scope) == scopeOr(a.Scope) && !standsForDefault(u.Prefix) && ipam.Overlaps(u.Prefix, a.Prefix) {
					t.Fatalf("%s of %s overlaps %s, %s", a.Prefix, a.Network, u.Prefix, u.Label)
				}
			}
		}
		for _, o := range seen[scopeOr(a.Scope)] {
			if ipam.Overlaps(o.Prefix, a.Prefix) {
				t.Fatalf("%s of %s overlaps %s of %s", a.Prefix, a.Network, o.Prefix, o.Network)
			}
		}
		for _, w := range in.Wishes {
			for _, s := range w.Subnets {
				if s.Source == vnet.SourceFixed && !w.Stopped && w.scope() == scopeOr(a.Scope) && ipam.Overlaps(s.Prefix, a.Prefix) {
					t.Fatalf("%s of %s overlaps the fixed %s of %s", a.Prefix, a.Network, s.Prefix, w.Network)
				}
			}
		}
		seen[scopeOr(a.Scope)] = append(seen[scopeOr(a.Scope)], a)
	}
}

var cmpPrefix = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func TestMove(t *testing.T) {
	in := Input{Now: start, Host: "h", Wishes: []Wish{autoNet("a")}, Used: used("192.168.230.0/24"),
		Held: []vnet.PrefixAssignment{holding("a", "192.168.230.0/24")}, Uplink: uplinks["v4"]}
	out := Decide(in)
	if len(out.Moves) != 1 || out.Moves[0].From != pfx("192.168.230.0/24") || !out.Moves[0].To.IsValid() ||
		out.Moves[0].Because != "overlaps 192.168.230.0/24, a route over eth0" {
		t.Fatalf("moves: %+v", out.Moves)
	}
	if want := start.Add(MoveGrace); !out.Next.Equal(want) {
		t.Errorf("decide again at %v, want %v", out.Next, want)
	}
	for _, a := range out.Claim {
		switch a.State {
		case vnet.PrefixActive:
			if a.ID != "" || a.Host != "h" || a.Rung != vnet.EgressNAT || a.Scope != vnet.ScopeHost || !a.Since.Equal(start) || !a.ValidUntil.IsZero() {
				t.Errorf("new: %+v", a)
			}
		case vnet.PrefixDeprecated:
			if a.ID == "" || !a.ValidUntil.Equal(start.Add(MoveGrace)) || !a.PreferredUntil.Equal(start) {
				t.Errorf("old: %+v", a)
			}
		}
	}
	// The route goes away again: the new prefix stays. In the end the old one
	// is released.
	in.Held, in.Used, in.Now = out.Held, nil, out.Next
	end := Decide(in)
	if len(end.Claim) != 0 || len(end.Release) != 1 || len(end.Held) != 1 || end.Held[0].Prefix != out.Moves[0].To || !end.Next.IsZero() {
		t.Errorf("in the end: %+v", end)
	}
}

func TestFixedWarns(t *testing.T) {
	for _, tc := range []struct{ fixed, used, want string }{
		{"192.168.7.0/24", "192.168.7.0/24", "192.168.7.0/24 overlaps 192.168.7.0/24, a route over eth0"},
		{"192.168.7.0/24", "192.168.0.0/16", "overlaps 192.168.0.0/16"},
		{"192.168.7.0/24", "192.168.7.9/32", "overlaps 192.168.7.9/32"},
		{"2001:db8:5::/64", "2001:db8::/32", "2001:db8:5::/64 overlaps 2001:db8::/32"},
		{"2001:db8:5::/64", "2001:db8:5::9/128", "overlaps 2001:db8:5::9/128"},
		{"2001:db8:5::/64", "2000::/3", ""},
		{"2001:db8:5::/64", "2001:db8:6::/64", ""},
	} {
		in := Input{Now: start, Host: "h", Wishes: []Wish{fixedNet("a", tc.fixed)}, Used: used(tc.used)}
		ps := Decide(in).Networks["a"].Problems
		if tc.want == "" {
			if len(ps) != 0 {
				t.Errorf("%s beside %s: %v", tc.fixed, tc.used, ps)
			}
			continue
		}
		if len(ps) != 1 || ps[0].Kind != vnet.ErrOverlap || !strings.Contains(ps[0].Msg, tc.want) || ps[0].Field == "" || ps[0].Hint == "" {
			t.Errorf("%s beside %s: %+v", tc.fixed, tc.used, ps)
		}
	}
	// Two fixed networks that got past control name each other.
	out := Decide(Input{Host: "h", Wishes: []Wish{fixedNet("a", "10.1.0.0/16"), fixedNet("b", "10.1.2.0/24")}})
	if a := out.Networks["a"].Problems; len(a) != 1 || !strings.Contains(a[0].Msg, "of network b") {
		t.Errorf("a: %v", a)
	}
	if b := out.Networks["b"].Problems; len(b) != 1 || !strings.Contains(b[0].Msg, "of network a") {
		t.Errorf("b: %v", b)
	}
}

func TestULAWarns(t *testing.T) {
	w := Wish{Network: "a", Name: "a", Number: 3, IPv4: vnet.EgressNone, IPv6: vnet.EgressAuto,
		Subnets: []vnet.Subnet{{Meta: vnet.Meta{ID: "a-6"}, Family: vnet.IPv6, Source: vnet.SourceULA, Primary: true}}}
	in := Input{Wishes: []Wish{w}, ULA: pfx("fd00:1:2::/48"), Used: used("fd00:1:2:3::7/128")}
	if ps := Decide(in).Networks["a"].Problems; len(ps) != 1 || !strings.Contains(ps[0].Msg, "fd00:1:2:3::/64 overlaps") {
		t.Errorf("%v", ps)
	}
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	in := Input{Now: start, Host: "h", Wishes: []Wish{fixedNet("b", "192.168.7.0/24"), autoNet("a"), autoNet("c")},
		Used: []Used{{pfx("192.168.7.0/24"), "", "y"}, {pfx("192.168.7.0/24"), "", "x"}, {pfx("192.168.230.0/24"), "", "z"}},
		Held: []vnet.PrefixAssignment{holding("a", "192.168.230.0/24"), holding("c", "192.168.231.0/24")}}
	one := Decide(in)
	slices.Reverse(in.Wishes)
	slices.Reverse(in.Used)
	slices.Reverse(in.Held)
	if d := cmp.Diff(one, Decide(in), cmpPrefix); d != "" {
		t.Error(d)
	}
	if ps := one.Networks["b"].Problems; len(ps) != 1 || !strings.HasSuffix(ps[0].Msg, ", x") {
		t.Errorf("%+v", ps)
	}
}
