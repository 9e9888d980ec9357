package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestTwoUplinks: the host has two providers, each delegates a prefix. Guests
// have that of the one in use; another one is pinned; the one in use fails and
// comes back. The host's own packets go their way all the time.
func TestTwoUplinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3*time.Minute, "enp1s0f0")
	one := w.access(first, "enp1s0f0", &topo.Advert{Prefixes: []string{onLink(first)}, More: "AdvDefaultPreference high;"})
	w.delegates(one, topo.Delegator{Software: "kea", Pool: pool1})
	two := w.access(other, "dsl", &topo.Advert{Prefixes: []string{onLink(other)}, More: "AdvDefaultPreference low;"})
	w.delegates(two, topo.Delegator{Software: "dhcpd", Pool: pool2})
	kept := w.watched(one)
	w.settled(one, two)
	alpha := w.guest("alpha", "default")
	w.address4(alpha)
	w.stands("default", "delegated", pool1.String(), one.link)
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	conn := w.hold(alpha, topo.Server6)

	w.sh("sextant uplink set dsl pinned=both")
	w.stands("default", "delegated", pool2.String(), "dsl")
	now := w.holds("default", pool2, "active")
	w.usable(alpha, now)
	w.forgotten(alpha, old)
	w.seenIn(alpha, other.Link4.Masked())
	conn.breaks("its prefix is not of the pinned uplink")
	if out := w.sh("nc -w 2 " + topo.Server6.String() + " 80 </dev/null; nc -w 2 " + topo.Server4.String() + " 80 </dev/null"); !strings.Contains(out, "2001:db8:1:") || !strings.Contains(out, "192.0.2.") {
		t.Errorf("the host itself leaves by the pinned uplink: seen as\n%s", out)
	}
	w.told("IPv4 leaves dsl", "IPv6 leaves dsl", "default 2001:db8:22")

	w.sh("sextant uplink set dsl pinned=")
	w.stands("default", "delegated", pool1.String(), one.link)
	w.usable(alpha, old) // the same as before
	kept("pinned and not")

	// The first one fails: its cable is pulled.
	kept = w.watched(routeOnly(two))
	conn = w.hold(alpha, topo.Server6)
	w.ok(one.Carrier(w.ctx, one.port, false))
	w.sh("ip -6 route flush default dev enp1s0f0; ip route delete default dev enp1s0f0") // as whoever manages it does
	w.stands("default", "delegated", pool2.String(), "dsl")
	w.usable(alpha, now)
	w.seenIn(alpha, other.Link4.Masked())
	conn.breaks("its uplink is gone")
	kept("the other one failed")
	if all := w.events(); len(grep(all, "leaves by dsl now")) != 4 {
		t.Errorf("want one event for each family and time:\n%s", strings.Join(all, "\n"))
	}
}

// routeOnly is an access whose own internet is not reached while another one is
// in use: only its routes are watched.
func routeOnly(a *access) *access {
	p := *a.Provider
	p.Config.Link4, p.Config.Link6 = netip.Prefix{}, netip.Prefix{}
	return &access{Provider: &p, link: a.link, port: a.port}
}

// TestVPN: a VPN comes up with a range that clashes, IPv4 only. Networks of
// mode auto get out of its way, fixed ones warn, IPv6 stays where it is.
func TestVPN(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp4s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	office, err := w.lab.Node("office")
	w.ok(err)
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant network set default leaseTime=20s")
	w.sh("sextant network create fixed ipv4=nat ipv4.address=192.168.150.1/24 ipv6=none")
	alpha := w.guest("alpha", "default")
	w.address4(alpha)
	w.stands("default", "delegated", pool1.String())
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	conn := w.hold(alpha, topo.Server6)
	was := w.prefix4("default")
	wide := netip.PrefixFrom(was.Addr(), 16).Masked()

	w.ok(w.lab.Link(office, "far", w.host.Node, "tun-office"))
	w.on(office, fmt.Sprintf("ip addr add 198.18.250.77/24 dev far; ip addr add %s dev far; ip route add default via 198.18.250.78", netip.PrefixFrom(was.Addr().Next(), 16)))
	w.sh(fmt.Sprintf("ip addr add 198.18.250.78/32 peer 198.18.250.77 dev tun-office; ip route add 192.168.0.0/16 via 198.18.250.77; ip route replace %s via 198.18.250.77", wide))
	w.eventually(patience, "the default network moves", func() error {
		if now := w.prefix4("default"); !now.IsValid() || now.Overlaps(wide) {
			return fmt.Errorf("it has %v", now)
		}
		return nil
	})
	moved := w.prefix4("default")
	w.on(alpha, "dhclient -x eth0; dhclient -4 -1 eth0") // by itself it follows at T1
	w.eventually(patience, "fixed warns", func() error {
		if out := w.sh("sextant status"); !strings.Contains(out, "fixed") || !strings.Contains(out, "tun-office") {
			return fmt.Errorf("status says\n%s", out)
		}
		return nil
	})
	w.eventually(2*patience, "alpha follows", func() error {
		out, err := alpha.Sh(w.ctx, "ip -4 -o addr show dev eth0 scope global")
		for _, a := range addresses(out) {
			if moved.Contains(a) {
				return nil
			}
		}
		return fmt.Errorf("it has %q, the network %v: %w", out, moved, err)
	})
	w.seenIn(alpha, first.Link4.Masked())
	w.eventually(patience, "alpha reaches the office", func() error {
		_, err := alpha.Sh(w.ctx, "ping -c 1 -W 2 198.18.250.77")
		return err
	})
	if now := w.holds("default", pool1, "active"); now != old {
		t.Errorf("default has %v, before %v", now, old)
	}
	conn.lives("a VPN for IPv4 is no matter of IPv6")
	w.told("default " + was.String() + " " + moved.String())
	kept("all of it")
}

// prefix4 is the network's IPv4 prefix now.
func (w *world) prefix4(name string) netip.Prefix {
	w.t.Helper()
	var n network
	w.ok(w.json(&n, "sextant network show "+name))
	for _, g := range n.Status.Gateways {
		if g.Addr().Is4() {
			return g.Masked()
		}
	}
	return netip.Prefix{}
}
