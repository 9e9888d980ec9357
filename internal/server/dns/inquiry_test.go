package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

// beyond is what upstreams know: lines of a zone file by "NAME TYPE", or a
// code; nil is no answer at all. What is not there does not exist.
type beyond map[string][]string

// answer is the upstream's answer to the errand.
func (u beyond) answer(t testing.TB, e *errand) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(e.name, e.qtype)
	m.Response = true
	lines, known := u[e.name+" "+dns.TypeToString[e.qtype]]
	if !known {
		lines = []string{"NXDOMAIN"}
	}
	if lines == nil {
		return nil
	}
	for _, line := range lines {
		if rcode, isCode := dns.StringToRcode[line]; isCode {
			m.Rcode = rcode
			continue
		}
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

// talk asks the engine, lets the upstreams answer, and returns the answer and
// what they were asked, each as "NAME TYPE SERVER …".
func talk(t testing.TB, e *engine, u beyond, network string, q *dns.Msg) (*dns.Msg, []string) {
	t.Helper()
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	v := e.handle(epoch, client{network: vnet.ID(network), addr: e.zones[vnet.ID(network)].Prefixes[0].Addr().Next().Next()}, b)
	for v.ask != nil {
		if len(asked) > maxHops+1 {
			t.Fatalf("%v asks without end: %q", q.Question, asked)
		}
		line := v.ask.name + " " + dns.TypeToString[v.ask.qtype]
		for _, s := range v.ask.servers {
			line += " " + s.ns + s.Addr().String()
		}
		asked = append(asked, line)
		m := u.answer(t, v.ask)
		if m != nil {
			e.cache.put(epoch, v.ask.question, m)
		}
		v = e.resume(epoch, v.ask.inquiry, m)
	}
	a := new(dns.Msg)
	if err := a.Unpack(v.answer); err != nil {
		t.Fatalf("%v: %x: %v", q.Question, v.answer, err)
	}
	return a, asked
}

// short is an answer in one line: the code, the answers' types and data, and
// "soa OWNER".
func short(a *dns.Msg) string {
	out := []string{dns.RcodeToString[a.Rcode]}
	for _, rr := range a.Answer {
		h := rr.Header()
		out = append(out, dns.TypeToString[h.Rrtype]+" "+strings.TrimPrefix(rr.String(), h.String()))
	}
	for _, rr := range a.Ns {
		out = append(out, "soa "+rr.Header().Name)
	}
	return strings.Join(out, "; ")
}

func records(lines ...string) []vnet.NameRecord {
	var out []vnet.NameRecord
	for _, l := range lines {
		var r vnet.NameRecord
		if err := r.UnmarshalText([]byte(l)); err != nil {
			panic(err)
		}
		out = append(out, r)
	}
	return out
}

func forwarders(lines ...string) []vnet.Forwarder {
	var out []vnet.Forwarder
	for _, l := range lines {
		var f vnet.Forwarder
		if err := f.UnmarshalText([]byte(l)); err != nil {
			panic(err)
		}
		out = append(out, f)
	}
	return out
}

// rich is a town whose network web has records of the operator's.
func rich(change ...func(*Zone)) *engine {
	e := town()
	z := webZone()
	z.Records = append(z.Records, record("guest", "192.168.150.20", "p2", false), record("printer", "192.168.150.40", "p4", false))
	z.Extra = records(
		"www CNAME vm1", "ext CNAME Host.Example.com.", "deep CNAME www", "loop1 CNAME loop2", "loop2 CNAME loop1", "gone CNAME nothing",
		"printer A 192.168.150.41", "vm1 TXT \"a b\" \"c\\\"d\\\\e\"", "v6only AAAA fd00:1::99",
		"_ldap._tcp 60 SRV 0 5 389 vm1", "_ldap._tcp SRV 1 5 389 ldap.example.org.", "@ MX 10 mail", "mail A 192.168.150.5",
		"@ TXT v=spf1 -all", "@ A 192.168.150.6",
		"*.apps A 192.168.150.7", "*.apps TXT any", "fixed.apps A 192.168.150.8", "x.sub.apps A 192.168.150.9", "*.alias CNAME vm1",
		"192.168.150.99 PTR scanner", "9.9.9.10.in-addr.arpa PTR far.example.org.", "fd00:1::77 PTR seventy", "_http._tcp PTR web._http._tcp",
		"vm1.db.internal. A 192.168.150.50", "www.example.com. 77 A 192.168.150.51", "*.override.example. A 192.168.150.52",
		"wpad A 192.168.150.53", "a.b.c TXT deep", "guest TXT mine",
	)
	for _, c := range change {
		c(&z)
	}
	e.setZone(compile(z))
	return e
}

func TestExtraRecords(t *testing.T) {
	e := rich()
	u := beyond{
		"host.example.com. A":   {"host.example.com. 60 IN A 203.0.113.1"},
		"other.override. A":     {"other.override. 60 IN A 203.0.113.2"},
		"x.www.example.com. A":  {"x.www.example.com. 60 IN A 203.0.113.3"},
		"ldap.example.org. A":   {"ldap.example.org. 60 IN A 203.0.113.4"},
		"far.example.org. AAAA": {},
	}
	for _, tt := range []struct{ name, qtype, want string }{
		{"WWW.web.internal.", "A", "NOERROR; CNAME vm1.web.internal.; A 192.168.150.10"},
		{"www.web.internal.", "CNAME", "NOERROR; CNAME vm1.web.internal."},
		{"www.web.internal.", "ANY", "NOERROR; CNAME vm1.web.internal."},
		{"www.web.internal.", "MX", "NOERROR; CNAME vm1.web.internal.; soa web.internal."},
		{"deep.web.internal.", "AAAA", "NOERROR; CNAME www.web.internal.; CNAME vm1.web.internal.; AAAA fd00:1::10"},
		{"ext.web.internal.", "A", "NOERROR; CNAME host.example.com.; A 203.0.113.1"},
		{"ext.web.internal.", "TXT", "NXDOMAIN; CNAME host.example.com."},
		{"gone.web.internal.", "A", "NXDOMAIN; CNAME nothing.web.internal.; soa web.internal."},
		{"loop1.web.internal.", "A", "SERVFAIL"},
		{"printer.web.internal.", "A", "NOERROR; A 192.168.150.41"},  // and not the guest's
		{"vm1.web.internal.", "TXT", `NOERROR; TXT "a b" "c\"d\\e"`}, // beside the port's addresses
		{"vm1.web.internal.", "A", "NOERROR; A 192.168.150.10"},      // which stay
		{"v6only.web.internal.", "AAAA", "NOERROR; AAAA fd00:1::99"}, // instead of the port's
		{"guest.web.internal.", "A", "NOERROR; soa web.internal."},   // a name of the operator's
		{"web.internal.", "MX", "NOERROR; MX 10 mail.web.internal."},
		{"web.internal.", "TXT", `NOERROR; TXT "v=spf1 -all"`},
		{"web.internal.", "A", "NOERROR; A 192.168.150.6"},
		{"web.internal.", "NS", "NOERROR; NS ns.web.internal."},
		{"wpad.web.internal.", "A", "NOERROR; A 192.168.150.53"},
		{"_ldap._tcp.web.internal.", "SRV", "NOERROR; SRV 0 5 389 vm1.web.internal.; SRV 1 5 389 ldap.example.org."},
		{"_tcp.web.internal.", "SRV", "NOERROR; soa web.internal."}, // empty non-terminal
		{"b.c.web.internal.", "TXT", "NOERROR; soa web.internal."},
		// RFC 4592 section 2.2.1
		{"y.apps.web.internal.", "A", "NOERROR; A 192.168.150.7"},
		{"y.z.apps.web.internal.", "A", "NOERROR; A 192.168.150.7"},
		{"Y.apps.web.internal.", "AAAA", "NOERROR; soa web.internal."},
		{"fixed.apps.web.internal.", "A", "NOERROR; A 192.168.150.8"},
		{"fixed.apps.web.internal.", "TXT", "NOERROR; soa web.internal."},  // exists: no wildcard
		{"y.fixed.apps.web.internal.", "A", "NXDOMAIN; soa web.internal."}, // its encloser has none
		{"sub.apps.web.internal.", "A", "NOERROR; soa web.internal."},      // empty, but it exists
		{"y.sub.apps.web.internal.", "A", "NXDOMAIN; soa web.internal."},
		{"apps.web.internal.", "A", "NOERROR; soa web.internal."},
		{"*.apps.web.internal.", "A", "NOERROR; A 192.168.150.7"},
		{"y.alias.web.internal.", "AAAA", "NOERROR; CNAME vm1.web.internal.; AAAA fd00:1::10"},
		{"none.web.internal.", "A", "NXDOMAIN; soa web.internal."},
		// Reverse.
		{"99.150.168.192.in-addr.arpa.", "PTR", "NOERROR; PTR scanner.web.internal."},
		{"9.9.9.10.in-addr.arpa.", "PTR", "NOERROR; PTR far.example.org."},
		{"7.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.", "PTR", "NOERROR; PTR seventy.web.internal."},
		{"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.", "PTR", "NOERROR; soa 0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa."},
		{"41.150.168.192.in-addr.arpa.", "PTR", "NOERROR; PTR printer.web.internal."},
		{"10.150.168.192.in-addr.arpa.", "PTR", "NOERROR; PTR vm1.web.internal."},
		{"40.150.168.192.in-addr.arpa.", "PTR", "NXDOMAIN; soa 150.168.192.in-addr.arpa."}, // the guest lost its name
		{"_http._tcp.web.internal.", "PTR", "NOERROR; PTR web._http._tcp.web.internal."},
		// Whole names elsewhere.
		{"vm1.db.internal.", "A", "NOERROR; A 192.168.150.50"},
		{"www.example.com.", "A", "NOERROR; A 192.168.150.51"},
		{"x.www.example.com.", "A", "NOERROR; A 203.0.113.3"},
		{"x.y.override.example.", "A", "NOERROR; A 192.168.150.52"},
		{"override.example.", "A", "NXDOMAIN"},
	} {
		a, _ := talk(t, e, u, "web", new(dns.Msg).SetQuestion(tt.name, dns.StringToType[tt.qtype]))
		if got := short(a); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.name, tt.qtype, got, tt.want)
		}
		if len(a.Answer) > 0 && a.Answer[0].Header().Name != tt.name {
			t.Errorf("%s %s: the answer is about %s", tt.name, tt.qtype, a.Answer[0].Header().Name)
		}
	}
}

