package dns

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// TestEmbed has the table of RFC 6052 section 2.4.
func TestEmbed(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32":         "2001:db8:c000:221::",
		"2001:db8:100::/40":     "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":     "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
		"64:ff9b::/96":          "64:ff9b::192.0.2.33",
	} {
		p := netip.MustParsePrefix(prefix)
		got := embed(p, v4)
		if got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
		if back, ok := extract(p, got); !ok || back != v4 {
			t.Errorf("%s: %s back, %v", prefix, back, ok)
		}
	}
	for _, a := range addrs("2001:db8:122:344:1c0:2:2100::", "2001:db8:122:344:c0:2:2100:1", "2001:db8:122:345::") {
		if got, ok := extract(netip.MustParsePrefix("2001:db8:122:344::/64"), a); ok {
			t.Errorf("%s is taken for %s", a, got)
		}
	}
}

const soaExample = "example. 100 IN SOA ns.example. h.example. 1 2 3 4 5"

// with64 is a town whose network web has DNS64 at the prefix.
func with64(prefix string) *engine {
	return rich(func(z *Zone) { z.DNS64 = netip.MustParsePrefix(prefix) })
}

var beyond64 = beyond{
	"four.example. AAAA": {soaExample}, "four.example. A": {"four.example. 600 IN A 198.18.0.1", "four.example. 50 IN A 198.18.0.2"},
	"six.example. AAAA": {"six.example. 60 IN AAAA 2001:db8::6"}, "six.example. A": {"six.example. 60 IN A 198.18.0.3"},
	"alias.example. AAAA":  {"alias.example. 60 IN CNAME four.example.", soaExample},
	"alias4.example. AAAA": {soaExample}, "alias4.example. A": {"alias4.example. 60 IN CNAME x.example.", "x.example. 60 IN A 198.18.0.4"},
	"mapped.example. AAAA": {"mapped.example. 60 IN AAAA ::ffff:198.18.0.5"}, "mapped.example. A": {"mapped.example. 60 IN A 198.18.0.5"},
	"broken.example. AAAA": {"SERVFAIL"}, "broken.example. A": {"broken.example. 60 IN A 198.18.0.6"},
	"silent.example. AAAA": nil, "silent.example. A": {"silent.example. 900 IN A 198.18.0.7"},
	"neither.example. AAAA": {soaExample}, "neither.example. A": {soaExample},
	"failing.example. AAAA": {soaExample}, "failing.example. A": {"SERVFAIL"},
	"private.example. AAAA": {soaExample}, "private.example. A": {"private.example. 60 IN A 10.0.0.1"},
	"1.0.18.198.in-addr.arpa. PTR": {"1.0.18.198.in-addr.arpa. 60 IN PTR four.example."},
}

