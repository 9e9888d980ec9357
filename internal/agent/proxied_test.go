package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/server/dhcp/dhcptest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// town is a provider's link: a switch with a router that advertises a prefix,
// and a neighbour that lives in it.
type town struct {
	t               *testing.T
	lan, isp, other *netnstest.NS
	h               *host
}

const (
	wanMAC  = "02:00:00:00:99:01"
	distant = "2001:db8:ffff::1" // behind the router
	routers = "2001:db8:1::1"
	someone = "2001:db8:1::aa" // the neighbour
)

// town plugs the host into a switch by its link wan. flags are what the router
// says of the prefix of the link, as radvd.conf has it; "": nothing.
func (h *host) town(flags string) *town {
	h.t.Helper()
	netnstest.NeedCommands(h.t, "radvd", "ping", "ndisc6")
	w := &town{t: h.t, h: h, lan: netnstest.New(h.t, "lan"), isp: netnstest.New(h.t, "isp"), other: netnstest.New(h.t, "nb")}
	w.lan.Run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	w.lan.Run("ip", "link", "set", "br0", "up")
	w.isp.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.forwarding=1")
	w.other.Run("sysctl", "-qw", "net.ipv6.conf.default.autoconf=0")
	for _, end := range []struct {
		ns        *netnstest.NS
		port, dev string
	}{{w.isp, "isp", "cust"}, {w.other, "nb", "eth0"}, {h.ns, "host", "wan"}} {
		netnstest.Veth(w.lan, end.port, end.ns, end.dev)
		w.lan.Run("ip", "link", "set", end.port, "master", "br0")
	}
	h.ns.Run("ip", "link", "set", "wan", "address", wanMAC)
	w.isp.Run("ip", "addr", "add", routers+"/64", "dev", "cust", "nodad")
	w.isp.Run("ip", "addr", "add", distant+"/128", "dev", "lo")
	w.other.Run("ip", "addr", "add", someone+"/64", "dev", "eth0", "nodad")
	if flags != "" {
		conf := filepath.Join(h.t.TempDir(), "radvd.conf")
		text := fmt.Sprintf("interface cust { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:1::/64 { %s }; };", flags)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
		w.isp.Start("radvd", "-n", "-C", conf, "-p", filepath.Join(h.t.TempDir(), "pid"), "-m", "stderr")
	}
	return w
}

// addressOf waits for a guest's address in a prefix.
func addressOf(t *testing.T, guest *netnstest.NS, prefix string) netip.Addr {
	t.Helper()
	has(t, guest, prefix, true)
	for _, f := range strings.Fields(guest.Run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")) {
		if p, err := netip.ParsePrefix(f); err == nil && strings.HasPrefix(f, prefix) {
			return p.Addr()
		}
	}
	t.Fatal("no address in " + prefix)
	return netip.Addr{}
}

