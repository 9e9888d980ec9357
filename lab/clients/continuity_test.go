package clients

import (
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// Identifiers that installers, boot loaders and systems use in turn.
const (
	pxeID   = `send dhcp-client-identifier 00:5e:7a:00:00:00:00:40:00:80:00:00:00:00:00:00:01;`
	osID    = `send dhcp-client-identifier ff:00:00:00:01:00:04:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00;`
	duidLL  = `send dhcp6.client-id 00:03:00:01:52:54:00:99:99:99;` // not this guest's MAC
	duidU   = `send dhcp6.client-id 00:04:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00;`
	duidEN  = `send dhcp6.client-id 00:02:00:00:ab:11:01:02:03:04:05:06:07:08;`
	cloned6 = `send dhcp6.client-id 00:01:00:01:2a:2a:2a:2a:52:54:00:12:34:56;`
	cloned4 = `send dhcp-client-identifier ff:12:34:56:78:00:01:00:01:2a:2a:2a:2a:52:54:00:12:34:56;`
)

// TestLeaseBelongsToThePort: whatever a guest calls itself, and whoever else
// calls itself the same, it keeps the address of its card, in both families: a
// port's own address, and the one that a stranger was once given.
func TestLeaseBelongsToThePort(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient")
	n := newNetwork(t, "")
	for _, who := range []string{"port", "stranger"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			n := n.of(t)
			get := func(name string) *guest {
				if who == "port" {
					return n.port(name, "")
				}
				return n.stranger(name + "s")
			}
			g := get("first")
			g.up()
			a4, a6 := g.fresh4(""), g.fresh6("-D LL", "")
			if g.fix4.IsValid() && (a4 != g.fix4 || a6 != g.fix6) {
				t.Errorf("got %v and %v, the port has %v and %v", a4, a6, g.fix4, g.fix6)
			}
			if !n.prefix4.Contains(a4) || !n.prefix6.Contains(a6) {
				t.Fatalf("got %v and %v", a4, a6)
			}
			same := func(what string, got, want netip.Addr) {
				t.Helper()
				if got != want {
					t.Errorf("%s: got %v, had %v", what, got, want)
				}
			}
			same("IPv4, PXE", g.fresh4(pxeID), a4)
			same("IPv4, the system after PXE", g.fresh4(osID), a4)
			same("IPv4, reinstalled", g.fresh4(""), a4)
			same("IPv6, PXE", g.fresh6("", duidLL), a6)
			same("IPv6, DUID-LLT", g.fresh6("-D LLT", ""), a6)
			same("IPv6, DUID-UUID", g.fresh6("", duidU), a6)
			same("IPv6, DUID-EN", g.fresh6("", duidEN), a6)

			// A clone of one image: the same identifiers on two cards.
			clone := get("clone")
			clone.up()
			same("IPv4, the original", g.fresh4(cloned4), a4)
			same("IPv6, the original", g.fresh6("", cloned6), a6)
			c4, c6 := clone.fresh4(cloned4), clone.fresh6("", cloned6)
			if c4 == a4 || c6 == a6 || !n.prefix4.Contains(c4) || !n.prefix6.Contains(c6) {
				t.Errorf("the clone got %v and %v, the original has %v and %v", c4, c6, a4, a6)
			}
			same("IPv4, the original beside its clone", g.fresh4(cloned4), a4)
			same("IPv6, the original beside its clone", g.fresh6("", cloned6), a6)

			// Stopped and started: the device goes and comes again.
			g.again()
			same("IPv4, started again", g.fresh4(osID), a4)
			same("IPv6, started again", g.fresh6("", duidEN), a6)
		})
	}
}

// again takes the guest's card away and gives it back, as when a machine stops
// and starts.
func (g *guest) again() {
	g.t.Helper()
	if g.fix4.IsValid() {
		g.net.sh(g.t, "sextant port unplug "+g.port+" network="+g.net.name)
		g.plug(g.port, g.net, "eth0", "")
	} else {
		g.sh("ip link delete eth0")
		g.port = g.attach("eth0")
		g.sh("ip link set eth0 address " + g.mac)
	}
	g.up()
}
