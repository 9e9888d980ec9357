package uplink

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/uplink/given"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// hands are two clocks that are set by hand.
type hands struct{ pd.Instant }

func newHands() *hands {
	return &hands{pd.Instant{Wall: time.Unix(1700000000, 0), Boot: 10 * time.Hour}}
}

func (h *hands) clock() pd.Instant       { return h.Instant }
func (h *hands) pass(d time.Duration)    { h.Wall, h.Boot = h.Wall.Add(d), h.Boot+d }
func (h *hands) set(by time.Duration)    { h.Wall = h.Wall.Add(by) }
func (h *hands) in(s int) time.Time      { return h.Wall.Add(time.Duration(s) * time.Second) }
func (h *hands) ends(s int) (d deadline) { return deadline{h.Boot + time.Duration(s)*time.Second} }

// deadline is one as it truly is.
type deadline struct{ boot time.Duration }

// still has links without sockets: eth0 has a delegation, a router that was
// heard and a prefix by hand; on gone something is held that is not there.
type still struct {
	*hands
	*Links
	want map[string]deadline // of what, as told by said
}

func newStill() *still {
	h := newHands()
	held := func(prefix string, renew, rebind, preferred, valid int) *pd.Held {
		return &pd.Held{Server: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 2}, Renew: h.in(renew), Rebind: h.in(rebind),
			Prefixes: []pd.Prefix{{Prefix: netip.MustParsePrefix(prefix), Preferred: h.in(preferred), Valid: h.in(valid)}}}
	}
	s := &still{hands: h, want: map[string]deadline{
		"eth0 2001:db8:100::/56 since": h.ends(0), "eth0 2001:db8:100::/56 preferred": h.ends(30000), "eth0 2001:db8:100::/56 valid": h.ends(40000),
		"eth0 2001:db8:900::/56 since": h.ends(0),
		"eth0 renew":                   h.ends(10000), "eth0 rebind": h.ends(20000), "eth0 held": h.ends(40000),
		"gone renew": h.ends(11000), "gone rebind": h.ends(21000), "gone held": h.ends(41000),
	}}
	s.Links = New(Config{
		DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, Clock: h.clock,
		Held: map[string]*pd.Held{"eth0": held("2001:db8:100::/56", 10000, 20000, 30000, 40000), "gone": held("2001:db8:200::/56", 11000, 21000, 31000, 41000)},
	})
	s.Links.ctx, s.Links.group = context.Background(), &sync.WaitGroup{}
	s.there()
	s.work(s.now())
	s.hears("fe80::1")
	return s
}

