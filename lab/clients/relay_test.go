package clients

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestRelay: guests behind ISC dhcrelay get addresses in both families: a known
// MAC its port's; one that nobody knows, of a line that a trusted relay names,
// the line's port's. What a relay that nobody trusts says counts for nothing: in
// DHCPv6 its guests get addresses of the range, in DHCPv4 no answer.
func TestRelay(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhcrelay", "dhclient")
	for _, trusted := range []bool{true, false} {
		t.Run(fmt.Sprintf("trusted=%v", trusted), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, "")
			up4, down4 := host4(n, 201), host4(n, 200)
			up6, down6 := host6(n, "201"), host6(n, "200")
			if trusted {
				n.set(fmt.Sprintf("dhcp.relays=%v/32,%v/32,%v/128,%v/128,fe80::/10", up4, down4, up6, down6))
			}
			r := n.stranger("relay")
			g := &guest{Node: n.machine("far"), net: n, t: t}
			if err := n.lab.Link(r.Node, "eth1", g.Node, "eth0"); err != nil {
				t.Fatal(err)
			}
			g.mac = g.sh("cat /sys/class/net/eth0/address")
			// What is between is no router: it has addresses of the network, and
			// hears nothing of the network's own.
			r.sh(fmt.Sprintf(`sysctl -qw net.ipv6.conf.eth0.accept_ra=0 net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.eth1.accept_dad=0
ip link set eth0 up
ip addr add %v/24 dev eth0; ip addr add %v/32 dev eth1
ip addr add %v/64 dev eth0; ip addr add %v/128 dev eth1`, up4, down4, up6, down6))
			r.settled("eth0")
			r.settled("eth1")
			g.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=0")
			g.up()
			for name, args := range map[string]string{
				"relay4": "-4 -d -a -iu eth0 -id eth1 " + n.gate4.String(),
				"relay6": "-6 -d -I -l eth1 -u " + n.gate6.String() + "%eth0",
			} {
				if _, err := r.Start(name, append([]string{"dhcrelay"}, strings.Fields(args)...)...); err != nil {
					t.Fatal(err)
				}
			}
			// What dhcrelay calls the line: in DHCPv4 by the device, in DHCPv6 by
			// its number among those of the command line.
			line4, line6 := n.known("line4", "relay=eth1"), n.known("line6", "relay=0x01000000")
			if !trusted {
				if a6 := g.fresh6("", duidEN); a6 == line6.fix6 || !n.prefix6.Contains(a6) {
					t.Errorf("got %v, the line that nobody proves has %v", a6, line6.fix6)
				}
				// It is told what it could have without asking, and takes nothing.
				known := n.known("known", "mac="+g.mac)
				if a6 := g.fresh6("-D LL", ""); a6 != known.fix6 {
					t.Errorf("got %v, the MAC's port has %v", a6, known.fix6)
				}
				out := g.sh("timeout 6 dhclient -4 -d -v -sf /bin/true -lf /run/nothing eth0 2>&1 || true")
				check(t, "a relay that is not named", out, "DHCPDISCOVER", "!DHCPOFFER")
				return
			}
			a4, a6 := g.fresh4(osID), g.fresh6("", duidEN)
			if a4 != line4.fix4 || a6 != line6.fix6 {
				t.Errorf("got %v and %v, the line has %v and %v", a4, a6, line4.fix4, line6.fix6)
			}
			n.sh(t, "sextant port delete line4 network="+n.name+"; sextant port delete line6 network="+n.name)
			known := n.known("known", "mac="+g.mac)
			if a4, a6 := g.fresh4(""), g.fresh6("-D LL", ""); a4 != known.fix4 || a6 != known.fix6 {
				t.Errorf("got %v and %v, the MAC's port has %v and %v", a4, a6, known.fix4, known.fix6)
			}
		})
	}
}

// known makes a port that is not plugged.
func (n *network) known(name, keys string) *guest {
	n.t.Helper()
	n.sh(n.t, fmt.Sprintf("sextant port create %s network=%s %s", name, n.name, keys))
	g := &guest{net: n, t: n.t, port: name}
	g.know()
	return g
}

// host4 and host6 are addresses of the network.
func host4(n *network, last byte) netip.Addr {
	b := n.prefix4.Addr().As4()
	b[3] = last
	return netip.AddrFrom4(b)
}

func host6(n *network, last string) netip.Addr {
	return netip.MustParseAddr(n.prefix6.Addr().String() + last)
}
