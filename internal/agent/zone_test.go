package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestZone: names lead to addresses that answer.
func TestZone(t *testing.T) {
	addr := netip.MustParseAddr
	now := time.Unix(1e9, 0)
	svc := &plan.Service{Network: "n", Domain: "n.internal", Subnets: []plan.Subnet{
		{ID: "4", Family: vnet.IPv4, Prefix: netip.MustParsePrefix("10.0.0.0/24"), Guests: vnet.GuestsDHCP},
		{ID: "6", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("fd00::/64"), Guests: vnet.GuestsSLAACStateful},
		{ID: "old", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("fd01::/64"), Guests: vnet.GuestsSLAACStateful, Deprecated: true},
	}}
	guest := &plan.Guest{Port: "p", Network: "n", Name: "vm", MAC: vnet.MAC{2}, Addresses: []plan.GuestAddress{
		{Subnet: "4", Address: addr("10.0.0.9")}, {Subnet: "6", Address: addr("fd00::9")},
		{Subnet: "old", Address: addr("fd01::9"), Deprecated: true},
	}}
	lease := func(a string, change ...func(*vnet.Lease)) *vnet.Lease {
		l := &vnet.Lease{Network: "n", Port: "p", Address: addr(a), MAC: vnet.MAC{2}, How: vnet.HowSLAAC}
		for _, c := range change {
			c(l)
		}
		return l
	}
	for _, tc := range []struct {
		name   string
		leases []*vnet.Lease
		want   []string
	}{
		{"nothing is known yet: what it will get", nil, []string{"vm 10.0.0.9", "vm fd00::9"}},
		{"SLAAC only", []*vnet.Lease{lease("fd00::5054")}, []string{"vm 10.0.0.9", "vm fd00::5054"}},
		{"DHCPv6 too", []*vnet.Lease{lease("fd00::5054"), lease("fd00::9", func(l *vnet.Lease) { l.How = vnet.HowDHCPv6 })},
			[]string{"vm 10.0.0.9", "vm fd00::9", "vm fd00::9", "vm fd00::5054"}},
		{"temporary addresses are private", []*vnet.Lease{lease("fd00::5054"), lease("fd00::1", func(l *vnet.Lease) { l.Temporary = true })},
			[]string{"vm 10.0.0.9", "vm fd00::5054"}},
		{"an ended lease", []*vnet.Lease{lease("fd00::9", func(l *vnet.Lease) { l.Expires = now.Add(-1) })},
			[]string{"vm 10.0.0.9", "vm fd00::9"}},
		{"a guest without a port, by the name it gave", []*vnet.Lease{
			lease("10.0.0.50", func(l *vnet.Lease) { l.Port, l.MAC, l.Hostname = "", vnet.MAC{4}, "laptop" }),
			lease("fd00::50", func(l *vnet.Lease) { l.Port, l.MAC = "", vnet.MAC{4} })},
			[]string{"vm 10.0.0.9", "laptop 10.0.0.50", "vm fd00::9", "laptop fd00::50"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, r := range zoneOf(svc, []*plan.Guest{guest}, tc.leases, now).Records {
				got = append(got, r.Name+" "+r.Address.String())
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
