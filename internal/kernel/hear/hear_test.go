package hear

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// rules are those of the bridge table that concern hearing.
const rules = `
table bridge sextant {
	set hear { typeof iifname; size 65535; flags dynamic,timeout; timeout 1m; }
	chain hear {
		update @hear { iifname limit rate over 50/second burst 100 packets } return
		log group %[1]d
	}
	chain prerouting {
		type filter hook prerouting priority -250; policy accept;
		icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld-listener-done, mld2-listener-report } jump hear
		ether type arp jump hear
		udp dport { 67, 547 } jump hear
	}
	set nodefault { type ifname; elements = { "port1" }; }
	set withheld { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
	chain forward {
		type filter hook forward priority -200; policy accept;
		icmpv6 type nd-router-advert oifname @nodefault jump withhold
	}
	chain output {
		type filter hook output priority -200; policy accept;
		icmpv6 type nd-router-advert oifname @nodefault jump withhold
	}
	chain withhold {
		update @withheld { oifname limit rate over 20/second burst 40 packets } drop
		log group %[1]d
		drop
	}
}
`

// bridge is a host with a bridge and guests on it.
type bridge struct {
	host   *netnstest.NS
	guests []*netnstest.NS
}

func newBridge(t *testing.T, guests int) *bridge {
	netnstest.NeedCommands(t, "nft", "ip")
	b := &bridge{host: netnstest.New(t, "hearh")}
	b.host.Run("ip", "link", "add", "br0", "address", "52:54:00:00:00:01", "type", "bridge", "mcast_snooping", "0")
	b.host.Run("ip", "link", "set", "br0", "up")
	b.host.Run("ip", "address", "add", "fe80::1/64", "dev", "br0", "nodad")
	b.host.Run("ip", "address", "add", "192.168.7.1/24", "dev", "br0")
	file := filepath.Join(t.TempDir(), "rules.nft")
	if err := os.WriteFile(file, fmt.Appendf(nil, rules, plan.HearGroup), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := b.host.Try("nft", "-f", file); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	for i := range guests {
		g := netnstest.New(t, "hearg")
		port := fmt.Sprintf("port%d", i)
		netnstest.Veth(b.host, port, g, "eth0")
		b.host.Run("ip", "link", "set", port, "master", "br0")
		b.guests = append(b.guests, g)
	}
	return b
}

func (b *bridge) inNS(_ string, f func() error) error { return b.host.Do(f) }

func (b *bridge) listen(t *testing.T) *Listener {
	t.Helper()
	l, err := Listen(b.inNS, "", plan.HearGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func indexOf(t *testing.T, ns *netnstest.NS, link string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(ns.Run("cat", "/sys/class/net/"+link+"/ifindex")))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func macOf(t *testing.T, ns *netnstest.NS, link string) vnet.MAC {
	t.Helper()
	m, err := vnet.ParseMAC(strings.TrimSpace(ns.Run("cat", "/sys/class/net/"+link+"/address")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// until reads events until one satisfies ok.
func until(t *testing.T, l *Listener, what string, ok func(Heard, Event) bool) Heard {
	t.Helper()
	limit := time.After(5 * time.Second)
	for {
		select {
		case h := <-l.C():
			e, err := Parse(h.EtherType, h.Packet)
			if err != nil {
				t.Logf("%#04x on %d: %v", h.EtherType, h.Link, err)
				continue
			}
			if ok(h, e) {
				return h
			}
		case <-limit:
			t.Fatalf("did not hear %s", what)
		}
	}
}

func TestHearsDADAndAnswers(t *testing.T) {
	netnstest.AlsoVM(t)
	b := newBridge(t, 2)
	l := b.listen(t)
	port, br := indexOf(t, b.host, "port1"), indexOf(t, b.host, "br0")
	mac := macOf(t, b.guests[1], "eth0")
	target := netip.MustParseAddr("fd00:7::99")

	b.guests[1].Run("ip", "address", "add", target.String()+"/64", "dev", "eth0")
	h := until(t, l, "DAD", func(_ Heard, e Event) bool {
		s, ok := e.(*Solicitation)
		return ok && s.DAD() && s.Target == target
	})
	if h.Link != port || h.MAC != mac || (h.Bridge != br && h.Bridge != 0) {
		t.Errorf("heard on link %d bridge %d from %s, want %d, %d, %s", h.Link, h.Bridge, h.MAC, port, br, mac)
	}
	until(t, l, "MLD report", func(h Heard, e Event) bool {
		_, ok := e.(*Report)
		return ok && h.Link == port
	})

	b.guests[1].Run("ip", "address", "add", "192.168.7.9/24", "dev", "eth0")
	p, err := NewProber(b.inNS, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	gateway := macOf(t, b.host, "br0")
	netnstest.Eventually(t, 5*time.Second, "DAD is over", func() error {
		if out := b.guests[1].Run("ip", "-6", "address", "show", "dev", "eth0", "tentative"); strings.Contains(out, "inet6") {
			return fmt.Errorf("tentative: %s", out)
		}
		return nil
	})
	for _, q := range []Probe{
		{Link: port, Target: target, MAC: mac, Gateway: gateway, Source: netip.MustParseAddr("fe80::1")},
		{Link: port, Target: netip.MustParseAddr("192.168.7.9"), MAC: mac, Gateway: gateway},
		{Link: port, Target: netip.MustParseAddr("192.168.7.9"), MAC: mac, Gateway: gateway, Source: netip.MustParseAddr("192.168.7.1")},
	} {
		sent := time.Now()
		if err := p.Send(q); err != nil {
			t.Fatal(err)
		}
		heard := until(t, l, "an answer for "+q.Target.String(), func(h Heard, e Event) bool {
			switch e := e.(type) {
			case *Advertisement:
				return h.Link == port && e.Target == q.Target && e.Solicited
			case *ARP:
				return h.Link == port && e.Sender == q.Target && e.Reply
			}
			return false
		})
		if d := heard.Time.Sub(sent); d > 500*time.Millisecond && !netnstest.InVM() {
			t.Errorf("the answer for %s was heard %v after the probe: the kernel holds packets back", q.Target, d)
		}
	}
}

func TestRatePerPort(t *testing.T) {
	netnstest.AlsoVM(t)
	netnstest.NeedCommands(t, "ping")
	b := newBridge(t, 2)
	l := b.listen(t)
	noisy, quiet := indexOf(t, b.host, "port0"), indexOf(t, b.host, "port1")
	p, err := NewProber(func(_ string, f func() error) error { return b.guests[0].Do(f) }, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	flood := Probe{
		Link: indexOf(t, b.guests[0], "eth0"), Target: netip.MustParseAddr("fd00:7::1"), Source: netip.MustParseAddr("fe80::bad"),
		MAC: macOf(t, b.host, "br0"), Gateway: macOf(t, b.guests[0], "eth0"),
	}
	for range 3000 {
		if err := p.Send(flood); err != nil {
			t.Fatal(err)
		}
	}
	b.guests[1].Run("ip", "address", "add", "fd00:7::5/64", "dev", "eth0")
	loud := 0
	until(t, l, "the quiet guest", func(h Heard, e Event) bool {
		if h.Link == noisy {
			loud++
		}
		s, ok := e.(*Solicitation)
		return ok && h.Link == quiet && s.Target == netip.MustParseAddr("fd00:7::5")
	})
	if loud > 300 {
		t.Errorf("heard %d packets of the noisy port, want a hundred and some", loud)
	}
	if l.Dropped() != 0 {
		t.Errorf("dropped %d", l.Dropped())
	}
}

func TestOneListenerPerGroup(t *testing.T) {
	b := newBridge(t, 0)
	l := b.listen(t)
	if _, err := Listen(b.inNS, "", plan.HearGroup, nil); vnet.KindOf(err) != vnet.ErrHost {
		t.Errorf("second listener: %v, want an error of kind host", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-l.C(); open {
		t.Error("C is still open")
	}
	netnstest.Eventually(t, 5*time.Second, "the group is free again", func() error {
		again, err := Listen(b.inNS, "", plan.HearGroup, nil)
		if err == nil {
			return again.Close()
		}
		return err
	})
}
