package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/uplink/given"
)

// routers waits for what is known of routers, as "preference prefix …" each.
func (w *world) routers(want string) {
	w.t.Helper()
	netnstest.Eventually(w.t, 30*time.Second, "routers "+want, func() error {
		var got []string
		for _, r := range w.Facts("up0").Routers {
			s := fmt.Sprintf("default=%v", !r.Until.IsZero())
			for _, p := range r.Prefixes {
				s += " " + p.Prefix.String()
			}
			got = append(got, s)
		}
		if strings.Join(got, ", ") != want {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

const onLink = "AdvDefaultLifetime 1800; prefix 2001:db8:1::/64 { };"

// TestRouters hears a real router on a link whose kernel does not listen.
func TestRouters(t *testing.T) {
	for _, unicast := range []string{"off", "on"} {
		t.Run("unicast answers "+unicast, func(t *testing.T) {
			w := newWorld(t)
			w.host.Run("sysctl", "-qw", "net.ipv6.conf.up0.accept_ra=0")
			w.link.Ask = false
			router := w.radvd(onLink + " AdvRASolicitedUnicast " + unicast + ";" +
				" RDNSS 2001:db8:1::53 { };")
			w.start()
			w.routers("default=true 2001:db8:1::/64")
			r := w.Facts("up0").Routers[0]
			if r.MAC.String() != strings.TrimSpace(w.prov.Run("cat", "/sys/class/net/prov/address")) ||
				fmt.Sprint(r.Resolvers) != "[2001:db8:1::53]" {
				t.Errorf("%+v", r)
			}
			// It says goodbye.
			_ = router.Process.Signal(terminate)
			w.routers("default=false 2001:db8:1::/64")
			w.freeze(25 * time.Hour)
			w.routers("")
		})
	}
}

// TestMoved: the same link name, another network behind it.
func TestMoved(t *testing.T) {
	w := newWorld(t)
	w.link.Ask = false
	first := w.radvd(onLink + "")
	w.start()
	w.routers("default=true 2001:db8:1::/64")
	w.link.Up = false
	w.Set([]Link{w.link})
	first.end()
	w.routers("default=true 2001:db8:1::/64") // a moment without carrier is no news
	w.prov.Run("ip", "link", "set", "prov", "down")
	w.prov.Run("ip", "link", "set", "prov", "address", "02:00:00:00:00:99")
	w.prov.Run("ip", "link", "set", "prov", "up")
	w.radvd("AdvDefaultLifetime 1800; prefix 2001:db8:2::/64 { };")
	w.link.Up = true
	w.Set([]Link{w.link})
	w.routers("default=true 2001:db8:1::/64, default=true 2001:db8:2::/64")
	w.freeze(confirmWithin)
	w.routers("default=true 2001:db8:2::/64")
}

// TestFlood: a flood of invented routers costs bounded memory and time, and
// the one that is there stays known. What is asked is answered beside it.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	w.kea("one", "2001:db8:100::")
	w.radvd(onLink + "")
	w.link.Ask = false
	w.start()
	w.routers("default=true 2001:db8:1::/64")
	w.heardAgain() // as one of a flood is not

	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- w.prov.Do(func() error {
			index, err := linkIndex("prov")
			if err != nil {
				return err
			}
			s, err := openPacket(index, answers())
			if err != nil {
				return err
			}
			defer s.close()
			for n := uint32(0); ; n++ {
				select {
				case <-stop:
					return nil
				default:
				}
				from := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 0xbd, 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)})
				b := makePacket(from, netip.MustParseAddr("ff02::1"), protoICMPv6, 255,
					[]byte{134, 0, 0, 0, 64, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0}, 2)
				if err := s.send(b, multicastMAC(netip.MustParseAddr("ff02::1"))); err != nil && !strings.Contains(err.Error(), "buffer space") {
					return err
				}
			}
		})
	}()
	netnstest.Eventually(t, 10*time.Second, "flood", func() error {
		if n := len(w.Facts("up0").Routers); n < 10 {
			return fmt.Errorf("%d routers", n)
		}
		return nil
	})
	w.link.Ask = true
	w.Set([]Link{w.link})
	w.delegated("2001:db8:100::/56")
	w.mu.Lock()
	changes := w.changes
	w.mu.Unlock()
	if changes > 40 {
		t.Errorf("told %d times", changes)
	}
	rs := w.Facts("up0").Routers
	real := 0
	for _, r := range rs {
		if len(r.Prefixes) > 0 {
			real++
		}
	}
	if len(rs) > 16 || real != 1 {
		t.Errorf("%d routers, %d of them real", len(rs), real)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestGiven: prefixes from elsewhere stand beside those of the provider, and
// on a link that has none.
func TestGiven(t *testing.T) {
	w := newWorld(t)
	w.kea("one", "2001:db8:100::")
	w.link.Given = given.Wish{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:400::/56")}}
	w.start()
	w.delegated("2001:db8:100::/56 2001:db8:400::/56")
	w.Set([]Link{w.link, {Given: given.Wish{Command: []string{"/bin/echo", "2001:db8:500::/56 100 200"}}}})
	netnstest.Eventually(t, 10*time.Second, "of no link", func() error {
		if d := w.Facts("").Delegations; len(d) != 1 || d[0].Prefix.String() != "2001:db8:500::/56" || d[0].ValidUntil.IsZero() {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	w.link.Given = given.Wish{}
	w.Set([]Link{w.link})
	w.delegated("2001:db8:100::/56")
}

// TestClockSet: somebody sets the wall clock, and nothing ends or begins.
func TestClockSet(t *testing.T) {
	w := newWorld(t)
	w.kea("one", "2001:db8:100::")
	w.radvd(onLink + "")
	w.start()
	w.delegated("2001:db8:100::/56")
	w.routers("default=true 2001:db8:1::/64")
	left := w.Facts("up0").Delegations[0].ValidUntil.Sub(w.clock().Wall)
	for _, jump := range []time.Duration{48 * time.Hour, -96 * time.Hour} {
		w.mu.Lock()
		w.setWall += jump
		w.mu.Unlock()
		w.poke()
		netnstest.Eventually(t, 10*time.Second, "deadlines", func() error {
			d, r := w.Facts("up0").Delegations, w.Facts("up0").Routers
			if len(d) != 1 || len(r) != 1 || (d[0].ValidUntil.Sub(w.clock().Wall)-left).Abs() > time.Minute || !r[0].Until.After(w.clock().Wall) ||
				r[0].Until.After(w.clock().Wall.Add(time.Hour)) {
				return fmt.Errorf("%+v %+v", d, r)
			}
			return nil
		})
	}
}
