package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// TestMTU: networks take the MTU of the uplink, tell it by RA and DHCP, follow
// it, and take another one by hand.
func TestMTU(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6")
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.sh("ip link set eth0 mtu 1400")
	w.serve()
	w.sh("sextant network create narrow mtu=1300")
	for network, mtu := range map[string]string{"default": "1400", "narrow": "1300"} {
		g := w.guest("in-"+network, network)
		w.told(g, w.bridge(network), mtu)
	}
	w.sh("ip link set eth0 mtu 1450")
	w.eventually(5*time.Second, "the bridge follows", func() error {
		if out := w.sh("cat /sys/class/net/" + w.bridge("default") + "/mtu"); out != "1450" {
			return &differs{"1450", out}
		}
		return nil
	})
	if out := w.sh("cat /sys/class/net/" + w.bridge("narrow") + "/mtu"); out != "1300" {
		t.Errorf("the MTU set by hand became %s", out)
	}
}

// told tests all places where the guest finds the MTU.
func (w *world) told(g *topo.Node, bridge, mtu string) {
	w.t.Helper()
	if out := w.sh("ip -o link show master " + bridge + "; ip -o link show dev " + bridge); strings.Count(out, " mtu "+mtu+" ") != 2 {
		w.t.Errorf("%s: not all have MTU %s:\n%s", g.Name, mtu, out)
	}
	out := w.on(g, "ip -o link show dev eth0; cat /var/lib/dhcp/dhclient.leases; rdisc6 -1 eth0; cat /proc/sys/net/ipv6/conf/eth0/mtu")
	if !strings.Contains(out, " mtu "+mtu+" ") || !strings.Contains(out, "option interface-mtu "+mtu+";") {
		w.t.Errorf("%s: its device or DHCP does not say %s:\n%s", g.Name, mtu, out)
	}
	if i := strings.Index(out, "MTU "); i < 0 || !strings.Contains(strings.SplitN(out[i:], "\n", 2)[0], mtu) {
		w.t.Errorf("%s: the advertisement does not say %s:\n%s", g.Name, mtu, out)
	}
}
