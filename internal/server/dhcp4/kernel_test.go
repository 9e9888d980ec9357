package dhcp4

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp/dhcptest"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// lab is a router's namespace with one guest on a bridge.
type lab struct {
	t             *testing.T
	router, guest *netnstest.NS
	store         dhcptest.Store
	client        *dhcptest.Dhclient
	dir           string
}

var guestMAC = vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 1}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, router: netnstest.New(t, "dhcp4-r"), guest: netnstest.New(t, "dhcp4-g"), dir: t.TempDir()}
	l.client = &dhcptest.Dhclient{T: t, Guest: l.guest, Dir: l.dir, Args: []string{"-4"}, OnEvent: `case $reason in BOUND|REBOOT|RENEW) ip addr replace $new_ip_address/24 dev $interface ;; esac`}
	l.link("br0", "eth0", "192.0.2.1/24")
	l.guest.Run("ip", "link", "set", "eth0", "address", guestMAC.String())
	return l
}

// link makes a bridge with one port, the other end of which is the guest's.
func (l *lab) link(bridge, guest, address string) {
	l.router.Run("ip", "link", "add", bridge, "type", "bridge")
	netnstest.Veth(l.router, "p-"+bridge, l.guest, guest)
	l.router.Run("ip", "link", "set", "p-"+bridge, "master", bridge)
	l.router.Run("ip", "link", "set", bridge, "up")
	l.router.Run("ip", "addr", "add", address, "dev", bridge)
}

func (l *lab) server() *Server {
	s := New(Config{InNS: func(_ string, f func() error) error { return l.router.Do(f) }, Links: listen.NewLinks(), Claims: &l.store, Host: "host"})
	l.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return s
}

func TestKernelDhclient(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "timeout")
	l := newLab(t)
	s := l.server()
	s.SetNetwork(service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.109")))
	s.SetGuest(plan.Guest{
		Port: "p1", Network: "net", Name: "vm1", MAC: guestMAC, DefaultRoute: true,
		Addresses: []plan.GuestAddress{{Subnet: "192.0.2.0/24", Address: ip("192.0.2.77")}},
	})
	out, err := l.client.Run("eth0")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_ip_address=192.0.2.77", "new_routers=192.0.2.1", "new_domain_name_servers=192.0.2.1",
		"new_domain_name=default.internal", "new_host_name=vm1", "new_interface_mtu=1450", "new_subnet_mask=255.255.255.0",
		"new_broadcast_address=192.0.2.255", "new_dhcp_lease_time=3600", "new_domain_search=default.internal.")
	l.client.Stop("eth0")
	// Started again it remembers its lease: INIT-REBOOT.
	if out, err = l.client.Run("eth0"); err != nil || !strings.Contains(out, "reason=REBOOT") {
		t.Errorf("init-reboot: %v\n%s", err, out)
	}
	if out, err = l.client.Run("eth0", "-r"); err != nil {
		t.Errorf("release: %v\n%s", err, out)
	}
	if n, _ := l.store.Count(); n != 0 {
		t.Errorf("%d claims for a port", n)
	}

	// Without a port the guest is anybody: a dynamic address, claimed.
	s.RemoveGuest("net", "p1")
	l.client.Forget("eth0")
	if out, err = l.client.Run("eth0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_ip_address=192.0.2.10")
	if out, err = l.client.Run("eth0", "-r"); err != nil {
		t.Errorf("release: %v\n%s", err, out)
	}
	netnstest.Eventually(t, 5*time.Second, "claim and release", func() error {
		if c, r := l.store.Count(); c != 1 || r != 1 {
			return fmt.Errorf("%d claims, %d releases", c, r)
		}
		return nil
	})
	// The lease file now speaks of a network that is gone: a NAK sends the
	// client back to the start.
	s.SetNetwork(service(subnet("198.51.100.0/24")))
	l.router.Run("ip", "addr", "add", "198.51.100.1/24", "dev", "br0")
	if out, err = l.client.Run("eth0"); err != nil || !strings.Contains(out, "new_ip_address=198.51.100.") {
		t.Errorf("after the network moved: %v\n%s", err, out)
	}
	l.client.Stop("eth0")
}

func TestKernelUdhcpcAndDhcpcd(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "busybox", "dhcpcd")
	l := newLab(t)
	s := l.server()
	s.SetNetwork(service())
	dhcptest.Wants(t, l.udhcpc(), "ip=192.0.2.", "router=192.0.2.1", "dns=192.0.2.1", "lease=3600")
	l.dhcpcd("noarp\nclientid\noption interface_mtu, domain_search\n", "new_ip_address=192.0.2.", "new_dhcp_lease_time=3600", "new_interface_mtu=1450")
}

