package reconcile_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/nft"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/reconcile"
	"github.com/sextant-net/sextant/internal/vnet"
)

// newHost is a reconciler over a host of the test's own, as an agent makes it
// at each start.
func newHost(t *testing.T, ns *netnstest.NS, state string) *reconcile.Reconciler[plan.Key, plan.Item] {
	t.Helper()
	set, err := netns.At(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	links, err := link.New(set, state)
	if err != nil {
		t.Fatal(err)
	}
	tables := nft.New(set)
	var layers []reconcile.Layer[plan.Key, plan.Item]
	for s := plan.StageNetns; s <= plan.StageForward; s++ {
		l := reconcile.Layer[plan.Key, plan.Item]{Stage: int(s), Target: links}
		if s == plan.StageFilter {
			l.Target, l.Together = tables, true
		}
		layers = append(layers, l)
	}
	r := reconcile.New(plan.Item.Key, func(i plan.Item) int { return int(i.Stage()) }, layers...)
	r.Needs(link.Needs, link.Gives)
	return r
}

func fragment(router string) []plan.Item {
	owner := vnet.Ref{Kind: vnet.KindNetwork, ID: "1"}
	text := "table inet sextant {\n\tset links { type ifname; }\n\tchain f { type filter hook forward priority filter; iifname @links accept; }\n}\n"
	return []plan.Item{
		plan.Netns{Name: router, Owner: owner},
		plan.Bridge{Name: "sx-web", Owner: owner, MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 1}, MTU: 1400},
		plan.Veth{Name: "sxr0", Owner: owner, PeerNS: router, Peer: "gw0", PeerUp: true},
		plan.Sysctl{Path: "net/ipv6/conf/sxr0/disable_ipv6", Value: "1", Ours: true},
		plan.Sysctl{NS: router, Path: "net/ipv6/conf/all/forwarding", Value: "1", Ours: true},
		plan.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"},
		plan.Chains{Text: text},
		plan.Element{Family: "inet", Set: "links", Elem: `"sx-web"`},
		plan.Chains{NS: router, Text: text},
		plan.Element{NS: router, Family: "inet", Set: "links", Elem: `"gw0"`},
		plan.Member{Link: "sxr0", Bridge: "sx-web", Owner: owner},
		plan.Up{Link: "sx-web", Owner: owner},
		plan.Address{NS: router, Link: "gw0", Prefix: netip.MustParsePrefix("2001:db8::1/64"), Owner: owner},
		plan.HostRoute{NS: router, Prefix: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("2001:db8::2"), Link: "gw0", Owner: owner},
	}
}

// TestKernel runs a network with a router through its life on a real kernel:
// made, found again by a restarted agent, mended, removed.
func TestKernel(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	ns, state := netnstest.New(t, "rec"), t.TempDir()
	router := fmt.Sprintf("%ssxt-r%d", plan.NetnsPrefix, os.Getpid())
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", router).Run() })
	items := fragment(router)
	r := newHost(t, ns, state)
	r.Want(items)
	resync := func() reconcile.Result[plan.Key] {
		t.Helper()
		res, err := r.Resync(context.Background(), true)
		if err != nil || len(res.Failed) != 0 {
			t.Fatalf("%v %v", err, res.Failed)
		}
		return res
	}
	if res := resync(); len(res.Put) != len(items) {
		t.Errorf("made %d of %d", len(res.Put), len(items))
	}
	if res := resync(); res.Changed() {
		t.Errorf("a second resync: %+v", res)
	}
	r = newHost(t, ns, state) // killed and started
	r.Want(items)
	if res := resync(); res.Changed() {
		t.Errorf("a restart: %+v", res)
	}
	for _, cmd := range []string{"nft flush ruleset", "ip link delete sx-web", "ip netns delete " + router, "ip -n " + router + " address flush dev gw0", "ip netns exec " + router + " nft flush ruleset"} {
		ns.Run("sh", "-c", cmd)
		if res := resync(); !res.Changed() {
			t.Errorf("%s: not mended", cmd)
		}
		if res := resync(); res.Changed() {
			t.Errorf("%s: not mended at once: %+v", cmd, res)
		}
	}
	// A port that is replaced keeps its place.
	guest := netnstest.New(t, "rec")
	moved := items[2].(plan.Veth)
	moved.PeerNS = guest.Name
	for _, v := range []plan.Item{moved, items[2]} {
		r.Reconcile(context.Background(), []plan.Item{v}, nil)
		if out := ns.Run("ip", "link", "show", "sxr0"); !strings.Contains(out, "master sx-web") {
			t.Errorf("a replaced port lost its bridge: %s", out)
		}
	}
	if res := resync(); res.Changed() {
		t.Errorf("after replacing a port: %+v", res)
	}
	// One port less.
	r.Reconcile(context.Background(), nil, []plan.Key{items[10].Key(), items[7].Key()})
	if out := ns.Run("ip", "link", "show", "sxr0"); strings.Contains(out, "master") {
		t.Errorf("still a member: %s", out)
	}
	var keys []plan.Key
	for _, i := range items {
		keys = append(keys, i.Key())
	}
	res := r.Reconcile(context.Background(), nil, keys)
	if len(res.Failed) != 0 || len(r.Applied()) != 0 {
		t.Errorf("%v; left %v", res.Failed, r.Applied())
	}
	if out := ns.Run("sh", "-c", "nft list ruleset; ip -o link | grep -v lo:; ls /run/netns | grep "+router+"; true"); out != "" {
		t.Errorf("left behind: %s", out)
	}
	if res := resync(); res.Changed() {
		t.Errorf("after removal: %+v", res)
	}
}
