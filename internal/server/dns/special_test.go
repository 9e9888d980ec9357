package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

func TestSpecialNames(t *testing.T) {
	e := town()
	hostResolvers(e, "192.168.1.1")
	for _, tt := range []struct{ name, qtype, want string }{
		{"LocalHost.", "A", "NOERROR; A 127.0.0.1"},
		{"a.localhost.", "AAAA", "NOERROR; AAAA ::1"},
		{"localhost.", "MX", "NOERROR; soa localhost."},
		{"1.0.0.127.in-addr.arpa.", "PTR", "NOERROR; PTR localhost."},
		{"1." + strings.Repeat("0.", 31) + "ip6.arpa.", "PTR", "NOERROR; PTR localhost."},
		{"x.invalid.", "A", "NXDOMAIN; soa invalid."},
		{"printer.local.", "A", "NXDOMAIN; soa local."},
		{"local.", "SOA", "NXDOMAIN; soa local."},
		{"x.onion.", "A", "NXDOMAIN; soa onion."},
		{"resolver.arpa.", "NS", "NOERROR; soa resolver.arpa."},
		{"_dns.resolver.arpa.", "SVCB", "NOERROR; soa resolver.arpa."},
		{"x.resolver.arpa.", "A", "NOERROR; soa resolver.arpa."},
	} {
		a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(tt.name, dns.StringToType[tt.qtype]))
		if short(a) != tt.want || len(asked) > 0 {
			t.Errorf("%s %s: %s, want %s; asked %q", tt.name, tt.qtype, short(a), tt.want, asked)
		}
	}
	for _, name := range []string{"notlocalhost.", "xlocal.", "notresolver.arpa.", "localhost.example."} {
		if _, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(name, dns.TypeA)); len(asked) != 1 {
			t.Errorf("%s: asked %q, want it asked once", name, asked)
		}
	}
	// A network may have such a domain of its own.
	e.setZone(compile(Zone{Network: "home", Project: "h", Domain: "lan.home.arpa", Prefixes: prefixes("10.5.0.0/24"),
		Records: []Record{record("a", "10.5.0.9", "x", true)}}))
	if a, _ := talk(t, e, nil, "home", new(dns.Msg).SetQuestion("a.lan.home.arpa.", dns.TypeA)); short(a) != "NOERROR; A 10.5.0.9" {
		t.Errorf("lan.home.arpa: %s", short(a))
	}
}

// TestDesignated: guests find the encrypted resolvers that the network names
// (RFC 9462 section 4).
func TestDesignated(t *testing.T) {
	var list []vnet.EncryptedDNS
	for _, s := range []string{
		"1 dns.example.org 2001:db8::53 192.0.2.53 2001:db8::54 alpn=dot+h2 dohpath=/dns-query{?dns}", "2 other.example.org alpn=doq port=8853",
	} {
		var d vnet.EncryptedDNS
		if err := d.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	e := rich(func(z *Zone) { z.Encrypted = list })
	a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion("_DNS.resolver.arpa.", dns.TypeSVCB))
	want := `NOERROR; SVCB 1 dns.example.org. alpn="dot,h2" ipv4hint="192.0.2.53" ipv6hint="2001:db8::53,2001:db8::54" dohpath="/dns-query{?dns}"; ` +
		`SVCB 2 other.example.org. alpn="doq" port="8853"`
	if short(a) != want || len(asked) > 0 {
		t.Errorf("%s, want %s; asked %q", short(a), want, asked)
	}
	if a, _ := talk(t, e, nil, "web", new(dns.Msg).SetQuestion("_dns.resolver.arpa.", dns.TypeA)); short(a) != "NOERROR; soa resolver.arpa." {
		t.Errorf("A: %s", short(a))
	}
	if a, _ := talk(t, e, nil, "db", new(dns.Msg).SetQuestion("_dns.resolver.arpa.", dns.TypeSVCB)); short(a) != "NOERROR; soa resolver.arpa." {
		t.Errorf("another network: %s", short(a))
	}
}

// raw asks with bytes and returns the answer's code, or "drop".
func raw(t *testing.T, e *engine, b []byte) string {
	t.Helper()
	v := e.handle(epoch, client{network: "web", addr: netip.MustParseAddr("192.168.150.10")}, b)
	if v.answer == nil {
		return "drop"
	}
	a := new(dns.Msg)
	if err := a.Unpack(v.answer); err != nil {
		t.Fatal(err)
	}
	return dns.RcodeToString[a.Rcode] + map[bool]string{true: " edns"}[a.IsEdns0() != nil]
}

