package plan_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestUntracked runs a printed plan and has a guest ask for DHCP and for a
// name: the host keeps the connection of the one that it must, and of a flood
// of solicitations nothing.
func TestUntracked(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip", "nft", "bash", "sysctl", "conntrack")
	host, guest := netnstest.New(t, "host"), netnstest.New(t, "guest")
	w := newWorld()
	clear(w.f.Links)
	w.f.Uplink4, w.f.Uplink6 = "", ""
	w.f.Features[vnet.FeatureForceForwarding] = false
	n := w.network("web", vnet.EgressNAT, vnet.EgressNAT66) // whose chains switch tracking on
	w.subnet(n, "10.0.0.0/24", vnet.GuestsManual)
	w.subnet(n, "fd00:1:2:3::/64", vnet.GuestsManual)
	w.port("vm", n, vnet.Binding{Plug: vnet.PlugVeth, Netns: guest.Name, Device: "eth0"})
	if out, err := host.Command("bash", "-e", "-c", plan.Make(w.s, w.f).String()).CombinedOutput(); err != nil {
		t.Fatalf("the printed plan does not run: %v\n%s", err, out)
	}
	guest.Run("ip", "addr", "add", "10.0.0.9/24", "dev", "eth0")
	guest.Run("ip", "addr", "add", "fd00:1:2:3::9/64", "dev", "eth0", "nodad")
	var heard []*net.UDPConn
	asks := []string{"[fd00:1:2:3::1]:547", "[fd00:1:2:3::1]:53", "10.0.0.1:53"}
	for _, to := range asks {
		if err := host.Do(func() error {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
			heard = append(heard, c)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer heard[len(heard)-1].Close()
	}
	for i, to := range asks {
		if err := guest.Do(func() error {
			c, err := net.Dial("udp", to)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("?"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, from, err := heard[i].ReadFrom(make([]byte, 8)) // it has passed all chains
		if err != nil {
			t.Fatal(err)
		}
		if _, err := heard[i].WriteTo([]byte("!"), from); err != nil {
			t.Fatal(err)
		}
	}
	var table strings.Builder
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := host.Command("conntrack", "-L", "-f", family, "-p", "udp").Output()
		if err != nil {
			t.Fatal(err)
		}
		table.Write(out)
	}
	if s := table.String(); strings.Contains(s, "port=547") || strings.Count(s, "dport=53 ") < 2 {
		t.Errorf("the host tracks\n%s", s)
	}
}
