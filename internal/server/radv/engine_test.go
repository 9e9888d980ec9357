package radv

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var update = flag.Bool("update", false, "write golden files")

var wall = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) Instant { return Instant{Wall: wall.Add(d), Boot: time.Hour + d} }

func service(subnets ...plan.Subnet) plan.Service {
	return plan.Service{
		Network: "net", Name: "default", Link: "br0", MTU: 1500, Domain: "default.internal",
		MAC: vnet.MAC{0x52, 0x54, 0, 1, 2, 3}, Subnets: subnets,
		DNS: plan.DNS{Serve: true}, RA: plan.RA{Send: true, DefaultRouter: true},
	}
}

func subnet(prefix string, guests vnet.Guests) plan.Subnet {
	p := netip.MustParsePrefix(prefix)
	return plan.Subnet{
		ID: vnet.ID(prefix), Family: vnet.IPv6, Prefix: p, Gateway: p.Addr().Next(), Guests: guests,
	}
}

// started is an engine with a network and a link, past its first
// advertisements.
func started(svc plan.Service) *engine {
	e := newTestEngine()
	e.set(svc, at(0))
	e.setLink(true, at(0))
	return e
}

func with(s plan.Service, f func(*plan.Service)) plan.Service { f(&s); return s }

func withSubnet(s plan.Subnet, f func(*plan.Subnet)) plan.Subnet { f(&s); return s }

func ptr[T any](v T) *T { return &v }

func TestAdvertisement(t *testing.T) {
	v4 := plan.Subnet{Family: vnet.IPv4, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"), Guests: vnet.GuestsDHCP}
	cases := map[string]plan.Service{
		"slaac":             service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC), v4),
		"stateless":         service(subnet("2001:db8:1::/64", vnet.GuestsStateless)),
		"stateful":          service(subnet("2001:db8:1::/64", vnet.GuestsStateful)),
		"slaac-stateful":    service(subnet("2001:db8:1::/64", vnet.GuestsSLAACStateful)),
		"manual":            service(subnet("2001:db8:1::/64", vnet.GuestsManual)),
		"long-prefix":       service(subnet("2001:db8:1::/112", vnet.GuestsSLAAC)),
		"link-local-only":   service(),
		"no-default-router": with(service(subnet("fd00:1::/64", vnet.GuestsSLAAC)), func(s *plan.Service) { s.RA.DefaultRouter = false }),
		"off-link": service(withSubnet(subnet("2001:db8:1::/64", vnet.GuestsSLAAC), func(s *plan.Subnet) {
			s.OffLink = true
		})),
		"renumbering": service(
			subnet("2001:db8:2::/64", vnet.GuestsSLAACStateful),
			withSubnet(subnet("2001:db8:1::/64", vnet.GuestsStateful), func(s *plan.Subnet) {
				s.Deprecated, s.ValidUntil = true, wall.Add(40*time.Minute)
			})),
		"deadlines": service(withSubnet(subnet("2001:db8:1::/64", vnet.GuestsSLAAC), func(s *plan.Subnet) {
			s.PreferredUntil, s.ValidUntil = wall.Add(90*time.Second), wall.Add(3*time.Minute+500*time.Millisecond)
		})),
		"expired": service(withSubnet(subnet("2001:db8:1::/64", vnet.GuestsSLAAC), func(s *plan.Subnet) {
			s.PreferredUntil, s.ValidUntil = wall.Add(-time.Hour), wall.Add(-time.Minute)
		})),
		"own-dns": with(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), func(s *plan.Service) {
			s.DNS.Servers = []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}
			s.DNS.Search = []string{"example.com.", "bad..name", "lab.example", "example.com"}
		}),
		"no-dns":    with(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), func(s *plan.Service) { s.DNS.Serve, s.Domain = false, "" }),
		"small-mtu": with(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), func(s *plan.Service) { s.MTU = 1000; s.MAC = vnet.MAC{} }),
	}
	for name, svc := range cases {
		t.Run(name, func(t *testing.T) {
			e := started(svc)
			golden(t, name, texts(e.to(allNodes, whole, at(0))))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("advertisement (-want +got):\n%s", d)
	}
}

func newTestEngine() *engine {
	return newEngine(rand.New(rand.NewPCG(1, 2)), newLimiter(), newRoster())
}

// timeline runs the engine until the end and returns when it multicast.
func timeline(e *engine, from, to time.Duration) []time.Duration {
	var out []time.Duration
	for {
		next, ok := e.deadline()
		if !ok || next > time.Hour+to {
			return out
		}
		d := max(next-time.Hour, from)
		if len(e.tick(at(d))) > 0 {
			out = append(out, d)
		}
	}
}

func TestIntervals(t *testing.T) {
	e := newTestEngine()
	if out := e.set(service(subnet("2001:db8::/64", vnet.GuestsSLAAC)), at(0)); out != nil {
		t.Errorf("set sent %d messages before there was a link", len(out))
	}
	if _, ok := e.deadline(); ok {
		t.Error("a timer runs without a link")
	}
	e.setLink(true, at(0))
	times := timeline(e, 0, 2*time.Hour)
	if len(times) < 10 || times[0] != 0 || times[1] > 16*time.Second || times[2]-times[1] > 16*time.Second {
		t.Fatalf("advertisements at %v: the first three must come quickly", times)
	}
	for i := 3; i < len(times); i++ {
		if d := times[i] - times[i-1]; d < maxInterval*33/100 || d > maxInterval {
			t.Errorf("interval %d is %v", i, d)
		}
	}
	// A change is told again, not sooner than the rate limit allows.
	last := times[len(times)-1]
	change := last + time.Second
	e.set(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), at(change))
	times = timeline(e, change, change+30*time.Second)
	if len(times) != 3 || times[0] != last+minDelay {
		t.Errorf("after a change at %v (last at %v): %v", change, last, times)
	}
	// The same again is no change.
	before, _ := e.deadline()
	e.set(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), at(change+31*time.Second))
	if after, _ := e.deadline(); after != before {
		t.Error("an unchanged network was announced again")
	}
}

