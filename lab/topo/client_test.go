package topo

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestClients runs the distribution's unmodified DHCP clients in nodes, against
// somebody else's server: their scripts and files must work there and must not
// touch the machine's.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedCommands(t, "dhclient", "dhcpcd")
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	server, err := l.Node("server")
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.Sh(ctx, `ip link add br0 type bridge
ip addr add 192.0.2.1/24 dev br0
ip addr add 2001:db8:7::1/64 dev br0 nodad
ip link set br0 up`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.Start("dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
		"--no-resolv", "--no-hosts", "--log-facility=-", "--interface=br0", "--bind-dynamic", "--dhcp-leasefile=/run/leases",
		"--dhcp-range=192.0.2.10,192.0.2.20,5m", "--dhcp-range=2001:db8:7::100,2001:db8:7::200,slaac,64,5m", "--enable-ra",
		"--domain=lab.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, script, want string }{
		{"isc", "sysctl -qw net.ipv6.conf.eth0.autoconf=0; ip link set eth0 up", ""},
		{"isc", "hostname; dhclient -4 -1 eth0; ip -4 addr show dev eth0; cat /etc/resolv.conf", "nameserver 192.0.2.1"},
		{"isc", "dhclient -6 -1 -D LL eth0; ip -6 addr show dev eth0", "inet6 2001:db8:7::1"},
		{"roy", "ip link set eth0 up; dhcpcd -4 --noipv6rs --waitip=4 eth0; ip addr show dev eth0; cat /etc/resolv.conf", "nameserver 192.0.2.1"},
	} {
		n := node(ctx, t, l, server, tc.name)
		if strings.Contains(tc.script, " -6 ") {
			if err := Until(ctx, 10*time.Second, "link-local", func(ctx context.Context) error {
				_, err := n.Sh(ctx, "ip -6 -o addr show dev eth0 scope link -tentative | grep -q fe80")
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		out, err := n.Sh(ctx, tc.script)
		if err != nil || !strings.Contains(out, tc.want) {
			t.Errorf("%s: %v\n%s\nwant %q", tc.script, err, out, tc.want)
		}
	}
}

// node returns the node of that name, plugged into the server's bridge.
func node(ctx context.Context, t *testing.T, l *Lab, server *Node, name string) *Node {
	t.Helper()
	for _, n := range l.nodes {
		if n.Name == name {
			return n
		}
	}
	n, err := l.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Link(server, "p-"+name, n, "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Sh(ctx, "ip link set p-"+name+" master br0"); err != nil {
		t.Fatal(err)
	}
	return n
}
