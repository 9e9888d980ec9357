package agent_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// given writes the prefixes down that are routed to the host, and routes them.
func (p *provider) given(h *host, prefixes ...string) {
	p.t.Helper()
	policy := &vnet.UplinkPolicy{Meta: vnet.Meta{ID: "policy", Name: p.link}, Host: "h1"}
	for _, s := range prefixes {
		p.Run("ip", "-6", "route", "replace", s, "via", "2001:db8:1::2")
		policy.Prefixes = append(policy.Prefixes, netip.MustParsePrefix(s))
	}
	h.store.Put(policy)
}

// translated puts an nptv6 network with the inside prefix fd12:3456:789a:1::/64
// into the store.
func (h *host) translated(inbound vnet.Inbound) (*vnet.Network, vnet.Ref) {
	n, ref := h.network("web")
	c := *n
	c.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressNPTv6, Inbound: inbound}
	h.store.Put(&c)
	return &c, ref
}

// still gives a guest an address of its own, as a careful operator does.
func still(t *testing.T, guest *netnstest.NS, id string) {
	t.Helper()
	guest.Run("sh", "-c", `sysctl -qw net.ipv6.conf.eth0.accept_ra=0; ip link set eth0 up
ip addr replace fd12:3456:789a:1::`+id+`/64 dev eth0 nodad; ip -6 route replace default via fd12:3456:789a:1::1`)
}

