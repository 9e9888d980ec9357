package watch_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
)

// inside is the one routing namespace that these tests make.
var inside = fmt.Sprintf("%ssxt-w%d", plan.NetnsPrefix, os.Getpid())

type host struct {
	t      *testing.T
	ns     *netnstest.NS
	w      *watch.Watcher
	set    *netns.Set
	resolv string
	all    watch.Change // since the last quiet
}

// newHost makes a host with an uplink eth0 and a bridge of ours, and watches.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, ns: netnstest.New(t, "wat"), resolv: filepath.Join(t.TempDir(), "resolv.conf")}
	h.write("nameserver 192.0.2.53\nnameserver fe80::53%eth0\n")
	// Addresses are there at once, not when their detection has ended.
	h.run("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad")
	up := netnstest.New(t, "up")
	netnstest.Veth(h.ns, "eth0", up, "peer")
	h.run("ip address add 192.0.2.2/24 dev eth0")
	h.run("ip address add 2001:db8::2/64 dev eth0 nodad")
	h.run("ip route add default via 192.0.2.1 metric 100")
	h.run("ip route add default via fe80::1 dev eth0 metric 1024")
	h.run("ip link add sx-web group 83 type bridge")
	h.run("ip link set sx-web alias sextant:network/1 up")
	h.run("ip address add 10.9.0.1/24 dev sx-web")
	set, err := netns.At(h.ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	h.set = set
	w, err := watch.New(set, watch.Options{Resolv: h.resolv, Real: h.resolv + ".real", Features: map[string]bool{"x": true},
		// Other tests make namespaces meanwhile, one of them this.
		Named: func(name string) bool { return name == inside && t.Name() == "TestInside" }})
	if err != nil {
		t.Fatal(err)
	}
	h.w = w
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		set.Close()
	})
	h.quiet()
	return h
}

func (h *host) run(cmd string) string { h.t.Helper(); return h.ns.Run("sh", "-c", cmd) }