func TestDNS64(t *testing.T) {
	for _, tt := range []struct {
		about, prefix, name string
		want                string
		ttl                 uint32
		asked               int
	}{
		{"made", "64:ff9b::/96", "four.example.", "NOERROR; AAAA 64:ff9b::c612:1; AAAA 64:ff9b::c612:2", 100, 2},
		{"another length", "2001:db8:64::/48", "four.example.", "NOERROR; AAAA 2001:db8:64:c612:0:100::; AAAA 2001:db8:64:c612:0:200::", 100, 2},
		{"there is one", "64:ff9b::/96", "six.example.", "NOERROR; AAAA 2001:db8::6", 60, 1},
		{"behind an alias", "64:ff9b::/96", "alias.example.", "NOERROR; CNAME four.example.; AAAA 64:ff9b::c612:1; AAAA 64:ff9b::c612:2", 60, 2},
		{"an alias of the IPv4 answer", "64:ff9b::/96", "alias4.example.", "NOERROR; CNAME x.example.; AAAA 64:ff9b::c612:4", 60, 2},
		{"a mapped address is none", "64:ff9b::/96", "mapped.example.", "NOERROR; AAAA 64:ff9b::c612:5", 60, 2},
		{"a server that fails for AAAA", "64:ff9b::/96", "broken.example.", "NOERROR; AAAA 64:ff9b::c612:6", 60, 2},
		{"one that is silent: ten minutes at most", "64:ff9b::/96", "silent.example.", "NOERROR; AAAA 64:ff9b::c612:7", 600, 2},
		{"no name at all", "64:ff9b::/96", "none.example.", "NXDOMAIN", 0, 1},
		{"neither", "64:ff9b::/96", "neither.example.", "NOERROR; soa example.", 0, 2},
		{"who fails for A has not said that there is none", "64:ff9b::/96", "failing.example.", "SERVFAIL", 0, 2},
		{"private addresses are not well known", "64:ff9b::/96", "private.example.", "NOERROR; soa example.", 0, 2},
		{"but may be one's own", "2001:db8:64::/96", "private.example.", "NOERROR; AAAA 2001:db8:64::a00:1", 60, 2},
		{"a name of ours with IPv4 only", "2001:db8:64::/96", "mail.web.internal.", "NOERROR; AAAA 2001:db8:64::c0a8:9605", localTTL, 0},
		{"one with both", "2001:db8:64::/96", "vm1.web.internal.", "NOERROR; AAAA fd00:1::10", localTTL, 0},
		{"an alias of ours", "2001:db8:64::/96", "y.alias.web.internal.", "NOERROR; CNAME vm1.web.internal.; AAAA fd00:1::10", localTTL, 0},
		{"one that leads outside", "64:ff9b::/96", "out.web.internal.", "NOERROR; CNAME four.example.; AAAA 64:ff9b::c612:1; AAAA 64:ff9b::c612:2", localTTL, 2},
		{"RFC 7050", "64:ff9b::/96", "ipv4only.arpa.", "NOERROR; AAAA 64:ff9b::c000:aa; AAAA 64:ff9b::c000:ab", localTTL, 0},
	} {
		e := rich(func(z *Zone) {
			z.DNS64 = netip.MustParsePrefix(tt.prefix)
			z.Extra = append(z.Extra, records("out CNAME four.example.")...)
		})
		a, asked := talk(t, e, beyond64, "web", new(dns.Msg).SetQuestion(tt.name, dns.TypeAAAA))
		if short(a) != tt.want || len(asked) != tt.asked {
			t.Errorf("%s: %s, want %s; asked %q", tt.about, short(a), tt.want, asked)
		}
		if len(a.Answer) > 0 && a.Answer[0].Header().Ttl != tt.ttl {
			t.Errorf("%s: TTL %d, want %d", tt.about, a.Answer[0].Header().Ttl, tt.ttl)
		}
		// The second time nobody needs to be asked, and nothing else comes out.
		if again, asked := talk(t, e, beyond64, "web", new(dns.Msg).SetQuestion(tt.name, dns.TypeAAAA)); short(again) != tt.want ||
			len(asked) > 0 && tt.name != "none.example." && tt.name != "silent.example." {
			t.Errorf("%s: then %s; asked %q", tt.about, short(again), asked)
		}
	}
}

// TestDNS64Others: other types, networks without DNS64, and what a DNS64
// answers itself.
func TestDNS64Others(t *testing.T) {
	e := with64("64:ff9b::/96")
	for _, tt := range []struct{ network, name, qtype, want string }{
		{"web", "four.example.", "A", "NOERROR; A 198.18.0.1; A 198.18.0.2"},
		{"db", "four.example.", "AAAA", "NOERROR; soa example."},
		{"web", "ipv4only.arpa.", "A", "NOERROR; A 192.0.0.170; A 192.0.0.171"},
		{"web", "ipv4only.arpa.", "TXT", "NOERROR; soa ipv4only.arpa."},
		{"web", "170.0.0.192.in-addr.arpa.", "PTR", "NOERROR; PTR ipv4only.arpa."},
		{"db", "ipv4only.arpa.", "A", "NXDOMAIN"}, // as the upstream has it
		{"web", "1.0.0.0.2.1.6.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.", "PTR", "NOERROR; CNAME 1.0.18.198.in-addr.arpa.; PTR four.example."},
		{"web", "a.0.6.9.8.a.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.", "PTR", "NOERROR; CNAME 10.150.168.192.in-addr.arpa.; PTR vm1.web.internal."},
	} {
		a, _ := talk(t, e, beyond64, tt.network, new(dns.Msg).SetQuestion(tt.name, dns.StringToType[tt.qtype]))
		if short(a) != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.name, tt.qtype, short(a), tt.want)
		}
	}
}

