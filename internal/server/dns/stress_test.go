package dns

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestManyClients: every query of many clients at once is answered; the one
// reader misses no wake-up.
func TestManyClients(t *testing.T) {
	h := newHouse(t)
	h.server.SetZone(webZone())
	const guests, queries = 16, 800 // below the limit of each
	var all sync.WaitGroup
	start := time.Now()
	for g := range guests {
		src := fmt.Sprintf("192.168.150.%d", 100+g)
		h.guest.Run("ip", "address", "add", src+"/24", "dev", "eth0")
		var conn net.Conn
		if err := h.guest.Do(func() (err error) {
			d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(src)}}
			conn, err = d.Dial("udp", "192.168.150.1:53")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all.Go(func() {
			b := make([]byte, 512)
			for i := range queries {
				q := new(dns.Msg).SetQuestion("vm1.web.internal.", dns.TypeA)
				q.Id = uint16(i)
				out, _ := q.Pack()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if _, err := conn.Write(out); err != nil {
					t.Error(err)
					return
				}
				n, err := conn.Read(b)
				if err != nil {
					t.Errorf("query %d from %s: %v", i, src, err)
					return
				}
				if a := new(dns.Msg); a.Unpack(b[:n]) != nil || a.Id != q.Id || len(a.Answer) != 1 {
					t.Errorf("query %d from %s: answer %x", i, src, b[:n])
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d queries in %v", guests*queries, time.Since(start))
}
