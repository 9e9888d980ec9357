package dhcp4

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// A port that gives itself many MACs is still one: whatever chaddr says, it
// gets its own address, and what another port has stays that port's.
func TestFrameCountsMoreThanChaddr(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "192.0.2.77"))
	f.SetGuest(guest(2, "192.0.2.78"))
	frame := listen.Sender{MAC: mac(1)}
	for _, n := range []int{1, 2, 50, 51} {
		b := msg{kind: discover, mac: mac(n)}.bytes()
		if m, _ := f.receive(listen.Packet{Data: b, From: netip.IPv4Unspecified(), Sender: frame}); m == nil || oaddr(m.YourIPAddr) != ip("192.0.2.77") {
			t.Errorf("chaddr %d in port 1's frame: %v", n, m)
		}
	}
	// One that has no address of its own has a limit, under all its names.
	svc := service()
	svc.DHCP.Limit = 2
	f = newFake(t, svc)
	f.SetGuest(guest(1))
	got := 0
	for n := range 20 {
		b := msg{kind: requestM, mac: mac(100 + n), ciaddr: fmt.Sprintf("192.0.2.%d", 100+n)}.bytes()
		if m, _ := f.receive(listen.Packet{Data: b, From: netip.IPv4Unspecified(), Sender: frame}); m != nil && m.MessageType() == ack {
			got++
		}
	}
	if got != 2 {
		t.Errorf("one port got %d addresses, its limit is 2", got)
	}
	// A frame that is no port's leaves it at chaddr: bridges within guests.
	f.SetGuest(guest(2, "192.0.2.78"))
	b := msg{kind: discover, mac: mac(2)}.bytes()
	if m, _ := f.receive(listen.Packet{Data: b, From: netip.IPv4Unspecified(), Sender: listen.Sender{MAC: mac(99)}}); m == nil || oaddr(m.YourIPAddr) != ip("192.0.2.78") {
		t.Errorf("%v", m)
	}
}

// On the wire: a guest that sends from its own MAC and says many others.
func TestKernelOnePortManyMACs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	no := false
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.199"))
	svc.DHCP.Probe = &no
	s := l.server()
	s.SetNetwork(svc)
	s.SetGuest(plan.Guest{
		Port: "p1", Network: "net", Name: "vm1", MAC: guestMAC, DefaultRoute: true,
		Addresses: []plan.GuestAddress{{Subnet: "192.0.2.0/24", Address: ip("192.0.2.77")}},
	})
	l.guest.Run("ip", "addr", "add", "169.254.7.7/16", "dev", "eth0")
	l.guest.Run("ip", "route", "add", "255.255.255.255", "dev", "eth0")
	var c net.PacketConn
	if err := l.guest.Do(func() (err error) {
		lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) })
		}}
		c, err = lc.ListenPacket(t.Context(), "udp4", ":68")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to, buf := &net.UDPAddr{IP: net.IPv4bcast, Port: serverPort}, make([]byte, maxMessage)
	for n := range 20 {
		b := msg{kind: discover, mac: mac(0x777000 + n), broadcast: true}.bytes()
		netnstest.Eventually(t, 10*time.Second, "offer", func() error {
			if _, err := c.WriteTo(b, to); err != nil {
				return err
			}
			if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			size, _, err := c.ReadFrom(buf)
			if err != nil {
				return err
			}
			if a := addr(buf[offYiaddr:offSiaddr]); size < fixedSize || a != ip("192.0.2.77") {
				t.Errorf("MAC %d was offered %v", n, a)
			}
			return nil
		})
	}
}

// A message whose copy was lost is nobody's: not of the guests whose copies were
// found while it was looked for.
func TestKernelLostCopyIsNobodys(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var s *senders
	if err := l.router.Do(func() (err error) { s, err = openSenders(); return err }); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	l.guest.Run("ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
	var c net.Conn
	if err := l.guest.Do(func() (err error) { c, err = net.Dial("udp4", "192.0.2.1:67"); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other := msg{kind: discover, mac: mac(1)}.bytes()
	lost := msg{kind: discover, mac: mac(2)}.bytes()
	netnstest.Eventually(t, 10*time.Second, "a copy of another message", func() error {
		// Nobody listens on the port: an error may be told here.
		_, _ = c.Write(other)
		if m, ok := s.of(1, lost); ok || m != (vnet.MAC{}) {
			t.Errorf("a lost message is %v's", m)
		}
		if len(s.seen) == 0 {
			return errors.New("nothing was seen")
		}
		return nil
	})
}

// Copies whose messages never come are forgotten, and a copy is used once.
func TestSendersAreBounded(t *testing.T) {
	netnstest.NeedRoot(t)
	ns := netnstest.New(t, "dhcp4-b")
	var s *senders
	if err := ns.Do(func() (err error) { s, err = openSenders(); return err }); err != nil {
		t.Fatal(err)
	}
	b := msg{kind: discover, mac: mac(1)}.bytes()
	k, _ := keyOf(3, b)
	s.seen[k] = mac(9)
	if m, ok := s.of(3, b); !ok || m != mac(9) {
		t.Errorf("%v, %v", m, ok)
	}
	if m, ok := s.of(3, b); ok {
		t.Errorf("used twice: %v", m)
	}
	if _, ok := s.of(3, b[:20]); ok {
		t.Error("a message that is too short has a sender")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, ok := s.of(3, b); ok {
		t.Error("told after the end")
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(append([]byte{0x45, 27: 0}, msg{kind: discover, mac: mac(1)}.bytes()...))
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := payload(b)
		if len(p) > 0 && len(b)-len(p) < 28 {
			t.Errorf("%x: %x", b, p)
		}
		if k, ok := keyOf(1, p); ok && len(p) < offSname-10 && k.mac != (vnet.MAC{}) {
			t.Errorf("%x: %+v", b, k)
		}
	})
}