// TestDNS64Security: RFC 6147 section 5.5: who checks signatures himself gets
// what there is, and nothing made is called validated.
func TestDNS64Security(t *testing.T) {
	for _, tt := range []struct {
		do, cd bool
		want   string
	}{
		{false, false, "NOERROR; AAAA 64:ff9b::c612:1; AAAA 64:ff9b::c612:2"},
		{true, false, "NOERROR; AAAA 64:ff9b::c612:1; AAAA 64:ff9b::c612:2"},
		{false, true, "NOERROR; AAAA 64:ff9b::c612:1; AAAA 64:ff9b::c612:2"},
		{true, true, "NOERROR; soa example."},
	} {
		e := with64("64:ff9b::/96")
		q := new(dns.Msg).SetQuestion("four.example.", dns.TypeAAAA)
		q.SetEdns0(1232, tt.do)
		q.AuthenticatedData, q.CheckingDisabled = true, tt.cd
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			m := beyond64.answer(t, &errand{question: question{name: "four.example.", qtype: qtype}})
			m.AuthenticatedData = true
			e.cache.put(epoch, question{name: "four.example.", qtype: qtype, do: tt.do, cd: tt.cd}, m)
		}
		a, asked := talk(t, e, nil, "web", q)
		if made := !(tt.do && tt.cd); short(a) != tt.want || len(asked) > 0 || a.AuthenticatedData == made {
			t.Errorf("DO %v CD %v: %s, AD %v; asked %q", tt.do, tt.cd, short(a), a.AuthenticatedData, asked)
		}
	}
}

// TestDNS64Only: where guests reach no IPv6 outside, what others have of it is
// not told; what is ours is.
func TestDNS64Only(t *testing.T) {
	e := rich(func(z *Zone) { z.DNS64, z.Only64 = netip.MustParsePrefix("2001:db8:64::/96"), true })
	for name, want := range map[string]string{
		"six.example.":      "NOERROR; AAAA 2001:db8:64::c612:3",
		"four.example.":     "NOERROR; AAAA 2001:db8:64::c612:1; AAAA 2001:db8:64::c612:2",
		"alias.example.":    "NOERROR; CNAME four.example.; AAAA 2001:db8:64::c612:1; AAAA 2001:db8:64::c612:2",
		"neither.example.":  "NOERROR; soa example.",
		"none.example.":     "NXDOMAIN",
		"vm1.web.internal.": "NOERROR; AAAA fd00:1::10",
		ipv4only:            "NOERROR; AAAA 2001:db8:64::c000:aa; AAAA 2001:db8:64::c000:ab",
	} {
		for range 2 { // the second time from what is kept
			if a, _ := talk(t, e, beyond64, "web", new(dns.Msg).SetQuestion(name, dns.TypeAAAA)); short(a) != want {
				t.Errorf("%s: %s, want %s", name, short(a), want)
			}
		}
	}
	if a, _ := talk(t, e, beyond64, "db", new(dns.Msg).SetQuestion("six.example.", dns.TypeAAAA)); short(a) != "NOERROR; AAAA 2001:db8::6" {
		t.Errorf("another network: %s", short(a))
	}
}
