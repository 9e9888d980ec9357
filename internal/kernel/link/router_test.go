package link_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestRouter: a routing namespace of ours, and a veth of which the host has
// one end and the router the other.
func TestRouter(t *testing.T) {
	h := newHost(t)
	name := fmt.Sprintf("%ssxt-%d", plan.NetnsPrefix, os.Getpid())
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	items := []plan.Item{
		plan.Netns{Name: name, Owner: owner},
		plan.Bridge{Name: "sx-r", Owner: owner, MAC: mac},
		plan.Veth{Name: "sxg0", Owner: owner, PeerNS: name, Peer: "gw0", PeerMAC: vnet.MAC{2, 0, 0, 0, 0, 7}, PeerUp: true},
		plan.Sysctl{NS: name, Path: "net/ipv6/conf/all/forwarding", Value: "1"},
		plan.Sysctl{Path: "net/ipv6/conf/sxg0/disable_ipv6", Value: "1"},
		plan.Member{Link: "sxg0", Bridge: "sx-r", Owner: owner},
		plan.Up{Link: "sx-r", Owner: owner},
		plan.Up{NS: name, Link: "gw0", Owner: owner},
		plan.Address{NS: name, Link: "gw0", Prefix: pfx("2001:db8::1/64"), Owner: owner},
		plan.Address{NS: name, Link: "gw0", Prefix: pfx("10.1.0.1/24"), Owner: owner},
		plan.HostRoute{NS: name, Prefix: pfx("::/0"), Via: netip.MustParseAddr("2001:db8::2"), Link: "gw0", Owner: owner},
		plan.HostRoute{NS: name, Prefix: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.2"), Link: "gw0", Owner: owner},
		plan.HostRoute{NS: name, Prefix: pfx("2001:db8:7:100::/56"), Unreachable: true, Owner: owner},
		plan.HostRoute{NS: name, Prefix: pfx("2001:db8:7:101::/64"), Via: netip.MustParseAddr("fe80::9"), Link: "gw0", Owner: owner},
	}
	h.apply(items, nil)
	h.settled(items)
	h.restart()
	h.settled(items)
	for to, want := range map[string]string{
		"2001:db8:7:101::5": "via fe80::9 dev gw0",
		"2001:db8:7:102::5": "unreachable",
		"2001:db8:8::5":     "via 2001:db8::2 dev gw0",
	} {
		out, _ := exec.Command("ip", "-n", name, "route", "get", to).CombinedOutput()
		if want == "unreachable" && strings.Contains(string(out), "No route to host") {
			continue // as newer versions of ip say it
		}
		if !strings.Contains(string(out), want) {
			t.Errorf("the way to %s is %s, want %s", to, out, want)
		}
	}
	// The far end is ours too.
	_ = exec.Command("ip", "-n", name, "link", "set", "gw0", "name", "gw9").Run()
	if h.actual(items)[items[2].Key()] == items[2] {
		_ = exec.Command("ip", "-n", name, "link", "set", "gw0", "down").Run()
	}
	h.apply(items, nil)
	h.settled(items)
	// Somebody removes the whole namespace.
	h.ns.Run("ip", "netns", "delete", name)
	h.apply(items, nil)
	h.settled(items)
	h.restart()
	var del []plan.Item
	for _, i := range h.actual(nil) {
		del = append(del, i)
	}
	h.apply(nil, del)
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if h.set.Exists(name) {
		t.Error("the namespace is still there")
	}
}