func TestRecordTTL(t *testing.T) {
	e := rich(func(z *Zone) {
		z.Extra = append(z.Extra, records("set 50 A 192.0.2.1", "set 70 A 192.0.2.2", "set 40 A 192.0.2.3", "set 90 TXT x")...)
	})
	for name, want := range map[string]uint32{
		"www.example.com. A": 77, "mail.web.internal. A": localTTL, "set.web.internal. A": 40, "set.web.internal. TXT": 90,
	} {
		owner, qtype, _ := strings.Cut(name, " ")
		a, _ := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(owner, dns.StringToType[qtype]))
		if len(a.Answer) == 0 {
			t.Errorf("%s: no answer", name)
		}
		for _, rr := range a.Answer {
			if rr.Header().Ttl != want {
				t.Errorf("%s: %v, want a TTL of %d", name, rr, want)
			}
		}
	}
}

// TestAdditional: addresses of targets come along (RFC 2782), from our own
// names only.
func TestAdditional(t *testing.T) {
	e := rich()
	for name, want := range map[string]string{
		"_ldap._tcp.web.internal. SRV": "vm1.web.internal. fd00:1::10 vm1.web.internal. 192.168.150.10",
		"web.internal. MX":             "mail.web.internal. 192.168.150.5",
		"web.internal. NS":             "ns.web.internal. fd00:1::1 ns.web.internal. 192.168.150.1",
	} {
		owner, qtype, _ := strings.Cut(name, " ")
		a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(owner, dns.StringToType[qtype]))
		var got []string
		for _, rr := range a.Extra {
			h := rr.Header()
			got = append(got, h.Name, strings.TrimPrefix(rr.String(), h.String()))
		}
		if strings.Join(got, " ") != want || len(asked) != 0 {
			t.Errorf("%s: additional %q, want %q; asked %q", name, got, want, asked)
		}
	}
}

