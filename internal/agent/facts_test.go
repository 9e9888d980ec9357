package agent

import (
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
)

// TestWhatPlansDependOn: of the host's routes only where they lead matters,
// and that does: answers come in there.
func TestWhatPlansDependOn(t *testing.T) {
	facts := func(routes ...plan.Route) *plan.Facts {
		return &plan.Facts{Routes: routes, Links: map[string]plan.Link{
			"eth0": {Name: "eth0"}, "tun0": {Name: "tun0"}, "sx-web": {Name: "sx-web", Alias: plan.AliasPrefix + "web"},
		}}
	}
	route := func(prefix, link string) plan.Route {
		return plan.Route{Prefix: netip.MustParsePrefix(prefix), Table: 254, Link: link}
	}
	before := facts(route("10.0.0.0/8", "eth0"))
	for _, tc := range []struct {
		name string
		now  *plan.Facts
		same bool
	}{
		{"another route over the same link", facts(route("10.0.0.0/8", "eth0"), route("172.16.0.0/12", "eth0")), true},
		{"a route over a link of ours", facts(route("10.0.0.0/8", "eth0"), route("172.16.0.0/12", "sx-web")), true},
		{"a VPN", facts(route("10.0.0.0/8", "eth0"), route("172.16.0.0/12", "tun0")), false},
		{"the other family", facts(route("10.0.0.0/8", "eth0"), route("2001:db8::/32", "eth0")), false},
		{"none any more", facts(), false},
	} {
		if got := sameForPlans(before, tc.now); got != tc.same {
			t.Errorf("%s: the same plans: %v", tc.name, got)
		}
	}
}
