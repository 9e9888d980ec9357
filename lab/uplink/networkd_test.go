package uplink

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

const networkd = "/lib/systemd/systemd-networkd"

// networkd has systemd-networkd manage the host's links, in place of the
// kernel. Without an udev in the lab it takes links as they come where /sys is
// read-only, as in a container. Each link has a metric of its own: with the same
// one, networkd has the default route of one link replace that of the other.
func (w *world) networkd(links ...string) *topo.Proc {
	w.t.Helper()
	if _, err := os.Stat(networkd); err != nil {
		netnstest.Skip(w.t, "needs %s", networkd)
	}
	w.sh("mkdir -p /run/systemd/network /run/systemd/netif; chown systemd-network:systemd-network /run/systemd/netif")
	for i, link := range links {
		// What the kernel heard before goes, as on a host that boots.
		w.sh("sysctl -qw net.ipv6.conf." + link + ".accept_ra=0; ip -6 route flush default dev " + link + "; ip -6 addr flush dev " + link + " scope global")
		w.ok(w.host.WriteFile(w.ctx, "/run/systemd/network/10-"+link+".network",
			fmt.Sprintf("[Match]\nName=%s\n[Network]\nKeepConfiguration=yes\nIPv6AcceptRA=yes\n[IPv6AcceptRA]\nDHCPv6Client=no\nRouteMetric=%d\n", link, 512*(i+1))))
	}
	return w.networkdRuns()
}

// networkdRuns starts it.
func (w *world) networkdRuns() *topo.Proc {
	w.t.Helper()
	p, err := w.host.Start("networkd", "unshare", "-m", "sh", "-ec",
		"mount -o remount,bind,ro /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys\nexec "+networkd)
	w.ok(err)
	return p
}

// TestNetworkdRestarted: systemd-networkd manages the uplinks and is restarted
// under us, which removes routes and rules of others from the kernel. What is
// ours is back, and the host was never cut off.
func TestNetworkdRestarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "ens18")
	one := w.access(first, "ens18", &topo.Advert{Prefixes: []string{onLink(first)}, More: "AdvDefaultPreference high;"})
	w.delegates(one, topo.Delegator{Software: "dhcpd", Pool: pool1})
	two := w.access(other, "ens19", &topo.Advert{Prefixes: []string{onLink(other)}, More: "AdvDefaultPreference low;"})
	w.delegates(two, topo.Delegator{Software: "kea", Pool: pool2})
	p := w.networkd("ens18", "ens19")
	w.managed("ens18")
	w.managed("ens19")
	w.settled(one, two)
	alpha := w.guest("alpha", "default")
	w.sh("sextant uplink set ens19 pinned=ipv6")
	w.stands("default", "delegated", pool2.String(), "ens19")
	now := w.holds("default", pool2, "active")
	w.usable(alpha, now)
	if out := w.sh("sextant uplink show ens18"); !strings.Contains(out, "networkd") {
		t.Errorf("nobody says that networkd manages the link:\n%s", out)
	}
	conn := w.hold(alpha, topo.Server6)
	ours := "ip -6 rule; ip -6 route show table all proto 83 | sort"
	before := w.sh(ours)
	for range 2 {
		w.ok(p.Stop())
		p = w.networkdRuns()
		w.managed("ens18")
		w.managed("ens19")
	}
	w.eventually(patience, "our rules and routes are there", func() error {
		if after := w.sh(ours); after != before {
			return fmt.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		return nil
	})
	w.usable(alpha, now)
	w.stands("default", "delegated", pool2.String())
	conn.lives("networkd was restarted")
	w.online("ens18", true)
}

// managed waits until networkd has heard the link's router.
func (w *world) managed(link string) {
	w.t.Helper()
	w.eventually(patience, "networkd handles advertisements of "+link, func() error {
		_, err := w.host.Sh(w.ctx, "ip -6 route show default dev "+link+" | grep -q . && ip -6 -o addr show dev "+link+" scope global | grep -q noprefixroute")
		return err
	})
}