// TestLongText: text is cut into strings of 255 bytes (RFC 1035 section 3.3).
func TestLongText(t *testing.T) {
	long := strings.Repeat("0123456789", 40)
	e := rich(func(z *Zone) { z.Extra = records("t TXT " + long) })
	a, _ := talk(t, e, nil, "web", new(dns.Msg).SetQuestion("t.web.internal.", dns.TypeTXT))
	if txt := a.Answer[0].(*dns.TXT).Txt; len(txt) != 2 || len(txt[0]) != 255 || strings.Join(txt, "") != long {
		t.Errorf("%q", txt)
	}
}

// TestHugeSets: however much is written of one name, answers stay small enough
// to be made many times a second.
func TestHugeSets(t *testing.T) {
	e := rich(func(z *Zone) {
		for i := range 10000 {
			a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
			z.Extra = append(z.Extra, vnet.NameRecord{Name: "many", Type: "A", Value: a.String()}, vnet.NameRecord{Name: "texts", Type: "TXT", Value: strings.Repeat("x", 4096)})
			z.Records = append(z.Records, Record{Name: "port", Address: a, Port: "p8", Managed: true})
		}
	})
	for name, most := range map[string]int{"many. A": maxSize + 512, "texts. TXT": maxSize + 512, "port. A": 64 * maxSet} {
		owner, qtype, _ := strings.Cut(name, " ")
		b, _ := new(dns.Msg).SetQuestion(owner+"web.internal.", dns.StringToType[qtype]).Pack()
		v := e.handle(epoch, client{network: "web", addr: netip.MustParseAddr("192.168.150.9"), tcp: true}, b)
		a := new(dns.Msg)
		if err := a.Unpack(v.answer); err != nil || len(a.Answer) == 0 || len(v.answer) > most || a.Truncated {
			t.Errorf("%s: %d bytes, %d records, %v", name, len(v.answer), len(a.Answer), err)
		}
	}
}

