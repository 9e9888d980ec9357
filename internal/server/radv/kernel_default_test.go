package radv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// bridge makes a network's bridge with the gateway's MAC in the router's
// namespace.
func (l *lab) bridge(svc *plan.Service) {
	l.router.Run("ip", "link", "add", svc.Link, "address", svc.MAC.String(), "type", "bridge")
	l.router.Run("sysctl", "-qw", "net.ipv6.conf."+svc.Link+".accept_dad=0")
	l.router.Run("ip", "link", "set", svc.Link, "up")
}

// plug links a guest's device to a bridge, by a port device of that name.
func (l *lab) plug(guest *netnstest.NS, dev string, mac vnet.MAC, port, bridge string) {
	guest.Run("ip", "link", "add", dev, "address", mac.String(), "type", "veth", "peer", "name", port, "netns", l.router.Name)
	l.router.Run("ip", "link", "set", port, "master", bridge, "up")
	guest.Run("ip", "link", "set", dev, "up")
}

// dump starts radvdump in a namespace and returns what it has printed.
func dump(t *testing.T, ns *netnstest.NS) func() string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "radvdump")
	ns.Start("sh", "-c", "exec radvdump >"+file)
	netnstest.Eventually(t, 5*time.Second, "radvdump listens", has(ns, ":58 ", "ss", "-Hwln"))
	return func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// dumped waits until radvdump has printed something about an interface and
// returns the last of it.
func dumped(t *testing.T, text func() string, dev string) string {
	t.Helper()
	last := ""
	netnstest.Eventually(t, 15*time.Second, "an advertisement on "+dev, func() error {
		all := strings.Split(text(), "interface "+dev)
		end := strings.Index(all[len(all)-1], "}; # End of interface definition")
		if len(all) < 2 || end < 0 {
			return fmt.Errorf("radvdump printed:\n%s", text())
		}
		last = all[len(all)-1][:end]
		return nil
	})
	return last
}

