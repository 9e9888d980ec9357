package dns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// house is a host with a bridge-less network: a namespace with the gateway,
// and a guest's namespace behind a veth.
type house struct {
	host, guest *netnstest.NS
	server      *Server
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func webZone() Zone {
	return Zone{
		Network: "web", Project: "p", Link: "gw", Domain: "web.internal",
		Listen:   addrs("192.168.150.1", "fd00:1::1", "fe80::1"),
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.150.0/24"), netip.MustParsePrefix("fd00:1::/64")},
		Records: []Record{
			{Name: "vm1", Address: netip.MustParseAddr("192.168.150.10"), Port: "p1", Managed: true},
			{Name: "vm1", Address: netip.MustParseAddr("fd00:1::10"), Port: "p1", Managed: true},
			{Name: "v6only", Address: netip.MustParseAddr("fd00:1::20"), Port: "p2", Managed: true},
		},
	}
}

// newHouse makes the namespaces and a server in the host's.
func newHouse(t *testing.T) *house {
	netnstest.NeedCommands(t, "dig")
	h := &house{host: netnstest.New(t, "dnsh"), guest: netnstest.New(t, "dnsg")}
	netnstest.Veth(h.host, "gw", h.guest, "eth0")
	for _, a := range []string{"192.168.150.1/24", "fd00:1::1/64", "fe80::1/64"} {
		h.host.Run("ip", "address", "add", a, "dev", "gw", "nodad")
	}
	for _, a := range []string{"192.168.150.10/24", "fd00:1::10/64", "fe80::10/64", "10.99.0.1/32"} {
		h.guest.Run("ip", "address", "add", a, "dev", "eth0", "nodad")
	}
	h.server = New(Config{InNS: func(ns string, f func() error) error {
		if ns != "" {
			return netnstest.Do("/run/netns/"+ns, f)
		}
		return h.host.Do(f)
	}})
	t.Cleanup(func() {
		if err := h.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// dig returns the answer's lines in short form, sorted.
func (h *house) dig(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.guest.Try("dig", append([]string{"+tries=1", "+time=3", "+short"}, args...)...)
	if err != nil {
		t.Fatalf("dig %v: %v\n%s", args, err, out)
	}
	lines := strings.Fields(out)
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// resolver runs a name server of the test in a namespace.
func resolver(t *testing.T, ns *netnstest.NS, at string, handle dns.HandlerFunc) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		s := &dns.Server{Handler: handle, Net: network}
		err := ns.Do(func() (err error) {
			if network == "udp" {
				s.PacketConn, err = net.ListenPacket("udp", at)
			} else {
				s.Listener, err = net.Listen("tcp", at)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
}

func TestDig(t *testing.T) {
	h := newHouse(t)
	h.server.SetZone(webZone())
	up := netnstest.New(t, "dnsu")
	netnstest.Veth(h.host, "out0", up, "eth0")
	h.host.Run("ip", "address", "add", "2001:db8::2/64", "dev", "out0", "nodad")
	up.Run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
	resolver(t, up, "[2001:db8::1]:53", func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		n := 1
		if strings.HasPrefix(q.Question[0].Name, "big.") {
			n = 200
		}
		for i := range n {
			rr, _ := dns.NewRR(fmt.Sprintf("%s 60 IN A 203.0.113.%d", q.Question[0].Name, i+1))
			m.Answer = append(m.Answer, rr)
		}
		if _, tcp := w.RemoteAddr().(*net.TCPAddr); !tcp {
			m.Truncate(1232)
		}
		_ = w.WriteMsg(m)
	})
	h.server.SetUpstreams([]netip.AddrPort{netip.MustParseAddrPort("192.168.150.1:53"), netip.MustParseAddrPort("[2001:db8::9]:53"), netip.MustParseAddrPort("[2001:db8::1]:53")})
	for _, server := range []string{"@192.168.150.1", "@fd00:1::1", "@fe80::1%eth0"} {
		for _, tt := range []struct{ query, want string }{
			{"vm1.web.internal A", "192.168.150.10"},
			{"VM1.web.internal AAAA", "fd00:1::10"},
			{"+tcp vm1.web.internal AAAA", "fd00:1::10"},
			{"vm1. A", "192.168.150.10"},
			{"v6only.web.internal A", ""},
			{"-x 192.168.150.10", "vm1.web.internal."},
			{"-x fd00:1::20", "v6only.web.internal."},
			{"web.internal NS", "ns.web.internal."},
			{"ns.web.internal AAAA", "fd00:1::1"},
			{"example.com A", "203.0.113.1"},
			{"localhost AAAA", "::1"},
		} {
			if got := h.dig(t, append([]string{server}, strings.Fields(tt.query)...)...); got != tt.want {
				t.Errorf("dig %s %s = %q, want %q", server, tt.query, got, tt.want)
			}
		}
	}
	if got := h.dig(t, "@fd00:1::1", "big.example.com"); strings.Count(got, "203.0.113.") != 200 {
		t.Errorf("an answer too big for UDP: got %d addresses, want 200", strings.Count(got, "203.0.113."))
	}
	for query, want := range map[string]string{
		"gone.web.internal":                   "NXDOMAIN",
		"v6only.web.internal":                 "NOERROR",
		"-x 192.168.150.99":                   "NXDOMAIN",
		"-b 10.99.0.1 vm1.web.internal":       "REFUSED",
		"vm1.web.internal AXFR":               "",
		"vm1.web.internal CH":                 "REFUSED",
		"+norecurse cached.example.com":       "REFUSED",
		"+edns=1 +noednsneg vm1.web.internal": "BADVERS",
	} {
		args := append([]string{"+tries=1", "+time=2", "@192.168.150.1"}, strings.Fields(query)...)
		if strings.HasPrefix(query, "-b") {
			h.host.Run("ip", "route", "replace", "10.99.0.1/32", "dev", "gw")
		}
		if out, _ := h.guest.Try("dig", args...); !strings.Contains(out, "status: "+want) && want != "" {
			t.Errorf("dig %s: want %s, got\n%s", query, want, out)
		}
	}
}

func TestPortTaken(t *testing.T) {
	netnstest.NeedCommands(t, "dnsmasq")
	h := newHouse(t)
	other := h.host.Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--listen-address=192.168.150.1", "--bind-interfaces", "--port=53", "--user=root")
	netnstest.Eventually(t, 5*time.Second, "dnsmasq", func() error {
		out, err := h.host.Try("dig", "+tries=1", "+time=1", "@192.168.150.1", "x.", "A")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	h.server.SetZone(webZone())
	got := h.server.Problems()["web"]
	if len(got) != 1 || got[0].Kind != vnet.ErrInUse || !strings.Contains(got[0].Msg, "dnsmasq") {
		t.Fatalf("problems = %+v, want one that names dnsmasq", got)
	}
	if got := h.dig(t, "@fd00:1::1", "vm1.web.internal"); got != "192.168.150.10" {
		t.Errorf("over the other family: %q", got)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, 10*time.Second, "the port is taken over", func() error {
		if p := h.server.Problems(); len(p) != 0 {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	if got := h.dig(t, "+tcp", "@192.168.150.1", "vm1.web.internal"); got != "192.168.150.10" {
		t.Errorf("afterwards: %q", got)
	}
}