func asking(opts ...ndp.Option) []byte {
	b, err := ndp.MarshalMessage(&ndp.RouterSolicitation{Options: opts})
	if err != nil {
		panic(err)
	}
	return b
}

func TestSolicit(t *testing.T) {
	ll := netip.MustParseAddr("fe80::1234")
	lla := &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: []byte{2, 0, 0, 0, 0, 1}}
	bad := func(i int, v byte) []byte { b := asking(lla); b[i] = v; return b }
	cases := map[string]struct {
		b      []byte
		from   netip.Addr
		hop    int
		answer bool
		refuse bool
	}{
		"link-local":            {asking(lla), ll, 255, true, false},
		"no options":            {asking(), ll, 255, true, false},
		"unspecified":           {asking(), netip.IPv6Unspecified(), 255, false, false},
		"global":                {asking(lla), netip.MustParseAddr("2001:db8::9"), 255, false, false},
		"hop limit":             {asking(lla), ll, 254, false, true},
		"code":                  {bad(1, 1), ll, 255, false, true},
		"type":                  {bad(0, 134), ll, 255, false, true},
		"option of length 0":    {bad(9, 0), ll, 255, false, true},
		"short":                 {asking()[:7], ll, 255, false, true},
		"unspecified with SLLA": {asking(lla), netip.IPv6Unspecified(), 255, false, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine()
			e.set(service(subnet("2001:db8::/64", vnet.GuestsSLAAC)), at(0))
			e.setLink(true, at(0))
			timeline(e, 0, 100*time.Second)
			now := at(100 * time.Second)
			out, err := e.solicit(c.b, solicitation{from: c.from, hopLimit: c.hop}, now)
			if (err != nil) != c.refuse {
				t.Fatalf("error %v", err)
			}
			if (len(out) == 1) != c.answer {
				t.Fatalf("%d answers", len(out))
			}
			if c.answer && out[0].to != c.from {
				t.Errorf("answer to %v", out[0].to)
			}
			next, _ := e.deadline()
			if soon := next <= now.Boot+maxReplyDelay; soon != (!c.answer && !c.refuse) {
				t.Errorf("next multicast in %v", next-now.Boot)
			}
		})
	}
}

func TestMulticastRateLimit(t *testing.T) {
	e := newTestEngine()
	e.set(service(subnet("2001:db8::/64", vnet.GuestsSLAAC)), at(0))
	e.setLink(true, at(0))
	var sent []time.Duration
	for d := time.Duration(0); d < time.Minute; d += 50 * time.Millisecond {
		if _, err := e.solicit(asking(), solicitation{from: netip.IPv6Unspecified(), hopLimit: 255}, at(d)); err != nil {
			t.Fatal(err)
		}
		if len(e.tick(at(d))) > 0 {
			sent = append(sent, d)
		}
	}
	for i := 1; i < len(sent); i++ {
		if sent[i]-sent[i-1] < minDelay {
			t.Fatalf("multicast at %v and %v", sent[i-1], sent[i])
		}
	}
	if len(sent) < 15 {
		t.Errorf("only %d answers in a minute", len(sent))
	}
}

