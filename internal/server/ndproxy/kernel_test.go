package ndproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Addresses of the lab beside those of the engine's tests.
var (
	router  = netip.MustParseAddr("2001:db8:1::1")
	distant = netip.MustParseAddr("2001:db8:ff::1") // behind the router
	slaac1  = must(ipam.SLAAC(prefix, guestOne))
	slaac2  = must(ipam.SLAAC(prefix, guestTwo))
)

func must(a netip.Addr, ok bool) netip.Addr {
	if !ok {
		panic("no address")
	}
	return a
}

// lab is a provider's link with its router and a neighbour, and a host on it
// with two networks of one guest each.
type lab struct {
	lan, isp, nb, host, g1, g2 *netnstest.NS
	server                     *Server
	events                     chan Event
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{
		lan: netnstest.New(t, "ndp-lan"), isp: netnstest.New(t, "ndp-isp"), nb: netnstest.New(t, "ndp-nb"),
		host: netnstest.New(t, "ndp-host"), g1: netnstest.New(t, "ndp-g1"), g2: netnstest.New(t, "ndp-g2"),
		events: make(chan Event, 1000),
	}
	l.lan.Run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	l.lan.Run("ip", "link", "set", "br0", "up")
	for _, end := range []struct {
		ns   *netnstest.NS
		port string
		mac  vnet.MAC
	}{{l.isp, "isp", provider}, {l.nb, "nb", neighbour}} {
		end.ns.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_ra=0")
		netnstest.Veth(l.lan, end.port, end.ns, "eth0")
		end.ns.Run("ip", "link", "set", "eth0", "address", end.mac.String())
		l.lan.Run("ip", "link", "set", end.port, "master", "br0")
	}
	l.isp.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	l.isp.Run("ip", "addr", "add", router.String()+"/64", "dev", "eth0", "nodad")
	l.isp.Run("ip", "addr", "add", distant.String()+"/128", "dev", "lo")
	l.nb.Run("ip", "addr", "add", somebody.String()+"/64", "dev", "eth0", "nodad")
	l.nb.Run("ip", "-6", "route", "add", "default", "via", router.String())
	l.host.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0")
	l.uplink()
	l.network("br-a", gatewayA, l.g1, guestOne)
	l.network("br-b", gatewayB, l.g2, guestTwo)
	return l
}

// uplink plugs the host in.
func (l *lab) uplink() {
	netnstest.Veth(l.lan, "host", l.host, "eth0")
	l.lan.Run("ip", "link", "set", "host", "master", "br0")
	l.host.Run("ip", "link", "set", "eth0", "address", hostMAC.String())
	l.host.Run("ip", "addr", "add", own.String()+"/64", "dev", "eth0", "nodad")
	l.host.Run("ip", "-6", "route", "add", "default", "via", router.String())
}

// network makes a bridge with a guest.
func (l *lab) network(bridge string, gateway vnet.MAC, guest *netnstest.NS, mac vnet.MAC) {
	l.host.Run("ip", "link", "add", bridge, "address", gateway.String(), "type", "bridge", "mcast_snooping", "0")
	l.host.Run("ip", "link", "set", bridge, "up")
	port := "p" + bridge
	netnstest.Veth(l.host, port, guest, "eth0")
	guest.Run("ip", "link", "set", "eth0", "address", mac.String())
	l.host.Run("ip", "link", "set", port, "master", bridge)
}

