package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestCompletedBeside: what has a host part has an address in each prefix of
// its subnet, and none where the host part does not fit.
func TestCompletedBeside(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNone, vnet.EgressAuto)
	six := w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
	six.Ranges = []vnet.Range{{First: netip.MustParseAddr("fd12:3456:789a:1::1000"), Last: netip.MustParseAddr("fd12:3456:789a:1::1fff")}}
	w.assigned(six, "2001:db8:200:1::/64", vnet.EgressDelegated, vnet.PrefixActive)
	w.assigned(six, "2001:db8:100:1::/64", vnet.EgressDelegated, vnet.PrefixDeprecated)
	w.assigned(six, "2001:db8:1::ab:0/112", vnet.EgressProxied, vnet.PrefixActive)
	w.assigned(six, "2001:db8:300:1::/64", vnet.EgressNPTv6, vnet.PrefixActive)
	addresses := func(f vnet.FixedAddress) (out []string) {
		for _, g := range plan.Completed(w.s, f) {
			s := g.Address.String()
			if g.Deprecated {
				s += " deprecated"
			}
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	for _, tc := range []struct {
		fixed vnet.FixedAddress
		want  []string
	}{
		{vnet.FixedAddress{Host: 0xabc}, []string{"2001:db8:100:1::abc deprecated", "2001:db8:1::ab:abc", "2001:db8:200:1::abc", "fd12:3456:789a:1::abc"}},
		{vnet.FixedAddress{Host: 0x12345}, []string{"2001:db8:100:1::1:2345 deprecated", "2001:db8:200:1::1:2345", "fd12:3456:789a:1::1:2345"}},
		{vnet.FixedAddress{Address: netip.MustParseAddr("fd12:3456:789a:1::7")},
			[]string{"2001:db8:100:1::7 deprecated", "2001:db8:1::ab:7", "2001:db8:200:1::7", "fd12:3456:789a:1::7"}},
	} {
		tc.fixed.Subnet = six.ID
		if got := addresses(tc.fixed); !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %q, want %q", tc.fixed, got, tc.want)
		}
	}
	ranges := map[string]string{}
	for _, s := range plan.Network(w.s, w.f, n.ID).Service.Subnets {
		r := "none"
		if len(s.Ranges) > 0 {
			r = s.Ranges[0].First.String()
		}
		ranges[s.Prefix.String()] = r
	}
	for p, want := range map[string]string{"fd12:3456:789a:1::/64": "fd12:3456:789a:1::1000", "2001:db8:200:1::/64": "2001:db8:200:1::1000", "2001:db8:1::ab:0/112": "2001:db8:1::ab:1000"} {
		if ranges[p] != want {
			t.Errorf("ranges in %s begin at %q, want %q", p, ranges[p], want)
		}
	}
}

// TestMoves: servers know whether uplinks give a network prefixes, or may.
func TestMoves(t *testing.T) {
	for _, tc := range []struct {
		mode   vnet.Egress
		source vnet.Source
		want   bool
	}{
		{vnet.EgressAuto, vnet.SourceULA, true}, {vnet.EgressDelegated, vnet.SourceDelegated, true}, {vnet.EgressRouted, vnet.SourceProxied, true},
		{vnet.EgressNPTv6, vnet.SourceULA, false}, {vnet.EgressNAT66, vnet.SourceULA, false}, {vnet.EgressRouted, vnet.SourceFixed, false},
	} {
		w := newWorld()
		n := w.network("web", vnet.EgressAuto, tc.mode)
		w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsStateful).Source = tc.source
		if got := plan.Network(w.s, w.f, n.ID).Service.Moves; got != tc.want {
			t.Errorf("%s, %s: moves: %v", tc.mode, tc.source, got)
		}
	}
}
