package control

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestWhyInPrefixOfUplink: an address in a prefix that an uplink brought, beside
// the network's own, is explained as one in that: its port, the gateway, the
// network with its rung, what was delegated, who advertises.
func TestWhyInPrefixOfUplink(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(named("web"))
	p := r.port(portOn(n, "vm1"))
	s, _ := r.primary6(n)
	delegated, shared := netip.MustParsePrefix("2001:db8:1100:1::/64"), netip.MustParsePrefix("2001:db8:1::/64")
	end := time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC)
	for _, a := range []*vnet.PrefixAssignment{
		{Prefix: delegated, Rung: vnet.EgressDelegated, State: vnet.PrefixActive},
		{Prefix: shared, Rung: vnet.EgressProxied, State: vnet.PrefixDeprecated, ValidUntil: end},
	} {
		a.Meta, a.Network, a.Subnet, a.Host, a.Uplink = vnet.Meta{ID: r.newID(), Project: s.Project}, n.ID, s.ID, "h1", "eth0"
		if errs := r.store.Claim(ctx, []vnet.Object{a}, nil); errs[0] != nil {
			t.Fatal(errs[0])
		}
	}
	router := netip.MustParseAddr("fe80::1")
	h := &vnet.Host{Meta: vnet.Meta{ID: "h1", Name: "h1"}, Facts: vnet.HostFacts{Uplinks: []vnet.Uplink{{Name: "eth0",
		Routers:     []vnet.HeardRouter{{Address: router}},
		Delegations: []vnet.Delegation{{Prefix: netip.MustParsePrefix("2001:db8:1100::/56"), From: "DHCPv6 on eth0"}}}}}}
	if err := r.store.Observe(ctx, []vnet.Object{h}); err != nil {
		t.Fatal(err)
	}
	var vm1 netip.Addr
	for _, f := range p.Fixed {
		if f.Subnet == s.ID {
			vm1, _ = ipam.Join(delegated, f.Host)
		}
	}
	const lies = "it lies in 2001:db8:1100:1::/64 of network web on host h1 (delegated over eth0)"
	const held = "it lies in 2001:db8:1100::/56, which host h1 may give to its networks (from DHCPv6 on eth0)"
	for _, tc := range []struct {
		addr netip.Addr
		want string
	}{
		{vm1, "port vm1 (" + p.MAC.String() + ") owns it; " + lies + "; " + held},
		{s.GatewayAddr(delegated), "it is the gateway of network web on host h1; " + lies + "; " + held},
		{netip.MustParseAddr("2001:db8:1100:9::1"), held},
		{s.GatewayAddr(shared), "it lies in 2001:db8:1::/64 of network web on host h1 (proxied over eth0), which takes no new use and ends at 2026-11-21T05:00:00Z"},
		{router, "a router has it that host h1 heard on its uplink eth0"},
		{netip.MustParseAddr("2001:db8:1200::1"), ""},
	} {
		why, err := r.Why(ctx, admin, tc.addr)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, x := range why {
			texts = append(texts, x.Text)
		}
		if got := strings.Join(texts, "; "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.addr, got, tc.want)
		}
	}
}