// TestKernelEverything: rdisc6 and radvdump read what we tell as we meant it.
func TestKernelEverything(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6", "radvdump")
	l := newLab(t)
	l.link()
	printed := dump(t, l.guest)
	s := l.server(t)
	svc := everything()
	svc.MAC = vnet.MAC{}
	s.SetNetwork(svc)
	netnstest.Eventually(t, 10*time.Second, "rdisc6", func() error {
		out, err := l.guest.Try("rdisc6", "-1", "eth0")
		for _, want := range []string{
			"Hop limit                 :           33", "Stateful address conf.    :          Yes", "Mobile home agent         :           No",
			"Router preference         :         high", "Router lifetime           :          600", "Reachable time            :        30000",
			"Retransmit time           :         1000", "MTU                      :         1400", "Prefix                   : 2001:db8:1::1/64",
			"Valid time              :         7200", "Route                    : 2001:db8:ff::/48", "Route preference        :         high",
			"Recursive DNS server     : 2001:db8:1::1", "DNS search list          : default.internal",
		} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("%w: no %q in:\n%s", err, want, out)
			}
		}
		return err
	})
	got := dumped(t, printed, "eth0")
	for _, want := range []string{
		"AdvManagedFlag on;", "AdvReachableTime 30000;", "AdvRetransTimer 1000;", "AdvCurHopLimit 33;", "AdvDefaultLifetime 600;",
		"AdvHomeAgentFlag off;", "AdvDefaultPreference high;", "AdvLinkMTU 1400;", "prefix 2001:db8:1::1/64", "AdvRouterAddr on;",
		"AdvValidLifetime 7200;", "AdvPreferredLifetime 3600;", "route 2001:db8:ff::/48", "AdvRoutePreference high;", "AdvRouteLifetime 600;",
		"RDNSS 2001:db8:1::1 fd00:1::1", "AdvRDNSSLifetime 600;", "DNSSL default.internal", "AdvDNSSLLifetime 600;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

// TestKernelDefaultRoute: a Linux guest on two networks takes its default route
// and resolvers from one of them and has addresses on both; its neighbour on
// the other takes everything there.
func TestKernelDefaultRoute(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "radvdump")
	l := newLab(t)
	other := netnstest.New(t, "radv-o")
	other.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitation_interval=1")
	for _, ns := range []*netnstest.NS{l.guest, other} { // as distributions build it, to hear routes
		_, _ = ns.Try("sysctl", "-qw", "net.ipv6.conf.default.accept_ra_rt_info_max_plen=64")
	}
	home, away := everything(), everything()
	home.Routes, away.Routes = nil, nil
	home.Subnets, away.Subnets = []plan.Subnet{subnet("2001:db8:a::/64", vnet.GuestsSLAAC)}, []plan.Subnet{subnet("2001:db8:b::/64", vnet.GuestsSLAAC)}
	home.Network, home.Link, home.MAC = "home", "br0", vnet.MAC{2, 0, 0, 0, 1, 0}
	away.Network, away.Link, away.MAC = "away", "br1", vnet.MAC{2, 0, 0, 0, 1, 1}
	l.bridge(&home)
	l.bridge(&away)
	guestDump, otherDump := dump(t, l.guest), dump(t, other)
	s := l.server(t)
	for _, g := range []plan.Guest{
		{Port: "g0", Network: "home", MAC: vnet.MAC{2, 0, 0, 0, 2, 0}, Device: "p0", DefaultRoute: true},
		{Port: "g1", Network: "away", MAC: vnet.MAC{2, 0, 0, 0, 2, 1}, Device: "p1"},
		{Port: "o1", Network: "away", MAC: vnet.MAC{2, 0, 0, 0, 3, 1}, Device: "p2", DefaultRoute: true},
	} {
		s.SetGuest(g)
	}
	s.SetNetwork(home)
	s.SetNetwork(away)
	l.plug(l.guest, "eth0", vnet.MAC{2, 0, 0, 0, 2, 0}, "p0", "br0")
	l.plug(l.guest, "eth1", vnet.MAC{2, 0, 0, 0, 2, 1}, "p1", "br1")
	l.plug(other, "eth0", vnet.MAC{2, 0, 0, 0, 3, 1}, "p2", "br1")

	for dev, prefix := range map[string]string{"eth0": "2001:db8:a:", "eth1": "2001:db8:b:"} {
		netnstest.Eventually(t, 15*time.Second, "an address on "+dev, has(l.guest, prefix, "ip", "-6", "addr", "show", "dev", dev))
	}
	netnstest.Eventually(t, 15*time.Second, "the other's default route", has(other, "default via fe80::ff:fe00:101", "ip", "-6", "route"))
	netnstest.Eventually(t, 15*time.Second, "the default route", has(l.guest, "default via fe80::ff:fe00:100 dev eth0", "ip", "-6", "route"))

	check := func() {
		t.Helper()
		if out := l.guest.Run("ip", "-6", "route"); strings.Count(out, "default") != 1 {
			t.Errorf("routes of the guest:\n%s", out)
		}
		at0, at1, others := dumped(t, guestDump, "eth0"), dumped(t, guestDump, "eth1"), dumped(t, otherDump, "eth0")
		for _, want := range []string{"RDNSS", "DNSSL", "AdvDefaultLifetime 600;"} {
			if !strings.Contains(at0, want) || !strings.Contains(others, want) {
				t.Errorf("no %s on the default network:\n%s%s", want, at0, others)
			}
			if strings.Contains(at1, want) {
				t.Errorf("%s on the other network:\n%s", want, at1)
			}
		}
		if !strings.Contains(at1, "AdvDefaultLifetime 0;") || !strings.Contains(at1, "prefix 2001:db8:b::/64") {
			t.Errorf("on the other network:\n%s", at1)
		}
	}
	check()
	// A round that nobody asked for says the same.
	before := strings.Count(guestDump(), "interface eth1")
	away.RA.Policy.Retrans = seconds32(2)
	s.SetNetwork(away)
	netnstest.Eventually(t, 10*time.Second, "an unsolicited round", func() error {
		if all := guestDump(); strings.Count(all, "interface eth1") <= before || !strings.Contains(all, "AdvRetransTimer 2000") || !strings.Contains(otherDump(), "AdvRetransTimer 2000") {
			return fmt.Errorf("radvdump printed:\n%s", all)
		}
		return nil
	})
	check()
	// The default network changes: routes follow.
	s.SetGuest(plan.Guest{Port: "g0", Network: "home", MAC: vnet.MAC{2, 0, 0, 0, 2, 0}, Device: "p0"})
	s.SetGuest(plan.Guest{Port: "g1", Network: "away", MAC: vnet.MAC{2, 0, 0, 0, 2, 1}, Device: "p1", DefaultRoute: true})
	netnstest.Eventually(t, 10*time.Second, "the default route moves", func() error {
		if out := l.guest.Run("ip", "-6", "route"); !strings.Contains(out, "default via fe80::ff:fe00:101 dev eth1") || strings.Count(out, "default") != 1 {
			return fmt.Errorf("routes:\n%s", out)
		}
		return nil
	})
}
