package listen

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// loopback opens a socket of the family in a namespace of its own, and returns
// its address.
func loopback(t *testing.T, v6 bool) (c *udpConn, at netip.AddrPort) {
	t.Helper()
	netnstest.NeedRoot(t)
	ns := netnstest.New(t, "box")
	ns.Run("ip", "link", "set", "lo", "up")
	if err := ns.Do(func() (err error) { c, err = listenUDP(v6, "", 0, 1000); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	host := netip.MustParseAddr("127.0.0.1")
	if v6 {
		host = netip.IPv6Loopback()
	}
	return c, netip.AddrPortFrom(host, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// What is queued arrives in that order, whole, with the link and addresses of
// each packet, also what follows on a message that cannot be sent.
func TestOutboxInOrder(t *testing.T) {
	for _, v6 := range []bool{true, false} {
		t.Run(fmt.Sprint("IPv6 ", v6), func(t *testing.T) {
			c, at := loopback(t, v6)
			var want []string
			for i := range 100 {
				b := []byte(fmt.Sprint("message ", i))
				if i == 50 {
					b = make([]byte, 1<<16) // more than UDP can
				} else {
					want = append(want, string(b))
				}
				if err := c.out.Send(1, netip.Addr{}, at, b); err != nil {
					t.Fatal(err)
				}
			}
			var lost []string
			c.out.Flush(func(index int, to netip.Addr, err error) { lost = append(lost, fmt.Sprint(index, to, err)) })
			if !slices.Equal(lost, []string{fmt.Sprint(1, at.Addr(), unix.EMSGSIZE)}) {
				t.Errorf("lost %v", lost)
			}
			var got []string
			most := 0
			for len(got) < len(want) {
				packets, err := c.in.Read()
				if err != nil {
					t.Fatal(err)
				}
				most = max(most, len(packets))
				for _, p := range packets {
					got = append(got, string(p.Data))
					if p.Index != 1 || p.From != at.Addr() || p.FromPort != at.Port() || p.To != at.Addr() {
						t.Fatalf("%+v", p)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
			if most < 8 {
				t.Errorf("at most %d packets at once, of a hundred that wait", most)
			}
			c.Close()
			if _, err := c.in.Read(); err == nil {
				t.Error("a closed socket is read")
			}
		})
	}
}

// Whoever flushes, also several at once, each one's messages are sent, in order.
func TestOutboxOfMany(t *testing.T) {
	c, at := loopback(t, true)
	const each = 200
	var all sync.WaitGroup
	for who := range byte(4) {
		all.Go(func() {
			for i := range byte(each) {
				if err := c.out.Send(1, netip.IPv6Loopback(), at, []byte{who, i}); err != nil {
					t.Error(err)
				}
				c.out.Flush(func(_ int, _ netip.Addr, err error) { t.Error(err) })
			}
		})
	}
	all.Wait()
	var next [4]byte
	for n := 0; n < len(next)*each; {
		packets, err := c.in.Read()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			if who := p.Data[0]; p.Data[1] != next[who] {
				t.Fatalf("%d said %d after %d", who, p.Data[1], next[who])
			}
			next[p.Data[0]]++
			n++
		}
	}
}

// A message that is longer than a server reads is told as longer.
func TestInboxTooLong(t *testing.T) {
	c, at := loopback(t, true)
	_ = c.out.Send(1, netip.Addr{}, at, make([]byte, 5000))
	c.out.Flush(func(_ int, _ netip.Addr, err error) { t.Error(err) })
	packets, err := c.in.Read()
	if err != nil || len(packets) != 1 || len(packets[0].Data) != 1001 {
		t.Errorf("%d packets, %v", len(packets), err)
	}
}

// An outbox that nobody empties does not grow for ever.
func TestOutboxFull(t *testing.T) {
	o := NewOutbox(nil)
	to := netip.AddrPortFrom(netip.IPv6Loopback(), 547)
	for range maxQueued {
		if err := o.Send(1, netip.Addr{}, to, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Send(1, netip.Addr{}, to, nil); err != unix.ENOBUFS {
		t.Errorf("one more: %v", err)
	}
}
