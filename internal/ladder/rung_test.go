package ladder

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// The uplinks of the decision table.
var uplinks = map[string]Uplink{
	"none":       {},
	"v4":         {V4: true, Link4: "eth0"},
	"v6":         {V6: true, Link6: "eth0", Addresses6: prefixes("2001:db8::7/64")},
	"both":       {V4: true, V6: true, Link4: "eth0", Link6: "wwan0", Addresses6: prefixes("2001:db8::7/64")},
	"ula":        {V6: true, Link6: "eth0", Addresses6: prefixes("fd12::7/64")},
	"route only": {V6: true, Link6: "eth0", Addresses6: prefixes("fe80::7/64")},
	"addr only":  {Addresses6: prefixes("2001:db8::7/64")},
}

func prefixes(ss ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(ss))
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestRungs is the decision table: wished mode, uplink, rung, and a part of
// the reason.
func TestRungs(t *testing.T) {
	for _, tc := range []struct {
		family vnet.Family
		mode   vnet.Egress
		uplink string
		rung   vnet.Egress
		why    string
	}{
		{4, "auto", "none", "nat", "nat: no uplink has IPv4 now"},
		{4, "auto", "v4", "nat", "nat: the uplink eth0 has IPv4"},
		{4, "auto", "v6", "nat", "no uplink has IPv4 now"},
		{4, "nat", "both", "nat", "nat: by name; the uplink eth0 has IPv4"},
		{4, "nat", "v6", "nat", "no uplink has IPv4 now"},
		{4, "routed", "none", "routed", "no uplink has IPv4 now"},
		{4, "isolated", "v4", "isolated", "guests reach each other only"},
		{4, "open", "v4", "open", "eth0"},
		{4, "bridged", "v4", "bridged", "on the link itself"},
		{4, "none", "v4", "none", "off"},

		{6, "auto", "none", "ula", "an IPv6 default route would lift it to nat66"},
		{6, "auto", "v4", "ula", "no uplink has IPv6"},
		{6, "auto", "v6", "nat66", "nat66: the uplink eth0 has IPv6; a delegated prefix would lift it"},
		{6, "auto", "both", "nat66", "a delegated prefix would lift it"},
		{6, "auto", "ula", "nat66", "eth0"},
		{6, "auto", "route only", "ula", "no global address"},
		{6, "auto", "addr only", "ula", "no uplink has IPv6"},
		{6, "nat66", "v6", "nat66", "by name; the uplink eth0 has IPv6"},
		{6, "nat66", "v4", "nat66", "no uplink has IPv6 now"},
		{6, "nat66", "route only", "nat66", "no global address now"},
		{6, "routed", "both", "routed", "wwan0"},
		{6, "ula", "v6", "ula", "by name"},
		{6, "isolated", "v6", "isolated", "guests reach each other only"},
		{6, "link-local", "v6", "link-local", "link-local addresses only"},
		{6, "none", "v6", "none", "off"},
	} {
		w := Wish{Network: "n", IPv4: vnet.EgressNone, IPv6: vnet.EgressNone, Number: 5}
		if tc.family == vnet.IPv4 {
			w.IPv4 = tc.mode
		} else {
			w.IPv6 = tc.mode
		}
		out := Decide(Input{Uplink: uplinks[tc.uplink], Wishes: []Wish{w}, ULA: netip.MustParsePrefix("fd00:1:2::/48")})
		d := out.Networks["n"]
		rung, why := d.Rung6, d.Why6
		if tc.family == vnet.IPv4 {
			rung, why = d.Rung4, d.Why4
		}
		if rung != tc.rung || !strings.Contains(why, tc.why) || len(d.Problems) != 0 || d.ULA.String() != "fd00:1:2:5::/64" {
			t.Errorf("%s=%s with uplink %q: %s (%s), %v, %s, want %s (…%s…)", tc.family, tc.mode, tc.uplink, rung, why, d.Problems, d.ULA, tc.rung, tc.why)
		}
	}
}

func TestAutoWithoutULA(t *testing.T) {
	out := Decide(Input{Wishes: []Wish{{Network: "n", IPv4: vnet.EgressNone, IPv6: vnet.EgressAuto}}})
	if d := out.Networks["n"]; len(d.Problems) != 1 || d.Problems[0].Kind != vnet.ErrUnavailable || d.ULA.IsValid() {
		t.Errorf("%+v", d)
	}
}