// TestMessages: what is no plain query (RFC 1035 section 4.1.1, RFC 6891).
func TestMessages(t *testing.T) {
	e := town()
	shape := func(change func(q *dns.Msg)) []byte {
		q := new(dns.Msg).SetQuestion("vm1.web.internal.", dns.TypeA)
		change(q)
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	opt := func(version uint8, size uint16) *dns.OPT {
		o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		o.SetUDPSize(size)
		o.SetVersion(version)
		return o
	}
	for _, tt := range []struct {
		about string
		msg   []byte
		want  string
	}{
		{"plain", shape(func(*dns.Msg) {}), "NOERROR"},
		{"EDNS", shape(func(q *dns.Msg) { q.Extra = []dns.RR{opt(0, 1232)} }), "NOERROR edns"},
		{"a size below 512 is 512", shape(func(q *dns.Msg) { q.Extra = []dns.RR{opt(0, 10)} }), "NOERROR edns"},
		{"EDNS version 1", shape(func(q *dns.Msg) { q.Extra = []dns.RR{opt(1, 1232)} }), "BADSIG edns"},
		// 16 has two names.
		{"two OPT", shape(func(q *dns.Msg) { q.Extra = []dns.RR{opt(0, 1232), opt(0, 1232)} }), "FORMERR"},
		{"OPT of a name", shape(func(q *dns.Msg) {
			o := opt(0, 1232)
			o.Hdr.Name = "x."
			q.Extra = []dns.RR{o}
		}), "FORMERR"},
		{"options that nobody knows, and cookies", shape(func(q *dns.Msg) {
			o := opt(0, 1232)
			o.Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65500, Data: []byte{1}}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
			q.Extra = []dns.RR{o}
		}), "NOERROR edns"},
		{"no question", shape(func(q *dns.Msg) { q.Question = nil }), "FORMERR"},
		{"two questions", shape(func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) }), "FORMERR"},
		{"NOTIFY", shape(func(q *dns.Msg) { q.Opcode = dns.OpcodeNotify }), "NOTIMP"},
		{"UPDATE", shape(func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate }), "NOTIMP"},
		{"stateful operations", shape(func(q *dns.Msg) { q.Opcode, q.Question = dns.OpcodeStateful, nil }), "NOTIMP"},
		{"IQUERY", shape(func(q *dns.Msg) { q.Opcode, q.Question = dns.OpcodeIQuery, nil }), "NOTIMP"},
		{"CHAOS", shape(func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }), "REFUSED"},
		{"any class", shape(func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassANY }), "REFUSED"},
		{"zone transfer", shape(func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeIXFR }), "REFUSED"},
		{"a type that is none", shape(func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeOPT }), "FORMERR"},
		{"a type that nobody knows", shape(func(q *dns.Msg) { q.Question[0].Qtype = 65400 }), "NOERROR"},
		{"a response", shape(func(q *dns.Msg) { q.Response = true }), "drop"},
		{"half a header", make([]byte, 11), "drop"},
		{"a question that ends early", shape(func(*dns.Msg) {})[:20], "FORMERR"},
	} {
		if got := raw(t, e, tt.msg); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.about, got, tt.want)
		}
	}
}

// TestUnknownTypes: records of types that nobody knows are passed on as they
// are (RFC 3597).
func TestUnknownTypes(t *testing.T) {
	u := beyond{"x.example. TYPE65400": {`x.example. 60 IN TYPE65400 \# 3 010203`}}
	q := new(dns.Msg).SetQuestion("x.example.", 65400)
	b, _ := q.Pack()
	e := town()
	v := e.handle(epoch, client{network: "web", addr: netip.MustParseAddr("192.168.150.10")}, b)
	if v.ask == nil {
		t.Fatal("not asked")
	}
	rr, err := dns.NewRR(u["x.example. TYPE65400"][0])
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{rr}
	a := new(dns.Msg)
	if err := a.Unpack(e.resume(epoch, v.ask.inquiry, m).answer); err != nil || len(a.Answer) != 1 ||
		!strings.HasSuffix(a.Answer[0].String(), `\# 3 010203`) {
		t.Errorf("%v, %v", a.Answer, err)
	}
}

// TestNegativeCache: that there is no such name holds for every type (RFC 2308
// section 5), that there is no such type for that one, and neither for names
// below, for nobody checks signatures here (RFC 8020 section 6).
func TestNegativeCache(t *testing.T) {
	u := beyond{"none.example. A": {"NXDOMAIN", soaExample}, "some.example. A": {soaExample}}
	e := town()
	ask := func(name string, qtype uint16) int {
		_, asked := talk(t, e, u, "web", new(dns.Msg).SetQuestion(name, qtype))
		return len(asked)
	}
	for _, tt := range []struct {
		name  string
		qtype uint16
		asked int
	}{
		{"none.example.", dns.TypeA, 1}, {"none.example.", dns.TypeA, 0}, {"none.example.", dns.TypeTXT, 0},
		{"some.example.", dns.TypeA, 1}, {"some.example.", dns.TypeA, 0}, {"some.example.", dns.TypeTXT, 1},
		{"x.none.example.", dns.TypeA, 1},
	} {
		if got := ask(tt.name, tt.qtype); got != tt.asked {
			t.Errorf("%s %s: asked %d times, want %d", tt.name, dns.TypeToString[tt.qtype], got, tt.asked)
		}
	}
}

