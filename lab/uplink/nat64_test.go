package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// v4only is a name whose host has no IPv6.
const v4only = "v4only.example"

// names runs the provider's name server, and has the host ask it.
func (w *world) names(a *access) {
	w.t.Helper()
	_, err := a.Start("dns", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
		"--pid-file=", "--log-facility=-", "--interface=wan0", "--bind-dynamic", "--host-record="+v4only+","+topo.Server4.String())
	w.ok(err)
	w.ok(w.host.WriteFile(w.ctx, "/etc/resolv.conf", "nameserver "+a.Config.Link6.Addr().String()+"\n"))
}

// nat64 is the prefix of the provider's translator.
var nat64 = prefix("2001:db8:64::/96")

// translates runs tayga at the provider; its router says so (RFC 8781).
func (w *world) translates(a *access) {
	w.t.Helper()
	netnstest.NeedCommands(w.t, "tayga")
	w.ok(a.WriteFile(w.ctx, "/etc/tayga.conf", "tun-device nat64\nipv4-addr 192.168.255.1\nprefix "+nat64.String()+"\ndynamic-pool 192.168.255.0/24\ndata-dir /run\n"))
	w.on(a.Node, "ip addr add "+topo.Server4.String()+"/32 dev lo; tayga -c /etc/tayga.conf --mktun; ip link set nat64 up; ip route add 192.168.255.0/24 dev nat64; ip route add "+nat64.String()+" dev nat64; sysctl -qw net.ipv4.ip_forward=1")
	_, err := a.Start("tayga", "tayga", "-n", "-c", "/etc/tayga.conf")
	w.ok(err)
	_, err = a.Start("serve4", peerBinary, "serve", topo.Server4.String()+":80")
	w.ok(err)
}

// announces has the provider's router advertise its translator.
func (w *world) announces(a *access) {
	w.t.Helper()
	router, err := a.LinkLocal(w.ctx)
	w.ok(err)
	var mac [6]byte
	_, err = fmt.Sscanf(w.on(a.Node, "cat /sys/class/net/wan0/address"), "%02x:%02x:%02x:%02x:%02x:%02x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5])
	w.ok(err)
	w.sends(a.Node, "wan0", frame(mac, router, 255, advertisement(w.t, &ndp.RouterAdvertisement{
		CurrentHopLimit: 64, RouterLifetime: time.Hour, Options: []ndp.Option{&ndp.PREF64{Prefix: nat64, Lifetime: time.Hour}},
	})), 1)
}

// noIPv4 takes the host's IPv4, loopback's too.
func (w *world) noIPv4() {
	w.t.Helper()
	w.sh("ip -4 addr flush dev lo")
}

// translated waits until a guest without IPv4 reaches a host without IPv6 by
// name, through a prefix.
func (w *world) translated(n *topo.Node, name string, within netip.Prefix) {
	w.t.Helper()
	var gateway netip.Addr
	w.eventually(patience, "the network has a gateway", func() error {
		var net network
		if err := w.json(&net, "sextant network show "+name); err != nil || len(net.Status.Gateways) == 0 {
			return fmt.Errorf("none: %w", err)
		}
		gateway = net.Status.Gateways[0].Addr()
		return nil
	})
	w.eventually(patience, n.Name+" reaches "+v4only, func() error {
		out, err := n.Sh(w.ctx, fmt.Sprintf("dig +short +time=2 +tries=1 AAAA %s @%s", v4only, gateway))
		if err != nil {
			return err
		}
		a, err := netip.ParseAddr(out)
		if err != nil || !within.Contains(a) {
			return fmt.Errorf("DNS64 says %q, want one of %v", out, within)
		}
		_, err = n.Sh(w.ctx, fmt.Sprintf("nc -w 3 %s 80 </dev/null | grep -q .", a))
		return err
	})
}

// TestIPv6OnlyHost: a host without any IPv4, whose provider has a translator,
// and one whose provider has none.
func TestIPv6OnlyHost(t *testing.T) {
	t.Parallel()
	c := first
	c.Link4 = netip.Prefix{}
	t.Run("with NAT64", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, 2*time.Minute, "enp9s0")
		w.noIPv4()
		isp := w.access(c, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
		w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
		w.translates(isp)
		w.names(isp)
		kept := w.watched(isp)
		w.settled(isp)
		w.sh("sextant network create six ipv4=none nat64=auto")
		w.announces(isp)
		alpha := w.guest("alpha", "six")
		w.stands("six", "delegated", pool1.String())
		w.usable(alpha, pool1)
		w.translated(alpha, "six", nat64)
		// rdisc6 does not know the option (38, RFC 8781).
		if out := w.on(alpha, "timeout 10 tcpdump -l -vv -n -i eth0 -c 1 'icmp6 and ip6[40] == 134' & sleep 1; rdisc6 -1 eth0 >/dev/null; wait"); !strings.Contains(out, "(38)") && !strings.Contains(out, "pref64") {
			t.Errorf("guests are not told the prefix:\n%s", out)
		}
		if out := w.sh("sextant network show six"); !strings.Contains(out, nat64.String()) {
			t.Errorf("nobody says that the provider translates:\n%s", out)
		}
		kept("all of it")
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, time.Minute, "ppp0")
		w.noIPv4()
		isp := w.access(c, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
		w.delegates(isp, topo.Delegator{Software: "dhcpd", Pool: pool1})
		w.names(isp)
		kept := w.watched(isp)
		w.settled(isp)
		w.sh("sextant network create six ipv4=none nat64=auto")
		alpha := w.guest("alpha", "six")
		w.stands("six", "delegated", pool1.String())
		w.usable(alpha, pool1)
		if out := w.sh("sextant network show six; sextant status"); !strings.Contains(out, "NAT64") && !strings.Contains(out, "nat64") && !strings.Contains(out, "no IPv4") {
			t.Errorf("nobody says that there is no way to IPv4:\n%s", out)
		}
		kept("all of it")
	})
}

// TestOwnNAT64: the host has IPv4, its network has not: the host translates.
func TestOwnNAT64(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "tayga")
	w := newWorld(t, 2*time.Minute, "enp10s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	w.names(isp)
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant network create six ipv4=none nat64=auto")
	alpha := w.guest("alpha", "six")
	w.stands("six", "delegated", pool1.String())
	w.usable(alpha, pool1)
	w.translated(alpha, "six", prefix("::/0"))
	kept("all of it")
}
