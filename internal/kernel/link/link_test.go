package link_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	owner = vnet.Ref{Kind: vnet.KindNetwork, ID: "11111111-1111-4111-8111-111111111111"}
	port  = vnet.Ref{Kind: vnet.KindPort, ID: "22222222-2222-4222-8222-222222222222"}
	mac   = vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 1}
)

// host is a host of the test's own with links to apply items to.
type host struct {
	t     *testing.T
	ns    *netnstest.NS
	links *link.Links
	set   *netns.Set
	state string
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, ns: netnstest.New(t, "lnk"), state: t.TempDir()}
	h.restart()
	return h
}

// restart forgets all that is in memory, as a killed agent does.
func (h *host) restart() {
	h.t.Helper()
	set, err := netns.At(h.ns.Path())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { set.Close() })
	links, err := link.New(set, h.state)
	if err != nil {
		h.t.Fatal(err)
	}
	h.links, h.set = links, set
}

func (h *host) apply(put, del []plan.Item) {
	h.t.Helper()
	for k, err := range h.links.Apply(context.Background(), put, del) {
		h.t.Errorf("%v: %v", k, err)
	}
}

func (h *host) fails(put plan.Item, kind vnet.ErrKind, words ...string) {
	h.t.Helper()
	err := h.links.Apply(context.Background(), []plan.Item{put}, nil)[put.Key()]
	if !vnet.Is(err, kind) {
		h.t.Errorf("%v: got %v, want kind %s", put.Key(), err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			h.t.Errorf("%v: %q does not name %q", put.Key(), err, w)
		}
	}
}

func keyed(items []plan.Item) map[plan.Key]plan.Item {
	out := map[plan.Key]plan.Item{}
	for _, i := range items {
		out[i.Key()] = i
	}
	return out
}

