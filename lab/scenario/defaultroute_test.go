package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// watchRA starts radvdump on a node, and returns what it last printed of an
// interface.
func (w *world) watchRA(n *topo.Node) func(dev string) string {
	w.t.Helper()
	if _, err := n.Start("radvdump", "sh", "-c", "exec radvdump >>/run/radvdump"); err != nil {
		w.t.Fatal(err)
	}
	w.eventually(10*time.Second, "radvdump listens", func() error {
		_, err := n.Sh(w.ctx, "ss -Hwln | grep -q ':58 '")
		return err
	})
	return func(dev string) string {
		all := strings.Split(w.on(n, "cat /run/radvdump"), "interface "+dev)
		last, _, whole := strings.Cut(all[len(all)-1], "}; # End of interface")
		if len(all) < 2 || !whole {
			return ""
		}
		return last
	}
}

// hears waits for an advertisement that says one thing and not another.
func (w *world) hears(what string, heard func(string) string, dev string, want, not []string) {
	w.t.Helper()
	w.eventually(20*time.Second, what, func() error {
		got := heard(dev)
		for _, s := range want {
			if !strings.Contains(got, s) {
				return fmt.Errorf("no %q in\n%s", s, got)
			}
		}
		for _, s := range not {
			if strings.Contains(got, s) {
				return fmt.Errorf("%q in\n%s", s, got)
			}
		}
		return nil
	})
}

// solicit has a guest ask for advertisements, as it did when it was plugged.
func (w *world) solicit(n *topo.Node, devs ...string) {
	w.t.Helper()
	for _, d := range devs {
		w.on(n, "ip link set "+d+" down; ip link set "+d+" up")
	}
}

// global waits for a guest's address in a prefix.
func (w *world) global(n *topo.Node, dev, prefix string) {
	w.t.Helper()
	w.eventually(20*time.Second, n.Name+" has an address of "+prefix, func() error {
		out, err := n.Sh(w.ctx, "ip -6 -o addr show dev "+dev+" scope global -tentative")
		if err == nil && !strings.Contains(out, prefix) {
			err = fmt.Errorf("it has\n%s", out)
		}
		return err
	})
}

// defaultOver tests that a guest has one default route, by that device.
func (w *world) defaultOver(n *topo.Node, dev string) {
	w.t.Helper()
	// The host's own way out moves to the LAN's router once that is heard, and for
	// a moment there is none to lead to: a guest may have no route then, but never
	// a wrong one.
	w.eventually(5*time.Second, n.Name+" has a default route", func() error {
		out := w.on(n, "ip -6 route show default")
		if out == "" {
			return fmt.Errorf("none")
		}
		if lines := strings.Count(strings.TrimSpace(out), "\n") + 1; lines != 1 || !strings.Contains(out, "dev "+dev) {
			w.t.Errorf("%s: default routes, want one over %s:\n%s", n.Name, dev, out)
		}
		return nil
	})
}

// lanRadvd is what the outside router of a LAN says.
const lanRadvd = `interface lan0 {
	AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultPreference high; AdvLinkMTU 1480;
	prefix 2001:db8:7::/64 { AdvOnLink on; AdvAutonomous on; };
	route 2001:db8:77::/48 { AdvRouteLifetime 600; };
	RDNSS 2001:db8:7::53 { AdvRDNSSLifetime 600; };
	DNSSL lan.example { AdvDNSSLLifetime 600; };
};
`

