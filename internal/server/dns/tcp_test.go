package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
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