// TestAliasWithoutRecursion: who does not desire recursion gets our aliases
// and nothing out of the cache.
func TestAliasWithoutRecursion(t *testing.T) {
	e := rich()
	e.cache.put(epoch, question{name: "host.example.com.", qtype: dns.TypeA}, answerTo(t, "host.example.com.", "host.example.com. 60 IN A 203.0.113.1"))
	for name, want := range map[string]string{
		"ext.web.internal.": "NOERROR; CNAME host.example.com.", "deep.web.internal.": "NOERROR; CNAME www.web.internal.; CNAME vm1.web.internal.; A 192.168.150.10",
		"host.example.com.": "REFUSED",
	} {
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.RecursionDesired = false
		if a, _ := talk(t, e, nil, "web", q); short(a) != want {
			t.Errorf("%s: %s, want %s", name, short(a), want)
		}
	}
}

// TestUpstreamAliases: an upstream that does not follow its aliases is helped,
// and nothing is believed that does not lead to the answer.
func TestUpstreamAliases(t *testing.T) {
	u := beyond{
		"half.corp. A":    {"half.corp. 60 IN CNAME else.example."},
		"else.example. A": {"else.example. 60 IN A 203.0.113.5"},
		"home.corp. A":    {"home.corp. 60 IN CNAME vm1.web.internal."},
		"nodata.corp. A":  {"nodata.corp. 60 IN CNAME x.corp.", "corp. 60 IN SOA a. b. 1 2 3 4 5"},
		"lies.corp. A":    {"lies.corp. 60 IN A 203.0.113.6", "bank.example. 60 IN A 203.0.113.66", "lies.corp. 60 IN CNAME bank.example."},
		"round.corp. A":   {"round.corp. 60 IN CNAME round2.corp.", "round2.corp. 60 IN CNAME round.corp."},
		"self.corp. A":    {"self.corp. 60 IN CNAME self.corp."},
	}
	for _, tt := range []struct {
		name, want string
		asked      int
	}{
		{"half.corp.", "NOERROR; CNAME else.example.; A 203.0.113.5", 2},
		{"home.corp.", "NOERROR; CNAME vm1.web.internal.; A 192.168.150.10", 1},
		{"nodata.corp.", "NOERROR; CNAME x.corp.; soa corp.", 1},
		{"lies.corp.", "NOERROR; A 203.0.113.6; CNAME bank.example.", 1},
		{"self.corp.", "NOERROR; CNAME self.corp.", 1},
	} {
		a, asked := talk(t, rich(), u, "web", new(dns.Msg).SetQuestion(tt.name, dns.TypeA))
		if short(a) != tt.want || len(asked) != tt.asked || a.Authoritative {
			t.Errorf("%s: %s, want %s; asked %q", tt.name, short(a), tt.want, asked)
		}
	}
	if a, asked := talk(t, rich(), u, "web", new(dns.Msg).SetQuestion("round.corp.", dns.TypeA)); len(asked) > maxHops+1 || len(a.Answer) > 3*maxHops {
		t.Errorf("a circle of aliases: asked %d times, %d answers", len(asked), len(a.Answer))
	}
}