// pings waits until somebody is reached, from an address if one is named.
func pings(t *testing.T, from *netnstest.NS, to, source string) {
	t.Helper()
	args := []string{"-6", "-n", "-c", "1", "-W", "1"}
	if source != "" {
		args = append(args, "-I", source)
	}
	netnstest.Eventually(t, 15*time.Second, fmt.Sprintf("%s reaches %s from %q", from.Name, to, source), func() error {
		out, err := from.Try("ping", append(args, to)...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// second puts another network into the store.
func (h *host) second(id string, number int, mode vnet.Egress, prefix string, guests vnet.Guests, change ...func(*vnet.Network)) *vnet.Network {
	n := &vnet.Network{
		Meta: vnet.Meta{ID: vnet.ID(id), Name: id, Project: "p1"}, Bridge: "sx-" + id, Number: number, MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, byte(number)},
		Domain: id + ".internal", IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNone}, IPv6: vnet.FamilyPolicy{Mode: mode},
		Admit: vnet.AdmitAny, LeaseTime: vnet.Duration(vnet.DefaultLease),
	}
	for _, c := range change {
		c(n)
	}
	sub := &vnet.Subnet{Meta: vnet.Meta{ID: vnet.ID(id + "-6")}, Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceProxied,
		Gateway: vnet.GatewayNone, Guests: guests, Primary: true}
	if prefix != "" {
		sub.Prefix = netip.MustParsePrefix(prefix)
	}
	h.store.Put(n, &vnet.Activation{Meta: vnet.Meta{ID: vnet.ID(id + "-a")}, Network: n.ID, Host: "h1", Started: true}, sub)
	return n
}

// TestProxied: guests of two networks live in the /64 of the host's uplink,
// beside the host, the router and a neighbour.
func TestProxied(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string]string{"on-link": "", "not on-link": "AdvOnLink off; "} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			w := h.town(flags + "AdvAutonomous on;")
			if flags != "" { // whoever lives there reaches others by the router
				w.other.Run("ip", "-6", "route", "del", "2001:db8:1::/64", "dev", "eth0")
			}
			h.start()
			web, ref := h.network("web")
			h.await(ref, vnet.StateRunning)
			if as := h.active("web", vnet.EgressProxied); as.Prefix.String() != "2001:db8:1::/64" || as.Uplink != "wan" {
				t.Errorf("%+v", as)
			}
			two := h.second("two", 2, vnet.EgressProxied, "", vnet.GuestsSLAACStateful)
			h.active("two", vnet.EgressProxied)
			g1, g2 := h.guest("g1", web), h.guest("g2", two)
			a1, a2 := addressOf(t, g1, "2001:db8:1:"), addressOf(t, g2, "2001:db8:1:")
			for _, to := range []string{distant, routers, someone} {
				pings(t, g1, to, a1.String())
				pings(t, g2, to, a2.String())
			}
			pings(t, g1, a2.String(), a1.String())
			pings(t, h.ns, a1.String(), "")
			for _, from := range []*netnstest.NS{w.isp, w.other} {
				from.Run("ip", "-6", "neigh", "flush", "dev", map[*netnstest.NS]string{w.isp: "cust", w.other: "eth0"}[from])
				pings(t, from, a1.String(), "")
				pings(t, from, a2.String(), "")
			}
			pings(t, g1, distant, "fd12:3456:789a:1::"+a1.String()[len("2001:db8:1::"):]) // masqueraded
			h.online()
			netnstest.Eventually(t, 5*time.Second, "status", func() error {
				st := h.store.Status(ref, "h1")
				if st.Rung6 != vnet.EgressProxied || !strings.Contains(st.Why6, "2001:db8:1::/64, from the router fe80::") || !strings.Contains(fmt.Sprint(st.Prefixes), "2001:db8:1::/64") {
					return fmt.Errorf("%+v", st)
				}
				return nil
			})
			t.Run("routes", func(t *testing.T) {
				if out := h.ns.Run("ip", "-6", "route", "show", "dev", "sx-web", "proto", "83"); !strings.Contains(out, a1.String()) || strings.Contains(out, "/64") {
					t.Errorf("routes to the gateway link:\n%s", out)
				}
				if out := h.ns.Run("sysctl", "-n", "net.ipv6.conf.wan.proxy_ndp"); strings.TrimSpace(out) != "0" {
					t.Errorf("the kernel proxies as well: %s", out)
				}
			})
			t.Run("another's address is not let out", func(t *testing.T) {
				g1.Run("ip", "addr", "add", a2.String()+"/128", "dev", "eth0", "nodad")
				if out, err := g1.Try("ping", "-6", "-n", "-c", "3", "-i", "0.3", "-W", "1", "-I", a2.String(), distant); err == nil {
					t.Errorf("%s", out)
				}
				g1.Run("ip", "addr", "del", a2.String()+"/128", "dev", "eth0")
				pings(t, w.isp, a2.String(), "")
			})
			t.Run("an address made by hand", func(t *testing.T) {
				g1.Run("ip", "addr", "add", "2001:db8:1::53/128", "dev", "eth0")
				pings(t, g1, distant, "2001:db8:1::53")
				pings(t, w.isp, "2001:db8:1::53", "")
				g1.Run("ip", "addr", "del", "2001:db8:1::53/128", "dev", "eth0")
			})
			t.Run("a neighbour's is not taken", func(t *testing.T) {
				g1.Run("ip", "addr", "add", someone+"/128", "dev", "eth0")
				netnstest.Eventually(t, 10*time.Second, "DAD", func() error {
					if out := g1.Run("ip", "-6", "-o", "addr", "show", "to", someone); !strings.Contains(out, "dadfailed") {
						return errors.New(out)
					}
					return nil
				})
				g1.Run("ip", "addr", "del", someone+"/128", "dev", "eth0")
				pings(t, g2, someone, "")
			})
			t.Run("after a restart", func(t *testing.T) {
				h.stop()
				pings(t, g1, distant, a1.String()) // what is known stays known for a while
				h.start()
				netnstest.Eventually(t, 20*time.Second, "answers", func() error {
					w.isp.Run("ip", "-6", "neigh", "flush", "dev", "cust")
					out, err := w.isp.Try("ping", "-6", "-n", "-c", "1", "-W", "1", a1.String())
					if err != nil {
						return fmt.Errorf("%w: %s", err, out)
					}
					return nil
				})
				pings(t, w.other, a2.String(), "")
			})
		})
	}
}

