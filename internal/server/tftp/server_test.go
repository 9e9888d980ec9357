package tftp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestLoss gets a file over a path that loses every ninth packet in either
// direction and doubles others, with and without windows.
func TestLoss(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	want := noise(40*512 + 9)
	l.write("f", want)
	for _, options := range [][]string{nil, {"windowsize", "4"}} {
		c := l.dial("")
		defer c.Close()
		send(t, c, gate4, rrq("f", "octet", options...))
		got, err := fetch(c, 9, len(options) > 0)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %v, %d bytes of %d", options, err, len(got), len(want))
		}
	}
}

// fetch receives a file as a client does that loses one of so many packets. It
// never asks again by itself: whatever is lost, the server has to repeat.
func fetch(c *net.UDPConn, loses int, window bool) ([]byte, error) {
	var out []byte
	buf, next, packets, run := make([]byte, 2000), uint16(1), 0, 0
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Second))
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return out, err
		}
		if packets++; packets%loses == 0 {
			continue
		}
		b := buf[:n]
		switch op := binary.BigEndian.Uint16(b); {
		case op == opOACK:
			ack(c, from, 0)
			continue
		case op != opData:
			return out, fmt.Errorf("%s", describe(b))
		}
		block := binary.BigEndian.Uint16(b[2:])
		if block != next {
			if !window || run != 0 {
				run = 0
				ack(c, from, next-1)
			}
			continue
		}
		out, next, run = append(out, b[4:]...), next+1, run+1
		end := n < 4+512
		if !window || run == 4 || end {
			run = 0
			ack(c, from, block)
			if packets%3 == 0 {
				ack(c, from, block)
			}
		}
		if end {
			return out, nil
		}
	}
}

func ack(c *net.UDPConn, to netip.AddrPort, block uint16) {
	_, _ = c.WriteToUDPAddrPort(binary.BigEndian.AppendUint16([]byte{0, opAck}, block), to)
}

// count returns how many transfers are under way.
func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.talks.by)
}

func (s *Server) eventually(t *testing.T, what string, n int) {
	t.Helper()
	netnstest.Eventually(t, 10*time.Second, what, func() error {
		if got := s.count(); got != n {
			return fmt.Errorf("%d transfers, want %d", got, n)
		}
		return nil
	})
}

// TestRequestTwice: a request that comes twice is one transfer; one that a
// client sends from the same port after it began another is a new one.
func TestRequestTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	l.write("a", noise(2000))
	l.write("b", []byte("b"))
	c := l.dial("")
	defer c.Close()
	send(t, c, gate4, rrq("a", "octet", "timeout", "60"))
	send(t, c, gate4, rrq("a", "octet", "timeout", "60"))
	buf := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || describe(buf[:n]) != "oack timeout 60 " || from.Port() == wellKnown || from.Addr().Unmap().String() != gate4 {
		t.Fatalf("%v from %v: %v", describe(buf[:n]), from, err)
	}
	if got := s.count(); got != 1 {
		t.Errorf("%d transfers", got)
	}
	// Only the client is heard (RFC 1350 section 4: its port is its name).
	other := l.dial("")
	defer other.Close()
	ack(other, from, 0)
	ack(c, from, 0)
	n, again, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || again != from || n != 516 || buf[3] != 1 {
		t.Fatalf("%v from %v: %v", buf[:4], again, err)
	}
	send(t, c, gate4, rrq("b", "octet"))
	n, again, err = c.ReadFromUDPAddrPort(buf)
	if err != nil || again == from || describe(buf[:n]) != "data b" {
		t.Errorf("%v from %v: %v", describe(buf[:n]), again, err)
	}
	ack(c, again, 1)
	s.eventually(t, "the end", 0)
}

// TestClientEnds: an ERROR of the client ends the transfer at once, as ROMs do
// that only want to know the size.
func TestClientEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	l.write("a", noise(2000))
	c := l.dial("")
	defer c.Close()
	send(t, c, gate6, rrq("a", "octet", "tsize", "0"))
	buf := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || describe(buf[:n]) != "oack tsize 2000 " {
		t.Fatalf("%v: %v", describe(buf[:n]), err)
	}
	_, _ = c.WriteToUDPAddrPort([]byte("\x00\x05\x00\x08enough\x00"), from)
	s.eventually(t, "the end", 0)
}

// TestLimits: one client has only so many transfers, and another one is served
// all the same; the network's end ends them all.
func TestLimits(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	l.write("a", noise(2000))
	for range mostOfClient + 5 {
		c := l.dial("192.0.2.9")
		defer c.Close()
		send(t, c, gate4, rrq("a", "octet", "timeout", "60"))
	}
	if got := l.ask(gate6, "", rrq("a", "octet", "timeout", "60"), ""); got != "oack timeout 60 " {
		t.Errorf("another client: %s", got)
	}
	if got := s.count(); got != mostOfClient+1 {
		t.Errorf("%d transfers, want %d", got, mostOfClient+1)
	}
	s.RemoveNetwork("net")
	s.eventually(t, "no transfers", 0)
}

