package dns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// corp runs dnsmasq as the name server of corp.example in a namespace behind
// the host, at 10.8.0.53 and 2001:db8:8::53.
func (h *house) corp(t *testing.T) *netnstest.NS {
	t.Helper()
	netnstest.NeedCommands(t, "dnsmasq")
	ns := netnstest.New(t, "dnsc")
	netnstest.Veth(h.host, "out1", ns, "eth0")
	for _, a := range []string{"10.8.0.1/24", "2001:db8:8::1/64"} {
		h.host.Run("ip", "address", "add", a, "dev", "out1", "nodad")
	}
	for _, a := range []string{"10.8.0.53/24", "2001:db8:8::53/64"} {
		ns.Run("ip", "address", "add", a, "dev", "eth0", "nodad")
	}
	args := []string{
		"--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--port=53",
		"--local=/corp.example/", "--host-record=app.corp.example,10.8.0.80,2001:db8:8::80", "--host-record=four.corp.example,198.18.0.4",
		"--cname=alias.corp.example,app.corp.example", "--txt-record=app.corp.example,hello", "--ptr-record=7.7.168.192.in-addr.arpa,far.corp.example",
		"--srv-host=_x._tcp.corp.example,app.corp.example,99",
	}
	for i := range 90 { // more than a datagram holds
		args = append(args, fmt.Sprintf("--host-record=big.corp.example,10.8.1.%d", i+1))
	}
	ns.Start("dnsmasq", args...)
	netnstest.Eventually(t, 5*time.Second, "dnsmasq", func() error {
		if out := strings.TrimSpace(h.digFrom(h.host, "@10.8.0.53", "app.corp.example")); out != "10.8.0.80" {
			return fmt.Errorf("%q", out)
		}
		return nil
	})
	return ns
}

func (h *house) digFrom(ns *netnstest.NS, args ...string) string {
	out, err := ns.Try("dig", append([]string{"+short", "+tries=1", "+time=2"}, args...)...)
	if err != nil {
		return err.Error()
	}
	return out
}

// TestDigJudges: a client from outside judges records, forwarding by domain to
// a server of another make, and DNS64, over both transports and families.
func TestDigJudges(t *testing.T) {
	h := newHouse(t)
	h.corp(t)
	z := webZone()
	z.Extra = records("www CNAME vm1", "app CNAME app.corp.example.", "*.apps A 192.168.150.7", "_ldap._tcp SRV 0 5 389 vm1", "@ MX 10 vm1",
		`note TXT "a b" "c"`, "192.168.150.99 PTR scanner", "2001:db8:77::1 PTR gate", "four A 198.18.0.9")
	z.Forwarders = forwarders("corp.example=10.8.0.53", "168.192.in-addr.arpa=2001:db8:8::53", "hidden.corp.example=")
	z.DNS64 = netip.MustParsePrefix("2001:db8:64::/96")
	h.server.SetZone(z)
	for _, server := range []string{"@192.168.150.1", "@fd00:1::1"} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			for _, tt := range []struct{ query, want string }{
				{"www.web.internal A", "192.168.150.10 vm1.web.internal."},
				{"app.web.internal A", "10.8.0.80 app.corp.example."},
				{"alias.corp.example AAAA", "2001:db8:8::80 app.corp.example."},
				{"APP.corp.example TXT", `"hello"`},
				{"a.b.apps.web.internal A", "192.168.150.7"},
				{"_ldap._tcp.web.internal SRV", "0 389 5 vm1.web.internal."},
				{"_x._tcp.corp.example SRV", "0 0 99 app.corp.example."},
				{"web.internal MX", "10 vm1.web.internal."},
				{"note.web.internal TXT", `"a "c" b"`},
				{"-x 192.168.150.99", "scanner.web.internal."},
				{"-x 2001:db8:77::1", "gate.web.internal."},
				{"-x 192.168.7.7", "far.corp.example."},
				{"four.corp.example AAAA", "2001:db8:64::c612:4"},
				{"four.web.internal AAAA", "2001:db8:64::c612:9"},
				{"app.corp.example AAAA", "2001:db8:8::80"},
				{"-x 2001:db8:64::c0a8:960a", "10.150.168.192.in-addr.arpa. vm1.web.internal."},
				{"ipv4only.arpa AAAA", "2001:db8:64::c000:aa 2001:db8:64::c000:ab"},
			} {
				if got := h.dig(t, append([]string{server, transport}, strings.Fields(tt.query)...)...); got != tt.want {
					t.Errorf("dig %s %s %s = %q, want %q", server, transport, tt.query, got, tt.want)
				}
			}
		}
	}
	if got := h.dig(t, "@192.168.150.1", "big.corp.example"); strings.Count(got, "10.8.1.") != 90 {
		t.Errorf("an answer that needs TCP on both sides has %d addresses, want 90", strings.Count(got, "10.8.1."))
	}
	for query, want := range map[string]string{
		"x.hidden.corp.example":                     "NXDOMAIN",
		"none.corp.example":                         "NXDOMAIN",
		"none.web.internal":                         "NXDOMAIN",
		"printer.local":                             "NXDOMAIN",
		"_dns.resolver.arpa SVCB":                   "NOERROR",
		"elsewhere.example":                         "SERVFAIL", // nobody to ask
		"+opcode=notify x.":                         "NOTIMP",
		"+opcode=update x.":                         "NOTIMP",
		"+ednsopt=65500:01 www.web.internal":        "NOERROR",
		"+cookie=0102030405060708 www.web.internal": "NOERROR",
		"+bufsize=100 www.web.internal":             "NOERROR",
		"+dnssec +cdflag four.corp.example AAAA":    "NOERROR",
	} {
		if got := status(t, h.guest, append([]string{"@192.168.150.1"}, strings.Fields(query)...)...); got != want {
			t.Errorf("dig %s: %s, want %s", query, got, want)
		}
	}
}

