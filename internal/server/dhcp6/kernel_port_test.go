package dhcp6

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/server/dhcp/dhcptest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// A port keeps its address and its prefix, whichever DUID its guest has today.
func TestKernelPortWithOtherDUIDs(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "timeout")
	l := newLab(t)
	s := l.server()
	s.SetNetwork(service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	g := guest(1, "2001:db8:1::77")
	g.MAC = guestMAC
	s.SetGuest(g)
	prefix := regexp.MustCompile(`new_ip6_prefix=(\S+)`)
	had := ""
	for _, kind := range []string{"LL", "LLT", "LL"} {
		l.client.Args = []string{"-6", "-D", kind}
		l.client.Forget("eth0")
		out, err := l.client.Run("eth0", "-N", "-P")
		if err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, out)
		}
		dhcptest.Wants(t, out, "new_ip6_address=2001:db8:1::77")
		m := prefix.FindStringSubmatch(out)
		if m == nil || !strings.HasPrefix(m[1], "2001:db8:f0") || !strings.HasSuffix(m[1], "/56") || had != "" && m[1] != had {
			t.Errorf("%s: prefix %v, had %s\n%s", kind, m, had, out)
		} else {
			had = m[1]
		}
		l.client.Stop("eth0")
	}
}

// A guest behind a relay gets an address of its own link, and its prefix goes
// over the relay.
func TestKernelRelay(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dhcrelay", "timeout")
	l := newLab(t)
	// What is the guest in other tests is the relay here, with a guest behind it.
	far := netnstest.New(t, "dhcp6-f")
	far.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0")
	l.guest.Run("ip", "link", "add", "down0", "type", "veth", "peer", "name", "eth0", "address", mac(9).String(), "netns", far.Name)
	l.guest.Run("ip", "link", "set", "down0", "up")
	far.Run("ip", "link", "set", "eth0", "up")
	l.guest.Run("ip", "addr", "add", "2001:db8:2::1/64", "dev", "down0", "nodad")
	for dev, ns := range map[string]*netnstest.NS{"down0": l.guest, "eth0": far} {
		netnstest.Eventually(t, 5*time.Second, "link-local address", func() error {
			if out := ns.Run("ip", "-6", "addr", "show", "dev", dev, "scope", "link", "-tentative"); !strings.Contains(out, "fe80::") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
	s := l.server()
	svc := service(subnet("2001:db8:1::/64"), subnet("2001:db8:2::/64"))
	svc.DHCP.Relays = prefixes("fe80::/10")
	s.SetNetwork(svc)
	g := guest(1, "2001:db8:2::99")
	g.MAC = mac(9)
	s.SetGuest(g)
	l.guest.Start("dhcrelay", "-6", "-d", "--no-pid", "-I", "-l", "down0", "-u", "eth0")
	netnstest.Eventually(t, 5*time.Second, "the relay listens", func() error {
		if out := l.guest.Run("ss", "-uln"); !strings.Contains(out, ":547") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	client := &dhcptest.Dhclient{T: t, Guest: far, Dir: t.TempDir(), Args: []string{"-6", "-D", "LL"}}
	out, err := client.Run("eth0")
	if err != nil {
		t.Fatalf("%v\n%s\n%v", err, out, s.Problems())
	}
	dhcptest.Wants(t, out, "new_ip6_address=2001:db8:2::99")
	client.Stop("eth0")
}

// dhcpcd accepts to be told of changes: it renumbers at once.
func TestKernelReconfigure(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhcpcd", "timeout")
	l := newLab(t)
	dev := fmt.Sprintf("r%d", os.Getpid())
	l.link("net0", dev, vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 9})
	svc := service(subnet("2001:db8:1::/64"))
	svc.Link = "net0"
	s := l.server()
	s.SetNetwork(svc)
	events := l.dhcpcd(dev, "option dhcp6_reconfigure_accept\n")
	has := func(what string) {
		t.Helper()
		netnstest.Eventually(t, 15*time.Second, what, func() error {
			got, _ := os.ReadFile(events)
			if !strings.Contains(string(got), what) {
				log, _ := os.ReadFile(filepath.Join(l.dir, "log"))
				return fmt.Errorf("%s\n%s", got, log)
			}
			return nil
		})
	}
	has("ia_addr1=2001:db8:1:")
	old := subnet("2001:db8:1::/64")
	old.Deprecated, old.ValidUntil = true, time.Now().Add(time.Hour)
	svc.Subnets = append(service(subnet("2001:db8:2::/64")).Subnets, old)
	s.SetNetwork(svc) // T1 is half an hour away
	has("=2001:db8:2:")
}
