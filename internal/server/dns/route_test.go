package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// hostResolvers sets the host's resolvers.
func hostResolvers(e *engine, list ...string) {
	var servers []netip.AddrPort
	for _, s := range list {
		servers = append(servers, netip.AddrPortFrom(netip.MustParseAddr(s), 53))
	}
	e.setUpstreams(servers)
}

// TestRoutes: of several forwarders the longest domain's are asked.
func TestRoutes(t *testing.T) {
	e := rich(func(z *Zone) {
		z.Forwarders = forwarders("corp.example=10.0.0.53", "deep.corp.example=fd00::53", "corp.example=10.0.0.54", "none.corp.example=",
			"168.192.in-addr.arpa=10.0.0.55", "local=10.0.0.56", "onion=10.0.0.57", "corp.example=10.0.0.53")
	})
	hostResolvers(e, "8.8.8.8", "192.168.1.1")
	for _, tt := range []struct{ name, want string }{
		{"corp.example.", "10.0.0.53 10.0.0.54"},
		{"WWW.Corp.example.", "10.0.0.53 10.0.0.54"},
		{"notcorp.example.", "8.8.8.8 192.168.1.1"},
		{"a.deep.corp.example.", "fd00::53"},
		{"none.corp.example.", "NXDOMAIN; soa none.corp.example."},
		{"a.none.corp.example.", "NXDOMAIN; soa none.corp.example."},
		{"5.1.168.192.in-addr.arpa.", "10.0.0.55"},
		{"5.1.10.in-addr.arpa.", "192.168.1.1"}, // RFC 6303: the resolver of the site, not the public one
		{"5.1.16.172.in-addr.arpa.", "192.168.1.1"},
		{"5.1.32.172.in-addr.arpa.", "8.8.8.8 192.168.1.1"},
		{"1.0.64.100.in-addr.arpa.", "192.168.1.1"}, // RFC 7793
		{"8.8.8.8.in-addr.arpa.", "8.8.8.8 192.168.1.1"},
		{"1.0.0.0.d.f.ip6.arpa.", "192.168.1.1"},
		{"0.8.e.f.ip6.arpa.", "192.168.1.1"},
		{"10.in-addr.arpa.", "192.168.1.1"},
		{"printer.local.", "10.0.0.56"},
		{"x.onion.", "10.0.0.57"},
		{"x.alt.", "NXDOMAIN; soa alt."},
		{"x.invalid.", "NXDOMAIN; soa invalid."},
		{"x.test.", "192.168.1.1"},
		{"x.home.arpa.", "192.168.1.1"},
		{"x.internal.", "8.8.8.8 192.168.1.1"},
		{".", "8.8.8.8 192.168.1.1"},
	} {
		a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(tt.name, dns.TypePTR))
		got := short(a)
		if len(asked) > 0 {
			got = strings.TrimPrefix(asked[0], strings.ToLower(tt.name)+" PTR ")
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	// Another network has the host's alone.
	for name, want := range map[string]string{"corp.example.": "8.8.8.8 192.168.1.1", "printer.local.": ""} {
		_, asked := talk(t, e, nil, "db", new(dns.Msg).SetQuestion(name, dns.TypePTR))
		if got := strings.TrimPrefix(strings.Join(asked, ""), name+" PTR "); got != want {
			t.Errorf("db, %s: %s, want %s", name, got, want)
		}
	}
}

// TestPublicResolvers: where only public resolvers are known, nothing of the
// site goes there.
func TestPublicResolvers(t *testing.T) {
	e := town()
	hostResolvers(e, "8.8.8.8", "2001:4860:4860::8888")
	for name, want := range map[string]string{
		"5.1.10.in-addr.arpa.": "soa 10.in-addr.arpa.", "9.9.20.172.in-addr.arpa.": "soa 20.172.in-addr.arpa.",
		"1.0.0.0.d.f.ip6.arpa.": "soa d.f.ip6.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.": "soa 8.b.d.0.1.0.0.2.ip6.arpa.",
		"a.9.e.f.ip6.arpa.": "soa 9.e.f.ip6.arpa.", "x.home.arpa.": "soa home.arpa.", "x.test.": "soa test.",
		"2.127.in-addr.arpa.": "soa 127.in-addr.arpa.",
	} {
		a, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion(name, dns.TypePTR))
		if short(a) != "NXDOMAIN; "+want || len(asked) > 0 {
			t.Errorf("%s: %s; asked %q", name, short(a), asked)
		}
	}
	if _, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion("4.4.8.8.in-addr.arpa.", dns.TypePTR)); len(asked) != 1 {
		t.Errorf("a public address: asked %q", asked)
	}
}

// TestDefaultForwarder: forwarders without a domain stand for the host's
// resolvers, and answers of one set are not given to guests of another.
func TestDefaultForwarder(t *testing.T) {
	e := rich(func(z *Zone) { z.Forwarders = forwarders("10.0.0.53", "[fd00::53]:5353") })
	hostResolvers(e, "8.8.8.8")
	q := func() *dns.Msg { return new(dns.Msg).SetQuestion("x.example.", dns.TypeA) }
	inside := beyond{"x.example. A": {"x.example. 60 IN A 10.0.0.1"}}
	outside := beyond{"x.example. A": {"x.example. 60 IN A 203.0.113.1"}}
	for range 2 {
		for _, tt := range []struct {
			network string
			u       beyond
			want    string
		}{{"web", inside, "NOERROR; A 10.0.0.1"}, {"db", outside, "NOERROR; A 203.0.113.1"}, {"secret", outside, "NOERROR; A 203.0.113.1"}} {
			if a, _ := talk(t, e, tt.u, tt.network, q()); short(a) != tt.want {
				t.Errorf("%s: %s, want %s", tt.network, short(a), tt.want)
			}
		}
	}
	e.cache.clear()
	if _, asked := talk(t, e, inside, "web", q()); len(asked) != 1 || asked[0] != "x.example. A 10.0.0.53 fd00::53" {
		t.Errorf("asked %q", asked)
	}
	// A private name goes to the forwarders of the site.
	if _, asked := talk(t, e, inside, "web", new(dns.Msg).SetQuestion("1.10.in-addr.arpa.", dns.TypePTR)); len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
}

// TestForwarderInside: a forwarder that is a guest behind a router is asked
// from the router's namespace, others from the host's.
func TestForwarderInside(t *testing.T) {
	e := rich(func(z *Zone) {
		z.NS = "r1"
		z.Forwarders = forwarders("corp.example=192.168.150.53", "corp.example=10.0.0.53")
	})
	_, asked := talk(t, e, nil, "web", new(dns.Msg).SetQuestion("x.corp.example.", dns.TypeA))
	if len(asked) != 1 || asked[0] != "x.corp.example. A r1192.168.150.53 10.0.0.53" {
		t.Errorf("asked %q", asked)
	}
}

// TestUpstreamsChange: the host's resolvers are compared as they are asked.
func TestUpstreamsChange(t *testing.T) {
	e := newEngine()
	if hostResolvers(e, "::ffff:9.9.9.9", "9.9.9.9", "0.0.0.0", "ff02::fb"); len(e.upstreams) != 1 || e.upstreams[0].String() != "9.9.9.9:53" {
		t.Errorf("%v", e.upstreams)
	}
	if e.setUpstreams([]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("9.9.9.9"), 0)}) {
		t.Error("the same resolver is a change")
	}
	if !e.setUpstreams(nil) {
		t.Error("no resolver is no change")
	}
}