// TestDefaultRouteBridged: on an outside router's network, its advertisements
// reach a guest whose default network is another one without the default route
// and resolvers, and all others as they are.
func TestDefaultRouteBridged(t *testing.T) {
	netnstest.AlsoVM(t)
	t.Parallel()
	netnstest.NeedCommands(t, "radvd", "radvdump")
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	lan, err := w.lab.Node("lan")
	if err != nil {
		t.Fatal(err)
	}
	w.on(lan, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	w.cable(lan)
	if err := lan.WriteFile(w.ctx, "/etc/radvd.conf", lanRadvd); err != nil {
		t.Fatal(err)
	}
	if _, err := lan.Start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd.conf", "--pidfile=/run/radvd.pid"); err != nil {
		t.Fatal(err)
	}
	router := strings.TrimSpace(w.on(lan, "ip -6 -o addr show dev lan0 scope link | grep -o 'fe80[^/]*'"))
	w.sh("ip link add br0 type bridge; ip link set eth1 master br0; ip link set br0 up")
	w.serve()
	w.sh("sextant network create lan ipv4=bridged ipv6=bridged link=br0")

	alpha := w.plug("alpha", "network=lan")
	beta := w.plug("beta", "network=default")
	w.sh("sextant port plug beta-lan netns=beta device=eth1 network=lan defaultRoute=no")
	atAlpha, atBeta := w.watchRA(alpha), w.watchRA(beta)
	w.solicit(alpha, "eth0")
	w.solicit(beta, "eth0", "eth1")

	as := []string{"prefix 2001:db8:7::/64", "route 2001:db8:77::/48", "AdvLinkMTU 1480"}
	resolvers := []string{"RDNSS", "DNSSL"}
	w.hears("alpha hears the router itself", atAlpha, "eth0", append(as, "AdvDefaultPreference high", "AdvDefaultLifetime 12;", "RDNSS 2001:db8:7::53", "DNSSL lan.example"), nil)
	w.hears("beta hears no default route", atBeta, "eth1", append(as, "AdvDefaultLifetime 0;", "AdvDefaultPreference medium"), resolvers)
	w.hears("beta hears its default network", atBeta, "eth0", []string{"RDNSS", "AdvDefaultLifetime 1800;"}, nil)
	w.global(alpha, "eth0", "2001:db8:7:")
	w.global(beta, "eth1", "2001:db8:7:")
	w.defaultOver(alpha, "eth0")
	w.defaultOver(beta, "eth0")
	if got := w.on(beta, "cat /run/radvdump"); !strings.Contains(got, router) {
		t.Errorf("not from the router's address %s:\n%s", router, got)
	}
	w.reaches(beta, "2001:db8:7::1", true)

	// The wish changes, and the router is heard as it is.
	w.sh("sextant port set beta-lan defaultRoute=yes")
	w.hears("beta hears the router itself", atBeta, "eth1", append(as, "AdvDefaultLifetime 12;", "RDNSS"), nil)
	w.sh("sextant port set beta-lan defaultRoute=no; sextant port set beta defaultRoute=no")
	w.hears("beta hears no default route", atBeta, "eth1", append(as, "AdvDefaultLifetime 0;"), resolvers)
	w.hears("nor on the other", atBeta, "eth0", []string{"AdvDefaultLifetime 0;"}, nil)
	w.eventually(20*time.Second, "beta has no default route", func() error {
		if out := w.on(beta, "ip -6 route show default"); strings.TrimSpace(out) != "" {
			return fmt.Errorf("it has\n%s", out)
		}
		return nil
	})
}

// TestDefaultRouteRouted: the same where both networks are ours, one of them
// behind a router of its own, also after the daemon was killed.
func TestDefaultRouteRouted(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "radvdump")
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	w.sh("sextant router create edge; sextant network create side router=edge ipv4=nat ipv6=nat66 ipv6.address=fd09:9:9:9::1/64")
	alpha := w.plug("alpha", "network=default")
	w.sh("sextant port plug alpha-side netns=alpha device=eth1 network=side defaultRoute=no")
	beta := w.plug("beta", "network=side")
	atAlpha, atBeta := w.watchRA(alpha), w.watchRA(beta)
	w.solicit(alpha, "eth0", "eth1")
	w.solicit(beta, "eth0")
	check := func() {
		t.Helper()
		w.global(alpha, "eth1", "fd09:9:9:9:")
		w.hears("alpha on its default network", atAlpha, "eth0", []string{"AdvDefaultLifetime 1800;", "RDNSS", "DNSSL"}, nil)
		w.hears("alpha on the other", atAlpha, "eth1", []string{"AdvDefaultLifetime 0;", "prefix fd09:9:9:9::/64"}, []string{"RDNSS", "DNSSL"})
		w.hears("beta", atBeta, "eth0", []string{"AdvDefaultLifetime 1800;", "RDNSS fd09:9:9:9::1", "prefix fd09:9:9:9::/64"}, nil)
		w.defaultOver(alpha, "eth0")
		w.defaultOver(beta, "eth0")
	}
	check()
	w.kill("agent")
	w.eventually(20*time.Second, "another agent is ready", func() error {
		_, err := w.host.Sh(w.ctx, "sextant status")
		return err
	})
	w.on(alpha, ": >/run/radvdump")
	w.solicit(alpha, "eth0", "eth1")
	check()
	for _, said := range strings.Split(w.on(alpha, "cat /run/radvdump"), "\ninterface ") {
		if strings.HasPrefix(said, "eth1") && strings.Contains(said, "RDNSS") {
			t.Errorf("after the kill, resolvers of the other network:\n%s", said)
		}
	}
}
