package clients

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// router is a client that asks for a prefix and uses it on eth1.
type router struct {
	name  string
	needs []string
	get   func(*guest) (end func()) // end gives the prefix back
}

var routers = []router{
	{"dhcp6c", []string{"dhcp6c"}, func(g *guest) func() {
		g.up()
		g.dhcp6c("send ia-pd 0;", "id-assoc pd 0 { prefix-interface eth1 { sla-id 0; sla-len 8; }; };")
		return func() { g.sh("kill $(cat /run/dhcp6c.pid)") }
	}},
	{"dhcpcd", []string{"dhcpcd"}, func(g *guest) func() {
		file := g.net.write("dhcpcd.conf", "allowinterfaces eth0 eth1\nnoipv4\nipv6only\nduid\nwaitip 6\ninterface eth0\nia_na 1\nia_pd 2 eth1/0\n")
		g.sh("dhcpcd --nodev -f " + file + " eth0 eth1")
		return func() { g.sh("dhcpcd -f " + file + " --release eth0 eth1") }
	}},
	{"networkd", nil, func(g *guest) func() {
		g.sh("mkdir -p /run/systemd/network; printf '[Match]\\nName=eth1\\n[Network]\\nDHCPPrefixDelegation=yes\\nIPv6AcceptRA=no\\n[DHCPPrefixDelegation]\\nSubnetId=0\\n' >/run/systemd/network/20-eth1.network")
		g.networkd("[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\n[DHCPv6]\nPrefixDelegationHint=::/56\nWithoutRA=solicit\n")
		return nil
	}},
}

// TestDelegation: guests that are routers get a prefix for the network behind
// them; the host routes it to them, so that whoever is behind them is reached,
// until they give it back.
func TestDelegation(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "radvd")
	n := newNetwork(t, "")
	pool := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x00::/40", 0x80+n.number()%16))
	n.sh(t, fmt.Sprintf("sextant subnet create pd network=%s prefix=%v guests=delegation delegate=56", n.name, pool))
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			netnstest.NeedCommands(t, r.needs...)
			n := n.of(t)
			g := n.port(r.name, "")
			inner := &guest{Node: n.machine("in-" + r.name), net: n, t: t}
			if err := n.lab.Link(g.Node, "eth1", inner.Node, "eth0"); err != nil {
				t.Fatal(err)
			}
			g.sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.forwarding=1")
			end := r.get(g)
			prefix, via := g.delegated(pool)
			contains(t, g.Node, "ip -6 addr show dev eth1 scope global", "inet6 "+strings.TrimSuffix(prefix.Masked().Addr().String(), "::"))
			g.advertise()
			var a netip.Addr
			eventually(t, "the guest behind has an address", func() error {
				for _, a = range inner.own("eth0") {
					if prefix.Contains(a) {
						return nil
					}
				}
				return fmt.Errorf("it has %v", inner.own("eth0"))
			})
			contains(t, n.host.Node, "ping -c 1 -W 2 "+a.String(), "1 received")
			contains(t, inner.Node, "ping -c 1 -W 2 "+topo.Server6.String()+" || ping -c 1 -W 2 "+n.gate6.String(), "1 received")
			if end == nil {
				return
			}
			end()
			eventually(t, "the route goes with the prefix", func() error {
				if out := n.sh(t, "ip -6 route show "+prefix.String()); strings.Contains(out, "via "+via) {
					return fmt.Errorf("it is there: %s", out)
				}
				return nil
			})
			for _, l := range n.leases() {
				if l.Address == prefix.Addr() {
					t.Errorf("still leased: %+v", l)
				}
			}
		})
	}
}

// delegated waits until the guest has a prefix of the pool, and there is a
// route to it over the guest's link-local address; it returns both.
func (g *guest) delegated(pool netip.Prefix) (p netip.Prefix, via string) {
	g.t.Helper()
	links := g.sh("ip -6 -o addr show dev eth0 scope link")
	eventually(g.t, g.Name+" is delegated a prefix", func() error {
		routes := g.net.sh(g.t, "ip -6 route show root "+pool.String())
		for line := range strings.Lines(routes) {
			f := strings.Fields(line) // PREFIX via ADDRESS dev BRIDGE …
			if len(f) < 5 || f[1] != "via" || !strings.Contains(links, " "+f[2]+"/") {
				continue
			}
			if p, via = netip.MustParsePrefix(f[0]), f[2]; p.Bits() != 56 || f[4] != g.net.bridge {
				return fmt.Errorf("route %q", line)
			}
			if !slices.ContainsFunc(g.net.leases(), func(l lease) bool {
				return l.Prefix == p && l.Via.String() == via && l.Port == g.port && l.How == "dhcpv6"
			}) {
				return fmt.Errorf("%v is not listed: %+v", p, g.net.leases())
			}
			return nil
		}
		return fmt.Errorf("no route over %q in\n%s", links, routes)
	})
	return p, via
}

// advertise runs radvd on eth1, with whatever prefix is there.
func (g *guest) advertise() {
	g.t.Helper()
	if err := g.WriteFile(g.t.Context(), "/etc/radvd.conf", "interface eth1 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix ::/64 { }; };\n"); err != nil {
		g.t.Fatal(err)
	}
	if _, err := exec.LookPath("radvd"); err != nil {
		netnstest.Skip(g.t, "needs radvd: run `make deps`")
	}
	if _, err := g.Start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd.conf", "--pidfile=/run/radvd.pid"); err != nil {
		g.t.Fatal(err)
	}
}
