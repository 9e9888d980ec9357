package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// lan is a network with a router of its own, DHCP and advertisements; what
// links it to the host is called eth1 there.
func (w *world) lan() *topo.Node {
	w.t.Helper()
	n, err := w.lab.Node("lan")
	if err != nil {
		w.t.Fatal(err)
	}
	w.on(n, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	w.cable(n)
	_, err = n.Start("dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
		"--no-resolv", "--no-hosts", "--log-facility=-", "--interface=lan0", "--bind-dynamic", "--dhcp-leasefile=/run/leases",
		"--dhcp-range=198.51.100.10,198.51.100.20,5m", "--dhcp-range=::,constructor:lan0,ra-only", "--enable-ra", "--ra-param=lan0,4,600")
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// cable links the LAN to the host.
func (w *world) cable(lan *topo.Node) {
	w.t.Helper()
	if err := w.lab.Link(lan, "lan0", w.host.Node, "eth1"); err != nil {
		w.t.Fatal(err)
	}
	w.on(lan, "ip addr add 198.51.100.1/24 dev lan0; ip addr add 2001:db8:7::1/64 dev lan0 nodad")
}

// onLAN tests that the guest has its addresses and its way out from the LAN's
// router.
func (w *world) onLAN(n *topo.Node) {
	w.t.Helper()
	out := w.on(n, "ip -o addr show dev eth0; ip route; ip -6 route; ping -c1 -W5 198.51.100.1; ping -c1 -W5 2001:db8:7::1")
	for _, want := range []string{"inet 198.51.100.", "inet6 2001:db8:7:", "default via 198.51.100.1 "} {
		if !strings.Contains(out, want) {
			w.t.Errorf("%s has no %q:\n%s", n.Name, want, out)
		}
	}
}

// TestBridgedOnBridge: guests on somebody else's bridge are the outside
// router's guests, in both families, and the bridge stays as it was.
func TestBridgedOnBridge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.lan()
	w.sh("ip link add br0 type bridge; ip link set eth1 master br0; ip link set br0 up; ip addr add 198.51.100.2/24 dev br0")
	bridge := "ip -o -d link show dev br0 | grep -o 'link/ether [^ ]*\\|stp_state [0-9]\\|mtu [0-9]*\\|mcast_snooping [0-9]'; ip -4 -o addr show dev br0; sysctl net.ipv6.conf.br0.accept_ra net.ipv6.conf.br0.disable_ipv6"
	w.serve("--no-default-network")
	before := w.sh(bridge)
	w.sh("sextant network create lan ipv4=bridged ipv6=bridged link=br0")
	w.onLAN(w.guest("alpha", "lan"))
	beta := w.guest("beta", "lan")
	w.onLAN(beta)
	if out := w.on(beta, "ping -c1 -W5 198.51.100.2"); out == "" {
		t.Error("the host is not reached over its own bridge")
	}
	if after := w.sh(bridge); after != before {
		t.Errorf("the bridge changed: %v", &differs{before, after})
	}
	w.sh("sextant port delete alpha; sextant port delete beta; sextant network delete lan")
	w.eventually(5*time.Second, "nothing of ours in br0", func() error {
		if out := w.sh("ip -o link show master br0 | grep -v eth1 || true"); out != "" {
			return &differs{"", out}
		}
		return nil
	})
	if after := w.sh(bridge); after != before {
		t.Errorf("the bridge changed: %v", &differs{before, after})
	}
}

// TestBridgedOnNIC: a NIC without addresses becomes a port of the network's
// bridge and is free again afterwards; one with the host's address is refused
// with the reason.
func TestBridgedOnNIC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	lan := w.lan()
	w.sh("ip -6 addr flush dev eth1")
	nic := "ip -o link show dev eth1 | grep -o '<[^>]*>\\|mtu [0-9]*\\|master [^ ]*' | head -3; ip -o link show type bridge"
	before := w.sh(nic)
	w.serve("--no-default-network")
	w.sh("sextant network create wire ipv4=bridged ipv6=bridged link=eth1")
	alpha := w.guest("alpha", "wire")
	w.onLAN(alpha)

	// The NIC is unplugged, like one on USB, and comes back.
	w.on(lan, "ip link delete lan0")
	w.eventually(5*time.Second, "status says what is missing", func() error {
		if out := w.sh("sextant status"); !strings.Contains(out, `no link "eth1"`) {
			return fmt.Errorf("it says\n%s", out)
		}
		return nil
	})
	beta := w.plug("beta", "network=wire")
	w.on(beta, "ip link set eth0 up; ip addr add 198.51.100.99/24 dev eth0")
	w.reaches(alpha, "198.51.100.99", true)
	w.cable(lan)
	w.on(alpha, "ip neigh flush dev eth0") // the router has another MAC now
	w.eventually(10*time.Second, "the guest is on the LAN again", func() error {
		if _, err := alpha.Sh(w.ctx, "ping -c1 -W1 198.51.100.1 && ping -c1 -W1 2001:db8:7::1"); err != nil {
			return fmt.Errorf("%w\n%s", err, w.sh("sextant status; ip addr show dev eth1; ip link show master sx-wire"))
		}
		return nil
	})
	w.sh("sextant port delete alpha; sextant port delete beta; sextant network delete wire")
	w.eventually(5*time.Second, "the NIC is free", func() error {
		if after := w.sh(nic); after != before {
			return &differs{before, after}
		}
		return nil
	})

	out, err := w.host.Run(w.ctx, "sextant", "network", "create", "cut", "ipv4=bridged", "ipv6=bridged", "link=eth0")
	if err == nil {
		t.Fatalf("bridged on the host's uplink: not refused:\n%s", out)
	}
	if strings.Contains(out, "\n") || !strings.Contains(out, "eth0") || !strings.Contains(out, "192.0.2.2") {
		t.Errorf("want one line that names the NIC and the address, got\n%s", out)
	}
	if out := w.sh("sextant network list; ip -o link show type bridge; ip -o link show dev eth0"); strings.Contains(out, "cut") || strings.Contains(out, "master") {
		t.Errorf("half-made:\n%s", out)
	}
	w.has6("eth0", "after the refusal")
}
