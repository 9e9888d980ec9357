package learn

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// village is a bridge with a real guest on it, and an engine that hears it and
// probes it.
type village struct {
	host, guest *netnstest.NS
	link        int
	prober      *hear.Prober
	gateway     vnet.MAC

	mu     sync.Mutex
	engine *Engine
	held   map[netip.Addr]vnet.Lease
	probes int
	asked  map[netip.Addr]time.Time     // when DAD was heard
	took   map[netip.Addr]time.Duration // from then until it was learnt
}

func newVillage(t *testing.T) *village {
	netnstest.NeedCommands(t, "nft", "ip")
	v := &village{
		host: netnstest.New(t, "learnh"), guest: netnstest.New(t, "learng"), held: map[netip.Addr]vnet.Lease{},
		asked: map[netip.Addr]time.Time{}, took: map[netip.Addr]time.Duration{},
	}
	v.engine = New(Config{ProbeEvery: time.Second, Trace: func(_ vnet.ID, a netip.Addr, _, to State, _ string) {
		switch to {
		case Tentative:
			v.asked[a] = time.Now()
		case Held:
			v.took[a] = time.Since(v.asked[a])
		}
	}})
	v.host.Run("ip", "link", "add", "br0", "address", "52:54:00:00:00:fe", "type", "bridge", "mcast_snooping", "0")
	v.host.Run("ip", "link", "set", "br0", "up")
	v.host.Run("ip", "address", "add", "fe80::1/64", "dev", "br0", "nodad")
	v.host.Run("ip", "address", "add", "fd00::1/64", "dev", "br0", "nodad")
	v.host.Run("ip", "link", "add", "port0", "type", "veth", "peer", "name", "eth0", "netns", v.guest.Name)
	v.host.Run("ip", "link", "set", "port0", "master", "br0", "up")
	rules := filepath.Join(t.TempDir(), "rules.nft")
	text := fmt.Sprintf(`table bridge sextant { chain p { type filter hook prerouting priority -250;
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } log group %[1]d
		ether type arp log group %[1]d
	}
}
`, plan.HearGroup)
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v.host.Run("nft", "-f", rules)
	var err error
	if v.link, err = strconv.Atoi(strings.TrimSpace(v.host.Run("cat", "/sys/class/net/port0/ifindex"))); err != nil {
		t.Fatal(err)
	}
	if v.gateway, err = vnet.ParseMAC("52:54:00:00:00:fe"); err != nil {
		t.Fatal(err)
	}
	v.run(t)
	return v
}

// run does what the agent does with an engine.
func (v *village) run(t *testing.T) {
	inNS := func(_ string, f func() error) error { return v.host.Do(f) }
	l, err := hear.Listen(inNS, "", plan.HearGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.prober, err = hear.NewProber(inNS, ""); err != nil {
		t.Fatal(err)
	}
	v.do(func() Result { return v.engine.SetNetwork(time.Now(), "net", subnets()) })
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		work.Wait()
		_ = l.Close()
		_ = v.prober.Close()
	})
	work.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case h := <-l.C():
				ev, err := hear.Parse(h.EtherType, h.Packet)
				if err != nil || h.Link != v.link {
					continue
				}
				holder := Holder{Link: h.Link, Network: "net", Port: "p", MAC: h.MAC}
				v.do(func() Result { return v.engine.Hear(h.Time, holder, ev) })
			case now := <-tick.C:
				v.do(func() Result { return v.engine.Tick(now) })
			}
		}
	})
}

func (v *village) do(f func() Result) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := f()
	for _, x := range r.Releases {
		delete(v.held, x.Address)
	}
	for _, c := range r.Claims {
		v.held[c.Address] = c
	}
	for _, p := range r.Probes {
		v.probes++
		_ = v.prober.Send(hear.Probe{Link: p.Link, Target: p.Target, MAC: p.MAC, Gateway: v.gateway, Source: netip.MustParseAddr("fe80::1")})
	}
}

func (v *village) lease(a netip.Addr) (vnet.Lease, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.held[a]
	return l, ok
}

// TestRealGuest: a kernel makes its own addresses, and never exchanges a
// packet with the host.
func TestRealGuest(t *testing.T) {
	netnstest.NeedCommands(t, "radvd")
	t.Parallel()
	start := time.Now()
	v := newVillage(t)
	conf := filepath.Join(t.TempDir(), "radvd.conf")
	if err := os.WriteFile(conf, []byte(`interface br0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix fd00::/64 { }; };`), 0o644); err != nil {
		t.Fatal(err)
	}
	v.host.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	v.host.Start("radvd", "-n", "-C", conf, "-p", filepath.Join(t.TempDir(), "pid"), "-m", "stderr")
	v.guest.Run("ip", "link", "set", "eth0", "address", "52:54:00:00:00:09", "up")
	eui64 := netip.MustParseAddr("fd00::5054:ff:fe00:9")
	netnstest.Eventually(t, 15*time.Second, "the guest's SLAAC address is learnt", func() error {
		l, ok := v.lease(eui64)
		if !ok {
			return fmt.Errorf("not yet; the guest has\n%s", v.guest.Run("ip", "-6", "-brief", "address"))
		}
		if l.How != vnet.HowSLAAC || l.Subnet != "six" || l.Temporary {
			t.Fatalf("learnt as %+v", l)
		}
		return nil
	})
	t.Log("SLAAC learnt after", time.Since(start))
	byHand := netip.MustParseAddr("fd00::53")
	v.guest.Run("ip", "address", "add", "fd00::53/64", "dev", "eth0")
	v.guest.Run("ip", "address", "add", "10.0.0.9/24", "dev", "eth0")
	// The kernel waits up to a second before it starts DAD.
	netnstest.Eventually(t, 5*time.Second, "an address made by hand is learnt", func() error {
		if l, ok := v.lease(byHand); !ok || l.How != vnet.HowFixed {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	t.Log("the other after", time.Since(start), "of DAD", v.took)
	v.mu.Lock()
	before := v.probes
	for _, a := range []netip.Addr{eui64, byHand} {
		if d := v.took[a]; d > 2*time.Second {
			t.Errorf("%s was learnt %v after its DAD", a, d)
		}
	}
	v.mu.Unlock()
	netnstest.Eventually(t, 5*time.Second, "probes are sent, and answered", func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.probes < before+4 {
			return fmt.Errorf("%d probes", v.probes-before)
		}
		return nil
	})
	if _, ok := v.lease(byHand); !ok {
		t.Error("an address that is in use was released")
	}
	t.Log("probed after", time.Since(start))
	v.guest.Run("ip", "address", "del", "fd00::53/64", "dev", "eth0")
	netnstest.Eventually(t, 8*time.Second, "an address that was taken away is released", func() error {
		if l, ok := v.lease(byHand); ok {
			return fmt.Errorf("still %+v", l)
		}
		return nil
	})
	if _, ok := v.lease(eui64); !ok {
		t.Error("the other address was released as well")
	}
	v.do(func() Result { return v.engine.LinkGone(time.Now(), v.link) })
	if len(v.held) != 0 {
		t.Errorf("the guest is gone, and still holds %v", v.held)
	}
}