// there has the link come.
func (s *still) there() {
	s.Set([]Link{{Name: "eth0", Ask: true, Given: given.Wish{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:900::/56")}}}})
}

// hears has a router advertise itself.
func (s *still) hears(from string) {
	k := s.links["eth0"]
	if k.hear == nil {
		k.hear = &packetSocket{}
	}
	b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{RouterLifetime: 30 * time.Minute, Options: []ndp.Option{
		&ndp.PrefixInformation{Prefix: netip.MustParseAddr("2001:db8:1::"), PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true,
			PreferredLifetime: 4 * time.Hour, ValidLifetime: 24 * time.Hour},
	}})
	if err != nil {
		panic(err)
	}
	router, all := netip.MustParseAddr(from), netip.MustParseAddr("ff02::1")
	s.heardAdvertisement(k, k.hear, makePacket(router, all, protoICMPv6, 255, b, 2), received{mac: vnet.MAC{2, 0, 0, 0, 0, 1}})
	at := "eth0 " + from
	if _, known := s.want[at+" since"]; !known {
		s.want[at+" since"], s.want[at+" 2001:db8:1::/64 since"] = s.ends(0), s.ends(0)
	}
	s.want[at+" until"], s.want[at+" 2001:db8:1::/64 preferred"], s.want[at+" 2001:db8:1::/64 valid"] = s.ends(1800), s.ends(4*3600), s.ends(24*3600)
}

// said is every moment that the links tell.
func (s *still) said() map[string]time.Time {
	out := map[string]time.Time{}
	f := s.Facts("eth0")
	for _, r := range f.Routers {
		at := fmt.Sprint("eth0 ", r.Address)
		out[at+" since"], out[at+" until"] = r.Since, r.Until
		for _, p := range r.Prefixes {
			at := fmt.Sprint(at, " ", p.Prefix)
			out[at+" since"], out[at+" preferred"], out[at+" valid"] = p.Since, p.PreferredUntil, p.ValidUntil
		}
	}
	for _, d := range f.Delegations {
		at := fmt.Sprint("eth0 ", d.Prefix)
		out[at+" since"], out[at+" preferred"], out[at+" valid"] = d.Since, d.PreferredUntil, d.ValidUntil
	}
	for _, name := range []string{"eth0", "gone"} {
		if h := s.Held(name); h != nil {
			out[name+" renew"], out[name+" rebind"], out[name+" held"] = h.Renew, h.Rebind, h.Prefixes[0].Valid
		}
	}
	return out
}

// leastJump is by how much a clock must be set to be found out, slack by how
// much a moment may be wrong meanwhile: small steps in either direction.
const (
	leastJump = 2 * time.Second
	slack     = 2 * leastJump
)

// wrong finds a moment that is not told as far from now as it is.
func (s *still) wrong() error {
	said := s.said()
	for what, d := range s.want {
		left := d.boot - s.Boot
		if left <= slack && left >= -slack {
			continue // just now
		}
		at, told := said[what]
		ended := left < 0 && d.boot > newHands().Boot // others are moments since which something is
		switch {
		case told && !at.IsZero() && (at.Sub(s.Wall)-left).Abs() >= slack:
			return fmt.Errorf("%s: in %v, want in %v", what, at.Sub(s.Wall), left)
		case (!told || at.IsZero()) && !ended:
			return fmt.Errorf("%s: not known, want in %v", what, left)
		}
	}
	return nil
}

const day = 24 * time.Hour

// TestClockJumps: whoever asks, however soon after a wall clock was set, learns
// how much is truly left, and is told that what was known is not so any more.
func TestClockJumps(t *testing.T) {
	for _, jumps := range [][]time.Duration{
		{day}, {-day}, {day, -2 * day, day}, {-2 * day, day, day}, {day, day, -2 * day}, {400 * day, -400 * day}, {-10 * 365 * day},
		{time.Second, time.Second, time.Second}, {-3 * time.Second, 3 * time.Second},
	} {
		for _, between := range []string{"nothing", "work", "an advertisement", "time", "the link goes and comes"} {
			t.Run(fmt.Sprint(jumps, " between: ", between), func(t *testing.T) {
				s := newStill()
				for i, by := range jumps {
					s.tell = tellable{}
					s.set(by)
					switch between {
					case "work":
						s.work(s.Instant)
					case "an advertisement":
						s.hears("fe80::1")
					case "time":
						s.pass(3 * time.Second)
					case "the link goes and comes":
						s.Set(nil)
						s.there()
						s.hears("fe80::1")
					}
					if err := s.wrong(); err != nil {
						t.Fatalf("after jump %d, %v: %v", i+1, by, err)
					}
					if by.Abs() >= leastJump && (!slices.Contains(s.tell.Facts, "eth0") || !slices.Contains(s.tell.Held, "eth0") || !slices.Contains(s.tell.Held, "gone")) {
						t.Fatalf("after jump %d, %v, told: %+v", i+1, by, s.tell.Change)
					}
				}
			})
		}
	}
}

// TestClockAlwaysSet: the same in any order, with time and work between.
func TestClockAlwaysSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStill()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				s.set(time.Duration(rapid.IntRange(-3*86400, 3*86400).Draw(t, "seconds")) * time.Second)
			case 2: // slewed, or set a little
				s.set(time.Duration(rapid.IntRange(-1900, 1900).Draw(t, "milliseconds")) * time.Millisecond)
			case 3:
				s.pass(time.Duration(rapid.IntRange(0, 300).Draw(t, "pass")) * time.Second)
			case 4:
				s.work(s.clock())
			case 5:
				s.pass(time.Second) // more at a time are not taken apart
				s.hears("fe80::1")
			case 6:
				if err := s.wrong(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.wrong(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestClockSetWhileConfirming: which routers were heard since a link came up is
// known whatever the clock was set to meanwhile.
func TestClockSetWhileConfirming(t *testing.T) {
	for _, by := range []time.Duration{0, day, -2 * day} {
		t.Run(by.String(), func(t *testing.T) {
			s := newStill()
			s.hears("fe80::2")
			s.pass(time.Minute) // resumed
			s.work(s.clock())
			s.pass(time.Second)
			s.hears("fe80::1")
			s.set(by)
			s.pass(time.Second)
			for range 12 {
				s.pass(time.Second)
				s.work(s.clock())
			}
			if r := s.Facts("eth0").Routers; len(r) != 1 || r[0].Address.String() != "fe80::1" {
				t.Errorf("%+v", r)
			}
		})
	}
}