// TestHeaders: AA for our names (RFC 1035 section 4.1.1), AD only for what the
// upstream validated as a whole, CD as it was.
func TestHeaders(t *testing.T) {
	e := rich()
	up := answerTo(t, "host.example.com.", "host.example.com. 60 IN A 203.0.113.1")
	up.AuthenticatedData = true
	e.cache.put(epoch, question{name: "host.example.com.", qtype: dns.TypeA, cd: true}, up)
	for _, tt := range []struct {
		name   string
		aa, ad bool
	}{{"vm1.web.internal.", true, false}, {"ext.web.internal.", true, false}, {"host.example.com.", false, true}, {"none.web.internal.", true, false}} {
		q := new(dns.Msg).SetQuestion(tt.name, dns.TypeA)
		q.AuthenticatedData, q.CheckingDisabled = true, true
		a, _ := talk(t, e, nil, "web", q)
		if a.Authoritative != tt.aa || a.AuthenticatedData != tt.ad || !a.CheckingDisabled || !a.RecursionAvailable || !a.RecursionDesired {
			t.Errorf("%s: %+v", tt.name, a.MsgHdr)
		}
	}
}

// FuzzRecords: whatever an operator writes compiles, and is answered in
// messages that can be read.
func FuzzRecords(f *testing.F) {
	for _, l := range []string{"www CNAME vm1", "@ TXT \"a\\200\"", "*.x.y SRV 0 0 1 .", "fd00:1::5 PTR x", "a.b. MX 5 @", "* CNAME *.a"} {
		f.Add(l, "y.x.web.internal.", uint16(dns.TypeANY))
	}
	f.Fuzz(func(t *testing.T, line, name string, qtype uint16) {
		var r vnet.NameRecord
		if r.UnmarshalText([]byte(line)) != nil {
			return
		}
		e := rich(func(z *Zone) {
			z.Extra = append(z.Extra, r)
			z.DNS64 = netip.MustParsePrefix("fd64::/96")
		})
		c := e.zones["web"]
		owner, _ := c.ownerOf(r)
		for _, n := range []string{owner, name} {
			if _, ok := dns.IsDomainName(n); !ok || n == "" {
				continue
			}
			for _, q := range []uint16{qtype, dns.StringToType[r.Type]} {
				b, err := new(dns.Msg).SetQuestion(dns.Fqdn(n), q).Pack()
				if err != nil {
					continue
				}
				v := e.handle(epoch, client{network: "web", addr: netip.MustParseAddr("192.168.150.9")}, b)
				for v.ask != nil {
					v = e.resume(epoch, v.ask.inquiry, nil)
				}
				if err := new(dns.Msg).Unpack(v.answer); err != nil {
					t.Fatalf("%q, asked for %q: %v", line, n, err)
				}
			}
		}
	})
}

