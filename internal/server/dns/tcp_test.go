package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// dialTCP opens a connection from the guest's namespace.
func (h *house) dialTCP(t *testing.T) net.Conn {
	t.Helper()
	var conn net.Conn
	if err := h.guest.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", "192.168.150.1:53", 2*time.Second)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	return conn
}

func TestTCP(t *testing.T) {
	h := newHouse(t)
	h.server.SetZone(webZone())
	q, err := new(dns.Msg).SetQuestion("vm1.web.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)

	conn := h.dialTCP(t)
	// Two queries at once, and one in two parts (RFC 7766 section 6.2.1).
	if _, err := conn.Write(append(append([]byte(nil), frame...), frame...)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame[:7]); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(frame[7:]); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b, err := receive(conn, "tcp")
		if err != nil {
			t.Fatal(err)
		}
		if a := new(dns.Msg); a.Unpack(b) != nil || len(a.Answer) != 1 {
			t.Errorf("answer %x", b)
		}
	}
	for name, rubbish := range map[string][]byte{"too long": {0xff, 0xff, 1}, "too short": {0, 3, 1, 2, 3}} {
		c := h.dialTCP(t)
		if _, err := c.Write(rubbish); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}

func TestTCPLimits(t *testing.T) {
	h := newHouse(t)
	h.server.SetZone(webZone())
	open := make([]net.Conn, 0, streamsPerClient+4)
	for range cap(open) {
		open = append(open, h.dialTCP(t))
	}
	netnstest.Eventually(t, 5*time.Second, "some are turned away", func() error {
		h.server.streams.mu.Lock()
		defer h.server.streams.mu.Unlock()
		if n := len(h.server.streams.conns); n != streamsPerClient {
			return errors.New("not yet")
		}
		return nil
	})
	for _, c := range open {
		_ = c.Close()
	}
	netnstest.Eventually(t, 5*time.Second, "all places are free again", func() error {
		h.server.streams.mu.Lock()
		defer h.server.streams.mu.Unlock()
		s := &h.server.streams
		if len(s.conns)+len(s.byClient)+len(s.byNetwork) != 0 {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestSocketLine(t *testing.T) {
	for _, tt := range []struct{ line, addr, state, inode string }{
		{"  39: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 21345 1 0000000000000000 100 0 0 10 0", "127.0.0.53:53", "0A", "21345"},
		{"   0: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 777 2 0000000000000000 0", "[2001:db8::1]:53", "07", "777"},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "", "", ""},
		{"", "", "", ""},
	} {
		b, state, ok := parseSocketLine(tt.line)
		if ok != (tt.addr != "") {
			t.Errorf("%q: %v", tt.line, ok)
			continue
		}
		if ok && littleEndian && (b.addr != netip.MustParseAddrPort(tt.addr) || state != tt.state || b.inode != tt.inode) {
			t.Errorf("%q: %+v %s", tt.line, b, state)
		}
	}
}

func FuzzSocketLine(f *testing.F) {
	f.Add("  39: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 21345 1")
	f.Fuzz(func(t *testing.T, line string) {
		if b, _, ok := parseSocketLine(line); ok && !b.addr.IsValid() {
			t.Errorf("%q: %v", line, b.addr)
		}
	})
}
