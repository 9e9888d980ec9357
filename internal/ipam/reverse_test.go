package ipam

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestReverse(t *testing.T) {
	if got := ReverseName(adr("192.0.2.17")); got != "17.2.0.192.in-addr.arpa" {
		t.Error(got)
	}
	if got := ReverseName(adr("2001:db8::1")); got != "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" {
		t.Error(got)
	}
	if got := ReverseName(netip.Addr{}); got != "" {
		t.Error(got)
	}
	for _, tc := range []struct {
		p    string
		n    int
		want string // the first and, after a blank, the last
	}{
		{"192.168.150.0/24", 1, "150.168.192.in-addr.arpa"},
		{"192.168.150.7/24", 1, "150.168.192.in-addr.arpa"},
		{"10.0.0.0/8", 1, "10.in-addr.arpa"},
		{"172.16.0.0/12", 16, "16.172.in-addr.arpa 31.172.in-addr.arpa"},
		{"192.0.2.128/25", 128, "128.2.0.192.in-addr.arpa 255.2.0.192.in-addr.arpa"},
		{"192.0.2.7/32", 1, "7.2.0.192.in-addr.arpa"},
		{"0.0.0.0/0", 1, "in-addr.arpa"},
		{"2001:db8:5::/64", 1, "0.0.0.0.5.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
		{"2001:db8::/50", 4, "0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa 3.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
		{"fc00::/7", 2, "c.f.ip6.arpa d.f.ip6.arpa"},
		{"::/0", 1, "ip6.arpa"},
	} {
		zones := ReverseZones(pfx(tc.p))
		ends := strings.Fields(tc.want)
		if len(zones) != tc.n || zones[0] != ends[0] || zones[len(zones)-1] != ends[len(ends)-1] {
			t.Errorf("%s: %d zones %s … %s, want %d %s", tc.p, len(zones), zones[0], zones[len(zones)-1], tc.n, tc.want)
		}
	}
}

func TestParseReverse(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"17.2.0.192.in-addr.arpa.", "192.0.2.17/32"},
		{"168.192.IN-ADDR.ARPA", "192.168.0.0/16"},
		{"ip6.arpa", "::/0"},
		{"8.B.d.0.1.0.0.2.ip6.arpa", "2001:db8::/32"},
		{"256.in-addr.arpa", ""},
		{"01.in-addr.arpa", ""},
		{"1.2.3.4.5.in-addr.arpa", ""},
		{"10.ip6.arpa", ""},
		{".ip6.arpa", ""},
		{"g.ip6.arpa", ""},
		{"xip6.arpa", ""},
		{strings.Repeat("0.", 33) + "ip6.arpa", ""},
		{"example.org", ""},
	} {
		p, ok := ParseReverse(tc.in)
		if ok != (tc.want != "") || ok && p.String() != tc.want {
			t.Errorf("%s: %v, want %q", tc.in, p, tc.want)
		}
	}
}

func TestReverseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrefix(t, "p")
		if canonical(p) != p {
			return
		}
		if q, ok := ParseReverse(ReverseName(p.Addr())); !ok || q.Addr() != p.Addr() || !q.IsSingleIP() {
			t.Fatalf("%s comes back as %s", p.Addr(), q)
		}
		// The zones are the prefix, neither more nor less.
		next := p.Addr()
		for _, z := range ReverseZones(p) {
			q, ok := ParseReverse(z)
			if !ok || q.Addr() != next || !Contains(p, q) {
				t.Fatalf("%s: zone %s is %s, want one at %s", p, z, q, next)
			}
			next = Last(q).Next()
		}
		if next != Last(p).Next() {
			t.Fatalf("%s: the zones end before %s", p, next)
		}
	})
}

func FuzzParseReverse(f *testing.F) {
	f.Add("17.2.0.192.in-addr.arpa.")
	f.Add("8.b.d.0.1.0.0.2.ip6.arpa")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := ParseReverse(s); ok {
			if z := ReverseZones(p); len(z) != 1 && !canonicalChanges(p) || len(z) == 1 && !strings.EqualFold(z[0], strings.TrimSuffix(s, ".")) && !canonicalChanges(p) {
				t.Errorf("%q is %s, whose zones are %q", s, p, z)
			}
		}
	})
}

// canonicalChanges reports whether p is one of IPv4-mapped addresses.
func canonicalChanges(p netip.Prefix) bool { return canonical(p) != p }
