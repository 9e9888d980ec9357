package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	start  = time.Unix(1700000000, 0)
	gate   = netip.MustParseAddr("fe80::1")
	gateAt = vnet.MAC{2, 0, 0, 0, 0, 1}
)

// pio is a prefix option with lifetimes in seconds.
func pio(prefix string, preferred, valid int, flags string) *ndp.PrefixInformation {
	p := netip.MustParsePrefix(prefix)
	return &ndp.PrefixInformation{
		Prefix: p.Addr(), PrefixLength: uint8(p.Bits()), PreferredLifetime: time.Duration(preferred) * time.Second,
		ValidLifetime: time.Duration(valid) * time.Second, OnLink: strings.Contains(flags, "L"),
		AutonomousAddressConfiguration: strings.Contains(flags, "A"),
	}
}

func marshal(t testing.TB, a *ndp.RouterAdvertisement) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func advert(lifetime int, options ...ndp.Option) *ndp.RouterAdvertisement {
	return &ndp.RouterAdvertisement{RouterLifetime: time.Duration(lifetime) * time.Second, Options: options}
}

func hear(t *testing.T, table *Table, a *ndp.RouterAdvertisement, now time.Time) (bool, []string) {
	t.Helper()
	news, notes, err := table.Hear("eth0", gate, 255, gateAt, marshal(t, a), now)
	if err != nil {
		t.Fatal(err)
	}
	return news, notes
}

func prefixes(table *Table, now time.Time) string {
	var out []string
	for _, r := range table.Routers("eth0") {
		for _, p := range r.Prefixes {
			out = append(out, fmt.Sprintf("%s %d", p.Prefix, int(p.ValidUntil.Sub(now).Seconds())))
		}
	}
	return strings.Join(out, ", ")
}

func TestRouter(t *testing.T) {
	table := New()
	full := advert(1800, pio("2001:db8:1::/64", 3600, 7200, "LA"), pio("2001:db8:2::/64", 600, 600, "A"), ndp.NewMTU(1480),
		&ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}},
		&ndp.DNSSearchList{Lifetime: time.Hour, DomainNames: []string{"example.org"}},
		&ndp.PREF64{Lifetime: 600 * time.Second, Prefix: netip.MustParsePrefix("64:ff9b::/96")})
	full.ManagedConfiguration = true
	if news, notes := hear(t, table, full, start); !news || len(notes) != 0 {
		t.Errorf("news %v, %v", news, notes)
	}
	r := table.Routers("eth0")
	if len(r) != 1 || r[0].Address != gate || r[0].MAC != gateAt || !r[0].Managed || r[0].MTU != 1480 || len(r[0].Prefixes) != 2 ||
		len(r[0].Resolvers) != 1 || len(r[0].Search) != 1 || len(r[0].PREF64) != 1 || !r[0].Until.Equal(start.Add(1800*time.Second)) {
		t.Errorf("heard %+v", r)
	}
	if p := r[0].Prefixes[0]; !p.OnLink || !p.Autonomous || !p.PreferredUntil.Equal(start.Add(time.Hour)) {
		t.Errorf("prefix %+v", p)
	}
	// A refresh is no news.
	if news, _ := hear(t, table, full, start.Add(time.Minute)); news {
		t.Error("a refresh is news")
	}
	// Everything ends in its time: PREF64 and a prefix, the router, the rest.
	for _, step := range []struct {
		after time.Duration
		news  bool
		want  func(r vnet.HeardRouter) bool
	}{
		{59 * time.Second, false, func(r vnet.HeardRouter) bool { return len(r.Prefixes) == 2 }},
		{601 * time.Second, true, func(r vnet.HeardRouter) bool { return len(r.Prefixes) == 1 && len(r.PREF64) == 0 }},
		{1801 * time.Second, true, func(r vnet.HeardRouter) bool { return r.Until.IsZero() && len(r.Resolvers) == 1 }},
		{3601 * time.Second, true, func(r vnet.HeardRouter) bool { return len(r.Resolvers) == 0 && len(r.Prefixes) == 1 }},
	} {
		now := start.Add(time.Minute + step.after)
		if news := table.Expire(now); news != step.news {
			t.Errorf("after %v: news %v", step.after, news)
		}
		if r := table.Routers("eth0"); len(r) != 1 || !step.want(r[0]) {
			t.Errorf("after %v: %+v", step.after, r)
		}
	}
	table.Expire(start.Add(3 * time.Hour))
	if _, ok := table.Next(start.Add(3 * time.Hour)); ok || len(table.Routers("eth0")) != 0 {
		t.Errorf("left %+v", table.Routers("eth0"))
	}
}

