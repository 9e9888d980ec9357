package agent_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// internet plugs the host into a network that has IPv4 only, and a name server.
func (h *host) internet() *netnstest.NS {
	h.t.Helper()
	netnstest.NeedCommands(h.t, "dnsmasq", "dig", "ping")
	ns := netnstest.New(h.t, "inet")
	netnstest.Veth(h.ns, "wan4", ns, "cust")
	ns.Run("sh", "-c", `set -e
ip addr add 198.51.100.1/24 dev cust; ip addr add 192.0.2.80/32 dev lo; ip link set lo up; ip addr add 10.99.0.5/32 dev lo`)
	h.ns.Run("sh", "-c", "ip addr add 198.51.100.2/24 dev wan4; ip route replace default via 198.51.100.1 dev wan4")
	ns.Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--user=root",
		"--bind-interfaces", "--except-interface=lo", "--listen-address=198.51.100.1", "--host-record=four.example,192.0.2.80",
		"--host-record=both.example,192.0.2.80,2001:db8:f::80", "--host-record=private.example,10.99.0.5", "--local=/example/")
	err := ns.Do(func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:7")
		if err != nil {
			return err
		}
		h.t.Cleanup(func() { l.Close() })
		go serveEcho(l)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return ns
}

// without4 puts a network without IPv4 into the store.
func (h *host) without4(nat64 vnet.NAT64) (*vnet.Network, vnet.Ref) {
	n, ref := h.network("web")
	c := *n
	c.IPv4, c.NAT64 = vnet.FamilyPolicy{Mode: vnet.EgressNone}, nat64
	c.DNS.Forwarders = []vnet.Forwarder{{Server: netip.MustParseAddrPort("198.51.100.1:53")}}
	h.store.Delete(vnet.Ref{Kind: vnet.KindSubnet, ID: "web-4"})
	h.store.Put(&c)
	return &c, ref
}

// looks returns the IPv6 address that a guest finds for a name.
func looks(guest *netnstest.NS, name string) (netip.Addr, error) {
	out, err := guest.Try("dig", "+short", "+time=1", "+tries=1", "AAAA", "@fd12:3456:789a:1::1", name)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(strings.TrimSpace(out))
}

