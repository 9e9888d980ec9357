package agent

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dns"
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
		{"a delegated prefix is no address", []*vnet.Lease{lease("fd00::9"), lease("fd02::", func(l *vnet.Lease) { l.Length = 64 })},
			[]string{"vm 10.0.0.9", "vm fd00::9", "vm fd00::9"}},
		{"an ended lease", []*vnet.Lease{lease("fd00::9", func(l *vnet.Lease) { l.Expires = now.Add(-1) })},
			[]string{"vm 10.0.0.9", "vm fd00::9"}},
		{"a guest without a port, by the name it gave", []*vnet.Lease{
			lease("10.0.0.50", func(l *vnet.Lease) { l.Port, l.MAC, l.Hostname = "", vnet.MAC{4}, "laptop" }),
			lease("fd00::50", func(l *vnet.Lease) { l.Port, l.MAC = "", vnet.MAC{4} })},
			[]string{"vm 10.0.0.9", "laptop 10.0.0.50", "vm fd00::9", "laptop fd00::50"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, r := range zoneOf(svc, []*plan.Guest{guest}, packed(tc.leases), now).Records {
				got = append(got, r.Name+" "+r.Address.String())
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestZoneService: what an operator wrote beside the guests reaches the name
// server, and so do all prefixes, with the addresses to listen on.
func TestZoneService(t *testing.T) {
	svc := &plan.Service{
		Network: "n", Project: "p", NS: "r", Link: "gw", Domain: "n.internal",
		Subnets: []plan.Subnet{
			{ID: "4", Prefix: netip.MustParsePrefix("10.0.0.0/28"), Gateway: netip.MustParseAddr("10.0.0.1")},
			{ID: "6", Prefix: netip.MustParsePrefix("fd00::/64"), Gateway: netip.MustParseAddr("fd00::1"), Deprecated: true},
			{ID: "d", Prefix: netip.MustParsePrefix("2001:db8::/56"), Delegate: 64},
		},
		DNS: plan.DNS{
			Serve: true, Upwards: true, DNS64: netip.MustParsePrefix("64:ff9b::/96"),
			Records:    []vnet.NameRecord{{Name: "www", Type: "CNAME", Value: "vm"}},
			Forwarders: []vnet.Forwarder{{Domain: "corp.example"}},
			Encrypted:  []vnet.EncryptedDNS{{Priority: 1, Name: "dns.example"}},
		},
	}
	want := dns.Zone{
		Network: "n", Project: "p", NS: "r", Link: "gw", Domain: "n.internal",
		Listen:   []netip.Addr{svc.Subnets[0].Gateway, svc.Subnets[1].Gateway},
		Prefixes: []netip.Prefix{svc.Subnets[0].Prefix, svc.Subnets[1].Prefix, svc.Subnets[2].Prefix},
		Extra:    svc.DNS.Records, Forwarders: svc.DNS.Forwarders, Upwards: true, DNS64: svc.DNS.DNS64, Encrypted: svc.DNS.Encrypted,
	}
	if got := zoneOf(svc, nil, nil, time.Unix(1e9, 0)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	svc.DNS.Serve = false
	if got := zoneOf(svc, nil, nil, time.Unix(1e9, 0)); len(got.Listen) > 0 {
		t.Errorf("a network without name service listens on %v", got.Listen)
	}
}

func packed(all []*vnet.Lease) []*pack.Lease {
	var out []*pack.Lease
	for _, l := range all {
		out = append(out, pack.Of(l))
	}
	return out
}

// TestDeprecatedAddressesHaveNoName: what a guest made in a prefix that goes is
// not published, what it made in the one that came is.
func TestDeprecatedAddressesHaveNoName(t *testing.T) {
	svc := &plan.Service{Network: "n", Domain: "web.internal", Subnets: []plan.Subnet{
		{ID: "s", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("2001:db8:2::/64"), Guests: vnet.GuestsSLAAC},
		{ID: "s", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Guests: vnet.GuestsSLAAC, Deprecated: true},
	}}
	guest := &plan.Guest{Port: "p", Network: "n", Name: "vm", MAC: vnet.MAC{2, 0, 0, 0, 0, 1}}
	var leases []*pack.Lease
	for _, a := range []string{"2001:db8:1::7", "2001:db8:2::7"} {
		leases = append(leases, pack.Of(&vnet.Lease{Meta: vnet.Meta{ID: vnet.ID(a)}, Network: "n", Subnet: "s", Port: "p", Family: vnet.IPv6,
			Address: netip.MustParseAddr(a), How: vnet.HowSLAAC, MAC: guest.MAC}))
	}
	z := zoneOf(svc, []*plan.Guest{guest}, leases, time.Now())
	if len(z.Records) != 1 || z.Records[0].Address != netip.MustParseAddr("2001:db8:2::7") {
		t.Errorf("records %+v", z.Records)
	}
}
