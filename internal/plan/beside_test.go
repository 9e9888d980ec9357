package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// besideWorld has a network with NATed IPv4 and bridged IPv6, and a shared NIC.
func besideWorld() (*world, *vnet.Network) {
	w := newWorld()
	w.f.Links["br-eth0"] = plan.Link{Index: 9, Name: "br-eth0", Type: "bridge", MTU: 1400, Up: true, Alias: plan.SharedPrefix + "eth0"}
	eth0 := w.f.Links["eth0"]
	eth0.Master = "br-eth0"
	w.f.Links["eth0"] = eth0
	w.f.Uplink4, w.f.Uplink6 = "br-eth0", "br-eth0"
	w.f.Uplinks = map[string]vnet.Uplink{"br-eth0": {Name: "br-eth0", V4: true, V6: true, Type: "bridge"}, "wlan0": {Name: "wlan0", Type: "wifi"}}
	w.f.Links["wlan0"] = plan.Link{Index: 10, Name: "wlan0", MTU: 1500, Up: true}
	n := w.network("web", vnet.EgressNAT, vnet.EgressBridged)
	w.subnet(n, "10.0.0.0/24", vnet.GuestsDHCP)
	sub := w.subnet(n, "2001:db8:1::/64", vnet.GuestsSLAACStateful)
	sub.Source, sub.Prefix = vnet.SourceProxied, netip.Prefix{}
	return w, n
}

func commands(f *plan.Fragment) string {
	var out []string
	for _, i := range f.Items {
		out = append(out, i.Commands()...)
	}
	return strings.Join(out, "\n")
}

// TestBeside: a pair between the network's bridge and the shared one, filtered
// at both ends; our IPv6 says nothing and our IPv4 goes on.
func TestBeside(t *testing.T) {
	w, n := besideWorld()
	f := plan.Network(w.s, w.f, n.ID)
	if f.Waiting || len(f.Problems) > 0 || f.Rung6 != vnet.EgressBridged || f.Rung4 != vnet.EgressNAT {
		t.Fatalf("%+v %s %s", f.Problems, f.Rung4, f.Rung6)
	}
	all := commands(f)
	for _, want := range []string{
		"type veth peer name sxoweb", "ip link set sxiweb master sx-web up", "ip link set sxoweb master br-eth0 up", "dev sxoweb isolated on",
		`nft add element bridge sextant inner { "sxiweb" }`, `nft add element bridge sextant outer { "sxoweb" }`,
		"ip address add 10.0.0.1/24", `out6 { "sx-web" : drop }`, "sx-web mtu 1400",
	} {
		if !strings.Contains(all, want) && !(strings.HasPrefix(want, "sx-web mtu") && f.Service.MTU == 1400) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if f.Service.RA.Send || slices.ContainsFunc(f.Service.Subnets, func(s plan.Subnet) bool { return s.Family == vnet.IPv6 }) {
		t.Errorf("IPv6 is served: %+v", f.Service)
	}
	if got := plan.BridgeOf(w.f, n); got != "sx-web" {
		t.Errorf("guests join %s", got)
	}
	// The rules come before the ends join.
	member := slices.IndexFunc(f.Items, func(i plan.Item) bool { _, ok := i.(plan.Member); return ok })
	if f.Items[member].Stage() <= plan.StageFilter {
		t.Error("joined before it is filtered")
	}
}

// TestBesideProxied: on the rung proxied there is no pair.
func TestBesideProxied(t *testing.T) {
	w, n := besideWorld()
	w.f.Rungs[n.ID] = plan.Rung{V4: vnet.EgressNAT, V6: vnet.EgressProxied}
	for _, sub := range w.s.SubnetsOf(n.ID) {
		if sub.Family == vnet.IPv6 {
			w.assigned(sub, "2001:db8:1::/64", vnet.EgressProxied, vnet.PrefixActive)
		}
	}
	f := plan.Network(w.s, w.f, n.ID)
	if all := commands(f); strings.Contains(all, "sxiweb") || !f.Service.RA.Send {
		t.Errorf("RA %v\n%s", f.Service.RA, all)
	}
}

// TestWireOf: which bridge is joined, and why none.
func TestWireOf(t *testing.T) {
	for name, tt := range map[string]struct {
		link, uplink6, uplink4 string
		want, why              string
	}{
		"the active one":              {uplink6: "br-eth0", uplink4: "eth1", want: "br-eth0"},
		"no IPv6 yet":                 {uplink4: "br-eth0", want: "br-eth0"},
		"another one":                 {uplink6: "br0", want: "br0"},
		"not shared":                  {uplink6: "eth1", uplink4: "br-eth0", why: "sextant uplink set eth1 shared=true"},
		"Wi-Fi":                       {uplink6: "wlan0", why: "Wi-Fi"},
		"nothing":                     {why: "no uplink is in use"},
		"by name":                     {link: "br0", uplink6: "br-eth0", want: "br0"},
		"by the name of the NIC":      {link: "eth0", want: "br-eth0"},
		"by a name that is missing":   {link: "br7", uplink6: "br-eth0", why: `no link "br7"`},
		"by a NIC that is not shared": {link: "eth1", uplink6: "br-eth0", why: "eth1 is not shared"},
	} {
		w, n := besideWorld()
		n.Link, w.f.Uplink6, w.f.Uplink4 = tt.link, tt.uplink6, tt.uplink4
		got, why := plan.WireOf(w.f, n)
		if got != tt.want || !strings.Contains(why, tt.why) || (got == "") != (why != "") {
			t.Errorf("%s: %q %q", name, got, why)
		}
	}
}
