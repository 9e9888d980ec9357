package uplink

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

var (
	us   = netip.MustParseAddr("fe80::5")
	them = netip.MustParseAddr("fe80::1")
)

// answerPacket is a server's answer on its way to us.
func answerPacket(message []byte) []byte {
	b := append([]byte{0x02, 0x23, 0x02, 0x22, 0, byte(udpSize + len(message)), 0, 0}, message...)
	return makePacket(them, us, protoUDP, 64, b, 6)
}

func TestPackets(t *testing.T) {
	good := answerPacket([]byte("hello"))
	p, err := readPacket(good, protoUDP, false)
	if err != nil || string(p.payload) != "hello" || p.from != them || p.to != us {
		t.Fatalf("%+v %v", p, err)
	}
	if p, err := readPacket(append(bytes.Clone(good), 0, 0, 0), protoUDP, false); err != nil || string(p.payload) != "hello" {
		t.Errorf("with padding: %+v %v", p, err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"short":            func(b []byte) []byte { return b[:39] },
		"cut":              func(b []byte) []byte { return b[:len(b)-1] },
		"IPv4":             func(b []byte) []byte { b[0] = 0x45; return b },
		"TCP":              func(b []byte) []byte { b[6] = 6; return b },
		"a header between": func(b []byte) []byte { b[6] = 0; return b },
		"another port":     func(b []byte) []byte { b[43]++; return b },
		"wrong checksum":   func(b []byte) []byte { b[len(b)-1]++; return b },
		"short UDP":        func(b []byte) []byte { b[45] = 7; return b },
		"long UDP":         func(b []byte) []byte { b[45] = 200; return b },
		"no payload":       func(b []byte) []byte { b[5] = 0; return b },
	} {
		if p, err := readPacket(change(bytes.Clone(good)), protoUDP, false); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	good[len(good)-1]++
	if _, err := readPacket(good, protoUDP, true); err != nil {
		t.Errorf("a checksum that is not there yet: %v", err)
	}
}

// TestSolicitation is judged by another codec.
func TestSolicitation(t *testing.T) {
	b := toRouters(us, []byte{2, 0, 0, 0, 0, 1})
	h, err := ipv6.ParseHeader(b)
	if err != nil || h.HopLimit != 255 || h.Dst.String() != "ff02::2" || h.PayloadLen != 16 {
		t.Fatalf("%v %v", h, err)
	}
	m, err := icmp.ParseMessage(protoICMPv6, b[headerSize:])
	if err != nil || m.Type != ipv6.ICMPTypeRouterSolicitation {
		t.Fatalf("%+v %v", m, err)
	}
	again, err := m.Marshal(icmp.IPv6PseudoHeader(h.Src, h.Dst))
	if err != nil || !bytes.Equal(again, b[headerSize:]) {
		t.Errorf("% x, want % x", b[headerSize:], again)
	}
	if n := len(toRouters(us, nil)); n != headerSize+8 {
		t.Errorf("%d bytes without a MAC", n)
	}
	if got := multicastMAC(allServers); got != [6]byte{0x33, 0x33, 0, 1, 0, 2} {
		t.Errorf("% x", got)
	}
}

// TestFilters runs the filters in a machine of their own; where a frame was
// sent to is the kernel's to say, and left out.
func TestFilters(t *testing.T) {
	ra := func(hopLimit int) []byte {
		return makePacket(them, us, protoICMPv6, hopLimit, []byte{134, 0, 0, 0, 64, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0}, 2)
	}
	for _, tt := range []struct {
		name         string
		packet       []byte
		ra, dhcpKept bool
	}{
		{"advertisement", ra(255), true, false},
		{"from afar", ra(64), false, false},
		{"solicitation", toRouters(us, nil), false, false},
		{"answer", answerPacket([]byte("hello")), false, true},
		{"question", toServers(us, []byte("hello")), false, false},
		{"short", []byte{0x60, 0, 0, 0, 0, 0, protoUDP, 255}, false, false},
	} {
		for what, f := range map[string]struct {
			prog []bpf.Instruction
			want bool
		}{"advertisements": {advertisements(), tt.ra}, "answers": {answers(), tt.dhcpKept}} {
			if _, err := assemble(f.prog); err != nil {
				t.Fatal(err)
			}
			vm, err := bpf.NewVM(f.prog[len(toThisHost):])
			if err != nil {
				t.Fatal(err)
			}
			n, err := vm.Run(tt.packet)
			if err != nil || (n > 0) != f.want {
				t.Errorf("%s of %s: %d %v", what, tt.name, n, err)
			}
		}
	}
}

func FuzzReadPacket(f *testing.F) {
	f.Add(answerPacket([]byte("hello")), true)
	f.Add(toRouters(us, []byte{2, 0, 0, 0, 0, 1}), false)
	f.Fuzz(func(t *testing.T, b []byte, unsummed bool) {
		for _, proto := range []byte{protoUDP, protoICMPv6} {
			if p, err := readPacket(b, proto, unsummed); err == nil && (!p.from.Is6() || !p.to.Is6() || len(p.payload) > len(b)-headerSize) {
				t.Fatalf("%+v", p)
			}
		}
	})
}

func FuzzTables(f *testing.F) {
	f.Add("fe800000000000000000000000000005 02 40 20 80     eth0\n", 2)
	f.Add(" 1: 00000000000000000000000000000000:0222 00000000000000000000000000000000:0000 07\n", 0)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if a := parseLocal(s, n); a.IsValid() && !a.IsLinkLocalUnicast() {
			t.Fatal(a)
		}
		portHolders(s, clientPort)
	})
}