// echoes listens for TCP, and for UDP at an address, and answers every line
// with the address that it came from.
func echoes(t *testing.T, ns *netnstest.NS, at string) {
	t.Helper()
	err := ns.Do(func() error {
		l, err := net.Listen("tcp6", "[::]:7")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go serveEcho(l)
		u, err := net.ListenPacket("udp6", net.JoinHostPort(at, "7"))
		if err != nil {
			return err
		}
		t.Cleanup(func() { u.Close() })
		go func() {
			for b := make([]byte, 1500); ; {
				_, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = u.WriteTo([]byte(netip.MustParseAddrPort(from.String()).Addr().String()+"\n"), from)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// serveEcho answers every line with the address that it came from.
func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for r := bufio.NewReader(c); ; {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				fmt.Fprintln(c, netip.MustParseAddrPort(c.RemoteAddr().String()).Addr())
			}
		}()
	}
}

// dial opens a connection from a namespace.
func dial(ns *netnstest.NS, network, to string, limit time.Duration) (c net.Conn, err error) {
	err = ns.Do(func() error {
		c, err = net.DialTimeout(network, net.JoinHostPort(to, "7"), limit)
		return err
	})
	return c, err
}

// ask sends a line and returns the answer: who the other side thinks we are.
func ask(c net.Conn) (string, error) {
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		return "", err
	}
	s, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(s), err
}

// seenAs waits until who is asked sees the asker as want.
func seenAs(t *testing.T, ns *netnstest.NS, network, to, want string) {
	t.Helper()
	netnstest.Eventually(t, 10*time.Second, fmt.Sprintf("%s over %s is seen as %s", to, network, want), func() error {
		c, err := dial(ns, network, to, 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		got, err := ask(c)
		if err == nil && got != want {
			err = errors.New("seen as " + got)
		}
		return err
	})
}

// TestNPTv6: a guest of a network with a stable prefix is seen outside in the
// prefix of the uplink with the same interface identifier, in both directions;
// when that prefix changes, so does what it is seen as, at once, and its own
// addresses do not.
func TestNPTv6(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "nft", "ping")
	const outside = "2001:db8:ffff::1"
	h := newHost(t)
	p := h.provider("wan")
	p.given(h, "2001:db8:100::/56")
	h.start()
	n, ref := h.translated("")
	h.await(ref, vnet.StateRunning)
	if as := h.active("web", vnet.EgressNPTv6); as.Prefix.String() != "2001:db8:100:1::/64" {
		t.Errorf("%+v", as)
	}
	st := h.await(ref, vnet.StateRunning)
	if !strings.Contains(st.Why6, "fd12:3456:789a:1::/64 is 2001:db8:100:1::/64 outside") || st.Rung6 != vnet.EgressNPTv6 {
		t.Errorf("status %+v", st)
	}
	g, other := h.guest("g1", n), h.guest("g2", n)
	still(t, g, "10")
	still(t, other, "20")
	echoes(t, p.NS, outside)
	echoes(t, g, "fd12:3456:789a:1::10")
	h.online()

	seenAs(t, g, "tcp6", outside, "2001:db8:100:1::10")
	seenAs(t, g, "udp6", outside, "2001:db8:100:1::10")
	p.Run("ping", "-6", "-c1", "-W2", "2001:db8:100:1::10") // RFC 4890 section 4.3.1
	if c, err := dial(p.NS, "tcp6", "2001:db8:100:1::10", 600*time.Millisecond); err == nil {
		c.Close()
		t.Error("the outside reached a guest though inbound is closed")
	}
	h.translated(vnet.InboundOpen)
	seenAs(t, p.NS, "tcp6", "2001:db8:100:1::10", "2001:db8:1::1")
	seenAs(t, other, "tcp6", "fd12:3456:789a:1::10", "fd12:3456:789a:1::20")
	seenAs(t, other, "tcp6", "2001:db8:100:1::10", "2001:db8:100:1::20") // by the outside address, and back the same way

	stream, err := dial(g, "tcp6", outside, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	packets, err := dial(g, "udp6", outside, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for _, c := range []net.Conn{stream, packets} {
		if got, err := ask(c); err != nil || got != "2001:db8:100:1::10" {
			t.Fatalf("%s: %q, %v", c.LocalAddr().Network(), got, err)
		}
	}
	before := g.Run("sh", "-c", "ip -6 -o addr show dev eth0 scope global 2>/dev/null | grep -o 'inet6 [^ ]*'")
	p.Run("ip", "-6", "route", "del", "2001:db8:100::/56")
	p.given(h, "2001:db8:200::/56")
	seenAs(t, g, "tcp6", outside, "2001:db8:200:1::10")
	seenAs(t, p.NS, "tcp6", "2001:db8:200:1::10", "2001:db8:1::1")
	netnstest.Eventually(t, 5*time.Second, "what was begun over UDP goes on by the new prefix", func() error {
		got, err := ask(packets)
		if err == nil && got != "2001:db8:200:1::10" {
			err = errors.New("seen as " + got)
		}
		return err
	})
	if _, err := ask(stream); err == nil || errors.Is(err, io.EOF) || isTimeout(err) {
		t.Errorf("what was begun over TCP is not reset: %v", err)
	}
	if after := g.Run("sh", "-c", "ip -6 -o addr show dev eth0 scope global 2>/dev/null | grep -o 'inet6 [^ ]*'"); after != before {
		t.Errorf("the guest's addresses changed:\n%s\nwere\n%s", after, before)
	}
	h.online()

	translation := func() (out string) {
		for _, set := range []string{"map inet sextant outside6", "map inet sextant inside6", "set inet sextant cut-outside6"} {
			out += h.ns.Run("nft", append([]string{"list"}, strings.Fields(set)...)...)
		}
		return out
	}
	rules := translation()
	h.stop()
	h.start()
	h.await(ref, vnet.StateRunning)
	seenAs(t, g, "tcp6", outside, "2001:db8:200:1::10")
	// What was kept on disk may be a moment older than what the store says.
	netnstest.Eventually(t, 10*time.Second, "the same translation as before the restart", func() error {
		if now := translation(); now != rules {
			return fmt.Errorf("it is\n%s\nwas\n%s", now, rules)
		}
		return nil
	})
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// TestNPTv6Without: as long as no prefix is there, the status says so, nothing
// leaves with an inside address, and guests are told no default route.
func TestNPTv6Without(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "nft", "tcpdump", "timeout")
	h := newHost(t)
	p := h.provider("wan")
	h.start()
	n, ref := h.translated("")
	st := h.await(ref, vnet.StateDegraded)
	if len(st.Problems) == 0 || st.Problems[0].Field != "ipv6" || !strings.Contains(st.Why6, "no prefix is delegated") {
		t.Errorf("status %+v, want a problem of ipv6", st)
	}
	g := h.guest("g1", n)
	has(t, g, "fd12:3456:789a:1:", true)
	if out := g.Run("ip", "-6", "route", "show", "default"); strings.TrimSpace(out) != "" {
		t.Errorf("the guest has a default route that leads nowhere: %s", out)
	}
	still(t, g, "10")
	if out, err := g.Try("ping", "-6", "-c1", "-W1", "2001:db8:ffff::1"); err == nil {
		t.Errorf("the outside is reached: %s", out)
	}
	p.given(h, "2001:db8:100::/64")
	h.await(ref, vnet.StateRunning)
	echoes(t, p.NS, "2001:db8:ffff::1")
	seenAs(t, g, "tcp6", "2001:db8:ffff::1", "2001:db8:100::10")
}

// TestNPTv6Router: the prefix outside is led into a router's namespace, where
// it is translated.
func TestNPTv6Router(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "nft", "ping")
	h := newHost(t)
	p := h.provider("wan")
	p.given(h, "2001:db8:100::/56")
	h.start()
	h.store.Put(&vnet.Router{Meta: vnet.Meta{ID: "edge0001", Name: "edge", Project: "p1"}, Netns: fmt.Sprintf("sextant-npt%d", os.Getpid()), Number: 1})
	n, ref := h.network("web")
	c := *n
	c.Router, c.IPv6 = "edge0001", vnet.FamilyPolicy{Mode: vnet.EgressNPTv6, Inbound: vnet.InboundOpen}
	h.store.Put(&c)
	h.await(ref, vnet.StateRunning)
	g := h.guest("g1", &c)
	still(t, g, "10")
	echoes(t, p.NS, "2001:db8:ffff::1")
	echoes(t, g, "fd12:3456:789a:1::10")
	seenAs(t, g, "tcp6", "2001:db8:ffff::1", "2001:db8:100:1::10")
	seenAs(t, p.NS, "tcp6", "2001:db8:100:1::10", "2001:db8:1::1")
	h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "web-a"}, Network: "web", Host: "h1"})
	h.await(ref, vnet.StateStopped)
}
