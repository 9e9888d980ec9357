package ladder

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestOnLink: what of an uplink's prefixes can be shared, and what only by name.
func TestOnLink(t *testing.T) {
	router := func(prefixes ...vnet.HeardPrefix) vnet.HeardRouter {
		return vnet.HeardRouter{Address: netip.MustParseAddr("fe80::1"), Until: start.Add(time.Hour), Prefixes: prefixes}
	}
	pio := func(p, flags string) vnet.HeardPrefix {
		return vnet.HeardPrefix{Prefix: pfx(p), OnLink: strings.Contains(flags, "L"), Autonomous: strings.Contains(flags, "A"), ValidUntil: start.Add(time.Hour)}
	}
	for _, tc := range []struct {
		what      string
		addresses string
		routers   []vnet.HeardRouter
		want      string
	}{
		{"SLAAC", "2001:db8::7/64", []vnet.HeardRouter{router(pio("2001:db8::/64", "LA"))}, "2001:db8::/64"},
		{"not on-link is shared as well", "2001:db8::7/64", []vnet.HeardRouter{router(pio("2001:db8::/64", "A"))}, "2001:db8::/64"},
		{"the host's address is DHCPv6's", "2001:db8::7/128", []vnet.HeardRouter{router(pio("2001:db8::/64", "LA"))}, "2001:db8::/64"},
		{"the host has none in it", "2001:db8:1::7/128", []vnet.HeardRouter{router(pio("2001:db8::/64", "LA"))}, ""},
		{"DHCPv6 only", "2001:db8::7/128", []vnet.HeardRouter{router(pio("2001:db8::/64", "L"))}, "2001:db8::/64 named"},
		{"no flags", "2001:db8::7/128", []vnet.HeardRouter{router(pio("2001:db8::/64", ""))}, ""},
		{"unique local", "fd00::7/64", []vnet.HeardRouter{router(pio("fd00::/64", "LA"))}, "fd00::/64 named"},
		{"by hand", "2001:db8::7/64", nil, "2001:db8::/64 named"},
		{"by hand, longer", "2001:db8:0:0:5::7/80", nil, "2001:db8:0:0:5::/80 named"},
		{"a single address", "2001:db8::7/128", nil, ""},
		{"two ends of a line", "2001:db8::7/127", nil, ""},
		{"link-local and IPv4", "fe80::7/64 192.0.2.7/24", []vnet.HeardRouter{router(pio("fe80::/64", "LA"))}, ""},
		{"not the default router's", "2001:db8::7/128", []vnet.HeardRouter{{Address: netip.MustParseAddr("fe80::2"), Prefixes: []vnet.HeardPrefix{pio("2001:db8::/64", "LA")}}}, ""},
		{"two routers", "2001:db8::7/64", []vnet.HeardRouter{router(pio("2001:db8::/64", "L")), router(pio("2001:db8::/64", "LA"))}, "2001:db8::/64"},
	} {
		u := vnet.Uplink{Name: "eth0", Addresses: prefixes(strings.Fields(tc.addresses)...), Routers: tc.routers}
		var got []string
		for _, s := range OnLink(u) {
			w := s.Prefix.String()
			if s.Named {
				w += " named"
			}
			if s.Link != "eth0" || s.From == "" {
				t.Errorf("%s: %+v", tc.what, s)
			}
			got = append(got, w)
		}
		if strings.Join(got, ", ") != tc.want {
			t.Errorf("%s: %v, want %s", tc.what, got, tc.want)
		}
	}
}

// TestOnLinkLasts: of two routers the one that says longer counts.
func TestOnLinkLasts(t *testing.T) {
	at := func(first, last time.Duration) vnet.HeardRouter {
		p := vnet.HeardPrefix{Prefix: pfx("2001:db8::/64"), Autonomous: true, Since: start.Add(first), PreferredUntil: start.Add(last), ValidUntil: start.Add(2 * last)}
		return vnet.HeardRouter{Address: netip.MustParseAddr("fe80::1"), Until: start.Add(time.Hour), Prefixes: []vnet.HeardPrefix{p}}
	}
	u := vnet.Uplink{Name: "eth0", Addresses: prefixes("2001:db8::7/64"), Routers: []vnet.HeardRouter{at(-time.Minute, time.Hour), at(-time.Hour, time.Minute)}}
	s := OnLink(u)[0]
	if !s.Since.Equal(start.Add(-time.Hour)) || !s.PreferredUntil.Equal(start.Add(time.Hour)) || !s.ValidUntil.Equal(start.Add(2*time.Hour)) {
		t.Errorf("%+v", s)
	}
	u.Routers[0].Prefixes[0].ValidUntil = time.Time{}
	if s = OnLink(u)[0]; !s.ValidUntil.IsZero() {
		t.Errorf("ends at %v, and never should", s.ValidUntil)
	}
}

