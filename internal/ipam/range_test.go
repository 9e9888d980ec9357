package ipam

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

func rng(t testing.TB, s string) vnet.Range {
	t.Helper()
	r, err := vnet.ParseRange(s, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRangeSize(t *testing.T) {
	for _, tc := range []struct {
		r    vnet.Range
		want uint64
	}{
		{rng(t, "10.0.0.5"), 1},
		{rng(t, "10.0.0.5-10.0.1.4"), 256},
		{RangeOf(pfx("0.0.0.0/0")), 1 << 32},
		{RangeOf(pfx("2001:db8::/65")), 1 << 63},
		{RangeOf(pfx("2001:db8::/64")), math.MaxUint64},
		{RangeOf(pfx("::/0")), math.MaxUint64},
		{Hosts(pfx("192.168.1.0/24")), 254},
		{Hosts(pfx("192.168.1.0/30")), 2},
		{Hosts(pfx("192.168.1.0/31")), 2},
		{Hosts(pfx("192.168.1.0/32")), 1},
		{Hosts(pfx("2001:db8::/120")), 255},
		{vnet.Range{}, 0},
		{vnet.Range{First: adr("10.0.0.2"), Last: adr("10.0.0.1")}, 0},
	} {
		if got := Size(tc.r); got != tc.want {
			t.Errorf("%s has %d addresses, want %d", tc.r, got, tc.want)
		}
	}
}

func TestNextFree(t *testing.T) {
	taken := func(as ...string) func(netip.Addr) bool {
		m := map[netip.Addr]bool{}
		for _, a := range as {
			m[adr(a)] = true
		}
		return func(a netip.Addr) bool { return m[a] }
	}
	for _, tc := range []struct {
		r, from string
		taken   []string
		want    string
	}{
		{"10.0.0.1-10.0.0.3", "10.0.0.2", nil, "10.0.0.2"},
		{"10.0.0.1-10.0.0.3", "10.0.0.2", []string{"10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1-10.0.0.3", "10.0.0.2", []string{"10.0.0.2", "10.0.0.3"}, "10.0.0.1"},
		{"10.0.0.1-10.0.0.3", "10.0.0.2", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, ""},
		{"10.0.0.1-10.0.0.3", "10.0.0.9", nil, "10.0.0.1"},
		{"255.255.255.254-255.255.255.255", "255.255.255.255", []string{"255.255.255.255"}, "255.255.255.254"},
		// The IANA block is stepped over, the anycast identifiers are the end.
		{"2001:db8::200:5eff:fe00:0-2001:db8::200:5eff:ff00:5", "2001:db8::200:5eff:fe00:0", nil, "2001:db8::200:5eff:ff00:0"},
		{"2001:db8::fdff:ffff:ffff:ff80-2001:db8::fdff:ffff:ffff:ffff", "2001:db8::fdff:ffff:ffff:ff80", nil, ""},
	} {
		a, ok := NextFree(rng(t, tc.r), adr(tc.from), taken(tc.taken...))
		if ok != (tc.want != "") || ok && a.String() != tc.want {
			t.Errorf("%s from %s without %v: %v, want %q", tc.r, tc.from, tc.taken, a, tc.want)
		}
	}
}

func TestFreeHostFillsASubnet(t *testing.T) {
	for _, tc := range []struct {
		p    string
		want int // addresses until none is left
	}{
		{"192.168.1.0/24", 254},
		{"192.168.1.0/31", 2},
		{"2001:db8::/120", 255},
		{"2001:db8::/127", 2},
		{"2001:db8::/112", 65535 - 128},
	} {
		rnd := rand.New(rand.NewPCG(1, 2))
		given := map[netip.Addr]bool{}
		taken := func(a netip.Addr) bool { return given[a] }
		for {
			a, ok := FreeHost(pfx(tc.p), nil, taken, rnd.Uint64)
			if !ok {
				break
			}
			if given[a] || !pfx(tc.p).Contains(a) || ReservedIn(pfx(tc.p), a) {
				t.Fatalf("%s: %s is not free", tc.p, a)
			}
			given[a] = true
		}
		if len(given) != tc.want {
			t.Errorf("%s gave %d addresses, want %d", tc.p, len(given), tc.want)
		}
	}
}

func TestFreeHostProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrefix(t, "p")
		seed := rapid.Uint64().Draw(t, "seed")
		rnd := rand.New(rand.NewPCG(seed, seed))
		var ranges []vnet.Range
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			q := drawPrefix(t, "range")
			ranges = append(ranges, vnet.Range{First: q.Addr(), Last: Last(q)})
		}
		a, ok := FreeHost(p, ranges, func(netip.Addr) bool { return false }, rnd.Uint64)
		if !ok {
			return
		}
		if !p.Contains(a) || ReservedIn(p, a) {
			t.Fatalf("%s is no host of %s", a, p)
		}
		in := len(ranges) == 0
		for _, r := range ranges {
			in = in || r.Contains(a)
		}
		if !in {
			t.Fatalf("%s is in none of %v", a, ranges)
		}
		if len(ranges) == 0 && a.Is6() {
			if _, ok := HostPart(p, a); !ok {
				t.Fatalf("the last 64 bits of %s do not name it in %s", a, p)
			}
		}
	})
}

func TestReserved(t *testing.T) {
	for _, tc := range []struct {
		p, a string
		want bool
	}{
		{"2001:db8::/64", "2001:db8::", true},
		{"2001:db8::/64", "2001:db8::1", false},
		{"2001:db8::/64", "2001:db8::200:5eff:fe00:5213", true},
		{"2001:db8::/64", "2001:db8::200:5eff:feff:ffff", true},
		{"2001:db8::/64", "2001:db8::200:5eff:ff00:0", false},
		{"2001:db8::/64", "2001:db8::fdff:ffff:ffff:ff80", true},
		{"2001:db8::/64", "2001:db8::fdff:ffff:ffff:ff7f", false},
		{"2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", false},
		{"2001:db8::/56", "2001:db8::ff:ffff:ffff:ffff:ffff", true},
		{"2001:db8::/120", "2001:db8::ff", false},
		{"2001:db8::/127", "2001:db8::", false},
		{"192.168.1.0/24", "192.168.1.0", true},
		{"192.168.1.0/24", "192.168.1.255", true},
		{"192.168.1.0/24", "192.168.1.1", false},
		{"192.168.1.0/31", "192.168.1.0", false},
	} {
		if got := ReservedIn(pfx(tc.p), adr(tc.a)); got != tc.want {
			t.Errorf("%s in %s: %v", tc.a, tc.p, got)
		}
	}
}