// serve starts the server, and has it know both guests' addresses.
func (l *lab) serve(t testing.TB) {
	t.Helper()
	s, err := New(Config{
		InNS:  func(_ string, f func() error) error { return l.host.Do(f) },
		Links: listen.NewLinks(),
		Event: func(ev Event) { l.events <- ev },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	l.server = s
	s.SetGuest("a", slaac1) // before there is anything to share
	s.Set(wish())
	s.SetGuest("b", slaac2)
	l.route(slaac1, "br-a")
	l.route(slaac2, "br-b")
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems: %v", p)
	}
}

// route is what the agent does for an address it learnt.
func (l *lab) route(a netip.Addr, bridge string) {
	l.host.Run("ip", "-6", "route", "replace", a.String(), "dev", bridge, "proto", "83")
}

// advertise tells the guests of the prefix as the host's router does: A=1, L=0.
func (l *lab) advertise(t testing.TB) {
	t.Helper()
	for bridge, mac := range map[string]vnet.MAC{"br-a": gatewayA, "br-b": gatewayB} {
		ra, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{
			CurrentHopLimit: 64, RouterLifetime: time.Hour,
			Options: []ndp.Option{
				&ndp.PrefixInformation{PrefixLength: 64, AutonomousAddressConfiguration: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour, Prefix: prefix.Addr()},
				&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac[:]},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		b := header(nil, multicastMAC(allNodes), mac, ipam.LinkLocal(mac), allNodes, 0, 0, unspecified, 0)[:etherLen+ipLen]
		b[18], b[19] = 0, byte(len(ra))
		b = sumUp(append(b, ra...), 0)
		if err := l.host.Do(func() error {
			s, err := openPacket()
			if err != nil {
				return err
			}
			defer s.Close()
			index, err := s.find(bridge)
			return errors.Join(err, s.bind(index), s.send(b))
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// slaac waits until both guests have their addresses.
func (l *lab) slaac(t testing.TB) {
	t.Helper()
	netnstest.Eventually(t, 20*time.Second, "SLAAC", func() error {
		l.advertise(t)
		return errors.Join(shows(l.g1, slaac1, "dynamic", true), shows(l.g2, slaac2, "dynamic", true))
	})
}

// shows tells if the kernel shows a usable address with a word, or without.
func shows(ns *netnstest.NS, a netip.Addr, word string, with bool) error {
	out, err := ns.Try("ip", "-6", "-o", "addr", "show", "to", a.String())
	if err != nil || !strings.Contains(out, a.String()) || strings.Contains(out, "tentative") && word != "dadfailed" || strings.Contains(out, word) != with {
		return fmt.Errorf("%s, %q %v: %s%v", a, word, with, out, err)
	}
	return nil
}

// reaches pings, as often as it takes.
func reaches(t testing.TB, from *netnstest.NS, to netip.Addr) {
	t.Helper()
	netnstest.Eventually(t, 15*time.Second, "ping "+to.String(), func() error {
		out, err := from.Try("ping", "-6", "-n", "-c", "1", "-W", "2", to.String())
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// found waits until a kernel outside has found an address at the host's MAC.
func found(t testing.TB, ns *netnstest.NS, a netip.Addr) {
	t.Helper()
	netnstest.Eventually(t, 10*time.Second, "neighbour "+a.String(), func() error {
		_, _ = ns.Try("ping", "-6", "-n", "-c", "1", "-W", "1", a.String())
		if out := ns.Run("ip", "-6", "neigh", "show", "to", a.String(), "dev", "eth0"); !strings.Contains(out, "lladdr "+hostMAC.String()) {
			return errors.New(out)
		}
		return nil
	})
}

func TestKernelBothWays(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ping", "ndisc6")
	l := newLab(t)
	l.serve(t)
	l.slaac(t)
	reaches(t, l.g1, distant)
	reaches(t, l.g2, distant)
	for range 3 { // the provider forgets, and has to ask
		l.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
		reaches(t, l.isp, slaac1)
		reaches(t, l.isp, slaac2)
	}
	found(t, l.isp, slaac1)
	if out, _ := l.isp.Try("ndisc6", "-1", "-r", "1", "-w", "500", nobody.String(), "eth0"); strings.Contains(strings.ToLower(out), hostMAC.String()) {
		t.Errorf("nobody is answered for:\n%s", out)
	}
	t.Run("groups are joined", func(t *testing.T) {
		out := l.host.Run("ip", "-6", "maddr", "show", "dev", "eth0")
		for _, a := range []netip.Addr{slaac1, slaac2} {
			if g := ipam.SolicitedNode(a).String(); !strings.Contains(out, g) {
				t.Errorf("no %s in\n%s", g, out)
			}
		}
	})
	t.Run("an uplink that comes back is followed", func(t *testing.T) {
		l.host.Run("ip", "link", "del", "eth0")
		l.uplink()
		l.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
		reaches(t, l.isp, slaac1)
		reaches(t, l.g1, distant)
	})
	t.Run("a network that comes back is followed", func(t *testing.T) {
		l.server.RemoveGuest("b", slaac2) // to be asked for
		l.host.Run("ip", "link", "del", "br-b")
		l.host.Run("ip", "link", "del", "pbr-b")
		l.network("br-b", gatewayB, l.g2, guestTwo)
		l.route(slaac2, "br-b")
		l.advertiseUntil(t, l.g2, slaac2)
		l.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
		l.learns(t, "b", slaac2)
		reaches(t, l.isp, slaac2)
	})
}

// learns pings an address from outside until its guest is found, and tells of
// it, as the agent does.
func (l *lab) learns(t *testing.T, network vnet.ID, a netip.Addr) {
	t.Helper()
	netnstest.Eventually(t, 15*time.Second, "found", func() error {
		_, _ = l.isp.Try("ping", "-6", "-n", "-c", "1", "-W", "1", a.String())
		for len(l.events) > 0 {
			if ev := <-l.events; ev.Kind == Found && ev.Address == a && ev.Network == network {
				return nil
			}
		}
		return errors.New("no event")
	})
	l.server.SetGuest(network, a)
}

func (l *lab) advertiseUntil(t testing.TB, ns *netnstest.NS, a netip.Addr) {
	t.Helper()
	netnstest.Eventually(t, 20*time.Second, "SLAAC", func() error {
		l.advertise(t)
		return shows(ns, a, "dynamic", true)
	})
}

// TestKernelUnknownGuest has an address that the agent learns by its event.
func TestKernelUnknownGuest(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ping")
	l := newLab(t)
	l.serve(t)
	l.slaac(t)
	l.g1.Run("ip", "addr", "add", nobody.String()+"/128", "dev", "eth0", "nodad")
	l.learns(t, "a", nobody)
	l.route(nobody, "br-a")
	reaches(t, l.isp, nobody)
}

// TestKernelPickyProvider: only the host's MAC may send, and neighbours are
// probed by unicast and forgotten in no time.
func TestKernelPickyProvider(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ping", "nft")
	l := newLab(t)
	rules := "table netdev picky { chain in { type filter hook ingress device host priority 0; ether saddr != " + hostMAC.String() + " counter drop; }; " +
		"chain probes { type filter hook ingress device isp priority 0; ether daddr " + hostMAC.String() + " icmpv6 type nd-neighbor-solicit counter; }; }"
	if out, err := l.lan.Try("nft", "table netdev any { chain in { type filter hook ingress device host priority 0; }; }"); err != nil {
		netnstest.Skip(t, "needs nftables' netdev family: %s", out)
	}
	l.lan.Run("nft", rules)
	l.isp.Run("sysctl", "-qw", "net.ipv6.neigh.eth0.base_reachable_time_ms=500", "net.ipv6.neigh.eth0.delay_first_probe_time=1",
		"net.ipv6.neigh.eth0.gc_stale_time=1", "net.ipv6.neigh.eth0.retrans_time_ms=300")
	l.serve(t)
	l.slaac(t)
	reaches(t, l.g1, distant)
	reaches(t, l.isp, slaac1)
	l.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
	reaches(t, l.isp, slaac1)
	// The provider probes by unicast while it answers: ping itself would confirm
	// its neighbour.
	if out, err := l.g1.Try("ping", "-6", "-n", "-c", "40", "-i", "0.2", "-W", "3", distant.String()); err != nil || !strings.Contains(out, " 0% packet loss") {
		t.Errorf("%v: %s", err, out)
	}
	if out := l.lan.Run("nft", "list", "chain", "netdev", "picky", "in"); !strings.Contains(out, "counter packets 0 ") {
		t.Errorf("frames came from another MAC:\n%s", out)
	}
	if out := l.lan.Run("nft", "list", "chain", "netdev", "picky", "probes"); strings.Contains(out, "counter packets 0 ") {
		t.Errorf("the provider never probed:\n%s", out)
	}
}

// TestKernelNeighbour lives in the same prefix on the uplink's side.
func TestKernelNeighbour(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ping", "ndisc6")
	l := newLab(t)
	l.serve(t)
	l.slaac(t)
	reaches(t, l.nb, slaac1)
	reaches(t, l.g1, somebody)
	reaches(t, l.nb, own)
	netnstest.Eventually(t, 10*time.Second, "the neighbour answers itself", func() error {
		out, err := l.isp.Try("ndisc6", "-m", "-w", "500", somebody.String(), "eth0")
		if !strings.Contains(strings.ToLower(out), neighbour.String()) || strings.Contains(strings.ToLower(out), hostMAC.String()) {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	})
	t.Run("a guest that believes the prefix on-link", func(t *testing.T) {
		l.g1.Run("ip", "-6", "route", "add", prefix.String(), "dev", "eth0", "metric", "1")
		for _, a := range []netip.Addr{somebody, own, slaac2, router} {
			reaches(t, l.g1, a)
		}
		if out := l.g1.Run("ip", "-6", "neigh", "show", "to", somebody.String()); !strings.Contains(out, gatewayA.String()) {
			t.Errorf("the neighbour is at %s", out)
		}
	})
}

func TestKernelDuplicates(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.serve(t)
	l.slaac(t)
	for name, c := range map[string]struct {
		ns *netnstest.NS
		a  netip.Addr
	}{
		"a guest wants a neighbour's":     {l.g1, somebody},
		"a guest wants the router's":      {l.g1, router},
		"a guest wants the host's":        {l.g1, own},
		"a guest wants another network's": {l.g2, slaac1},
		"a neighbour wants a guest's":     {l.nb, slaac1},
		"the provider's wants a guest's":  {l.isp, slaac2},
		"a neighbour wants a neighbour's": {l.isp, somebody},
		"a guest wants what is free":      {l.g2, nth(1)},
		"a neighbour wants what is free":  {l.nb, nth(2)},
	} {
		c.ns.Run("ip", "addr", "add", c.a.String()+"/64", "dev", "eth0")
		netnstest.Eventually(t, 10*time.Second, name, func() error {
			return shows(c.ns, c.a, "dadfailed", !strings.Contains(name, "free"))
		})
	}
	t.Run("of a guest that nobody told of", func(t *testing.T) {
		l.g1.Run("ip", "addr", "add", nobody.String()+"/128", "dev", "eth0", "nodad")
		l.nb.Run("ip", "addr", "add", nobody.String()+"/64", "dev", "eth0")
		netnstest.Eventually(t, 10*time.Second, "DAD", func() error { return shows(l.nb, nobody, "dadfailed", true) })
	})
}

// TestKernelManyGuests has more groups than are joined.
func TestKernelManyGuests(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ping")
	l := newLab(t)
	l.serve(t)
	for n := range 4096 {
		l.server.SetGuest("a", nth(n))
	}
	netnstest.Eventually(t, 10*time.Second, "all multicast", func() error {
		if out := l.host.Run("ip", "-d", "link", "show", "dev", "eth0"); !strings.Contains(out, "allmulti 1") {
			return errors.New(out)
		}
		return nil
	})
	if n := strings.Count(l.host.Run("ip", "-6", "maddr", "show", "dev", "eth0"), "ff02::1:ff"); n < maxGroups || n > maxGroups+8 {
		t.Errorf("%d groups", n)
	}
	found(t, l.isp, nth(4095))
	for n := range 4096 {
		l.server.RemoveGuest("a", nth(n))
	}
	netnstest.Eventually(t, 10*time.Second, "few groups again", func() error {
		out := l.host.Run("ip", "-d", "link", "show", "dev", "eth0") + l.host.Run("ip", "-6", "maddr", "show", "dev", "eth0")
		if strings.Contains(out, "allmulti 1") || strings.Count(out, "ff02::1:ff") > 8 {
			return errors.New(out)
		}
		return nil
	})
}

// send sends a frame at once.
func (s *packetSocket) send(frame []byte) error {
	_, err := unix.Write(s.fd, frame)
	return err
}