func TestTalks(t *testing.T) {
	ts := newTalks()
	key := func(network string, host, port int) talkKey {
		return talkKey{vnet.ID(network), netip.Addr{}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), uint16(port))}
	}
	now := time.Hour
	for i := range mostOfNetwork {
		if ts.begin(key("a", i, 1), "", now) == nil {
			t.Fatalf("transfer %d", i)
		}
	}
	if ts.begin(key("a", 999, 1), "", now+stalled-1) != nil {
		t.Error("a network has more than it may")
	}
	first := ts.by[key("a", 7, 1)]
	for _, o := range ts.networks["a"] {
		if o != first {
			o.moved.Store(int64(now + time.Second))
		}
	}
	if ts.begin(key("a", 999, 1), "", now+stalled) == nil || !first.over || ts.by[first.key] != nil {
		t.Error("the transfer that stands still does not make room")
	}
	for i := range mostTalks {
		ts.begin(key(fmt.Sprint("n", i/100), i, 1), "", now+time.Second)
	}
	if len(ts.by) != mostTalks {
		t.Errorf("%d transfers, want %d", len(ts.by), mostTalks)
	}
	for _, o := range ts.by {
		ts.remove(o)
		ts.remove(o)
	}
	if len(ts.by)+len(ts.clients)+len(ts.networks) != 0 {
		t.Errorf("left over: %v", ts)
	}
}

func (s *Server) problem(t *testing.T, want string) {
	t.Helper()
	netnstest.Eventually(t, 15*time.Second, "problem "+want, func() error {
		var got []string
		for _, p := range s.Problems()["net"] {
			got = append(got, string(p.Kind)+": "+p.Msg)
		}
		if s := strings.Join(got, "; "); !strings.Contains(s, want) || want == "" && s != "" {
			return fmt.Errorf("%q", s)
		}
		return nil
	})
}

// TestProblems: a root that is not there, and a port that somebody has, are
// said, and taken back when they are mended.
func TestProblems(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	svc := l.service()
	svc.Boot.Root = filepath.Join(l.dir, "later")
	other := l.routerHas(gate4)
	s.SetNetwork(svc)
	s.problem(t, "host: the boot files in "+svc.Boot.Root+" cannot be read: no such file or directory; in-use: port 69 of 192.0.2.1 is taken by ")
	if got := l.ask(gate6, "", rrq("f", "octet"), ""); got != "error 0" {
		t.Errorf("without a root: %s", got)
	}
	l.write("later/f", []byte("content"))
	_ = other.Close()
	s.problem(t, "")
	for _, gate := range []string{gate4, gate6} {
		if got := l.ask(gate, "", rrq("f", "octet"), ""); got != "data content" {
			t.Errorf("%s: %s", gate, got)
		}
	}
	if err := os.WriteFile(filepath.Join(l.dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	svc.Boot.Root = filepath.Join(l.dir, "file")
	s.SetNetwork(svc)
	s.problem(t, "not a directory")
	svc.Boot.Root = l.dir
	bare := svc
	bare.Subnets = slices.Clone(svc.Subnets[:1])
	bare.Subnets[0].Gateway = netip.Addr{}
	s.SetNetwork(bare)
	s.problem(t, "no gateway address here")
	svc.Boot.Root = ""
	s.SetNetwork(svc)
	s.problem(t, "")
	// The port is free again.
	_ = l.routerHas(gate6).Close()
}

// routerHas opens the port at a gateway address.
func (l *lab) routerHas(gate string) *net.UDPConn {
	l.t.Helper()
	var c *net.UDPConn
	err := l.router.Do(func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(gate), Port: wellKnown})
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// TestLinkLocal: a gateway that is a link-local address waits for its link, and
// answers guests of that link; guests need no other address than a link-local
// one.
func TestLinkLocal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	svc := l.service()
	svc.Link = "br1"
	svc.Subnets = svc.Subnets[1:]
	svc.Subnets[0].Gateway = netip.MustParseAddr("fe80::1")
	l.write("f", []byte("content"))
	s.SetNetwork(svc)
	s.problem(t, "wait for the link br1")
	l.router.Run("ip", "link", "set", "br0", "name", "br1")
	l.router.Run("ip", "addr", "add", "fe80::1/64", "dev", "br1", "nodad")
	s.problem(t, "")
	netnstest.Eventually(t, 5*time.Second, "a link-local address of the guest", func() error {
		_, err := l.guest.Try("sh", "-c", "ip -6 -o addr show dev eth0 scope link -tentative | grep -q fe80")
		return err
	})
	// By number: names are those of the test's own namespace.
	index := strings.TrimSpace(l.guest.Run("cat", "/sys/class/net/eth0/ifindex"))
	if got := l.ask("fe80::1%"+index, "", rrq("f", "octet"), ""); got != "data content" {
		t.Errorf("%s", got)
	}
	// A guest that has a link-local address only asks the other gateway.
	svc.Subnets[0].Gateway = netip.MustParseAddr(gate6)
	s.SetNetwork(svc)
	own := strings.Fields(l.guest.Run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link"))[3]
	own, _, _ = strings.Cut(own, "/")
	if got := l.ask(gate6, own+"%"+index, rrq("f", "octet"), ""); got != "data content" {
		t.Errorf("from %s: %s", own, got)
	}
}