// TestProxiedPicky: a provider that lets one source MAC through, asks again by
// unicast and forgets its neighbours at once, as hosting providers and access
// points do.
func TestProxiedPicky(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nft")
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	rules := "table netdev picky { chain in { type filter hook ingress device host priority 0; ether saddr != " + wanMAC + " counter drop; }; }"
	if out, err := w.lan.Try("nft", rules); err != nil {
		netnstest.Skip(t, "needs nftables' netdev family: %s", out)
	}
	w.isp.Run("sysctl", "-qw", "net.ipv6.neigh.cust.base_reachable_time_ms=500", "net.ipv6.neigh.cust.delay_first_probe_time=1",
		"net.ipv6.neigh.cust.gc_stale_time=1", "net.ipv6.neigh.cust.retrans_time_ms=300")
	h.start()
	web, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	h.active("web", vnet.EgressProxied)
	g := h.guest("g1", web)
	a := addressOf(t, g, "2001:db8:1:")
	pings(t, g, distant, a.String())
	w.isp.Run("ip", "-6", "neigh", "flush", "dev", "cust")
	pings(t, w.isp, a.String(), "")
	if out, err := g.Try("ping", "-6", "-n", "-c", "30", "-i", "0.2", "-W", "3", "-I", a.String(), distant); err != nil || !strings.Contains(out, " 0% packet loss") {
		t.Errorf("%v: %s", err, out)
	}
	if out := w.lan.Run("nft", "list", "chain", "netdev", "picky", "in"); !strings.Contains(out, "counter packets 0 ") {
		t.Errorf("frames came from another MAC:\n%s", out)
	}
	h.online()
}

