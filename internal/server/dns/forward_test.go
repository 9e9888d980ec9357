package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// asking is a forwarder with the servers that it asks.
type asking struct {
	*forwarder
	servers []upstream
}

func (f *asking) setServers(servers ...string) {
	var list []netip.AddrPort
	for _, s := range servers {
		list = append(list, netip.MustParseAddrPort(s))
	}
	f.servers = usable(list)
}

// ask asks for an address of the name.
func (f *asking) ask(name string, keep func(*dns.Msg)) (*dns.Msg, error) {
	return f.forwarder.ask(&errand{question: question{name: name, qtype: dns.TypeA}, servers: f.servers}, keep)
}

// asker makes a forwarder in a namespace of its own, with servers at these
// loopback addresses.
func asker(t *testing.T, servers ...string) (*asking, *netnstest.NS) {
	t.Helper()
	ns := netnstest.New(t, "dnsf")
	f := newForwarder(t.Context(), Config{
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Port: 53,
		InNS: func(_ string, f func() error) error { return ns.Do(f) },
	})
	a := &asking{forwarder: f}
	a.setServers(servers...)
	return a, ns
}

func respond(rcode int, count *atomic.Int32) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		count.Add(1)
		m := new(dns.Msg).SetRcode(q, rcode)
		if rcode == dns.RcodeSuccess {
			rr, _ := dns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.1")
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m)
	}
}

func keepNothing(*dns.Msg) {}

func TestForwardTriesTheNext(t *testing.T) {
	f, ns := asker(t, "127.0.0.2:53", "127.0.0.3:53", "[::1]:53")
	var refusing, good atomic.Int32
	// 127.0.0.2 has nobody: ICMP says so at once.
	resolver(t, ns, "127.0.0.3:53", respond(dns.RcodeRefused, &refusing))
	resolver(t, ns, "[::1]:53", respond(dns.RcodeSuccess, &good))
	for range 2 {
		m, err := f.ask("x.", keepNothing)
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("%v, %v", m, err)
		}
	}
	if refusing.Load() != 2 || good.Load() != 2 {
		t.Errorf("asked %d and %d times, want 2 each", refusing.Load(), good.Load())
	}
	if got := f.order(time.Now(), f.servers); got[2].Addr().String() != "127.0.0.2" {
		t.Errorf("order %v: the dead one is not last", got)
	}
}

func TestForwardFailsFast(t *testing.T) {
	f, ns := asker(t)
	if _, err := f.ask("x.", keepNothing); !errors.Is(err, errNoUpstream) {
		t.Errorf("without upstreams: %v", err)
	}
	f.setServers("127.0.0.2:53", "[2001:db8::1]:53")
	if m, err := f.ask("x.", keepNothing); err == nil || os.IsTimeout(err) {
		t.Errorf("with dead upstreams: %v, %v", m, err)
	}
	var refusing atomic.Int32
	resolver(t, ns, "127.0.0.3:53", respond(dns.RcodeServerFailure, &refusing))
	f.setServers("127.0.0.3:53")
	if m, err := f.ask("x.", keepNothing); err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("an upstream's failure: %v, %v", m, err)
	}
}

func TestForwardOnceAtATime(t *testing.T) {
	f, ns := asker(t, "127.0.0.1:53")
	var count atomic.Int32
	release := make(chan struct{})
	resolver(t, ns, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		respond(dns.RcodeSuccess, &count)(w, q)
	})
	var kept atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := f.ask("x.", func(*dns.Msg) { kept.Add(1) }); err != nil {
				t.Error(err)
			}
		})
	}
	netnstest.Eventually(t, 2*time.Second, "the question is under way", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.flights) != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	close(release)
	all.Wait()
	// Askers that came after the answer ask anew; there are few.
	if n := count.Load(); n > 10 || kept.Load() != n {
		t.Errorf("asked %d times, kept %d answers", n, kept.Load())
	}
}

