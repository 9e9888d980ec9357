package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestTrail(t *testing.T) {
	q := question{name: "x.", qtype: dns.TypeA}.message()
	withTrail(q, []byte("12345678"), mark{7})
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	got := new(dns.Msg)
	if err := got.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if m := marks(trailOf(got)); !slices.Equal(m, []mark{mark([]byte("12345678")), {7}}) {
		t.Errorf("%v", m)
	}
	opt := got.IsEdns0().Option[0].(*dns.EDNS0_LOCAL)
	for n, want := range map[int]int{0: 0, 7: 0, 15: 1, 4000: 500} {
		opt.Data = make([]byte, n)
		if m := marks(trailOf(got)); len(m) != want {
			t.Errorf("%d bytes: %d marks, want %d", n, len(m), want)
		}
	}
	if trailOf(new(dns.Msg)) != nil {
		t.Error("a trail without EDNS")
	}
}

// TestCircles: which questions are told to have come back.
func TestCircles(t *testing.T) {
	f := newForwarder(t.Context(), Config{Port: 53})
	f.own = map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true}
	q := question{name: "x.", qtype: dns.TypeA}
	f.marks[mark{5}] = true
	f.flights[q] = &flight{by: netip.MustParseAddr("10.0.0.7"), servers: usable([]netip.AddrPort{
		netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("127.0.0.53:53"),
	})}
	for _, tt := range []struct {
		about, from string
		trail       []byte
		name        string
		want        bool
	}{
		{"a guest that asks the same", "10.0.0.8", nil, "x.", false},
		{"who asked first, again", "10.0.0.7", nil, "x.", false},
		{"whom we ask", "10.0.0.53", nil, "x.", true},
		{"whom we ask, something else", "10.0.0.53", nil, "y.", false},
		{"the host, whose resolver we ask", "192.0.2.1", nil, "x.", true},
		{"our mark", "10.0.0.9", append(make([]byte, markLen), 5, 0, 0, 0, 0, 0, 0, 0), "y.", true},
		{"another's mark", "10.0.0.9", make([]byte, markLen), "x.", false},
		{"too many in a row", "10.0.0.9", make([]byte, maxTrail*markLen), "y.", true},
	} {
		e := &errand{question: question{name: tt.name, qtype: dns.TypeA}, trail: tt.trail, client: client{addr: netip.MustParseAddr(tt.from)}}
		if got := f.circles(e); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.about, got, tt.want)
		}
	}
}

// pair is two hosts, each with a server that asks the other's.
type pair struct {
	ns      [2]*netnstest.NS
	servers [2]*Server
}

// newPair makes the hosts at 10.5.0.1 and 10.5.0.2.
func newPair(t *testing.T) *pair {
	p := &pair{ns: [2]*netnstest.NS{netnstest.New(t, "lpa"), netnstest.New(t, "lpb")}}
	netnstest.Veth(p.ns[0], "eth0", p.ns[1], "eth0")
	for i, at := range []string{"10.5.0.1", "10.5.0.2"} {
		p.ns[i].Run("ip", "address", "add", at+"/24", "dev", "eth0")
		p.ns[i].Run("ip", "link", "set", "lo", "up")
		s := New(Config{InNS: func(_ string, f func() error) error { return p.ns[i].Do(f) }})
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		s.SetZone(Zone{Network: vnet.ID(at), Project: "p", Link: "eth0", Domain: at[7:] + ".internal", Listen: addrs(at), Prefixes: prefixes("10.5.0.0/24")})
		p.servers[i] = s
	}
	return p
}

// status asks and returns the answer's code.
func status(t *testing.T, ns *netnstest.NS, args ...string) string {
	t.Helper()
	out, err := ns.Try("dig", append([]string{"+tries=1", "+time=10"}, args...)...)
	if err != nil {
		t.Fatalf("dig %v: %v\n%s", args, err, out)
	}
	_, after, _ := strings.Cut(out, "status: ")
	code, _, _ := strings.Cut(after, ",")
	return code
}