func (h *host) write(text string) {
	h.t.Helper()
	if err := os.WriteFile(h.resolv, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// quiet takes what is told until nothing has been for a while, and forgets it.
func (h *host) quiet() watch.Change {
	h.t.Helper()
	for {
		select {
		case c := <-h.w.Changed():
			h.note(c)
		case <-time.After(250 * time.Millisecond):
			out := h.all
			h.all = watch.Change{}
			return out
		}
	}
}

func (h *host) note(c watch.Change) {
	h.all.Facts, h.all.Drift, h.all.NFT = h.all.Facts || c.Facts, h.all.Drift || c.Drift, h.all.NFT || c.NFT
	h.all.NewLinks = append(h.all.NewLinks, c.NewLinks...)
}

// until takes what is told until it is enough.
func (h *host) until(what string, enough func(watch.Change) bool) {
	h.t.Helper()
	limit := time.After(5 * time.Second)
	for !enough(h.all) {
		select {
		case c := <-h.w.Changed():
			h.note(c)
		case <-limit:
			h.t.Fatalf("%s: not told; told %+v", what, h.all)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.run("ip route add 172.16.5.0/24 dev eth0 table 77")
	h.run("ip route add 203.0.113.0/24 via 192.0.2.9")
	h.run("ip route add unreachable 10.77.0.0/16")
	h.run("ip route add 10.88.0.0/16 dev eth0 proto 83")
	h.run("ip route add default via 192.0.2.9 table 88")
	f, err := h.w.Refresh()
	if err != nil {
		t.Fatal(err)
	}
	if f.Uplink4 != "eth0" || f.Uplink6 != "eth0" || !f.Features["x"] {
		t.Errorf("uplinks %q %q", f.Uplink4, f.Uplink6)
	}
	u := f.Uplinks["eth0"]
	if !u.V4 || !u.V6 || u.Metric4 != 100 || u.Metric6 != 1024 || u.MTU != 1500 || u.Type != "ethernet" || len(u.Addresses) != 2 {
		t.Errorf("%+v", u)
	}
	var got []string
	for _, r := range f.Routes {
		got = append(got, fmt.Sprintf("%s %d %s", r.Prefix, r.Table, r.Link))
	}
	want := []string{"172.16.5.0/24 77 eth0", "192.0.2.0/24 254 eth0", "203.0.113.0/24 254 eth0", "2001:db8::/64 254 eth0"}
	if !slices.Equal(got, want) {
		t.Errorf("routes %v, want %v", got, want)
	}
	if want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[fe80::53%eth0]:53")}; !slices.Equal(f.Resolvers, want) {
		t.Errorf("resolvers %v", f.Resolvers)
	}
	l := f.Links["sx-web"]
	if l.Type != "bridge" || !l.Up || l.Alias != plan.AliasPrefix+"network/1" || !slices.Contains(l.Addresses, netip.MustParsePrefix("10.9.0.1/24")) {
		t.Errorf("%+v", l)
	}
}

// TestChanges: what happens is told, and as what it is.
// TestDefaults: the next hops of default routes are known, those that are used
// first first, each leg of one with several.
func TestDefaults(t *testing.T) {
	h := newHost(t)
	h.run("ip address add 198.51.100.2/24 dev eth0")
	h.run("ip route add default metric 50 nexthop via 198.51.100.7 dev eth0 nexthop via 198.51.100.8 dev eth0")
	h.run("ip -4 route add default metric 200 via inet6 fe80::4 dev eth0")
	h.run("ip route add default via fe80::2 dev eth0 metric 10")
	h.run("ip route add default dev eth0 metric 300")
	want := "[{{eth0 198.51.100.7} ipv4 50} {{eth0 198.51.100.8} ipv4 50} {{eth0 192.0.2.1} ipv4 100} {{eth0 fe80::4} ipv4 200} {{eth0 invalid IP} ipv4 300} " +
		"{{eth0 fe80::2} ipv6 10} {{eth0 fe80::1} ipv6 1024}]"
	netnstest.Eventually(t, 10*time.Second, "default routes", func() error {
		if got := fmt.Sprint(h.w.Facts().Defaults); got != want {
			return fmt.Errorf("%s\nwant %s", got, want)
		}
		return nil
	})
	h.run("ip rule add pref 8301 iif sx-web lookup 8383 protocol 83")
	h.until("drift of a rule", func(c watch.Change) bool { return c.Drift })
}

// TestPreferred: of default routes of one metric, which all advertised ones
// have, the uplink's is that of the preferred router, whichever came first.
func TestPreferred(t *testing.T) {
	netnstest.NeedCommands(t, "radvd")
	h := newHost(t)
	up := netnstest.New(t, "up2")
	netnstest.Veth(h.ns, "eth1", up, "peer")
	up.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	h.run("ip neigh add fe80::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
	for _, c := range []struct{ pref, want string }{{"low", "eth0"}, {"high", "eth1"}, {"low", "eth0"}} {
		dir := t.TempDir()
		conf := filepath.Join(dir, "radvd.conf")
		text := "interface peer { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultPreference " + c.pref + "; };\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		radvd := up.Start("radvd", "--nodaemon", "--logmethod=stderr", "--config="+conf, "--pidfile="+filepath.Join(dir, "pid"))
		netnstest.Eventually(t, 10*time.Second, c.want+" after "+c.pref, func() error {
			f := h.w.Facts()
			if len(f.Defaults) != 3 || f.Uplink6 != c.want || f.Defaults[1].Link != c.want {
				return fmt.Errorf("the uplink is %q, the routes %v", f.Uplink6, f.Defaults)
			}
			return nil
		})
		if out := h.run("ip -6 route get 2001:db8:ffff::1"); !strings.Contains(out, "dev "+c.want+" ") {
			t.Errorf("pref %s: the kernel itself sends by another link: %s", c.pref, out)
		}
		if err := radvd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for range 4 {
		h.quiet() // the kernel's late word on the links that were made just now
	}
	for _, c := range []struct {
		cmd                string
		facts, drift, rule bool
		link               string
	}{
		{"ip address add 198.51.100.1/24 dev eth0", true, false, false, ""},
		{"ip address delete 198.51.100.1/24 dev eth0", true, false, false, ""},
		{"ip route add 172.20.0.0/16 via 192.0.2.1", true, false, false, ""},
		{"ip route delete 172.20.0.0/16", true, false, false, ""},
		{"ip route replace default via 192.0.2.9 metric 50", true, false, false, ""},
		{"ip link add fifteen-letters type veth peer name pe1", true, false, false, "fifteen-letters"},
		{"ip link set pe1 mtu 1400", true, false, false, ""},
		{"ip link set sx-web mtu 1400", false, true, false, ""},
		{"ip link set sx-web address 02:00:00:00:00:01", false, true, false, ""},
		{"ip address delete 10.9.0.1/24 dev sx-web", false, true, false, ""},
		{"ip route add unreachable 10.99.0.0/16 proto 83", false, true, false, ""},
		{"ip route delete unreachable 10.99.0.0/16 proto 83", false, true, false, ""},
		{"ip link set pe1 master sx-web", true, true, false, ""},
		{"nft add table inet sextant", false, true, false, ""},
		{"nft add table inet other", false, false, true, ""},
		{"nft flush ruleset", false, true, true, ""},
		{"ip link delete sx-web", true, true, false, ""}, // a port lost its master
		{"ip link delete fifteen-letters", true, false, false, ""},
		{"ip link set eth0 down", true, false, false, ""},
	} {
		before := h.w.Facts().Revision
		h.run(c.cmd)
		h.until(c.cmd, func(got watch.Change) bool {
			return got.Facts == c.facts && got.Drift == c.drift && got.NFT == c.rule && (c.link == "" || slices.Contains(got.NewLinks, c.link))
		})
		got := h.quiet()
		if got.Facts != c.facts || got.Drift != c.drift || got.NFT != c.rule {
			t.Errorf("%s: %+v", c.cmd, got)
		}
		if moved := h.w.Facts().Revision != before; moved != c.facts {
			t.Errorf("%s: revision moved: %v", c.cmd, moved)
		}
	}
	f := h.w.Facts()
	if f.Uplink4 != "" || f.Uplink6 != "" || len(f.Uplinks) != 0 {
		t.Errorf("the uplink is down: %+v", f.Uplinks)
	}
}

// TestOwnLinks: what becomes of links of ours is no news, and known at once all
// the same: who is heard at a port is told by the bridge that it is in.
func TestOwnLinks(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.run("ip link add sxp1 group 83 type veth peer name sxq1")
	h.run("ip link set sxp1 alias sextant:port/1; ip link set sxp1 up; ip link set sxq1 up")
	netnstest.Eventually(t, 5*time.Second, "its carrier", func() error {
		if l := h.w.Facts().Links["sxp1"]; !l.Carrier {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	h.quiet()
	for _, master := range []string{"sx-web", ""} {
		if h.run("ip link set sxp1 nomaster"); master != "" {
			h.run("ip link set sxp1 master " + master)
		}
		netnstest.Eventually(t, 2*time.Second, "its bridge", func() error {
			if l := h.w.Facts().Links["sxp1"]; l.Master != master {
				return fmt.Errorf("%+v", l)
			}
			return nil
		})
	}
	h.run("ip link delete sxp1")
	netnstest.Eventually(t, 2*time.Second, "its end", func() error {
		if l, there := h.w.Facts().Links["sxp1"]; there {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
}

// TestOwn: our own changes are told as drift only once, when they have settled.
func TestOwn(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	done := h.w.Own()
	h.run("ip link set sx-web mtu 1400")
	for n := range 5 {
		h.run(fmt.Sprintf("ip route add unreachable 10.%d.0.0/16 proto 83", n))
	}
	select {
	case c := <-h.w.Changed():
		t.Errorf("told at once: %+v", c)
	case <-time.After(300 * time.Millisecond):
	}
	done()
	h.until("own", func(c watch.Change) bool { return c.Drift })
	if got := h.quiet(); got.Facts {
		t.Errorf("%+v", got)
	}
}

func TestResolv(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if err := os.WriteFile(h.resolv+".real", []byte("nameserver 198.51.100.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write("nameserver 127.0.0.53\noptions edns0\n")
	h.until("resolv.conf", func(c watch.Change) bool { return c.Facts })
	h.quiet()
	if got := fmt.Sprint(h.w.Facts().Resolvers); got != "[198.51.100.7:53]" {
		t.Errorf("%s", got)
	}
	// Our own gateway is no resolver to ask.
	h.write("nameserver 10.9.0.1\nnameserver 9.9.9.9\n")
	h.until("resolv.conf", func(c watch.Change) bool { return c.Facts })
	if got := fmt.Sprint(h.w.Facts().Resolvers); got != "[9.9.9.9:53]" {
		t.Errorf("%s", got)
	}
}

// TestInside: drift in a routing namespace of ours is seen.
func TestInside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	name := inside
	if err := h.set.Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.set.Delete(name) })
	h.quiet()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.w.Inside(ctx, []string{name})
	h.run("ip -n " + name + " link add gw0 type veth peer name gw1")
	h.until("a link inside", func(c watch.Change) bool { return c.Drift })
	h.quiet()
	h.w.Inside(ctx, nil)
	h.run("ip -n " + name + " link delete gw0")
	if got := h.quiet(); got.Drift {
		t.Error("still watched")
	}
	h.run("ip netns delete " + name)
	h.until("the namespace goes", func(c watch.Change) bool { return c.Drift })
}

// TestManyRoutes: a full routing table is summed up: private routes are all
// there.
func TestManyRoutes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	var b strings.Builder
	for n := range 6000 {
		fmt.Fprintf(&b, "route add %d.%d.%d.0/24 via 192.0.2.1\n", 20+n/65536, n/256%256, n%256)
	}
	fmt.Fprintf(&b, "route add 10.200.0.0/16 via 192.0.2.1\n")
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run("ip -batch " + file)
	h.until("routes", func(c watch.Change) bool { return c.Facts })
	h.quiet()
	f := h.w.Facts()
	if len(f.Routes) > 4200 || len(f.Routes) < 4000 {
		t.Errorf("%d routes", len(f.Routes))
	}
	if !slices.ContainsFunc(f.Routes, func(r plan.Route) bool { return r.Prefix == netip.MustParsePrefix("10.200.0.0/16") }) {
		t.Error("the private route is missing")
	}
}
