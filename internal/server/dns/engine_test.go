package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

var epoch = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func record(name, address, port string, managed bool) Record {
	return Record{Name: name, Address: netip.MustParseAddr(address), Port: vnet.ID(port), Managed: managed}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// town is an engine with networks of two projects.
func town() *engine {
	e := newEngine()
	for _, z := range []Zone{
		{
			Network: "web", Project: "p", Domain: "Web.Internal.", Listen: addrs("192.168.150.1", "fd00:1::1", "fe80::1"),
			Prefixes: prefixes("192.168.150.0/24", "fd00:1::/64"),
			Records: []Record{
				record("vm1", "192.168.150.10", "p1", true), record("vm1", "fd00:1::10", "p1", true),
				record("vm1", "192.168.150.66", "p9", false), // a guest that calls itself vm1
				record("Guest", "192.168.150.20", "p2", false),
				record("guest", "192.168.150.21", "p3", false), // a second one
				record("guest", "fd00:1::20", "p2", false),
				{Name: "nomad", Address: netip.MustParseAddr("192.168.150.30"), MAC: vnet.MAC{2, 1}},
				{Name: "nomad", Address: netip.MustParseAddr("192.168.150.31"), MAC: vnet.MAC{2, 2}},
				record("wpad", "192.168.150.40", "p4", false),
				record("bad name", "192.168.150.41", "p4", false),
				record("evil.db.internal", "192.168.150.42", "p4", false),
				record("a.b.web.internal", "192.168.150.50", "p5", true),
				record("www.example.com", "192.168.150.51", "p5", true),
			},
		},
		{
			Network: "db", Project: "p", Domain: "db.internal", Listen: addrs("10.7.0.1"),
			Prefixes: prefixes("10.7.0.0/22"), Records: []Record{record("sql", "10.7.1.5", "d1", true), record("vm1", "10.7.1.6", "d2", true)},
		},
		{
			Network: "db2", Project: "p", Domain: "db.internal", Listen: addrs("fd00:7::1"),
			Prefixes: prefixes("fd00:7::/62"), Records: []Record{record("six", "fd00:7:0:3::5", "d3", true)},
		},
		{
			Network: "secret", Project: "q", Domain: "secret.internal", Listen: addrs("10.9.0.1"),
			Prefixes: prefixes("10.9.0.0/24"), Records: []Record{record("s", "10.9.0.5", "s1", true)},
		},
	} {
		e.setZone(compile(z))
	}
	return e
}

// ask asks the engine and returns what came back, in one line: the code, the
// answers' data, and "soa OWNER" for a negative answer; or "forward", "drop".
func ask(t testing.TB, e *engine, network, from, name string, qtype uint16) string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, qtype)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	v := e.handle(epoch, client{network: vnet.ID(network), addr: netip.MustParseAddr(from)}, b)
	switch {
	case v.ask != nil:
		return "forward"
	case v.answer == nil:
		return "drop"
	}
	a := new(dns.Msg)
	if err := a.Unpack(v.answer); err != nil {
		t.Fatalf("%s: answer: %v", name, err)
	}
	out := []string{dns.RcodeToString[a.Rcode]}
	for _, rr := range a.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	for _, rr := range a.Ns {
		out = append(out, strings.ToLower(dns.TypeToString[rr.Header().Rrtype])+" "+rr.Header().Name)
	}
	if a.Id != q.Id || !a.Response || a.Rcode != dns.RcodeRefused && len(a.Question) != 1 {
		t.Errorf("%s: header of the answer: %+v", name, a.MsgHdr)
	}
	return strings.Join(out, " ")
}