// TestProxiedPart: by name a part of the uplink's prefix is shared that is
// longer than a /64, with addresses that DHCPv6 gives or that are made by hand.
func TestProxiedPart(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := h.town("")
	h.ns.Run("sh", "-c", "ip addr add 2001:db8:1::2/64 dev wan nodad; ip -6 route add default via "+routers+" dev wan")
	h.start()
	_, auto := h.network("web")
	h.await(auto, vnet.StateRunning)
	n := h.second("part", 2, vnet.EgressProxied, "2001:db8:1:0:5::/80", vnet.GuestsStateful)
	if as := h.active("part", vnet.EgressProxied); as.Prefix.String() != "2001:db8:1:0:5::/80" {
		t.Errorf("%+v", as)
	}
	netnstest.Eventually(t, 15*time.Second, "auto stays below what is not advertised", func() error {
		if st := h.store.Status(auto, "h1"); st.Rung6 != vnet.EgressNAT66 || !strings.Contains(st.Why6, "ipv6=proxied shares it by name") {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	g := h.guest("g1", n)
	byHand := "2001:db8:1:0:5::9"
	netnstest.Eventually(t, 15*time.Second, "a default route", func() error {
		if out := g.Run("ip", "-6", "route", "show", "default"); !strings.Contains(out, "fe80::") {
			return errors.New(out)
		}
		return nil
	})
	g.Run("ip", "addr", "add", byHand+"/128", "dev", "eth0")
	for _, to := range []string{distant, someone, routers} {
		pings(t, g, to, byHand)
	}
	pings(t, w.isp, byHand, "")
	pings(t, w.other, byHand, "")
	h.online()
}

// TestProxiedContested: an address that a neighbour had before is not a
// guest's, however the guest came by it: the host goes on to reach the
// neighbour. When the neighbour gives it up, the guest has it.
func TestProxiedContested(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	h.start()
	web, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	h.active("web", vnet.EgressProxied)
	g := h.guest("g1", web)
	addressOf(t, g, "2001:db8:1:")
	pings(t, h.ns, someone, "")
	g.Run("ip", "addr", "add", someone+"/128", "dev", "eth0", "nodad")
	netnstest.Eventually(t, 15*time.Second, "the guest is heard with it", func() error {
		_, _ = g.Try("ndisc6", "-1", "-r", "1", "-w", "100", "-s", someone, "fe80::5054:ff:fe00:1", "eth0")
		for _, o := range h.store.All(vnet.KindLease) {
			if o.(*vnet.Lease).Address.String() == someone {
				return nil
			}
		}
		return errors.New("no lease")
	})
	route := func() string { return h.ns.Run("ip", "-6", "route", "show", someone+"/128", "proto", "83") }
	netnstest.Eventually(t, 15*time.Second, "the host reaches the neighbour", func() error {
		if out := route(); out != "" {
			return errors.New(out)
		}
		out, err := h.ns.Try("ping", "-6", "-n", "-c", "1", "-W", "1", someone)
		if err == nil && !strings.Contains(h.ns.Run("ip", "-6", "neigh", "show", "to", someone), "dev wan lladdr") {
			err = errors.New(out)
		}
		return err
	})
	pings(t, w.isp, someone, "")
	w.other.Run("ip", "addr", "del", someone+"/64", "dev", "eth0")
	netnstest.Eventually(t, 30*time.Second, "the guest has it", func() error {
		// Its guest says that it is still there, as kernels do now and then.
		_, _ = g.Try("ndisc6", "-1", "-r", "1", "-w", "100", "-s", someone, "fe80::5054:ff:fe00:1", "eth0")
		if route() == "" {
			return errors.New("no route")
		}
		return nil
	})
	pings(t, w.isp, someone, "")
	h.online()
}

// TestProxiedServed: in a shared prefix DHCPv6 gives addresses that work at
// once, and the resolver is the gateway's link-local address. The outside
// begins nothing but echo, unless the network is open.
func TestProxiedServed(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dig", "busybox", "curl")
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	h.start()
	n := h.second("part", 2, vnet.EgressProxied, "2001:db8:1:0:5::/112", vnet.GuestsStateful)
	h.active("part", vnet.EgressProxied)
	g := h.guest("g1", n)
	gateway := "fe80::5054:ff:fe00:2"
	netnstest.Eventually(t, 10*time.Second, "a link-local address", func() error {
		if out := g.Run("ip", "-6", "address", "show", "dev", "eth0", "scope", "link", "-tentative"); !strings.Contains(out, "fe80:") {
			return errors.New(out)
		}
		return nil
	})
	netnstest.Eventually(t, 15*time.Second, "a default route", func() error {
		if out := g.Run("ip", "-6", "route", "show", "default"); !strings.Contains(out, "via "+gateway) {
			return errors.New(out)
		}
		return nil
	})
	d := &dhcptest.Dhclient{T: t, Guest: g, Dir: t.TempDir(), Args: []string{"-6"},
		OnEvent: `[ -z "$new_ip6_address" ] || ip -6 addr add "$new_ip6_address/128" dev "$interface"`}
	out, err := d.Run("eth0")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer d.Stop("eth0")
	dhcptest.Wants(t, out, "new_dhcp6_name_servers="+gateway)
	a := addressOf(t, g, "2001:db8:1:0:5:")
	for _, to := range []string{distant, someone} {
		pings(t, g, to, a.String())
	}
	pings(t, w.other, a.String(), "")
	netnstest.Eventually(t, 10*time.Second, "its name", func() error {
		if out, err := g.Try("dig", "+short", "+time=1", "+tries=1", "@"+gateway+"%eth0", "AAAA", "g1.part.internal"); err != nil || strings.TrimSpace(out) != a.String() {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	g.Start("busybox", "httpd", "-f", "-p", "[::]:8080", "-h", d.Dir)
	url := "http://[" + a.String() + "]:8080/"
	netnstest.Eventually(t, 10*time.Second, "the guest serves", func() error {
		_, err := g.Try("curl", "-gs", "-m", "1", url)
		return err
	})
	if out, err := w.other.Try("curl", "-gs", "-m", "2", url); err == nil {
		t.Errorf("the outside gets in: %s", out)
	}
	open := *n
	open.IPv6.Inbound = vnet.InboundOpen
	h.store.Put(&open)
	netnstest.Eventually(t, 15*time.Second, "the network is open", func() error {
		out, err := w.other.Try("curl", "-gs", "-m", "1", url)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	h.online()
}

// TestProxiedRouter: the gateway is in a namespace of its own, and the guest in
// the prefix of the host's uplink all the same.
func TestProxiedRouter(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	h.store.Put(&vnet.Router{Meta: vnet.Meta{ID: "edge0002", Name: "edge", Project: "p1"}, Netns: fmt.Sprintf("sextant-prox%d", os.Getpid()), Number: 1})
	h.start()
	n := h.second("web", 3, vnet.EgressProxied, "", vnet.GuestsSLAAC, func(n *vnet.Network) { n.Router = "edge0002" })
	t.Cleanup(func() { // the namespace goes with its last network
		h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "web-a"}, Network: n.ID, Host: "h1"})
		h.await(vnet.RefOf(n), vnet.StateStopped)
	})
	h.active("web", vnet.EgressProxied)
	g := h.guest("g1", n)
	a := addressOf(t, g, "2001:db8:1:")
	for _, to := range []string{distant, someone, routers} {
		pings(t, g, to, a.String())
	}
	for _, from := range []*netnstest.NS{w.isp, w.other, h.ns} {
		pings(t, from, a.String(), "")
	}
	// One of which it says nothing is found when it sends from there.
	g.Run("ip", "-6", "neigh", "replace", "fe80::5054:ff:fe00:3", "lladdr", n.MAC.String(), "dev", "eth0", "nud", "permanent")
	g.Run("ip", "addr", "add", "2001:db8:1::71/128", "dev", "eth0", "nodad")
	pings(t, g, distant, "2001:db8:1::71")
	h.online()
}

// TestProxiedTaken: DHCPv6 gives no address that a neighbour has, of whom
// nothing was heard before.
func TestProxiedTaken(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient")
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	for _, a := range []string{"::10", "::11", "::13"} {
		w.other.Run("ip", "addr", "add", "2001:db8:1:0:5"+a+"/128", "dev", "eth0", "nodad")
	}
	h.start()
	n := h.second("part", 2, vnet.EgressProxied, "2001:db8:1:0:5::/112", vnet.GuestsStateful)
	sub := *h.store.All(vnet.KindSubnet)[0].(*vnet.Subnet)
	sub.Ranges = []vnet.Range{{First: netip.MustParseAddr("2001:db8:1:0:5::10"), Last: netip.MustParseAddr("2001:db8:1:0:5::13")}}
	h.store.Put(&sub)
	h.active("part", vnet.EgressProxied)
	g := h.guest("g1", n)
	netnstest.Eventually(t, 10*time.Second, "a link-local address", func() error {
		if out := g.Run("ip", "-6", "address", "show", "dev", "eth0", "scope", "link", "-tentative"); !strings.Contains(out, "fe80:") {
			return errors.New(out)
		}
		return nil
	})
	d := &dhcptest.Dhclient{T: t, Guest: g, Dir: t.TempDir(), Args: []string{"-6"}}
	out, err := d.Run("eth0")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer d.Stop("eth0")
	dhcptest.Wants(t, out, "new_ip6_address=2001:db8:1:0:5::12")
}
