package clients

import (
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestTwoCards: a guest with a card on each of two networks, one of which is
// its default, has default routes and resolvers from that one only, in both
// families, and addresses and routes from both; nobody sets anything in it.
func TestTwoCards(t *testing.T) {
	t.Parallel()
	home := newNetwork(t, "")
	side := newNetwork(t, "'routes=2001:db8:f77::/48,10.99.0.0/16'")
	for _, tc := range []struct {
		name  string
		needs string
		told  bool // knows route information (RFC 4191)
		get   func(g *guest)
	}{
		{"dhcpcd", "dhcpcd", false, func(g *guest) { g.sh("dhcpcd --nodev --waitip=46 eth0 eth1") }},
		{"networkd", "ip", true, func(g *guest) { g.networkd("[Match]\nName=eth0 eth1\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n") }},
		{"kernel", "dhclient", true, func(g *guest) {
			g.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra_rt_info_max_plen=64 net.ipv6.conf.eth1.accept_ra_rt_info_max_plen=64; ip link set eth0 up; ip link set eth1 up")
			g.settled("eth0")
			g.settled("eth1")
			g.sh("dhclient -4 -1 -v eth1; dhclient -4 -1 -v -pf /run/second.pid -lf /run/second eth0")
			g.sh("dhclient -6 -1 -v -D LL -pf /run/third.pid -lf /run/third eth1; dhclient -6 -1 -v -D LL -pf /run/fourth.pid -lf /run/fourth eth0")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			netnstest.NeedCommands(t, tc.needs)
			home, side := home.of(t), side.of(t)
			g := home.port(tc.name, "")
			g.plug(tc.name, side, "eth1", "defaultRoute=no")
			other := &guest{Node: g.Node, net: side, t: t, port: tc.name}
			other.know()
			tc.get(g)
			for device, have := range map[string]*guest{"eth0": g, "eth1": other} {
				g.hasAddress(device, have.fix4)
				g.hasAddress(device, have.fix6)
			}
			contains(t, g.Node, "ip -4 route show default", "default via "+home.gate4.String())
			contains(t, g.Node, "ip -6 route show default", "default via fe80::", "dev eth0")
			contains(t, g.Node, "ip -4 route", "10.99.0.0/16 via "+side.gate4.String()+" dev eth1")
			contains(t, g.Node, "ip -6 route", side.prefix6.String())
			if tc.told {
				contains(t, g.Node, "ip -6 route", "2001:db8:f77::/48 via fe80::")
			}
			eventually(t, "resolvers of the default network", func() error { return g.told(home.gate6) })
			for _, f := range []string{"-4", "-6"} {
				check(t, "default routes", g.sh("ip "+f+" route show default"), "dev eth0", "!dev eth1")
			}
			for _, a := range []string{side.gate4.String(), side.gate6.String()} {
				if err := has(g.sh("cat /etc/resolv.conf /run/systemd/netif/leases/* /run/systemd/netif/links/* 2>/dev/null | grep -i -e nameserver -e ^DNS || true"), "!"+a+"\n"); err != nil {
					t.Errorf("a resolver of the other network: %v", err)
				}
			}
		})
	}
}
