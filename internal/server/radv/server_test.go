package radv

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// wire is a transport whose links the test makes.
type wire struct {
	mu    sync.Mutex
	links map[string]int
	fail  error // of Send
	sent  []time.Time
	// frames went out by devices.
	frames []message
	recv   func(...listen.Packet)
}

func (w *wire) Index(link string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := w.links[link]; i != 0 {
		return i, nil
	}
	return 0, unix.ENODEV
}

func (w *wire) Send(int, netip.Addr, []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail == nil {
		w.sent = append(w.sent, time.Now())
	}
	return w.fail
}

// SendOn counts as Send does.
func (w *wire) SendOn(device string, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = append(w.frames, message{device: device, data: b})
	return w.fail
}

func (w *wire) Join(string, int) error { return nil }
func (w *wire) Leave(int)              {}
func (w *wire) Close() error           { return nil }

func (w *wire) set(link string, index int, fail error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links[link], w.fail = index, fail
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}

func TestServerTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{links: make(map[string]int)}
		begin := time.Now()
		s := newServer(Config{Rand: rand.New(rand.NewPCG(1, 2))}, func(_ func(func() error) error, r func(...listen.Packet)) (transport, error) {
			w.recv = r
			return w, nil
		}, w, func() time.Duration { return time.Hour + time.Since(begin) })
		go s.nets.Run()
		s.SetNetwork(service(subnet("2001:db8::/64", vnet.GuestsSLAAC)))
		time.Sleep(5 * time.Second)
		if n := w.count(); n != 0 {
			t.Fatalf("%d messages without a link", n)
		}
		w.set("br0", 7, unix.EPERM)
		time.Sleep(5 * time.Second)
		if p := s.Problems()["net"]; len(p) != 1 {
			t.Errorf("problems while nothing can be sent: %v", p)
		}
		w.set("br0", 7, unix.EADDRNOTAVAIL)
		time.Sleep(5 * time.Second)
		if p := s.Problems()["net"]; len(p) != 0 {
			t.Errorf("a bridge without carrier is a problem: %v", p)
		}
		w.set("br0", 7, nil)
		time.Sleep(minDelay)
		if w.count() != 1 || len(s.Problems()) != 0 {
			t.Errorf("%d messages once the link works, problems %v", w.count(), s.Problems())
		}
		time.Sleep(30 * time.Second)
		if n := w.count(); n != initialCount {
			t.Errorf("%d messages in the beginning", n)
		}
		// The link is made anew under the same name.
		w.set("br0", 8, nil)
		time.Sleep(2 * time.Second)
		if n := w.count(); n != initialCount+1 {
			t.Errorf("a new link is not told at once: %d messages", n)
		}
		w.recv(listen.Packet{Index: 8, From: netip.MustParseAddr("fe80::1"), HopLimit: 255, Data: asking()})
		w.recv(listen.Packet{Index: 7, From: netip.MustParseAddr("fe80::1"), HopLimit: 255, Data: asking()})
		if n := w.count(); n != initialCount+2 {
			t.Errorf("%d messages after a solicitation", n)
		}
		before := w.count()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if n := w.count(); n != before {
			t.Errorf("%d messages after Close", n-before)
		}
	})
}
