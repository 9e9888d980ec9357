package dhcp4

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp/dhcptest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// udhcpc runs busybox udhcpc once in a guest and returns what its script saw.
func (l *lab) udhcpc(args ...string) string {
	l.t.Helper()
	script := filepath.Join(l.dir, "udhcpc")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nenv\n"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	all := append([]string{"udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "2", "-s", script}, args...)
	out, err := l.guest.Try("busybox", all...)
	if err != nil {
		l.t.Fatalf("udhcpc: %v\n%s", err, out)
	}
	return out
}

// Somebody has set an address of the range by hand: the client that wishes it
// gets another one.
func TestKernelSquatter(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "busybox")
	l := newLab(t)
	squatter := netnstest.New(t, "dhcp4-s")
	netnstest.Veth(l.router, "p-squat", squatter, "eth0")
	l.router.Run("ip", "link", "set", "p-squat", "master", "br0")
	squatter.Run("ip", "addr", "add", "192.0.2.100/24", "dev", "eth0")
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.101"))
	svc.MAC = l.mac("br0")
	s := l.server()
	s.SetNetwork(svc)
	dhcptest.Wants(t, l.udhcpc("-r", "192.0.2.100"), "ip=192.0.2.101")

	// Told not to look, the server offers it: so it was the probe.
	no := false
	svc.DHCP.Probe = &no
	t2 := New(Config{InNS: func(_ string, f func() error) error { return l.router.Do(f) }, Claims: &l.store})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t2.SetNetwork(svc)
	t.Cleanup(func() { _ = t2.Close() })
	dhcptest.Wants(t, l.udhcpc("-r", "192.0.2.100"), "ip=192.0.2.100")
}

// mac is the MAC of a device of the router.
func (l *lab) mac(dev string) vnet.MAC {
	l.t.Helper()
	m, err := vnet.ParseMAC(strings.TrimSpace(l.router.Run("cat", "/sys/class/net/"+dev+"/address")))
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

// ISC dhcrelay before a guest on another link: it names the guest's line.
func TestKernelRelay(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dhcrelay", "timeout")
	l := newLab(t)
	relay, guest := netnstest.New(t, "dhcp4-relay"), netnstest.New(t, "dhcp4-far")
	netnstest.Veth(l.router, "p-relay", relay, "up0")
	l.router.Run("ip", "link", "set", "p-relay", "master", "br0")
	relay.Run("ip", "addr", "add", "192.0.2.250/24", "dev", "up0")
	netnstest.Veth(relay, "down0", guest, "eth0")
	relay.Run("ip", "addr", "add", "198.51.100.1/25", "dev", "down0")
	relay.Run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	relay.Start("dhcrelay", "-4", "-d", "-a", "-pf", filepath.Join(l.dir, "relay.pid"), "-iu", "up0", "-id", "down0", "192.0.2.1")
	netnstest.Eventually(t, 5*time.Second, "dhcrelay", func() error {
		if out := relay.Run("ss", "-uln"); !strings.Contains(out, ":67") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})

	behind := far("198.51.100.0/25")
	behind.Ranges = []vnet.Range{{First: ip("198.51.100.50"), Last: ip("198.51.100.59")}}
	svc := service(subnet("192.0.2.0/24"), behind)
	svc.Routes = []vnet.Route{textOf[vnet.Route]("0.0.0.0/0 via 198.51.100.1")}
	s := l.server()
	s.SetNetwork(svc)
	client := &dhcptest.Dhclient{T: t, Guest: guest, Dir: l.dir, Args: []string{"-4"}, OnEvent: `case $reason in BOUND|REBOOT|RENEW)
ip addr replace $new_ip_address/25 dev $interface; ip route replace default via $new_routers ;; esac`}
	// Nobody has said yet that this relay may be believed.
	if out, err := guest.Try("timeout", "4", "dhclient", "-4", "-1", "-d", "-sf", "/bin/true", "-lf", filepath.Join(l.dir, "none"), "-pf", filepath.Join(l.dir, "none.pid"), "eth0"); err == nil || strings.Contains(out, "bound") {
		t.Errorf("a relay that is not named was served: %s", out)
	}
	svc.DHCP.Relays = []netip.Prefix{netip.MustParsePrefix("192.0.2.250/32")}
	s.SetNetwork(svc)
	out, err := client.Run("eth0")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_ip_address=198.51.100.5", "new_subnet_mask=255.255.255.128", "new_routers=198.51.100.1")
	// It releases without the relay, straight to the server.
	if out, err = client.Run("eth0", "-r"); err != nil {
		t.Errorf("release: %v\n%s", err, out)
	}
	netnstest.Eventually(t, 5*time.Second, "claim and release", func() error {
		if c, r := l.store.Count(); c != 1 || r != 1 {
			return fmt.Errorf("%d claims, %d releases", c, r)
		}
		return nil
	})
	// The line belongs to a port: dhcrelay calls it by the name of its device.
	port := plan.Guest{Port: "p1", Network: "net", Name: "far", Relay: "down0", DefaultRoute: true}
	port.Addresses = []plan.GuestAddress{{Subnet: behind.ID, Address: ip("198.51.100.77")}}
	s.SetGuest(port)
	if out, err = client.Run("eth0"); err != nil || !strings.Contains(out, "new_ip_address=198.51.100.77") {
		t.Errorf("line of a port: %v\n%s", err, out)
	}
	client.Stop("eth0")

	// It renews without the relay, and the host has no route to it.
	svc.DHCP.Renew = vnet.Duration(3 * time.Second)
	s.SetNetwork(svc)
	if out, err = client.Run("eth0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	netnstest.Eventually(t, 20*time.Second, "renewal", func() error {
		events, err := os.ReadFile(filepath.Join(l.dir, "events"))
		if !strings.Contains(string(events), "reason=RENEW") {
			return fmt.Errorf("%v: %s", err, events)
		}
		return nil
	})
	client.Stop("eth0")
}