// fetches waits until a guest that has no IPv4 reaches a host that has nothing
// else by its name, over TCP and by ping.
func fetches(t *testing.T, guest *netnstest.NS, name, want string) {
	t.Helper()
	netnstest.Eventually(t, 20*time.Second, name+" is fetched", func() error {
		a, err := looks(guest, name)
		if err != nil {
			return err
		}
		if a.String() != want {
			return fmt.Errorf("%s is %v, want %s", name, a, want)
		}
		c, err := dial(guest, "tcp6", a.String(), 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := ask(c); err != nil {
			return err
		}
		_, err = guest.Try("ping", "-6", "-c1", "-W1", a.String())
		return err
	})
}

// taygaPID is the translator's process.
func (h *host) taygaPID() (int, error) {
	b, err := os.ReadFile(filepath.Join(h.state, "nat64", "tayga.pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.Fields(string(b) + " 0")[0])
	if err == nil {
		err = unix.Kill(pid, 0)
	}
	return pid, err
}

// TestNAT64 is a guest without IPv4 on a host without IPv6: it fetches by name
// from hosts that have IPv4, private ones too, also those whose IPv6 addresses
// are out of reach; over the end of the translator, and of the agent. With the
// network, all of it goes.
func TestNAT64(t *testing.T) {
	netnstest.NeedCommands(t, "tayga")
	h := newHost(t)
	h.internet()
	clean := h.show()
	h.start()
	echoes(t, h.ns, "::1")
	n, ref := h.without4(vnet.NAT64Auto)
	st := h.await(ref, vnet.StateRunning)
	if st.Rung6 != vnet.EgressULA || !strings.Contains(st.Why4, "translator of this host, fd12:3456:789a:fffe::/96") {
		t.Errorf("status %+v", st)
	}
	g := h.guest("g1", n)
	has(t, g, "fd12:3456:789a:1:", true)
	fetches(t, g, "four.example", "fd12:3456:789a:fffe::c000:250")
	fetches(t, g, "both.example", "fd12:3456:789a:fffe::c000:250")
	fetches(t, g, "private.example", "fd12:3456:789a:fffe::a63:5")
	told64(t, g, "fd12:3456:789a:fffe::/96")
	if c, err := dial(g, "tcp6", "fd12:3456:789a:fffe::c633:6402", 600*time.Millisecond); err == nil { // 198.51.100.2
		c.Close()
		t.Error("a service of the host is reached by way of the translator")
	}
	if c, err := dial(h.ns, "tcp6", "fd12:3456:789a:1::1", time.Second); err != nil {
		t.Errorf("that service is not there: %v", err)
	} else {
		c.Close()
	}
	// Another network, which is not to have it, does not.
	off := *n
	off.Meta, off.Number, off.Bridge, off.NAT64, off.MAC[5] = vnet.Meta{ID: "off", Name: "off", Project: "p1"}, 2, "sx-off", vnet.NAT64Off, 2
	h.store.Put(&off, &vnet.Activation{Meta: vnet.Meta{ID: "off-a"}, Network: "off", Host: "h1", Started: true},
		&vnet.Subnet{Meta: vnet.Meta{ID: "off-6"}, Network: "off", Family: vnet.IPv6, Source: vnet.SourceULA,
			Prefix: netip.MustParsePrefix("fd12:3456:789a:2::/64"), Guests: vnet.GuestsSLAACStateful, Primary: true})
	h.await(vnet.RefOf(&off), vnet.StateRunning)
	o := h.guest("g2", &off)
	has(t, o, "fd12:3456:789a:2:", true)
	o.Run("ip", "-6", "route", "replace", "default", "via", "fd12:3456:789a:2::1")
	if c, err := dial(o, "tcp6", "fd12:3456:789a:fffe::c000:250", 600*time.Millisecond); err == nil {
		c.Close()
		t.Error("a network with nat64=off uses the translator")
	}

	pid, err := h.taygaPID()
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	netnstest.Eventually(t, 10*time.Second, "another translator", func() error {
		now, err := h.taygaPID()
		if err == nil && now == pid {
			err = errors.New("still the one that was killed")
		}
		pid = now
		return err
	})
	fetches(t, g, "four.example", "fd12:3456:789a:fffe::c000:250")

	h.stop()
	stream, err := dial(g, "tcp6", "fd12:3456:789a:fffe::c000:250", 2*time.Second)
	if err != nil {
		t.Fatalf("without the agent: %v", err)
	}
	defer stream.Close()
	h.start()
	h.await(ref, vnet.StateRunning)
	fetches(t, g, "four.example", "fd12:3456:789a:fffe::c000:250")
	if now, err := h.taygaPID(); err != nil || now != pid {
		t.Errorf("the translator is another one after a restart: %d, was %d (%v)", now, pid, err)
	}
	if _, err := ask(stream); err != nil {
		t.Errorf("a connection did not outlive the agent's restart: %v", err)
	}

	for _, id := range []vnet.ID{"web", "off"} {
		h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: id + "-a"}, Network: id, Host: "h1"})
	}
	h.await(ref, vnet.StateStopped)
	h.await(vnet.RefOf(&off), vnet.StateStopped)
	netnstest.Eventually(t, 10*time.Second, "nothing is left", func() error {
		if err := unix.Kill(pid, 0); err == nil {
			return errors.New("the translator runs")
		}
		if _, err := os.Stat(filepath.Join(h.state, "nat64")); err == nil {
			return errors.New("its directory is there")
		}
		if now := h.show(); now != clean {
			return fmt.Errorf("have\n%s\nwant\n%s", now, clean)
		}
		return nil
	})
}

// TestNAT64Without: where no translator is installed, the status says what to
// do, and guests are not told of any; once it is there it runs.
func TestNAT64Without(t *testing.T) {
	netnstest.NeedCommands(t, "tayga")
	path := os.Getenv("PATH")
	h := newHost(t)
	h.internet()
	h.start()
	// From here on only nft and what it needs is installed.
	bin := t.TempDir()
	for _, name := range []string{"nft", "ip", "sh", "dig", "ping", "nsenter", "sysctl"} {
		for _, dir := range filepath.SplitList(path) {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				if err := os.Symlink(filepath.Join(dir, name), filepath.Join(bin, name)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	t.Setenv("PATH", bin)
	n, ref := h.without4(vnet.NAT64Auto)
	st := h.await(ref, vnet.StateDegraded)
	if len(st.Problems) != 1 || st.Problems[0].Field != "nat64" || !strings.Contains(st.Problems[0].Hint, "apt install tayga") {
		t.Errorf("problems %+v, want one of nat64 with a hint", st.Problems)
	}
	g := h.guest("g1", n)
	has(t, g, "fd12:3456:789a:1:", true)
	if a, err := looks(g, "four.example"); err == nil {
		t.Errorf("an address is made that leads nowhere: %v", a)
	}
	t.Setenv("PATH", path)
	h.await(ref, vnet.StateRunning)
	fetches(t, g, "four.example", "fd12:3456:789a:fffe::c000:250")
	h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "web-a"}, Network: "web", Host: "h1"})
	h.await(ref, vnet.StateStopped)
}