func TestTables(t *testing.T) {
	const table = `00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 80     eth0
fe800000000000000000000000000005 02 40 20 80     eth0
fe800000000000000000000000000006 0a 40 20 c0     eth1
fe800000000000000000000000000007 0b 40 20 88     eth2
`
	for index, want := range map[int]string{2: "fe80::5", 1: "invalid IP", 10: "invalid IP", 11: "invalid IP", 12: "invalid IP"} {
		if got := parseLocal(table, index); got.String() != want {
			t.Errorf("%d: %s, want %s", index, got, want)
		}
	}
	const sockets = "  sl  local_address                         remote_address\n" +
		" 12: 000080FE00000000000000FF05000000:0222 00000000000000000000000000000000:0000 07\n"
	if portHolders(sockets+sockets, 546) != 2 || portHolders(sockets, 547) != 0 || portHolders("", 546) != 0 {
		t.Error("the port")
	}
}

func TestBucket(t *testing.T) {
	b := bucket{rate: 2, burst: 3}
	at := func(now time.Duration, want bool) {
		t.Helper()
		if got := b.take(now); got != want {
			t.Errorf("at %v: %v", now, got)
		}
	}
	for range 3 {
		at(time.Hour, true)
	}
	at(time.Hour, false)
	if got := b.wait(time.Hour); got != 500*time.Millisecond {
		t.Errorf("wait %v", got)
	}
	at(time.Hour+500*time.Millisecond, true)
	at(time.Hour+500*time.Millisecond, false)
	at(time.Minute, false) // a clock that goes back gives nothing
}

func TestSolicitor(t *testing.T) {
	var s solicitor
	if s.due(time.Hour) {
		t.Error("asks before it begins")
	}
	s.begin(0)
	var waits []time.Duration
	now := s.next
	if now >= solicitDelay {
		t.Errorf("first after %v", now)
	}
	for range 14 {
		if !s.due(now) {
			t.Fatalf("not due at %v", now)
		}
		s.sent(now)
		waits = append(waits, s.next-now)
		now = s.next
	}
	least, most := 0.9*solicitInterval.Seconds(), 1.1*solicitInterval.Seconds()
	for i, w := range waits {
		if s := w.Seconds(); s < min(least, 0.9*solicitMost.Seconds()) || s > min(most, 1.1*solicitMost.Seconds()) {
			t.Errorf("wait %d is %v", i, w)
		}
		least, most = 1.9*least, 2.1*most
	}
	if s.heard(); s.due(now) {
		t.Error("asks although a router was heard")
	}
}

// TestTell: bursts are told together, endless changes at a bounded rate, and
// nothing is lost between.
func TestTell(t *testing.T) {
	l := tellable{rate: bucket{rate: tellRate, burst: tellBurst}}
	told, now := 0, time.Hour
	for range 1000 { // 10 seconds of changes
		l.Facts = add(l.Facts, "eth0")
		if ready, _ := l.due(now); ready {
			c := l.take()
			l.Held = add(l.Held, "eth0") // meanwhile
			if told%2 == 0 {
				l.restore(c)
				c = l.take()
			}
			if len(c.Facts) != 1 {
				t.Fatalf("%+v", c)
			}
			l.told()
			told++
		}
		now += 10 * time.Millisecond
	}
	if told < 10 || told > 16 {
		t.Errorf("told %d times", told)
	}
	for range 1000 {
		l.note("eth0", "x")
	}
	if len(l.Notes) != maxNotes {
		t.Errorf("%d notes", len(l.Notes))
	}
	if identity("eth0") == identity("eth1") {
		t.Error("two uplinks with one IAID")
	}
}
