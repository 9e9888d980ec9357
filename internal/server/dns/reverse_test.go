package dns

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestReversePrefixes: every prefix of a network is answered, whatever its
// length: delegated, deprecated, unique local, and IPv4 between two octets.
func TestReversePrefixes(t *testing.T) {
	z := webZone()
	z.Prefixes = prefixes("10.1.0.0/20", "10.2.3.64/27", "10.9.9.9/32", "fd00:1::/64", "2001:db8:0:5500::/57", "2001:db8:aaaa::/48", "2001:db8:7::/62")
	z.Records = nil
	for i, a := range addrs("10.1.15.9", "10.2.3.70", "10.9.9.9", "fd00:1::5", "2001:db8:0:5570::1", "2001:db8:aaaa:9::1", "2001:db8:7:3::1") {
		z.Records = append(z.Records, Record{Name: fmt.Sprint("n", i), Address: a, Managed: true})
	}
	e := newEngine()
	e.setZone(compile(z))
	for i, name := range []string{
		"10.1.15.9", "10.2.3.70", "10.9.9.9", "fd00:1::5", "2001:db8:0:5570::1", "2001:db8:aaaa:9::1", "2001:db8:7:3::1",
	} {
		reverse, err := dns.ReverseAddr(name)
		if err != nil {
			t.Fatal(err)
		}
		a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(reverse, dns.TypePTR))
		if want := fmt.Sprintf("NOERROR; PTR n%d.web.internal.", i); short(a) != want || len(asked) != 0 || !a.Authoritative {
			t.Errorf("%s: %s, want %s", name, short(a), want)
		}
	}
	for name, ours := range map[string]bool{
		"10.1.15.10": true, "10.1.16.1": false, "10.2.3.95": true, "10.2.3.96": false, "10.2.3.63": false, "10.9.9.8": false,
		"fd00:1:0:1::5": false, "2001:db8:0:5580::1": false, "2001:db8:7:4::1": false, "2001:db8:aaab::": false,
	} {
		reverse, _ := dns.ReverseAddr(name)
		a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(reverse, dns.TypePTR))
		// Of a prefix that ends inside a label each address is a zone, which
		// exists.
		wrong := a.Rcode != dns.RcodeNameError && !(a.Rcode == dns.RcodeSuccess && strings.HasPrefix(name, "10.2.3."))
		if wrong || len(a.Answer) > 0 || (len(asked) == 0) != ours || a.Authoritative != ours {
			t.Errorf("%s: %s, asked %q; ours: %v", name, short(a), asked, ours)
		}
	}
	if !slices.Equal(e.zones["web"].Prefixes, z.Prefixes) {
		t.Errorf("prefixes %v", e.zones["web"].Prefixes)
	}
}