// dhcpcd runs dhcpcd in the guest until its hooks were told all that is wanted.
func (l *lab) dhcpcd(config string, want ...string) {
	l.t.Helper()
	conf, events, script := filepath.Join(l.dir, "dhcpcd.conf"), filepath.Join(l.dir, "events"), filepath.Join(l.dir, "hook")
	for name, text := range map[string]string{conf: config, script: "#!/bin/sh\nenv >>" + events + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	// It has a file under /run by the name of the device, which must be its own.
	dev := fmt.Sprintf("d%d-%d", os.Getpid(), devices.Add(1))
	l.guest.Run("ip", "link", "set", "eth0", "name", dev)
	// dhcpcd's helpers outlive it for a moment: they must not hold our pipe.
	client := l.guest.Start("sh", "-c", `exec timeout 20 "$@" >/dev/null 2>&1`, "sh", "dhcpcd", "-4", "-B", "-f", conf, "-c", script, dev)
	l.t.Cleanup(func() {
		_ = client.Process.Signal(syscall.SIGTERM)
		_ = client.Wait()
	})
	netnstest.Eventually(l.t, 15*time.Second, "dhcpcd", func() error {
		out, _ := os.ReadFile(events)
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				return fmt.Errorf("no %s in %s", w, out)
			}
		}
		return nil
	})
}

// devices counts the devices that dhcpcd ran on.
var devices atomic.Int32

func TestKernelPortTaken(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dnsmasq", "timeout")
	t.Run("by one that shares", func(t *testing.T) {
		l := newLab(t)
		l.router.Run("ip", "link", "add", "other0", "type", "bridge")
		l.router.Run("ip", "addr", "add", "203.0.113.1/24", "dev", "other0")
		l.router.Run("ip", "link", "set", "other0", "up")
		l.dnsmasq("--bind-dynamic", "--interface=other0", "--dhcp-range=203.0.113.10,203.0.113.20")
		l.serves(l.server())
	})
	t.Run("by one that does not", func(t *testing.T) {
		l := newLab(t)
		// A socket of ours that does not share; its owner is this test.
		var hog net.PacketConn
		err := l.router.Do(func() (err error) {
			hog, err = net.ListenPacket("udp4", ":67")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s := l.server()
		s.SetNetwork(service())
		netnstest.Eventually(t, 5*time.Second, "problem", func() error {
			if p := s.Problems()["net"]; len(p) != 1 || p[0].Kind != vnet.ErrInUse || !strings.Contains(p[0].Msg, "port 67 is taken") {
				return fmt.Errorf("problems %+v", p)
			}
			return nil
		})
		hog.Close()
		l.serves(s)
		if p := s.Problems(); len(p) != 0 {
			t.Errorf("problems %+v", p)
		}
	})
	t.Run("by a program with a name", func(t *testing.T) {
		l := newLab(t)
		l.dnsmasq("--dhcp-range=203.0.113.10,203.0.113.20", "--except-interface=br0")
		s := l.server()
		s.SetNetwork(service())
		netnstest.Eventually(t, 5*time.Second, "problem", func() error {
			if p := s.Problems()["net"]; len(p) != 1 || !strings.Contains(p[0].Msg, "dnsmasq (pid ") {
				return fmt.Errorf("problems %+v", p)
			}
			return nil
		})
	})
}

// dnsmasq starts it and waits until it has the port.
func (l *lab) dnsmasq(args ...string) {
	l.t.Helper()
	l.router.Start("dnsmasq", append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root",
		"--pid-file=" + filepath.Join(l.dir, "dnsmasq.pid"), "--dhcp-leasefile=" + filepath.Join(l.dir, "dnsmasq.leases")}, args...)...)
	netnstest.Eventually(l.t, 5*time.Second, "dnsmasq", func() error {
		if out := l.router.Run("ss", "-uln"); !strings.Contains(out, ":67") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// serves checks that the guest gets an address.
func (l *lab) serves(s *Server) {
	l.t.Helper()
	s.SetNetwork(service())
	out, err := l.client.Run("eth0")
	if err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(l.t, out, "new_ip_address=192.0.2.")
	l.client.Stop("eth0")
}

func TestKernelLinkComesBack(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "timeout")
	l := newLab(t)
	s := l.server()
	l.serves(s)
	l.router.Run("ip", "link", "del", "br0")
	l.router.Run("ip", "link", "del", "p-br0")
	l.link("br0", "eth0", "192.0.2.1/24")
	l.serves(s)
	// A second network shares the socket.
	other := service(subnet("198.51.100.0/24"))
	other.Network, other.Link = "other", "br1"
	s.SetNetwork(other)
	l.link("br1", "eth1", "198.51.100.1/24")
	out, err := l.client.Run("eth1")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_ip_address=198.51.100.")
	l.client.Stop("eth1")
	if out := l.router.Run("ss", "-Huln", "sport = :67"); strings.Count(out, "\n") != 1 || strings.Contains(out, "%") {
		t.Errorf("not one socket for both links:\n%s", out)
	}
}
