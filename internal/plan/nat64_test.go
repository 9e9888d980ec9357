package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var translator = plan.Translator{Prefix: netip.MustParsePrefix("fd12:3456:789a:fffe::/96"), Pool: netip.MustParsePrefix("198.18.0.0/18")}

// TestNAT64Way: which translator a network's guests are told of, and what its
// status says.
func TestNAT64Way(t *testing.T) {
	heard := []vnet.HeardRouter{
		{PREF64: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}},
		{PREF64: []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96"), netip.MustParsePrefix("2001:db8::/33")}},
	}
	for name, tc := range map[string]struct {
		v4, v6  vnet.Egress
		nat64   vnet.NAT64
		rung    vnet.Egress // of v6
		no4     bool        // no uplink has IPv4
		heard   []vnet.HeardRouter
		missing string
		by      netip.Prefix // dns.dns64

		prefix  string
		own     bool
		only    bool
		route   bool
		why     string
		problem string // its hint
	}{
		"own, IPv6 too":     {v4: vnet.EgressNone, v6: vnet.EgressNAT66, prefix: "fd12:3456:789a:fffe::/96", own: true, route: true, why: "over the translator of this host"},
		"own, no IPv6":      {v4: vnet.EgressNone, v6: vnet.EgressAuto, rung: vnet.EgressULA, prefix: "fd12:3456:789a:fffe::/96", own: true, only: true, route: true, why: "translator of this host"},
		"upstream":          {v4: vnet.EgressNone, v6: vnet.EgressNAT66, heard: heard, prefix: "64:ff9b::/96", route: true, why: "provider's translator"},
		"upstream, no IPv4": {v4: vnet.EgressNone, v6: vnet.EgressNAT66, heard: heard, no4: true, prefix: "64:ff9b::/96", route: true, why: "provider's"},
		"upstream, but no way to it": {v4: vnet.EgressNone, v6: vnet.EgressAuto, rung: vnet.EgressULA, heard: heard,
			prefix: "fd12:3456:789a:fffe::/96", own: true, only: true, route: true, why: "translator of this host"},
		"neither":                {v4: vnet.EgressNone, v6: vnet.EgressNAT66, no4: true, route: true, why: "no uplink has IPv4"},
		"neither, though asked":  {v4: vnet.EgressNone, v6: vnet.EgressNAT66, nat64: vnet.NAT64Auto, no4: true, route: true, why: "no uplink has IPv4", problem: "say nat64=PREFIX if there is one"},
		"not installed":          {v4: vnet.EgressNone, v6: vnet.EgressNAT66, nat64: vnet.NAT64Auto, missing: "it is not installed", route: true, why: "not installed", problem: "apt install tayga"},
		"not installed, default": {v4: vnet.EgressNone, v6: vnet.EgressNAT66, missing: "it is not installed", route: true, why: "apt install tayga"},
		"by name":                {v4: vnet.EgressNone, v6: vnet.EgressNAT66, nat64: "2001:db8:7::/96", heard: heard, prefix: "2001:db8:7::/96", route: true, why: "by name"},
		"DNS64 by hand":          {v4: vnet.EgressNone, v6: vnet.EgressNAT66, by: netip.MustParsePrefix("2001:db8:9::/96"), prefix: "2001:db8:9::/96", route: true},
		"has IPv4":               {v4: vnet.EgressNAT, v6: vnet.EgressNAT66, route: true},
		"off":                    {v4: vnet.EgressNone, v6: vnet.EgressNAT66, nat64: vnet.NAT64Off, route: true},
		"isolated":               {v4: vnet.EgressNone, v6: vnet.EgressIsolated},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			n := w.network("web", tc.v4, tc.v6, func(n *vnet.Network) { n.NAT64, n.DNS.DNS64 = tc.nat64, tc.by })
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.f.Rungs[n.ID] = plan.Rung{V6: tc.rung, Why4: "nat: the uplink eth0 has IPv4"}
			w.f.Uplinks["eth0"] = vnet.Uplink{Name: "eth0", V6: true, Routers: tc.heard}
			if tc.no4 {
				w.f.Uplink4 = ""
			}
			if need := plan.NeedsTranslator(w.s, w.f); need {
				own := translator
				own.Missing, own.Hint = tc.missing, "apt install tayga"
				w.f.Translator = &own
			} else if tc.own {
				t.Error("no translator is needed")
			}
			f := plan.Network(w.s, w.f, n.ID)
			svc := f.Service
			prefix := ""
			if svc.DNS.DNS64.IsValid() {
				prefix = svc.DNS.DNS64.String()
			}
			if prefix != tc.prefix || svc.Translated != tc.own || svc.DNS.Only64 != tc.only || svc.RA.DefaultRouter != tc.route {
				t.Errorf("DNS64 %q, own %v, only %v, route %v", prefix, svc.Translated, svc.DNS.Only64, svc.RA.DefaultRouter)
			}
			if svc.RA.Policy.PREF64 != svc.DNS.DNS64 && !tc.by.IsValid() {
				t.Errorf("PREF64 %v, DNS64 %v", svc.RA.Policy.PREF64, svc.DNS.DNS64)
			}
			if !strings.Contains(f.Why4, tc.why) || tc.why == "" && strings.Contains(f.Why4, "translat") {
				t.Errorf("why: %q, want %q", f.Why4, tc.why)
			}
			if strings.HasSuffix(f.Why4, "; ") || strings.HasPrefix(f.Why4, "; ") || strings.Contains(f.Why4, "; ; ") {
				t.Errorf("why: %q, with a part that says nothing", f.Why4)
			}
			hint := ""
			for _, p := range f.Problems {
				hint += p.Hint
			}
			if hint != tc.problem {
				t.Errorf("problems %+v, want the hint %q", f.Problems, tc.problem)
			}
		})
	}
}

// TestPoolFor: the pool stays where it is, keeps off what is in use, and is
// taken from the range that nobody routes first.
func TestPoolFor(t *testing.T) {
	p := netip.MustParsePrefix
	for _, tc := range []struct {
		now  netip.Prefix
		used []netip.Prefix
		want string
	}{
		{want: "198.18.0.0/18"},
		{used: []netip.Prefix{p("0.0.0.0/0"), p("128.0.0.0/1")}, want: "198.18.0.0/18"},
		{used: []netip.Prefix{p("198.18.5.0/24")}, want: "198.18.64.0/18"},
		{used: []netip.Prefix{p("198.18.0.0/15")}, want: "10.80.0.0/18"},
		{now: p("198.19.0.0/18"), want: "198.19.0.0/18"},
		{now: p("198.19.0.0/18"), used: []netip.Prefix{p("198.19.0.1/32")}, want: "198.18.0.0/18"},
		{now: p("198.19.0.0/24"), want: "198.18.0.0/18"},
		{used: []netip.Prefix{p("198.0.0.0/8"), p("10.0.0.0/8"), p("172.16.0.0/12"), p("192.168.0.0/16")}, want: "invalid Prefix"},
	} {
		if got := plan.PoolFor(tc.now, tc.used); got.String() != tc.want {
			t.Errorf("%v beside %v: %v, want %s", tc.now, tc.used, got, tc.want)
		}
	}
	if g := translator.Guests(); g.String() != "198.18.32.0/19" || g.Contains(translator.Gateway()) || g.Contains(translator.Itself()) {
		t.Errorf("guests' part %v holds %v or %v", g, translator.Gateway(), translator.Itself())
	}
}