// TestNAT64Upstream: the translator that a router on the uplink names (RFC
// 8781) is preferred to our own.
func TestNAT64Upstream(t *testing.T) {
	h := newHost(t)
	h.internet()
	p := h.provider("wan")
	h.start()
	n, ref := h.without4("")
	h.await(ref, vnet.StateRunning)
	netnstest.Eventually(t, 20*time.Second, "the provider's translator is used", func() error {
		if err := p.advertise("2001:db8:64::/96"); err != nil {
			return err
		}
		if st := h.store.Status(ref, "h1"); !strings.Contains(st.Why4, "provider's translator, 2001:db8:64::/96") {
			return errors.New(st.Why4)
		}
		return nil
	})
	if _, err := h.ns.Try("ip", "link", "show", "sextant64"); err == nil {
		t.Error("our own translator runs beside the provider's")
	}
	g := h.guest("g1", n)
	has(t, g, "fd12:3456:789a:1:", true)
	p.translates("2001:db8:64::/96")
	fetches(t, g, "four.example", "2001:db8:64::c000:250")
	told64(t, g, "2001:db8:64::/96")
}

// translates runs a translator at the provider's, and an IPv4 host behind it.
func (p *provider) translates(prefix string) {
	p.t.Helper()
	netnstest.NeedCommands(p.t, "tayga")
	conf := filepath.Join(p.dir, "tayga.conf")
	text := "tun-device nat64\nipv4-addr 10.200.0.2\nprefix " + prefix + "\ndynamic-pool 10.200.0.128/25\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
	p.Run("tayga", "--mktun", "--config", conf)
	p.Run("sh", "-c", `set -e
sysctl -qw net.ipv4.ip_forward=1; ip link set nat64 up; ip link set lo up
ip addr add 10.200.0.1/24 dev nat64; ip addr add 192.0.2.80/32 dev lo; ip -6 route add `+prefix+` dev nat64`)
	p.Start("tayga", "--nodetach", "--config", conf)
	err := p.Do(func() error {
		l, err := net.Listen("tcp4", "192.0.2.80:7")
		if err == nil {
			p.t.Cleanup(func() { l.Close() })
			go serveEcho(l)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// told64 waits for an advertisement to a guest that names the translator (RFC
// 8781 section 4), as tcpdump has it: type 38, 16 octets, the first 96 bits.
func told64(t *testing.T, guest *netnstest.NS, prefix string) {
	t.Helper()
	netnstest.NeedCommands(t, "tcpdump", "rdisc6", "timeout")
	a := netip.MustParsePrefix(prefix).Addr().As16()
	want := regexp.MustCompile(fmt.Sprintf("2602....%x", a[:12]))
	netnstest.Eventually(t, 20*time.Second, "an advertisement that names "+prefix, func() error {
		out, err := guest.Try("sh", "-c", `(for i in 1 2 3 4; do rdisc6 -1 -w 500 eth0; done) >/dev/null 2>&1 &
timeout 5 tcpdump -nx -c1 -i eth0 'icmp6 and ip6[40]==134' 2>/dev/null; wait`)
		if err != nil {
			return err
		}
		packet := ""
		for line := range strings.Lines(out) {
			if _, hex, ok := strings.Cut(line, ":  "); ok {
				packet += strings.Join(strings.Fields(hex), "")
			}
		}
		if !want.MatchString(packet) {
			return errors.New(out)
		}
		return nil
	})
}

// advertise sends one router advertisement that names a translator.
func (p *provider) advertise(prefix string) error {
	return p.Do(func() error {
		ifi, err := net.InterfaceByName("cust")
		if err != nil {
			return err
		}
		c, _, err := ndp.Listen(ifi, ndp.LinkLocal)
		if err != nil {
			return err
		}
		defer c.Close()
		return c.WriteTo(&ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: 30 * time.Minute,
			Options: []ndp.Option{&ndp.PREF64{Prefix: netip.MustParsePrefix(prefix), Lifetime: 10 * time.Minute}}},
			nil, netip.MustParseAddr("ff02::1"))
	})
}

// TestNAT64Router: guests behind a router's namespace reach IPv4 as well, also
// where the host has no IPv6.
func TestNAT64Router(t *testing.T) {
	netnstest.NeedCommands(t, "tayga")
	h := newHost(t)
	h.internet()
	h.start()
	h.store.Put(&vnet.Router{Meta: vnet.Meta{ID: "edge0000", Name: "edge", Project: "p1"}, Netns: fmt.Sprintf("sextant-edge%d", os.Getpid()), Number: 1})
	n, ref := h.network("web")
	c := *n
	c.Router, c.IPv4 = "edge0000", vnet.FamilyPolicy{Mode: vnet.EgressNone}
	c.DNS.Records = []vnet.NameRecord{{Name: "four", Type: "A", Value: "192.0.2.80"}}
	h.store.Delete(vnet.Ref{Kind: vnet.KindSubnet, ID: "web-4"})
	h.store.Put(&c)
	h.await(ref, vnet.StateRunning)
	g := h.guest("g1", &c)
	has(t, g, "fd12:3456:789a:1:", true)
	fetches(t, g, "four.web.internal", "fd12:3456:789a:fffe::c000:250")
	h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "web-a"}, Network: "web", Host: "h1"})
	h.await(ref, vnet.StateStopped)
}