// TestLifetimes: RFC 4862 section 5.5.3 e.
func TestLifetimes(t *testing.T) {
	const p = "2001:db8:1::/64"
	for _, c := range []struct {
		first, second int
		want          string
	}{
		{86400, 86400, p + " 86400"},
		{86400, 7201, p + " 7201"},
		{86400, 60, p + " 7200"},
		{86400, 0, p + " 7200"},
		{3600, 60, p + " 3600"},
		{3600, 0, p + " 3600"},
		{3600, 4000, p + " 4000"},
		{0xffffffff, 0, p + " 7200"},
		{0, 0, ""},
	} {
		table := New()
		hear(t, table, advert(1800, pio(p, 0, c.first, "LA")), start)
		hear(t, table, advert(1800, pio(p, 0, c.second, "LA")), start)
		if got := prefixes(table, start); got != c.want {
			t.Errorf("%d then %d: %q, want %q", c.first, c.second, got, c.want)
		}
	}
}

// Odd prefixes are not used, and that is said once.
func TestOdd(t *testing.T) {
	for name, o := range map[string]*ndp.PrefixInformation{
		"link-local":           pio("fe80::/64", 600, 600, "LA"),
		"multicast":            pio("ff02::/64", 600, 600, "LA"),
		"preferred over valid": pio("2001:db8:1::/64", 601, 600, "LA"),
		"everything":           pio("::/0", 600, 600, "LA"),
		"129 bits":             pio("2001:db8:1::/64", 600, 600, "LA"),
	} {
		table := New()
		b := marshal(t, advert(0, o))
		if name == "129 bits" { // nobody marshals it
			b[18] = 129
		}
		_, notes, err := table.Hear("eth0", gate, 255, gateAt, b, start)
		_, again, _ := table.Hear("eth0", gate, 255, gateAt, b, start)
		if err != nil || len(notes) != 1 || len(again) != 0 || prefixes(table, start) != "" {
			t.Errorf("%s: %v, %v, %s", name, notes, again, prefixes(table, start))
		}
	}
}

// TestGarbled: what cannot be read is said once for each router, which stays
// what it was.
func TestGarbled(t *testing.T) {
	good := marshal(t, advert(1800, pio("2001:db8:1::/64", 600, 600, "LA")))
	for name, b := range map[string][]byte{
		"cut":                      good[:len(good)-2],
		"an option without length": append(slices.Clone(good), 3, 0, 0, 0, 0, 0, 0, 0),
		"an option beyond the end": append(slices.Clone(good), 3, 200, 1, 1),
	} {
		table := New()
		hear(t, table, advert(1800, pio("2001:db8:1::/64", 600, 600, "LA")), start)
		_, first, err := table.Hear("eth0", gate, 255, gateAt, b, start)
		_, again, _ := table.Hear("eth0", gate, 255, gateAt, b, start)
		_, other, _ := table.Hear("eth0", netip.MustParseAddr("fe80::99"), 255, gateAt, b, start)
		if err == nil || len(first) != 1 || !strings.Contains(first[0], "cannot be read") || len(again) != 0 || len(other) != 1 {
			t.Errorf("%s: %v %q %q %q", name, err, first, again, other)
		}
		if len(table.Routers("eth0")) != 1 || prefixes(table, start) != "2001:db8:1::/64 600" {
			t.Errorf("%s: %+v", name, table.Routers("eth0"))
		}
	}
}