func TestForwardWithoutEDNS(t *testing.T) {
	f, ns := asker(t, "127.0.0.1:53")
	var count atomic.Int32
	resolver(t, ns, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			_ = w.WriteMsg(new(dns.Msg).SetRcodeFormatError(q))
			return
		}
		respond(dns.RcodeSuccess, &count)(w, q)
	})
	if m, err := f.ask("x.", keepNothing); err != nil || len(m.Answer) != 1 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestForwardBelievesNoStranger(t *testing.T) {
	f, ns := asker(t, "127.0.0.1:53")
	resolver(t, ns, "127.0.0.1:53", func(w dns.ResponseWriter, q *dns.Msg) {
		for i, m := range []*dns.Msg{new(dns.Msg).SetReply(q), new(dns.Msg).SetReply(q), new(dns.Msg).SetReply(q)} {
			rr, _ := dns.NewRR("x. 60 IN A 192.0.2.66")
			switch i {
			case 0:
				m.Id++
			case 1:
				m.Question[0].Name = "y."
			case 2:
				rr, _ = dns.NewRR("x. 60 IN A 192.0.2.1")
			}
			m.Answer = []dns.RR{rr}
			_ = w.WriteMsg(m)
		}
	})
	m, err := f.ask("x.", keepNothing)
	if err != nil || m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestForwardPassesOverItself(t *testing.T) {
	f := newForwarder(context.Background(), Config{Port: 53})
	s := newSockets(Config{}, nil, nil)
	for _, l := range []*listener{{link: "gw"}, {ns: "r", link: "gw"}} {
		for _, a := range addrs("192.168.150.1", "fe80::1", "10.0.0.1")[:3-len(l.ns)] {
			s.own[l.at(a)]++
		}
	}
	f.isOwn = s.isOwn
	servers := usable([]netip.AddrPort{
		netip.MustParseAddrPort("192.168.150.1:53"), netip.MustParseAddrPort("192.168.150.1:5353"),
		netip.MustParseAddrPort("[::ffff:9.9.9.9]:53"), netip.MustParseAddrPort("9.9.9.9:53"), netip.MustParseAddrPort("0.0.0.0:53"), {},
		netip.MustParseAddrPort("[fe80::1%gw]:53"), netip.MustParseAddrPort("[fe80::1%eth0]:53"),
	})
	servers = append(servers, upstream{netip.MustParseAddrPort("192.168.150.1:53"), "r"}, upstream{netip.MustParseAddrPort("10.0.0.1:53"), "r"})
	var got []string
	for _, s := range f.order(time.Now(), servers) {
		got = append(got, s.ns+s.AddrPort.String())
	}
	want := []string{"192.168.150.1:5353", "9.9.9.9:53", "[fe80::1%eth0]:53", "r10.0.0.1:53"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// TestRouterNamespace: the gateway is in a namespace of its own, the resolvers
// are the host's.
func TestRouterNamespace(t *testing.T) {
	h := newHouse(t)
	router, guest := netnstest.New(t, "dnsr"), netnstest.New(t, "dnsq")
	netnstest.Veth(router, "gw", guest, "eth0")
	router.Run("ip", "address", "add", "192.168.150.1/24", "dev", "gw") // the same as the other network's
	guest.Run("ip", "address", "add", "192.168.150.10/24", "dev", "eth0")
	var count atomic.Int32
	resolver(t, h.host, "127.0.0.1:53", respond(dns.RcodeSuccess, &count))
	h.server.SetUpstreams([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")})
	h.server.SetZone(webZone())
	h.server.SetZone(Zone{
		Network: "other", Project: "q", NS: router.Name, Link: "gw", Domain: "other.internal", Listen: addrs("192.168.150.1"),
		Prefixes: prefixes("192.168.150.0/24"), Records: []Record{record("vm1", "192.168.150.77", "o1", true)},
	})
	inRouter := &house{host: router, guest: guest}
	for _, tt := range []struct {
		house      *house
		name, want string
	}{
		{inRouter, "vm1.other.internal", "192.168.150.77"},
		{inRouter, "vm1.", "192.168.150.77"},
		{inRouter, "example.com", "192.0.2.1"},
		{h, "vm1.web.internal", "192.168.150.10"},
		{h, "vm1.", "192.168.150.10"},
	} {
		if got := tt.house.dig(t, "@192.168.150.1", tt.name); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	h.server.RemoveZone("other")
	if out, err := guest.Try("dig", "+tries=1", "+time=1", "@192.168.150.1", "vm1.other.internal"); err == nil {
		t.Errorf("a network that is gone still answers:\n%s", out)
	}
}

// TestSharedWildcard: a program that holds the wildcard address and lets
// others share it keeps us from TCP only.
func TestSharedWildcard(t *testing.T) {
	netnstest.NeedCommands(t, "dnsmasq")
	h := newHouse(t)
	h.host.Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--port=53", "--user=root")
	netnstest.Eventually(t, 5*time.Second, "dnsmasq", func() error {
		_, err := h.host.Try("dig", "+tries=1", "+time=1", "@127.0.0.1", "x.", "A")
		return err
	})
	h.server.SetZone(webZone())
	got := h.server.Problems()["web"]
	if len(got) != 3 || got[0].Kind != vnet.ErrInUse {
		t.Fatalf("problems = %+v, want one for each address", got)
	}
	t.Log(got[0].Msg)
	if got := h.dig(t, "@192.168.150.1", "vm1.web.internal"); got != "192.168.150.10" {
		t.Errorf("by UDP: %q", got)
	}
}

func TestInFlight(t *testing.T) {
	var f flying
	c := func(n, last int) client {
		return client{network: vnet.ID(rune('a' + n)), addr: netip.AddrFrom4([4]byte{10, 0, byte(n), byte(last)})}
	}
	count := func(who client) int {
		n := 0
		for f.begin(who) {
			n++
		}
		return n
	}
	if got := count(c(0, 1)); got != flightsPerClient {
		t.Errorf("one client: %d, want %d", got, flightsPerClient)
	}
	total := flightsPerClient
	for i := range 9 {
		total += count(c(0, 2+i))
	}
	if total != flightsPerNetwork {
		t.Errorf("one network: %d, want %d", total, flightsPerNetwork)
	}
	for n := range 9 {
		for i := range 9 {
			total += count(c(1+n, i))
		}
	}
	if total != flights {
		t.Errorf("all: %d, want %d", total, flights)
	}
	f.end(c(0, 1))
	if !f.begin(c(0, 1)) {
		t.Error("no place although one was given back")
	}
}