// More than a message holds, read by ISC dhclient out of sname and file, and
// the routes of RFC 3442.
func TestKernelManyOptions(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "timeout")
	l := newLab(t)
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.109"))
	svc.Routes = []vnet.Route{textOf[vnet.Route]("10.9.0.0/16"), textOf[vnet.Route]("203.0.113.0/24 via 192.0.2.9")}
	svc.NTP = []string{"192.0.2.123"}
	svc.DHCP.Options = []vnet.DHCPOption{
		textOf[vnet.DHCPOption]("4:224=text:" + strings.Repeat("a", 100)),
		textOf[vnet.DHCPOption]("4:225=text:" + strings.Repeat("b", 100)),
		textOf[vnet.DHCPOption]("4:226=text:" + strings.Repeat("c", 40)),
	}
	conf := filepath.Join(l.dir, "dhclient.conf")
	text := `option routes code 121 = array of unsigned integer 8;
option one code 224 = text; option two code 225 = text; option three code 226 = text;
request subnet-mask, routers, domain-name-servers, domain-name, domain-search, ntp-servers, interface-mtu, host-name, routes, one, two, three;
`
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := l.server()
	s.SetNetwork(svc)
	out, err := l.client.Run("eth0", "-cf", conf)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dhcptest.Wants(t, out, "new_routes=16 10 9 192 0 2 1 24 203 0 113 192 0 2 9 0 192 0 2 1", "new_ntp_servers=192.0.2.123",
		"new_one="+strings.Repeat("a", 100), "new_two="+strings.Repeat("b", 100), "new_three="+strings.Repeat("c", 40))
	l.client.Stop("eth0")
}

// What udhcpc makes of boot options and of routes.
func TestKernelUdhcpcOptions(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "busybox")
	l := newLab(t)
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.109"))
	svc.Routes = []vnet.Route{textOf[vnet.Route]("10.9.0.0/16")}
	svc.Boot = vnet.BootPolicy{Root: "/srv/tftp", Files: []vnet.BootFile{{Client: "any", File: "any.0"}, {Client: "efi64", File: "x64.efi"}}}
	s := l.server()
	s.SetNetwork(svc)
	dhcptest.Wants(t, l.udhcpc("-O", "staticroutes", "-O", "search", "-O", "tftp", "-O", "bootfile"), "ip=192.0.2.10",
		"staticroutes=10.9.0.0/16 192.0.2.1 0.0.0.0/0 192.0.2.1", "search=default.internal", "bootfile=any.0", "siaddr=192.0.2.1")
	// Option 93 makes it another kind of client; 60 is what -V says.
	dhcptest.Wants(t, l.udhcpc("-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "0x5d:0007"), "boot_file=x64.efi", "siaddr=192.0.2.1")
}

// dhcpcd takes an address with two messages.
func TestKernelRapidCommit(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhcpcd")
	l := newLab(t)
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.109"))
	svc.Routes = []vnet.Route{textOf[vnet.Route]("10.9.0.0/16")}
	s := l.server()
	s.SetNetwork(svc)
	l.dhcpcd("noarp\nclientid\noption rapid_commit, classless_static_routes\n",
		"new_ip_address=192.0.2.10", "new_rapid_commit=",
		"new_classless_static_routes=10.9.0.0/16 192.0.2.1 0.0.0.0/0 192.0.2.1")
}

// dhcpcd can do without IPv4, is told that it may, and takes no address.
func TestKernelIPv6Only(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhcpcd")
	l := newLab(t)
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.109"))
	wait := vnet.Duration(30 * time.Minute)
	svc.DHCP.V6Only = &wait
	s := l.server()
	s.SetNetwork(svc)
	l.dhcpcd("noarp\nclientid\noption ipv6_only_preferred\n", "reason=EXPIRE\n", "protocol=dhcp\n")
	if n, _ := l.store.Count(); n != 0 {
		t.Errorf("%d addresses were claimed", n)
	}
}

// A client that finds the offered address in use declines it, and gets another
// one; the first is kept back.
func TestKernelDecline(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "busybox")
	l := newLab(t)
	squatter := netnstest.New(t, "dhcp4-s")
	netnstest.Veth(l.router, "p-squat", squatter, "eth0")
	l.router.Run("ip", "link", "set", "p-squat", "master", "br0")
	squatter.Run("ip", "addr", "add", "192.0.2.100/24", "dev", "eth0")
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.101"))
	no := false
	svc.DHCP.Probe = &no
	s := l.server()
	s.SetNetwork(svc)
	dhcptest.Wants(t, l.udhcpc("-a", "-r", "192.0.2.100"), "ip=192.0.2.101")
	if n := l.store.Declined(); n != 1 {
		t.Errorf("%d declined leases were claimed", n)
	}
}