// TestManagedNamesStay: no name that a guest chose changes what an operator
// wrote, a port is called, or the network itself needs.
func TestManagedNamesStay(t *testing.T) {
	before := rich()
	after := rich(func(z *Zone) {
		for _, n := range []string{
			"vm1", "VM1", "www", "printer", "ns", "wpad", "isatap", "localhost", "gateway", "_gateway", "ipv4only", "vm1.web.internal", "vm1.web.internal.",
			"@", "*", "*.apps", "apps", "_ldap._tcp", "", ".", "www.example.com", "a b", "-x", "ext", "mail",
		} {
			z.Records = append([]Record{
				record(n, "192.168.150.200", "evil", false), record(n, "fd00:1::200", "evil", false),
				{Name: n, Address: netip.MustParseAddr("192.168.150.10"), MAC: vnet.MAC{6}}, // another's address
			}, z.Records...)
		}
	})
	// Where a wildcard of the operator's has every name, guests choose none.
	e := rich(func(z *Zone) { z.Extra = records("* A 192.168.150.60") })
	for name, want := range map[string]string{"guest": "NOERROR; A 192.168.150.60", "printer": "NOERROR; A 192.168.150.60", "vm1": "NOERROR; A 192.168.150.10"} {
		if a, _ := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(name+".web.internal.", dns.TypeA)); short(a) != want {
			t.Errorf("below a wildcard: %s: %s, want %s", name, short(a), want)
		}
	}
	for _, name := range []string{
		"vm1.web.internal.", "www.web.internal.", "printer.web.internal.", "ns.web.internal.", "wpad.web.internal.", "isatap.web.internal.",
		"localhost.web.internal.", "gateway.web.internal.", "web.internal.", "y.apps.web.internal.", "_ldap._tcp.web.internal.",
		"www.example.com.", "localhost.", "vm1.", "ext.web.internal.", "mail.web.internal.", "10.150.168.192.in-addr.arpa.", "sql.db.internal.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeSRV, dns.TypeTXT} {
			a, _ := talk(t, before, nil, "web", new(dns.Msg).SetQuestion(name, qtype))
			b, _ := talk(t, after, nil, "web", new(dns.Msg).SetQuestion(name, qtype))
			if short(a) != short(b) {
				t.Errorf("%s %s: %s, was %s", name, dns.TypeToString[qtype], short(b), short(a))
			}
		}
	}
}

// TestSharedDomain: of networks with one domain, what an operator has in any of
// them stands before what guests chose in another.
func TestSharedDomain(t *testing.T) {
	e := town()
	shared := func(change func(*Zone)) {
		z := Zone{Network: "db2", Project: "p", Domain: "db.internal", Prefixes: prefixes("fd00:7::/62", "10.7.8.0/24"),
			Records: []Record{record("sql", "10.7.8.66", "evil", false), record("own", "10.7.8.67", "g", false)}}
		change(&z)
		e.setZone(compile(z))
	}
	shared(func(*Zone) {})
	ask := func(name string) string {
		a, asked := talk(t, e, nil, "db2", new(dns.Msg).SetQuestion(name, dns.TypeA))
		return strings.Join(append(asked, short(a)), " ")
	}
	for name, want := range map[string]string{
		"sql.db.internal.": "NOERROR; A 10.7.1.5", "sql.": "NOERROR; A 10.7.1.5", "own.db.internal.": "NOERROR; A 10.7.8.67",
		"own.": "NOERROR; A 10.7.8.67", "none.": "none. A NXDOMAIN", "none.db.internal.": "NXDOMAIN; soa db.internal.",
	} {
		if got := ask(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	e.setZone(compile(Zone{Network: "db", Project: "p", Domain: "db.internal", Prefixes: prefixes("10.7.0.0/22"), Extra: records("* A 10.7.0.5")}))
	for _, name := range []string{"sql.db.internal.", "own.db.internal.", "own."} {
		if got := ask(name); got != "NOERROR; A 10.7.0.5" {
			t.Errorf("below a wildcard of another network: %s: %s", name, got)
		}
	}
}

// TestNoDomain: a network without a domain has bare names only.
func TestNoDomain(t *testing.T) {
	e := newEngine()
	e.setZone(compile(Zone{Network: "bare", Prefixes: prefixes("10.4.0.0/24"), Records: []Record{record("a", "10.4.0.9", "x", true)},
		Extra: records("b CNAME a", "*.c A 10.4.0.8", "@ A 10.4.0.7")}))
	for name, want := range map[string]string{
		"a.": "NOERROR; A 10.4.0.9", "b.": "NOERROR; CNAME a.; A 10.4.0.9", "x.": "x. A NXDOMAIN", "x.c.": "NOERROR; A 10.4.0.8", "y.x.": "y.x. A NXDOMAIN",
		".": ". A NXDOMAIN", "9.0.4.10.in-addr.arpa.": "NOERROR; soa 0.4.10.in-addr.arpa.",
	} {
		a, asked := talk(t, e, nil, "bare", new(dns.Msg).SetQuestion(name, dns.TypeA))
		if got := strings.Join(append(asked, short(a)), " "); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