func TestUpwards(t *testing.T) {
	u := beyond{
		"none.web.internal. A": {"none.web.internal. 60 IN A 203.0.113.1"}, "web.internal. SRV": {"web.internal. 60 IN SRV 0 0 1 a."},
		"c.web.internal. A": {"c.web.internal. 60 IN A 203.0.113.2"}, "x.corp.web.internal. A": {"x.corp.web.internal. 60 IN A 203.0.113.3"},
		"200.150.168.192.in-addr.arpa. PTR": {"200.150.168.192.in-addr.arpa. 60 IN PTR far.example."},
	}
	upwards := func(z *Zone) { z.Upwards = true }
	forward := func(list ...string) func(z *Zone) { return func(z *Zone) { z.Forwarders = forwarders(list...) } }
	for _, tt := range []struct {
		about       string
		change      func(*Zone)
		name, qtype string
		want        string
		asked       int
	}{
		{"the domain is ours alone", func(*Zone) {}, "none.web.internal.", "A", "NXDOMAIN; soa web.internal.", 0},
		{"a default forwarder changes nothing", forward("2001:db8::53"), "none.web.internal.", "A", "NXDOMAIN; soa web.internal.", 0},
		{"upwards", upwards, "none.web.internal.", "A", "NOERROR; A 203.0.113.1", 1},
		{"what we know is ours", upwards, "vm1.web.internal.", "MX", "NOERROR; soa web.internal.", 0},
		{"a wildcard is ours", upwards, "y.apps.web.internal.", "AAAA", "NOERROR; soa web.internal.", 0},
		{"a name that is only above others", upwards, "c.web.internal.", "A", "NOERROR; A 203.0.113.2", 1},
		{"a forwarder of a part", forward("corp.web.internal=10.0.0.53"), "x.corp.web.internal.", "A", "NOERROR; A 203.0.113.3", 1},
		{"not of the rest", forward("corp.web.internal=10.0.0.53"), "none.web.internal.", "A", "NXDOMAIN; soa web.internal.", 0},
		{"of the domain itself", forward("web.internal=10.0.0.53"), "none.web.internal.", "A", "NOERROR; A 203.0.113.1", 1},
		{"of a domain above", forward("internal=10.0.0.53"), "none.web.internal.", "A", "NXDOMAIN; soa web.internal.", 0},
		{"an unknown address", upwards, "200.150.168.192.in-addr.arpa.", "PTR", "NXDOMAIN; soa 150.168.192.in-addr.arpa.", 0},
		{"with a forwarder for it", forward("150.168.192.in-addr.arpa=10.0.0.53"), "200.150.168.192.in-addr.arpa.", "PTR", "NOERROR; PTR far.example.", 1},
		{"a known address stays ours", forward("150.168.192.in-addr.arpa=10.0.0.53"), "10.150.168.192.in-addr.arpa.", "PTR", "NOERROR; PTR vm1.web.internal.", 0},
		{"nobody", forward("corp.web.internal=", "10.0.0.53"), "x.corp.web.internal.", "A", "NXDOMAIN; soa corp.web.internal.", 0},
	} {
		a, asked := talk(t, rich(tt.change), u, "web", new(dns.Msg).SetQuestion(tt.name, dns.StringToType[tt.qtype]))
		if short(a) != tt.want || len(asked) != tt.asked {
			t.Errorf("%s: %s, want %s; asked %q", tt.about, short(a), tt.want, asked)
		}
	}
}