func (h *host) actual(want []plan.Item) map[plan.Key]plan.Item {
	h.t.Helper()
	got, err := h.links.Actual(context.Background(), keyed(want))
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

// settled expects that the kernel holds exactly the items, and that applying
// them once more changes nothing that ip can see.
func (h *host) settled(items []plan.Item) {
	h.t.Helper()
	if d := cmp.Diff(keyed(items), h.actual(items), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		h.t.Errorf("actual differs from applied (-want +got):\n%s", d)
	}
	// The kernel may still be reporting what the first apply led to (carrier,
	// link-local addresses): what an apply itself sends, it sends every time.
	var said string
	for range 4 {
		if said = monitor(h.t, h.ns, func() { h.apply(items, nil) }); said == "" {
			return
		}
	}
	h.t.Errorf("applying again changed something:\n%s", said)
}

// monitor returns what `ip monitor` said while f ran.
func monitor(t *testing.T, ns *netnstest.NS, f func()) string {
	t.Helper()
	var out lockedBuffer
	cmd := ns.Command("ip", "-o", "monitor", "link", "address", "route", "netconf")
	// What it says on standard error is of other tests: a namespace that went
	// while it looked for the far ends of links.
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// The monitor has begun when it sees a first probe, and has seen all of f
	// when it sees a second one.
	probe := func(name string) {
		t.Helper()
		netnstest.Eventually(t, 5*time.Second, "ip monitor", func() error {
			ns.Run("ip", "link", "add", name, "type", "veth", "peer", "name", name+"p")
			ns.Run("ip", "link", "delete", name)
			if !strings.Contains(out.String(), name) {
				return fmt.Errorf("%s not seen", name)
			}
			return nil
		})
	}
	probe("mon0")
	f()
	probe("mon1")
	var lines []string
	for _, line := range strings.Split(out.String(), "\n") {
		if line != "" && !strings.Contains(line, "mon0") && !strings.Contains(line, "mon1") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// network is a network with a port in a guest and a tap.
func network(guest string) []plan.Item {
	return []plan.Item{
		plan.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"},
		plan.Bridge{Name: "sx-web", Owner: owner, MAC: mac, MTU: 1500},
		plan.Bridge{Name: "sxb", Owner: owner, MAC: vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 9}, MTU: 1280, MLDSnoop: true},
		plan.Veth{Name: "sxp1", Owner: port, MTU: 1500, PeerNS: guest, Peer: "eth0", PeerMAC: vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 2}, PeerUp: true},
		plan.Tap{Name: "sxt1", Owner: port, User: "nobody", MTU: 1400},
		plan.Sysctl{Path: "net/ipv6/conf/sxp1/disable_ipv6", Value: "1"},
		plan.Sysctl{Path: "net/ipv6/conf/sxt1/disable_ipv6", Value: "1"},
		plan.Sysctl{Path: "net/ipv6/conf/sx-web/accept_ra", Value: "0"},
		plan.Up{Link: "sx-web", Owner: owner},
		plan.Member{Link: "sxp1", Bridge: "sx-web", Owner: port},
		plan.Member{Link: "sxt1", Bridge: "sx-web", Owner: port, Isolated: true},
		plan.Address{Link: "sx-web", Prefix: pfx("192.168.150.1/24"), Owner: owner},
		plan.Address{Link: "sx-web", Prefix: pfx("2001:db8:5::1/64"), Owner: owner},
		plan.Address{Link: "sx-web", Prefix: pfx("fe80::1/64"), Owner: owner},
		plan.HostRoute{Prefix: pfx("fd00:1::/48"), Unreachable: true, Owner: owner},
		plan.HostRoute{Prefix: pfx("10.9.0.0/16"), Via: netip.MustParseAddr("192.168.150.7"), Owner: owner},
		plan.HostRoute{Prefix: pfx("2001:db8:9::/64"), Via: netip.MustParseAddr("fe80::9"), Link: "sx-web", Owner: owner},
	}
}

func TestNetwork(t *testing.T) {
	h, guest := newHost(t), netnstest.New(t, "gst")
	items := network(guest.Name)
	h.apply(items, nil)
	h.settled(items)

	// iproute2 sees what was asked for.
	for _, want := range []struct {
		ns   *netnstest.NS
		cmd  string
		says []string
	}{
		{h.ns, "ip -d link show sx-web", []string{"52:54:00:aa:00:01", "mtu 1500", "stp_state 0", "forward_delay 0", "mcast_snooping 0", "nf_call_iptables 0", "nf_call_ip6tables 0", "alias sextant:network/1111", ",UP"}},
		{h.ns, "ip -d link show sxb", []string{"mtu 1280", "mcast_snooping 1"}},
		{h.ns, "ip -d link show sxt1", []string{"tap", "persist on", "user nobody", "isolated on", "mtu 1400", "master sx-web", "pi off", "vnet_hdr off"}},
		{h.ns, "ip -d link show sxp1", []string{"veth", "master sx-web", "isolated off", "UP"}},
		{guest, "ip link show eth0", []string{"52:54:00:aa:00:02", "LOWER_UP"}},
		{h.ns, "ip address show sx-web", []string{"192.168.150.1/24 brd 192.168.150.255", "2001:db8:5::1/64", "nodad"}},
		{h.ns, "ip -6 route", []string{"unreachable fd00:1::/48 dev lo proto 83", "2001:db8:9::/64 via fe80::9 dev sx-web proto 83"}},
		{h.ns, "ip -4 route", []string{"10.9.0.0/16 via 192.168.150.7 dev sx-web proto 83"}},
	} {
		f := strings.Fields(want.cmd)
		out := want.ns.Run(f[0], f[1:]...)
		for _, s := range want.says {
			if !strings.Contains(out, s) {
				t.Errorf("%s: no %q in\n%s", want.cmd, s, out)
			}
		}
	}
	if out := h.ns.Run("ip", "-6", "address", "show", "dev", "sxp1"); out != "" {
		t.Errorf("the host takes part on the port: %s", out)
	}

	// A restarted agent finds everything as it is.
	h.restart()
	h.settled(items)

	// And takes it all away again.
	var reversed []plan.Item
	for n := len(items) - 1; n >= 0; n-- {
		reversed = append(reversed, items[n])
	}
	h.apply(nil, reversed)
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if out := h.ns.Run("ip", "-o", "link"); strings.Count(out, "\n") != 1 {
		t.Errorf("links left behind:\n%s", out)
	}
	h.apply(nil, reversed) // removing what is gone
	if got := strings.TrimSpace(h.ns.Run("cat", "/proc/sys/net/ipv6/conf/all/forwarding")); got != "0" {
		t.Errorf("forwarding = %s", got)
	}
}

// TestDrift: whatever somebody changes is seen, and applying mends it.
func TestDrift(t *testing.T) {
	h, guest := newHost(t), netnstest.New(t, "gst")
	items := network(guest.Path())
	h.apply(items, nil)
	h.settled(items)
	for _, cmd := range []string{
		"ip link set sx-web address 02:00:00:00:00:09",
		"ip link set sx-web mtu 1400",
		"ip link set sx-web type bridge stp_state 1",
		"ip link set sx-web type bridge mcast_snooping 1",
		"ip link set sx-web type bridge forward_delay 400",
		"ip link set sx-web alias sextant:network/other",
		"ip link set sx-web down",
		"ip link delete sxb",
		"ip link delete sxp1",
		"ip link delete sxt1",
		"ip link set sxp1 nomaster",
		"ip link set sxp1 down",
		"ip link set sxt1 mtu 1500",
		"bridge link set dev sxt1 isolated off",
		"ip address delete 192.168.150.1/24 dev sx-web",
		"ip address delete 2001:db8:5::1/64 dev sx-web",
		"ip route delete unreachable fd00:1::/48",
		"ip route delete 10.9.0.0/16",
		"ip route replace 10.9.0.0/16 via 192.168.150.8 proto 83",
		"sh -c 'echo 0 > /proc/sys/net/ipv6/conf/sxp1/disable_ipv6'",
		"ip -n " + guest.Name + " link delete eth0",
		"ip link delete sx-web",
	} {
		h.ns.Run("sh", "-c", cmd)
		want, got := keyed(items), h.actual(items)
		var mend []plan.Item
		for _, i := range items {
			if got[i.Key()] != i {
				mend = append(mend, i)
			}
		}
		if len(mend) == 0 {
			t.Errorf("%s: not seen", cmd)
		}
		for k, i := range got {
			if want[k] == nil {
				t.Errorf("%s: actual has %v", cmd, i)
			}
		}
		h.apply(mend, nil)
		if d := len(h.actual(items)); d != len(items) {
			t.Errorf("%s: %d items instead of %d after mending", cmd, d, len(items))
		}
		if t.Failed() {
			t.Fatalf("after %s", cmd)
		}
	}
	h.settled(items)
}

// TestPrune: what carries our mark is reported though nobody wants it, and
// what does not is not.
func TestPrune(t *testing.T) {
	h, guest := newHost(t), netnstest.New(t, "gst")
	items := network(guest.Name)
	h.apply(items, nil)
	for _, cmd := range []string{
		"ip link add other type bridge",
		"ip link set other up",
		"ip address add 172.20.0.1/24 dev other",
		"ip address add 172.21.0.1/24 dev sx-web",
		"ip route add 172.22.0.0/16 dev other",
		"ip link add half group 83 type bridge", // killed between two requests
	} {
		h.ns.Run("sh", "-c", cmd)
	}
	h.restart()
	got := h.actual(nil)
	var del []plan.Item
	for k, i := range got {
		if strings.Contains(k.Name, "other") || strings.Contains(k.Name, "172.") {
			t.Errorf("somebody else's: %v", i)
		}
		del = append(del, i)
	}
	if got[plan.Key{Kind: "link", Name: "half"}] == nil {
		t.Error("the half-made bridge is not ours")
	}
	h.apply(nil, del)
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if out := h.ns.Run("ip", "-o", "link"); !strings.Contains(out, "other") || strings.Contains(out, "sx") {
		t.Errorf("links: %s", out)
	}
	if out := h.ns.Run("ip", "route"); !strings.Contains(out, "172.22.0.0/16") {
		t.Errorf("routes: %s", out)
	}
}

func TestForeign(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "taken", "type", "bridge")
	h.ns.Run("ip", "address", "add", "10.0.0.1/8", "dev", "taken")
	h.ns.Run("ip", "link", "set", "taken", "up")
	h.ns.Run("ip", "route", "add", "172.30.0.0/16", "dev", "taken")
	h.fails(plan.Bridge{Name: "taken", Owner: owner, MAC: mac}, vnet.ErrConflict, "taken", "bridge")
	h.fails(plan.Tap{Name: "taken", Owner: owner}, vnet.ErrConflict, "taken")
	h.fails(plan.Veth{Name: "sxv", Owner: owner, Peer: "taken"}, vnet.ErrConflict, "taken")
	h.fails(plan.Veth{Name: "sxv", Owner: owner, Peer: "eth0", PeerNS: "sxt-nobody"}, vnet.ErrNotFound, "sxt-nobody")
	h.fails(plan.Tap{Name: "sxt", Owner: owner, User: "no-such-user"}, vnet.ErrInvalid, "no-such-user")
	h.fails(plan.Member{Link: "nic", Bridge: "taken"}, vnet.ErrNotFound, "nic")
	h.fails(plan.Member{Link: "taken", Bridge: "nobr"}, vnet.ErrNotFound, "nobr")
	h.fails(plan.Address{Link: "nolink", Prefix: pfx("fd00::1/64")}, vnet.ErrNotFound, "nolink")
	h.fails(plan.Address{NS: "sxt-nobody", Link: "nolink", Prefix: pfx("fd00::1/64")}, vnet.ErrNotFound, "sxt-nobody")
	h.fails(plan.HostRoute{Prefix: pfx("172.30.0.0/16"), Unreachable: true}, vnet.ErrConflict, "172.30.0.0/16")
	h.fails(plan.Sysctl{Path: "net/ipv6/conf/nolink/disable_ipv6", Value: "1"}, vnet.ErrNotFound, "nolink")
	h.apply(nil, []plan.Item{plan.Bridge{Name: "taken"}}) // not ours: left alone
	if out := h.ns.Run("ip", "-o", "link", "show", "taken"); out == "" {
		t.Error("somebody else's bridge was removed")
	}
}

// TestReplace: what cannot be changed in place is made anew.
func TestReplace(t *testing.T) {
	h, guest := newHost(t), netnstest.New(t, "gst")
	h.apply([]plan.Item{plan.Bridge{Name: "sxx", Owner: owner, MAC: mac}}, nil)
	for _, i := range []plan.Item{
		plan.Tap{Name: "sxx", Owner: port},
		plan.Tap{Name: "sxx", Owner: port, User: "nobody", MTU: 1300},
		plan.Veth{Name: "sxx", Owner: port, Peer: "here"},
		plan.Veth{Name: "sxx", Owner: port, Peer: "eth0", PeerNS: guest.Name},
		plan.Veth{Name: "sxx", Owner: owner, MAC: mac, MTU: 1400, Peer: "eth0", PeerNS: guest.Name},
		plan.Bridge{Name: "sxx", Owner: owner, MAC: mac, MTU: 9000},
	} {
		h.apply([]plan.Item{i}, nil)
		h.settled([]plan.Item{i})
	}
	out, err := guest.Try("ip", "-o", "link", "show", "eth0")
	if err == nil {
		t.Errorf("the guest kept its end: %s", out)
	}
}
