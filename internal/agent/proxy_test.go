package agent

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/ndproxy"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestUplinksShared: what the proxy is told of links and prefixes: two networks
// may share one, a part comes before the whole, and what no uplink carries, or a
// link that is not there, is nobody's.
func TestUplinksShared(t *testing.T) {
	mac, gateA, gateB := vnet.MAC{2, 0, 0, 0, 0, 1}, vnet.MAC{2, 0, 0, 0, 0, 2}, vnet.MAC{2, 0, 0, 0, 0, 3}
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	f := &plan.Facts{Links: map[string]plan.Link{"eth0": {Name: "eth0", MAC: mac, Addresses: []netip.Prefix{
		prefix("192.0.2.7/24"), prefix("2001:db8::8/64"), prefix("fe80::77/64"), prefix("2001:db8::7/128"),
	}}}}
	shared := func(p, link string) plan.Subnet {
		return plan.Subnet{Family: vnet.IPv6, Prefix: prefix(p), OffLink: true, Uplink: link}
	}
	cut := shared("2001:db8:2::/64", "eth0")
	cut.Cut = true
	services := map[vnet.ID]*plan.Service{
		"a": {Network: "a", Link: "sx-a", MAC: gateA, Subnets: []plan.Subnet{
			{Family: vnet.IPv6, Prefix: prefix("fd00::/64")}, shared("2001:db8::/64", "eth0"), cut, shared("2001:db8:3::/64", "gone0"),
		}},
		"b": {Network: "b", NS: "sextant-r", Link: "sx-b", MAC: gateB, Subnets: []plan.Subnet{
			shared("2001:db8::/64", "eth0"), shared("2001:db8::5:0:0:0/80", "eth0"),
		}},
	}
	sideA := ndproxy.Side{Network: "a", Link: "sx-a", MAC: gateA, LinkLocal: addr("fe80::ff:fe00:2")}
	sideB := ndproxy.Side{Network: "b", NS: "sextant-r", Link: "sx-b", MAC: gateB, LinkLocal: addr("fe80::ff:fe00:3")}
	want := map[string]ndproxy.Uplink{"eth0": {
		Link: "eth0", MAC: mac, LinkLocal: addr("fe80::77"), Own: []netip.Addr{addr("2001:db8::7"), addr("2001:db8::8")},
		Shared: []ndproxy.Shared{
			{Prefix: prefix("2001:db8::5:0:0:0/80"), Sides: []ndproxy.Side{sideB}},
			{Prefix: prefix("2001:db8::/64"), Sides: []ndproxy.Side{sideA, sideB}},
		},
	}}
	same := []cmp.Option{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if d := cmp.Diff(want, uplinksShared(f, services), same...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := uplinksShared(f, nil); len(got) != 0 {
		t.Errorf("without networks: %v", got)
	}
}

// TestContestedStaysPlanned: an address that somebody else has brings nothing
// into the kernel, but the proxy goes on trying it.
func TestContestedStaysPlanned(t *testing.T) {
	u := newUnion()
	r := vnet.Ref{Kind: vnet.KindLease, ID: "l"}
	u.set(&plan.Fragment{Owner: r, Proxied: []netip.Addr{netip.MustParseAddr("2001:db8::9")}}, newChange())
	if u.fragments[r] == nil {
		t.Error("it is forgotten")
	}
	if u.set(&plan.Fragment{Owner: r}, newChange()); u.fragments[r] != nil {
		t.Error("it is kept without need")
	}
}