func TestAnswers(t *testing.T) {
	e := town()
	const guest = "192.168.150.10"
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"vm1.web.internal.", dns.TypeA, "NOERROR 192.168.150.10"},
		{"VM1.Web.Internal.", dns.TypeAAAA, "NOERROR fd00:1::10"},
		{"vm1.web.internal.", dns.TypeANY, "NOERROR 192.168.150.10"},
		{"vm1.web.internal.", dns.TypeMX, "NOERROR soa web.internal."},
		{"vm1.", dns.TypeA, "NOERROR 192.168.150.10"},
		{"vm1.", dns.TypeMX, "NOERROR soa vm1."},
		{"sql.", dns.TypeA, "forward"},
		{"unheard-of.", dns.TypeA, "forward"},
		{".", dns.TypeNS, "forward"},
		{"com.", dns.TypeNS, "forward"},
		{"guest.web.internal.", dns.TypeA, "NOERROR 192.168.150.20"},
		{"guest.web.internal.", dns.TypeAAAA, "NOERROR fd00:1::20"},
		{"nomad.web.internal.", dns.TypeA, "NOERROR 192.168.150.30"},
		{"wpad.web.internal.", dns.TypeA, "NXDOMAIN soa web.internal."},
		{"evil.db.internal.", dns.TypeA, "NXDOMAIN soa db.internal."},
		{"a.b.web.internal.", dns.TypeA, "NOERROR 192.168.150.50"},
		{"b.web.internal.", dns.TypeA, "NOERROR soa web.internal."},
		{"c.b.web.internal.", dns.TypeA, "NXDOMAIN soa web.internal."},
		{"www.example.com.", dns.TypeA, "NOERROR 192.168.150.51"},
		{"www.example.com.", dns.TypeAAAA, "NOERROR soa www.example.com."},
		{"example.com.", dns.TypeA, "forward"},
		{"web.internal.", dns.TypeA, "NOERROR soa web.internal."},
		{"web.internal.", dns.TypeDS, "NOERROR soa web.internal."},
		{"web.internal.", dns.TypeNS, "NOERROR ns.web.internal."},
		{"ns.web.internal.", dns.TypeAAAA, "NOERROR fd00:1::1"},
		{"internal.", dns.TypeA, "forward"},
		{"sql.db.internal.", dns.TypeA, "NOERROR 10.7.1.5"},
		{"six.db.internal.", dns.TypeAAAA, "NOERROR fd00:7:0:3::5"},
		{"six.db.internal.", dns.TypeA, "NOERROR soa db.internal."},
		{"seven.db.internal.", dns.TypeA, "NXDOMAIN soa db.internal."},
		{"s.secret.internal.", dns.TypeA, "forward"}, // another project's
		{"localhost.", dns.TypeA, "NOERROR 127.0.0.1"},
		{"x.localhost.", dns.TypeAAAA, "NOERROR ::1"},
		{"x.invalid.", dns.TypeA, "NXDOMAIN soa invalid."},
		{"10.150.168.192.in-addr.arpa.", dns.TypePTR, "NOERROR vm1.web.internal."},
		{"10.150.168.192.in-addr.arpa.", dns.TypeA, "NOERROR soa 150.168.192.in-addr.arpa."},
		{"66.150.168.192.in-addr.arpa.", dns.TypePTR, "NXDOMAIN soa 150.168.192.in-addr.arpa."},
		{"150.168.192.in-addr.arpa.", dns.TypeNS, "NOERROR ns.web.internal."},
		{"168.192.in-addr.arpa.", dns.TypeSOA, "forward"},
		{"5.1.7.10.in-addr.arpa.", dns.TypePTR, "NOERROR sql.db.internal."},
		{"5.3.7.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN soa 3.7.10.in-addr.arpa."},
		{"5.4.7.10.in-addr.arpa.", dns.TypePTR, "forward"},
		{"5.0.9.10.in-addr.arpa.", dns.TypePTR, "forward"}, // another project's
		{"5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.0.0.0.0.0.0.0.7.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, "NOERROR six.db.internal."},
		{"0.0.0.0.3.0.0.0.0.0.0.0.7.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, "NOERROR soa 3.0.0.0.0.0.0.0.7.0.0.0.0.0.d.f.ip6.arpa."},
		{"1.0.0.0.3.0.0.0.0.0.0.0.7.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, "NXDOMAIN soa 3.0.0.0.0.0.0.0.7.0.0.0.0.0.d.f.ip6.arpa."},
		{"vm1.web.internal.", dns.TypeAXFR, "REFUSED"},
	} {
		if got := ask(t, e, "web", guest, tt.name, tt.qtype); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.name, dns.TypeToString[tt.qtype], got, tt.want)
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	e := town()
	for _, tt := range []struct{ network, from, want string }{
		{"web", "192.168.150.77", "NOERROR 192.168.150.10"},
		{"web", "fd00:1::77", "NOERROR 192.168.150.10"},
		{"web", "10.7.0.9", "NOERROR 192.168.150.10"}, // a network of the same project
		{"web", "10.9.0.9", "REFUSED"},                // another project's
		{"web", "203.0.113.1", "REFUSED"},
		{"web", "fe80::5", "REFUSED"}, // not on the network's link, says the socket
		{"gone", "192.168.150.77", "drop"},
	} {
		if got := ask(t, e, tt.network, tt.from, "vm1.web.internal.", dns.TypeA); got != tt.want {
			t.Errorf("%s asks %s: %s, want %s", tt.from, tt.network, got, tt.want)
		}
	}
}

func TestZonesComeAndGo(t *testing.T) {
	e := town()
	e.setZone(compile(Zone{Network: "db", Project: "q", Domain: "db.internal", Prefixes: prefixes("10.7.0.0/22")}))
	if got := ask(t, e, "web", "192.168.150.2", "sql.db.internal.", dns.TypeA); got != "NXDOMAIN soa db.internal." {
		t.Errorf("after db moved to another project: %s", got)
	}
	e.removeZone("db2")
	if got := ask(t, e, "web", "192.168.150.2", "six.db.internal.", dns.TypeAAAA); got != "forward" {
		t.Errorf("after db2 went: %s", got)
	}
	for _, id := range []vnet.ID{"web", "db", "secret", "never"} {
		e.removeZone(id)
	}
	if len(e.zones)+len(e.views) != 0 {
		t.Errorf("left: %d zones, %d views", len(e.zones), len(e.views))
	}
}

func TestRate(t *testing.T) {
	l := newLimiter()
	a := netip.MustParseAddr("fd00::1")
	granted := 0
	for range 3 * burst {
		if l.take(epoch, a) {
			granted++
		}
	}
	if granted != burst {
		t.Errorf("granted %d at once, want %d", granted, burst)
	}
	if l.take(epoch.Add(time.Second), a) != true || !l.take(epoch, netip.MustParseAddr("fd00::2")) {
		t.Error("refused after a second's rest, or to another client")
	}
	for i := range 3 * clients {
		l.take(epoch, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(l.buckets) > clients {
		t.Errorf("remembers %d clients, want at most %d", len(l.buckets), clients)
	}
}

func answerTo(t testing.TB, name string, lines ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Response = true
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func TestCache(t *testing.T) {
	soaLine := "x. 600 IN SOA ns.x. h.x. 1 2 3 4 %d"
	for _, tt := range []struct {
		name  string
		msg   *dns.Msg
		rcode int
		lasts time.Duration
	}{
		{"least TTL", answerTo(t, "a.", "a. 300 IN CNAME b.", "b. 60 IN A 192.0.2.1"), 0, time.Minute},
		{"bounded", answerTo(t, "a.", "a. 999999 IN A 192.0.2.1"), 0, maxTTL},
		{"zero", answerTo(t, "a.", "a. 0 IN A 192.0.2.1"), 0, 0},
		{"negative", answerTo(t, "a.", fmt.Sprintf(soaLine, 20)), dns.RcodeNameError, 20 * time.Second},
		{"negative, bounded by the SOA's TTL", answerTo(t, "a.", fmt.Sprintf(soaLine, 6000)), 0, 600 * time.Second},
		{"negative without SOA", answerTo(t, "a."), dns.RcodeNameError, 0},
		{"failure", answerTo(t, "a."), dns.RcodeServerFailure, failureTTL},
	} {
		c := newCache()
		tt.msg.Rcode = tt.rcode
		k := question{name: "a.", qtype: dns.TypeA}
		c.put(epoch, k, tt.msg)
		if tt.lasts > 0 && c.get(epoch.Add(tt.lasts-time.Millisecond), k) == nil {
			t.Errorf("%s: forgotten before %v", tt.name, tt.lasts)
		}
		if c.get(epoch.Add(tt.lasts), k) != nil {
			t.Errorf("%s: kept after %v", tt.name, tt.lasts)
		}
	}
	c := newCache()
	k := question{name: "a.", qtype: dns.TypeA}
	c.put(epoch, k, answerTo(t, "a.", "a. 60 IN A 192.0.2.1"))
	if got := c.get(epoch.Add(25*time.Second), k).Answer[0].Header().Ttl; got != 35 {
		t.Errorf("TTL after 25 s is %d, want 35", got)
	}
	if c.get(epoch, question{name: "a.", qtype: dns.TypeA, do: true}) != nil {
		t.Error("an answer without DNSSEC given to one who wants it")
	}
	for i := range 3 * cacheEntries {
		c.put(epoch, question{name: fmt.Sprint(i, ".")}, answerTo(t, "a.", "a. 60 IN A 192.0.2.1"))
	}
	if len(c.byKey) > cacheEntries || c.used.Len() != len(c.byKey) {
		t.Errorf("%d entries, %d in use order", len(c.byKey), c.used.Len())
	}
	c.clear()
	if c.bytes != 0 || c.get(epoch, k) != nil {
		t.Error("not empty after clear")
	}
}

// answered is the engine's answer to a query that it asks the upstreams, which
// answer up.
func answered(e *engine, q, up *dns.Msg, tcp bool) []byte {
	b, _ := q.Pack()
	v := e.handle(epoch, client{network: "web", addr: netip.MustParseAddr("192.168.150.10"), tcp: tcp}, b)
	for v.ask != nil {
		v = e.resume(epoch, v.ask.inquiry, up)
	}
	return v.answer
}

func TestTruncation(t *testing.T) {
	e := town()
	up := answerTo(t, "big.")
	for i := range 100 {
		rr, _ := dns.NewRR(fmt.Sprintf("big. 60 IN A 192.0.2.%d", i))
		up.Answer = append(up.Answer, rr)
	}
	for _, tt := range []struct {
		edns uint16
		tcp  bool
		max  int
		tc   bool
	}{{0, false, 512, true}, {100, false, 512, true}, {1232, false, 1232, true}, {4096, false, 1232, true}, {0, true, 65535, false}} {
		q := new(dns.Msg).SetQuestion("big.", dns.TypeA)
		if tt.edns > 0 {
			q.SetEdns0(tt.edns, false)
		}
		b := answered(e, q, up, tt.tcp)
		a := new(dns.Msg)
		if err := a.Unpack(b); err != nil || len(b) > tt.max || a.Truncated != tt.tc || (a.IsEdns0() != nil) != (tt.edns > 0) {
			t.Errorf("EDNS size %d, TCP %v: %d bytes, TC %v, %v", tt.edns, tt.tcp, len(b), a.Truncated, err)
		}
	}
	if len(up.Answer) != 100 || up.Truncated {
		t.Error("the upstream's answer was changed")
	}
}

func FuzzHandle(f *testing.F) {
	for _, name := range []string{"vm1.web.internal.", "x.example.com.", "10.150.168.192.in-addr.arpa."} {
		q := new(dns.Msg).SetQuestion(name, dns.TypePTR)
		q.SetEdns0(4096, true)
		b, _ := q.Pack()
		f.Add(b, false)
		f.Add(b[:len(b)-5], true)
	}
	f.Add([]byte("\x00\x01\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), false)
	f.Add(make([]byte, 12), true)
	e := rich()
	e.setZone(compile(Zone{Network: "bare", Prefixes: prefixes("192.168.150.0/24"), DNS64: netip.MustParsePrefix("fd64::/64"), Upwards: true,
		Extra: records("*.c A 10.4.0.8"), Forwarders: forwarders("10.0.0.53", "example.com=10.0.0.54", "none.example=")}))
	up := answerTo(f, "x.example.com.", "x.example.com. 60 IN TXT \"hello\"")
	f.Fuzz(func(t *testing.T, msg []byte, tcp bool) {
		e.limit = newLimiter()
		in := append([]byte(nil), msg...)
		network := vnet.ID("web")
		if len(msg)%2 == 1 {
			network = "bare"
		}
		v := e.handle(epoch, client{network: network, addr: netip.MustParseAddr("192.168.150.10"), tcp: tcp}, in)
		for n := 0; v.ask != nil; n++ {
			m := v.ask.message()
			withTrail(m, v.ask.trail, mark{})
			if b, err := m.Pack(); err != nil || len(b) == 0 {
				t.Fatalf("cannot ask upstream: %v", err)
			}
			if n > maxHops+1 {
				t.Fatal("asks without end")
			}
			v = e.resume(epoch, v.ask.inquiry, up)
		}
		out := v.answer
		if out == nil {
			return
		}
		if len(msg) < 12 || msg[2]&0x80 != 0 {
			t.Fatal("answered a response or a fragment of a message")
		}
		if !tcp && len(out) > maxUDP {
			t.Fatalf("%d bytes by UDP", len(out))
		}
		if out[0] != msg[0] || out[1] != msg[1] || out[2]&0x80 == 0 {
			t.Fatalf("answer %x to %x", out[:3], msg[:3])
		}
		if err := new(dns.Msg).Unpack(out); err != nil {
			t.Fatalf("our answer cannot be read: %v", err)
		}
	})
}

func FuzzUpstream(f *testing.F) {
	k := question{name: "x.example.com.", qtype: dns.TypeA}
	m := k.message()
	m.Id = 7
	good := answerTo(f, "x.example.com.", "x.example.com. 60 IN A 192.0.2.1")
	good.Id = 7
	b, _ := good.Pack()
	f.Add(b)
	f.Add(b[:20])
	e := town()
	z := webZone()
	z.DNS64 = netip.MustParsePrefix("64:ff9b::/96")
	e.setZone(compile(z))
	f.Fuzz(func(t *testing.T, in []byte) {
		e.limit = newLimiter()
		a, ok := matching(in, m)
		if !ok {
			return
		}
		c := newCache()
		c.put(epoch, k, a)
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeANY} { // AAAA: DNS64
			q := new(dns.Msg).SetQuestion("x.example.com.", qtype)
			for _, tcp := range []bool{false, true} {
				e.cache.clear()
				if out := answered(e, q, a, tcp); out == nil || new(dns.Msg).Unpack(out) != nil {
					t.Fatalf("unreadable answer from %x", in)
				}
			}
		}
	})
}

// TestHostMayAsk: the host asks from whichever of its addresses the kernel
// chooses; nobody else outside the networks may.
func TestHostMayAsk(t *testing.T) {
	e := newEngine()
	z := compile(Zone{Network: "n", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}})
	e.setZone(z)
	outer := client{network: "n", addr: netip.MustParseAddr("192.0.2.2")}
	if e.mayAsk(z, outer) {
		t.Error("a stranger may ask")
	}
	e.host = map[netip.Addr]bool{outer.addr: true}
	if !e.mayAsk(z, outer) {
		t.Error("the host may not ask from its outer address")
	}
}
