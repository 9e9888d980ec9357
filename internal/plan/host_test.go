package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestAnswersComeIn: the host forwards what comes in by every link that it
// reaches something over, not by uplinks alone: a VPN has routes of single
// prefixes, perhaps without an address, and a second network an address.
func TestAnswersComeIn(t *testing.T) {
	w := newWorld()
	w.network("web", vnet.EgressNAT, vnet.EgressNAT66)
	for _, l := range []plan.Link{
		{Name: "tun4"}, {Name: "tun6"}, {Name: "idle", Addresses: prefixes("fe80::1/64", "169.254.7.7/16")},
		{Name: "lan", Addresses: prefixes("192.0.2.7/24")}, {Name: "wg0", Addresses: prefixes("2001:db8:7::1/128")},
		{Name: "port", Master: "br0", Addresses: prefixes("192.0.2.8/24")},
		{Name: "sx-other", Alias: plan.AliasPrefix + "other", Addresses: prefixes("192.0.2.9/24")},
	} {
		w.f.Links[l.Name] = l
	}
	w.f.Routes = []plan.Route{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Table: 254, Link: "tun4"},
		{Prefix: netip.MustParsePrefix("2001:db8:8::/48"), Table: 100, Link: "tun6"},
	}
	forwarding := func(path string) (out []string) {
		for _, i := range plan.Host(w.s, w.f).Items {
			if s, ok := i.(plan.Sysctl); ok && strings.HasSuffix(s.Path, "/"+path) && s.Value == "1" {
				out = append(out, strings.Split(s.Path, "/")[3])
			}
		}
		slices.Sort(out)
		return out
	}
	if got, want := forwarding("forwarding"), []string{"eth0", "lan", "tun4"}; !slices.Equal(got, want) {
		t.Errorf("IPv4 is forwarded from %q, want %q", got, want)
	}
	if got, want := forwarding("force_forwarding"), []string{"eth0", "tun6", "wg0"}; !slices.Equal(got, want) {
		t.Errorf("IPv6 is forwarded from %q, want %q", got, want)
	}
}

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