// TestShare: who gets which part of an on-link prefix, and what is said.
func TestShare(t *testing.T) {
	asks := func(prefix string) Wish {
		w := sixNet("a", 1, vnet.EgressProxied)
		w.Subnets[0].Source = vnet.SourceProxied
		if prefix != "" {
			w.Subnets[0].Prefix = pfx(prefix)
		}
		return w
	}
	auto := sixNet("a", 1, vnet.EgressAuto)
	link := func(addresses string, onLink ...Source) Uplink {
		u := offered("", "")
		u.Addresses6, u.OnLink = prefixes(strings.Fields(addresses)...), onLink
		return u
	}
	source := func(p string, named bool) Source {
		return Source{Prefix: pfx(p), Link: "eth0", From: "it", Named: named, Since: start.Add(-time.Hour)}
	}
	for _, tc := range []struct {
		what   string
		wish   Wish
		uplink Uplink
		want   string // prefix and rung
		why    string
	}{
		{"auto has all of a /64", auto, link("2001:db8::7/64", source("2001:db8::/64", false)), "2001:db8::/64 proxied", "2001:db8::/64, from it"},
		{"auto has nothing by name", auto, link("2001:db8::7/64", source("2001:db8::/64", true)), "nat66", "ipv6=proxied shares it by name"},
		{"a single address", auto, link("2001:db8::7/128"), "nat66", "a single address"},
		{"by name", asks(""), link("2001:db8::7/64", source("2001:db8::/64", true)), "2001:db8::/64 proxied", "by name"},
		{"by name, first what guests find by themselves", asks(""), link("2001:db8::7/64", source("2001:db8:1::/64", true), source("2001:db8:2::/64", false)),
			"2001:db8:2::/64 proxied", ""},
		{"by name, longer", asks(""), link("2001:db8::7/80", source("2001:db8::/80", true)), "2001:db8::/80 proxied", ""},
		{"by name, shorter", asks(""), link("2001:db8::7/56", source("2001:db8::/56", true)), "proxied", "ipv6.address="},
		{"by name, a part", asks("2001:db8::5:0/112"), link("2001:db8::7/64", source("2001:db8::/64", false)), "2001:db8::5:0/112 proxied", ""},
		{"by name, a part of what is short", asks("2001:db8:0:5::/64"), link("2001:db8::7/56", source("2001:db8::/56", true)), "2001:db8:0:5::/64 proxied", ""},
		{"by name, no part of it", asks("2001:db8:9::5:0/112"), link("2001:db8::7/64", source("2001:db8::/64", false)), "proxied", "is no part of"},
		{"by name, more than it", asks("2001:db8::/64"), link("2001:db8::7/80", source("2001:db8::/80", true)), "proxied", "is no part of"},
		{"by name, a single address", asks(""), link("2001:db8::7/128"), "proxied", "a single address"},
	} {
		in := Input{Now: start, Host: "h", Uplink: tc.uplink, Wishes: []Wish{tc.wish}, ULA: pfx("fd00:1:2::/48")}
		out := Decide(in)
		got := string(out.Networks["a"].Rung6)
		for _, h := range out.Held {
			got = fmt.Sprintf("%s %s", h.Prefix, got)
		}
		if why := out.Networks["a"].Why6; got != tc.want || !strings.Contains(why, tc.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", tc.what, got, why, tc.want, tc.why)
		}
		in.Held, in.Present = out.Held, map[vnet.ID]vnet.Egress{"a": out.Networks["a"].Rung6}
		if again := Decide(in); len(again.Claim)+len(again.Release) != 0 {
			t.Errorf("%s: decided otherwise the second time: %v, %v", tc.what, again.Claim, again.Release)
		}
	}
}

// TestShareAnotherPart: a subnet that asks for another part gives up the one it
// had.
func TestShareAnotherPart(t *testing.T) {
	w := sixNet("a", 1, vnet.EgressProxied)
	w.Subnets[0].Source, w.Subnets[0].Prefix = vnet.SourceProxied, pfx("2001:db8::2:0/112")
	out := Decide(Input{Now: start, Host: "h", Uplink: offered("", "2001:db8::/64"), Wishes: []Wish{w},
		Held: []vnet.PrefixAssignment{six("a", "2001:db8::1:0/112", vnet.EgressProxied)}})
	if got := summary(out); got != "a:2001:db8::1:0/112:old a:2001:db8::2:0/112:proxied" {
		t.Error(got)
	}
}