func TestPrefixTakenAway(t *testing.T) {
	e := newTestEngine()
	e.set(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), at(0))
	e.setLink(true, at(0))
	timeline(e, 0, time.Minute)
	e.set(service(subnet("2001:db8:2::/64", vnet.GuestsSLAAC)), at(time.Minute))
	old := "prefix 2001:db8:1::/64 L=true A=true preferred 0s valid 0s"
	now := at(2 * time.Minute)
	if got := text(e.tick(now)[0].data); !strings.Contains(got, old) {
		t.Errorf("the prefix that is gone is not called back:\n%s", got)
	}
	later := at(time.Minute + vnet.DefaultValid + maxInterval)
	if got := text(e.tick(later)[0].data); strings.Contains(got, "2001:db8:1::") {
		t.Errorf("the prefix is still called back:\n%s", got)
	}
	e.set(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), later)
	e.set(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC), subnet("2001:db8:2::/64", vnet.GuestsSLAAC)), later)
	if len(e.gone) != 0 {
		t.Errorf("prefixes that returned are called back: %v", e.gone)
	}
}

func TestWithdraw(t *testing.T) {
	svc := service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC))
	farewell := "prefix 2001:db8:1::/64 L=true A=true preferred 0s valid 0s"
	for name, stop := range map[string]func(*engine) []message{
		"withdraw": func(e *engine) []message { return e.withdraw(at(time.Minute)) },
		"set": func(e *engine) []message {
			off := svc
			off.RA.Send = false
			return e.set(off, at(time.Minute))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine()
			e.set(svc, at(0))
			e.setLink(true, at(0))
			timeline(e, 0, time.Minute)
			out := stop(e)
			if len(out) != 1 || out[0].to != allNodes {
				t.Fatalf("%d messages", len(out))
			}
			got := text(out[0].data)
			if !strings.HasPrefix(got, "router lifetime 0s") || !strings.Contains(got, farewell) {
				t.Errorf("last advertisement:\n%s", got)
			}
			if _, ok := e.deadline(); ok {
				t.Error("a timer still runs")
			}
			if out, _ := e.solicit(asking(), solicitation{from: netip.MustParseAddr("fe80::2"), hopLimit: 255}, at(time.Minute)); out != nil {
				t.Error("solicitations are still answered")
			}
			e.set(svc, at(2*time.Minute))
			if times := timeline(e, 2*time.Minute, 3*time.Minute); len(times) != 3 {
				t.Errorf("a network that starts again is announced %d times", len(times))
			}
		})
	}
}

func TestFailedSendIsTriedAgain(t *testing.T) {
	e := newTestEngine()
	e.set(service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC)), at(0))
	e.setLink(true, at(0))
	for i := range 10 {
		next, ok := e.deadline()
		if now := at(next - time.Hour); !ok || len(e.tick(now)) != 1 {
			t.Fatalf("attempt %d was not made", i)
		} else {
			e.failed(now)
			if again, _ := e.deadline(); again-next < retryInterval || again-next > minDelay {
				t.Errorf("attempt %d is tried again after %v", i, again-next)
			}
		}
	}
	e.worked()
	if times := timeline(e, 0, time.Minute); len(times) != 3 {
		t.Errorf("after the link works: %v", times)
	}
}

func FuzzSolicit(f *testing.F) {
	f.Add(asking(), 255)
	f.Add(asking(&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: []byte{2, 0, 0, 0, 0, 1}}), 255)
	f.Add([]byte{133, 0, 0, 0, 0, 0, 0, 0, 14, 0}, 255)
	f.Fuzz(func(t *testing.T, b []byte, hop int) {
		e := newTestEngine()
		e.set(service(subnet("2001:db8::/64", vnet.GuestsSLAACStateful)), at(0))
		e.setLink(true, at(0))
		out, _ := e.solicit(b, solicitation{from: netip.MustParseAddr("fe80::1"), hopLimit: hop}, at(0))
		for _, m := range append(out, e.tick(at(time.Second))...) {
			if m, err := ndp.ParseMessage(m.data); err != nil {
				t.Fatalf("our advertisement %v does not parse: %v", m, err)
			}
		}
	})
}

func BenchmarkSolicit(b *testing.B) {
	e := started(service(subnet("2001:db8::/64", vnet.GuestsSLAACStateful), subnet("fd00::/64", vnet.GuestsSLAACStateful)))
	rs := asking(&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: []byte{2, 0, 0, 0, 0, 1}})
	s := solicitation{from: netip.MustParseAddr("fe80::1"), hopLimit: 255}
	now := at(0)
	b.ReportAllocs()
	for b.Loop() {
		now.Boot += askEvery
		if out, err := e.solicit(rs, s, now); err != nil || len(out) != 1 {
			b.Fatal(err)
		}
	}
}
