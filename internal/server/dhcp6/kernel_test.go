package dhcp6

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp/dhcptest"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// lab is a router's namespace with one guest behind a veth pair.
type lab struct {
	t             *testing.T
	router, guest *netnstest.NS
	store         dhcptest.Store
	client        *dhcptest.Dhclient
	dir           string
}

var guestMAC = vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 1}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, router: netnstest.New(t, "dhcp6-r"), guest: netnstest.New(t, "dhcp6-g"), dir: t.TempDir()}
	l.client = &dhcptest.Dhclient{T: t, Guest: l.guest, Dir: l.dir, Args: []string{"-6", "-D", "LL"}}
	for _, ns := range []*netnstest.NS{l.router, l.guest} {
		ns.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0")
	}
	l.link("br0", "eth0", guestMAC)
	return l
}

// link makes a pair of devices, the guest's with that MAC from the start.
func (l *lab) link(router, guest string, mac vnet.MAC) {
	l.router.Run("ip", "link", "add", router, "type", "veth", "peer", "name", guest, "address", mac.String(), "netns", l.guest.Name)
	l.router.Run("ip", "link", "set", router, "up")
	l.guest.Run("ip", "link", "set", guest, "up")
	for dev, ns := range map[string]*netnstest.NS{router: l.router, guest: l.guest} {
		netnstest.Eventually(l.t, 5*time.Second, "link-local address", func() error {
			if out := ns.Run("ip", "-6", "addr", "show", "dev", dev, "scope", "link", "-tentative"); !strings.Contains(out, "fe80::") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
}

func (l *lab) server() *Server {
	s := New(Config{
		InNS: func(_ string, f func() error) error { return l.router.Do(f) }, Links: listen.NewLinks(), Claims: &l.store, DUID: serverDUID, Host: "host",
	})
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
	s.SetNetwork(service(subnet("2001:db8:1::/64")))
	s.SetGuest(plan.Guest{
		Port: "p1", Network: "net", Name: "vm1", MAC: guestMAC, DefaultRoute: true,
		Addresses: []plan.GuestAddress{{Subnet: "2001:db8:1::/64", Address: ip("2001:db8:1::77")}},
	})
	out, err := l.client.Run("eth0")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_ip6_address=2001:db8:1::77", "new_dhcp6_name_servers=2001:db8:1::1", "new_dhcp6_domain_search=default.internal.",
		"new_max_life=3600", "new_preferred_life=2250", "new_renew=1125", "new_rebind=1800")
	l.client.Stop("eth0")
	// Started again it asks whether its address still fits.
	if out, err = l.client.Run("eth0"); err != nil || !strings.Contains(out, "Confirm") {
		t.Errorf("confirm: %v\n%s", err, out)
	}
	if out, err = l.client.Run("eth0", "-r"); err != nil {
		t.Errorf("release: %v\n%s", err, out)
	}
	if n, _ := l.store.Count(); n != 0 {
		t.Errorf("%d claims for a port", n)
	}
	// Options only.
	if out, err = l.client.Run("eth0", "-S"); err != nil || !strings.Contains(out, "new_dhcp6_name_servers=2001:db8:1::1") {
		t.Errorf("information-request: %v\n%s", err, out)
	}
	l.client.Stop("eth0")

	// Without a port the guest is anybody: an address of each subnet, claimed.
	s.RemoveGuest("net", "p1")
	l.client.Forget("eth0")
	s.SetNetwork(service(subnet("2001:db8:1::/64"), subnet("fd00:1::/64")))
	if out, err = l.client.Run("eth0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_ip6_address=2001:db8:1:", "new_ip6_address=fd00:1:")
	if out, err = l.client.Run("eth0", "-r"); err != nil {
		t.Errorf("release: %v\n%s", err, out)
	}
	netnstest.Eventually(t, 5*time.Second, "claims and releases", func() error {
		if c, r := l.store.Count(); c != 2 || r != 3 {
			return fmt.Errorf("%d claims, %d releases", c, r)
		}
		return nil
	})
}

// dhcpcd runs it on a device with more in its configuration, and returns where
// its events are written.
func (l *lab) dhcpcd(dev, more string) (events string) {
	l.t.Helper()
	conf, script := filepath.Join(l.dir, "conf"), filepath.Join(l.dir, "script")
	events = filepath.Join(l.dir, "events")
	for name, text := range map[string]string{
		conf:   "ipv6only\nnoipv6rs\nia_na 1\nduid ll\noption rapid_commit, domain_name_servers\n" + more,
		script: "#!/bin/sh\nenv >>" + events + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	// dhcpcd's helpers outlive it for a moment: they must not hold our pipe.
	client := l.guest.Start("sh", "-c", `exec timeout 20 "$@" >`+l.dir+`/log 2>&1`, "sh", "dhcpcd", "-6", "-B", "-d", "-f", conf, "-c", script, dev)
	l.t.Cleanup(func() {
		_ = client.Process.Signal(syscall.SIGTERM)
		_ = client.Wait()
	})
	return events
}

func TestKernelDhcpcd(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhcpcd", "timeout")
	l := newLab(t)
	// It has a file under /run by the name of the device, which must be its own.
	dev := fmt.Sprintf("e%d", os.Getpid())
	l.link("net0", dev, mac(9))
	svc := service(subnet("2001:db8:1::/64"))
	svc.Link = "net0"
	l.server().SetNetwork(svc)
	events := l.dhcpcd(dev, "")
	netnstest.Eventually(t, 15*time.Second, "dhcpcd", func() error {
		got, _ := os.ReadFile(events)
		if !strings.Contains(string(got), "new_dhcp6_ia_na1_ia_addr1=2001:db8:1:") {
			log, _ := os.ReadFile(filepath.Join(l.dir, "log"))
			return fmt.Errorf("%s\n%s", got, log)
		}
		return nil
	})
	netnstest.Eventually(t, 5*time.Second, "the address is on the link", func() error {
		if out := l.guest.Run("ip", "-6", "addr", "show", "dev", dev); !strings.Contains(out, "2001:db8:1:") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

func TestKernelPortTakenAndLinkComesBack(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dnsmasq", "timeout")
	l := newLab(t)
	l.router.Run("ip", "link", "add", "other0", "type", "bridge")
	l.router.Run("ip", "link", "set", "other0", "up")
	l.router.Run("ip", "addr", "add", "2001:db8:99::1/64", "dev", "other0", "nodad")
	l.router.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--bind-dynamic", "--interface=other0",
		"--dhcp-range=2001:db8:99::10,2001:db8:99::20", "--pid-file="+filepath.Join(l.dir, "pid"), "--dhcp-leasefile="+filepath.Join(l.dir, "l"))
	netnstest.Eventually(t, 5*time.Second, "dnsmasq", func() error {
		if out := l.router.Run("ss", "-uln"); !strings.Contains(out, ":547") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	s := l.server()
	s.SetNetwork(service())
	serves := func() {
		t.Helper()
		out, err := l.client.Run("eth0")
		if err != nil {
			t.Fatalf("%v\n%s\nproblems: %v", err, out, s.Problems())
		}
		dhcptest.Wants(t, out, "new_ip6_address=2001:db8:1:")
		l.client.Stop("eth0")
	}
	serves()
	l.router.Run("ip", "link", "del", "br0")
	l.link("br0", "eth0", guestMAC)
	serves()
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems %+v", p)
	}
}

func TestKernelManyLinksOneSocket(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "timeout")
	l := newLab(t)
	s := l.server()
	for i := range 3 {
		svc := service(subnet(fmt.Sprintf("2001:db8:%d::/64", i+1)))
		svc.Network, svc.Link = vnet.ID(fmt.Sprint(i)), fmt.Sprintf("net%d", i)
		s.SetNetwork(svc) // before its link
		l.link(svc.Link, fmt.Sprintf("guest%d", i), mac(i+1))
	}
	for i := range 3 {
		dev := fmt.Sprintf("guest%d", i)
		out, err := l.client.Run(dev)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		dhcptest.Wants(t, out, fmt.Sprintf("new_ip6_address=2001:db8:%d:", i+1))
		l.client.Stop(dev)
	}
	if out := l.router.Run("ss", "-Huln", "sport = :547"); strings.Count(out, "\n") != 1 || strings.Contains(out, "%") {
		t.Errorf("not one socket for all links:\n%s", out)
	}
}