// TestTwoForwardToEachOther: a question goes round once and fails; it does not
// go on, and does not wait until somebody gives up.
func TestTwoForwardToEachOther(t *testing.T) {
	netnstest.NeedCommands(t, "dig")
	p := newPair(t)
	var asked atomic.Int32
	for i, other := range []string{"10.5.0.2:53", "10.5.0.1:53"} {
		real := p.servers[i].forward.conf.InNS
		p.servers[i].forward.conf.InNS = func(ns string, f func() error) error {
			asked.Add(1)
			return real(ns, f)
		}
		p.servers[i].SetUpstreams([]netip.AddrPort{netip.MustParseAddrPort(other)})
	}
	for i, at := range []string{"10.5.0.1", "10.5.0.2"} {
		asked.Store(0)
		start := time.Now()
		if got := status(t, p.ns[i], "@"+at, fmt.Sprintf("nowhere%d.example", i)); got != "SERVFAIL" {
			t.Errorf("from host %d: %s", i, got)
		}
		if n := asked.Load(); n > 3 {
			t.Errorf("from host %d: %d questions between the two", i, n)
		}
		t.Logf("%v, %d questions", time.Since(start), asked.Load())
	}
}

// TestCircleThroughDnsmasq: a forwarder of another make in between, which
// passes on what it does not know, changes nothing.
func TestCircleThroughDnsmasq(t *testing.T) {
	netnstest.NeedCommands(t, "dig", "dnsmasq")
	p := newPair(t)
	p.ns[1].Run("ip", "address", "add", "10.5.0.3/24", "dev", "eth0")
	p.ns[1].Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=",
		"--listen-address=10.5.0.3", "--bind-interfaces", "--user=root", "--server=10.5.0.1", "--cache-size=0")
	netnstest.Eventually(t, 5*time.Second, "dnsmasq", func() error {
		_, err := p.ns[1].Try("dig", "+tries=1", "+time=1", "@10.5.0.3", "version.bind", "CH", "TXT")
		return err
	})
	p.servers[0].SetUpstreams([]netip.AddrPort{netip.MustParseAddrPort("10.5.0.3:53")})
	if got := status(t, p.ns[0], "@10.5.0.1", "nowhere.example"); got != "SERVFAIL" && got != "REFUSED" {
		t.Errorf("%s", got)
	}
	p.servers[0].forward.mu.Lock()
	defer p.servers[0].forward.mu.Unlock()
	if n := len(p.servers[0].forward.flights) + len(p.servers[0].forward.marks); n != 0 {
		t.Errorf("%d questions still under way", n)
	}
}

// TestTrailIsDropped: an upstream behind a firewall that drops messages with
// options it does not know is asked again without, and then always without.
func TestTrailIsDropped(t *testing.T) {
	f, ns := asker(t, "127.0.0.1:53")
	var count, dropped atomic.Int32
	resolver(t, ns, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		if opt := q.IsEdns0(); opt != nil && len(opt.Option) > 0 {
			dropped.Add(1)
			return
		}
		respond(dns.RcodeSuccess, &count)(w, q)
	})
	for range 3 {
		if m, err := f.ask("x.", keepNothing); err != nil || len(m.Answer) != 1 {
			t.Errorf("%v, %v", m, err)
		}
	}
	if count.Load() != 3 || dropped.Load() != 1 {
		t.Errorf("answered %d times, dropped %d", count.Load(), dropped.Load())
	}
	f.forgive()
	if f.isPlain(f.servers[0]) {
		t.Error("other networks' resolvers are taken for the same")
	}
}

// TestTrailIsRefused: nor does an upstream matter that takes an option it does
// not know for an error.
func TestTrailIsRefused(t *testing.T) {
	f, ns := asker(t, "127.0.0.1:53")
	var count atomic.Int32
	resolver(t, ns, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		opt := q.IsEdns0()
		switch {
		case opt == nil:
			t.Error("asked without EDNS, which it knows")
		case len(opt.Option) > 0:
			m := new(dns.Msg).SetRcodeFormatError(q)
			m.SetEdns0(1232, false)
			_ = w.WriteMsg(m)
			return
		}
		respond(dns.RcodeSuccess, &count)(w, q)
	})
	if m, err := f.ask("x.", keepNothing); err != nil || len(m.Answer) != 1 || count.Load() != 1 {
		t.Errorf("%v, %v; answered %d times", m, err, count.Load())
	}
}

// TestMarksAreFresh: the numbers tell an upstream nothing about who asks.
func TestMarksAreFresh(t *testing.T) {
	f, ns := asker(t, "127.0.0.1:53")
	var mu sync.Mutex
	seen := map[mark]bool{}
	var count atomic.Int32
	resolver(t, ns, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range marks(trailOf(q)) {
			seen[m] = true
		}
		respond(dns.RcodeSuccess, &count)(w, q)
	})
	for range 5 {
		if _, err := f.ask("x.", keepNothing); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 5 {
		t.Errorf("%d numbers in 5 questions", len(seen))
	}
}