// Not everybody is a neighbouring router.
func TestForeign(t *testing.T) {
	table := New()
	good := marshal(t, advert(1800))
	for name, f := range map[string]func() error{
		"from afar": func() error { _, _, err := table.Hear("eth0", gate, 254, gateAt, good, start); return err },
		"a global source": func() error {
			_, _, err := table.Hear("eth0", netip.MustParseAddr("2001:db8::1"), 255, gateAt, good, start)
			return err
		},
		"short": func() error { _, _, err := table.Hear("eth0", gate, 255, gateAt, good[:15], start); return err },
		"a solicitation": func() error {
			_, _, err := table.Hear("eth0", gate, 255, gateAt, append([]byte{133}, good[1:]...), start)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if len(table.Routers("eth0")) != 0 {
		t.Error("somebody was heard")
	}
}

// A flood of made-up routers is bounded, and the real one stays.
func TestFlood(t *testing.T) {
	table := New()
	hear(t, table, advert(1800, pio("2001:db8:1::/64", 600, 600, "LA")), start)
	b := marshal(t, advert(0, pio("2001:db8:2::/64", 600, 600, "LA")))
	for i := range 5000 {
		from := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 12: byte(i >> 8), 13: byte(i), 15: 9})
		if _, _, err := table.Hear("eth0", from, 255, vnet.MAC{2, byte(i >> 8), byte(i)}, b, start.Add(time.Duration(i)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	r := table.Routers("eth0")
	if len(r) != maxRouters || r[0].Address != gate {
		t.Errorf("%d routers, first %v", len(r), r[0].Address)
	}
}

// TestToldApart: a router says one thing in one advertisement and another in
// the next. Neither takes the other back.
func TestToldApart(t *testing.T) {
	table := New()
	nat64 := &ndp.PREF64{Lifetime: 600 * time.Second, Prefix: netip.MustParsePrefix("64:ff9b::/96")}
	dns := &ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}
	hear(t, table, advert(1800, nat64), start)
	hear(t, table, advert(1800, dns), start.Add(time.Second))
	hear(t, table, advert(1800), start.Add(2*time.Second))
	if r := table.Routers("eth0")[0]; len(r.PREF64) != 1 || len(r.Resolvers) != 1 {
		t.Errorf("%+v", r)
	}
	nat64.Lifetime = 0
	hear(t, table, advert(1800, nat64), start.Add(3*time.Second))
	if r := table.Routers("eth0")[0]; len(r.PREF64) != 0 || len(r.Resolvers) != 1 {
		t.Errorf("taken back: %+v", r)
	}
}

// FuzzHear: nothing heard panics, or is kept that cannot be.
func FuzzHear(f *testing.F) {
	f.Add(marshal(f, advert(1800, pio("2001:db8:1::/64", 600, 600, "LA"), ndp.NewMTU(1500),
		&ndp.PREF64{Lifetime: 600 * time.Second, Prefix: netip.MustParsePrefix("64:ff9b::/96")})))
	f.Add([]byte{134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		table := New()
		for i := range 3 {
			_, _, _ = table.Hear("eth0", gate, 255, gateAt, b, start.Add(time.Duration(i)*time.Hour))
		}
		for _, r := range table.Routers("eth0") {
			for _, p := range r.Prefixes {
				if p.Prefix != p.Prefix.Masked() || !p.Prefix.Addr().Is6() || p.Prefix.Addr().IsLinkLocalUnicast() {
					t.Errorf("kept %v", p)
				}
			}
		}
		now := start.Add(2 * time.Hour)
		for range 1000 {
			at, ok := table.Next(now)
			if !ok {
				return
			}
			now = at
			table.Expire(now)
		}
		t.Error("it never ends")
	})
}

// TestFloodSparesTheKnown: routers that a flood invents are heard once and
// must not push out the one that is there.
func TestFloodSparesTheKnown(t *testing.T) {
	table := New()
	now := time.Unix(1700000000, 0)
	b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{RouterLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	hear := func(from string) {
		t.Helper()
		now = now.Add(time.Second)
		if _, _, err := table.Hear("eth0", netip.MustParseAddr(from), 255, vnet.MAC{}, b, now); err != nil {
			t.Fatal(err)
		}
	}
	hear("fe80::1")
	hear("fe80::1")
	for n := range 100 {
		hear(fmt.Sprintf("fe80::bad:%x", n))
	}
	if got := table.Routers("eth0"); len(got) != maxRouters || !table.Knows("eth0", netip.MustParseAddr("fe80::1")) {
		t.Errorf("%d routers, %+v", len(got), got)
	}
}

// TestMoved: after a link was down, those that are not heard again are dropped
// if somebody else is; and a wall clock that is set changes nothing.
func TestMoved(t *testing.T) {
	table := New()
	now := time.Unix(1700000000, 0)
	b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{RouterLifetime: time.Hour, Options: []ndp.Option{
		&ndp.PrefixInformation{PrefixLength: 64, Prefix: netip.MustParseAddr("2001:db8::"), OnLink: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"fe80::1", "fe80::2"} {
		if _, _, err := table.Hear("eth0", netip.MustParseAddr(from), 255, vnet.MAC{}, b, now); err != nil {
			t.Fatal(err)
		}
	}
	up := now.Add(time.Minute)
	if table.Drop("eth0", up) || len(table.Routers("eth0")) != 2 {
		t.Errorf("nobody was heard, and %v is left", table.Routers("eth0"))
	}
	if _, _, err := table.Hear("eth0", netip.MustParseAddr("fe80::2"), 255, vnet.MAC{}, b, up); err != nil {
		t.Fatal(err)
	}
	if !table.Drop("eth0", up) || len(table.Routers("eth0")) != 1 || table.Knows("eth0", netip.MustParseAddr("fe80::1")) {
		t.Errorf("%v", table.Routers("eth0"))
	}
	table.Shift(24 * time.Hour)
	if table.Expire(up.Add(24*time.Hour+time.Minute)) || len(table.Routers("eth0")[0].Prefixes) != 1 {
		t.Errorf("%v", table.Routers("eth0"))
	}
}