// TestLiars: upstreams that lie, stammer or talk rubbish do not get in the
// way of an honest one, and nothing of theirs is told to guests.
func TestLiars(t *testing.T) {
	h := newHouse(t)
	for name, lie := range map[string]func(q *dns.Msg) [][]byte{
		"rubbish": func(*dns.Msg) [][]byte { return [][]byte{[]byte("rubbish"), make([]byte, 1200), nil} },
		"other question": func(q *dns.Msg) [][]byte {
			m := new(dns.Msg).SetQuestion("bank.example.", dns.TypeA)
			m.Id, m.Response = q.Id, true
			rr, _ := dns.NewRR("bank.example. 60 IN A 203.0.113.66")
			m.Answer = []dns.RR{rr}
			b, _ := m.Pack()
			return [][]byte{b}
		},
		"truncated, and nobody there by TCP": func(q *dns.Msg) [][]byte {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			b, _ := m.Pack()
			return [][]byte{b, b[:len(b)-3]}
		},
		"an echo": func(q *dns.Msg) [][]byte { b, _ := q.Pack(); return [][]byte{b} },
		"pointers in a circle": func(q *dns.Msg) [][]byte {
			b, _ := new(dns.Msg).SetReply(q).Pack()
			binary.BigEndian.PutUint16(b[6:], 1)
			at := uint16(len(b))
			b = binary.BigEndian.AppendUint16(b, 0xc000|at)
			return [][]byte{append(b, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4)}
		},
	} {
		ns := netnstest.New(t, "dnsl")
		ns.Run("ip", "link", "set", "lo", "up")
		serveBytes(t, ns, "127.0.0.1:53", lie)
		resolver(t, ns, "127.0.0.2:53", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			good, _ := dns.NewRR(q.Question[0].Name + " 60 IN A 203.0.113.1")
			bad, _ := dns.NewRR("bank.example. 60 IN A 203.0.113.66")
			m.Answer, m.Extra = []dns.RR{good, bad}, []dns.RR{bad}
			_ = w.WriteMsg(m)
		})
		h.server.forward.conf.InNS = func(_ string, f func() error) error { return ns.Do(f) }
		h.server.SetZone(webZone())
		h.server.SetUpstreams(nil)
		h.server.SetUpstreams([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("127.0.0.2:53")})
		out, err := h.guest.Try("dig", "+tries=1", "+time=8", "@192.168.150.1", "honest.example")
		if err != nil || !strings.Contains(out, "203.0.113.1\n") || strings.Contains(out, "bank") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// serveBytes answers queries with whatever lie says.
func serveBytes(t *testing.T, ns *netnstest.NS, at string, lie func(q *dns.Msg) [][]byte) {
	t.Helper()
	var conn net.PacketConn
	if err := ns.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", at)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(b[:n]) == nil {
				for _, out := range lie(q) {
					_, _ = conn.WriteTo(out, from)
				}
			}
		}
	}()
}

// TestPipelining: a query that waits for an upstream holds up none behind it
// on the same connection (RFC 7766 section 6.2.1.1).
func TestPipelining(t *testing.T) {
	h := newHouse(t)
	up := netnstest.New(t, "dnsp")
	up.Run("ip", "link", "set", "lo", "up")
	release := make(chan struct{})
	resolver(t, up, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		_ = w.WriteMsg(new(dns.Msg).SetReply(q))
	})
	h.server.forward.conf.InNS = func(_ string, f func() error) error { return up.Do(f) }
	h.server.SetUpstreams([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")})
	h.server.SetZone(webZone())
	conn := h.dialTCP(t)
	var out []byte
	for i, name := range []string{"slow.example.", "vm1.web.internal.", "slow2.example.", "none.web.internal."} {
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.Id = uint16(i)
		b, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	read := func() uint16 {
		t.Helper()
		b, err := receive(conn, "tcp")
		if err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint16(b)
	}
	if a, b := read(), read(); a != 1 || b != 3 {
		t.Errorf("first came %d and %d, want the local answers, 1 and 3", a, b)
	}
	close(release)
	if a, b := read(), read(); a+b != 2 || a == b {
		t.Errorf("then came %d and %d, want 0 and 2", a, b)
	}
}
