package radv

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	alphaMAC = vnet.MAC{2, 0, 0, 0, 0, 0xa}
	betaMAC  = vnet.MAC{2, 0, 0, 0, 0, 0xb}
	alpha    = plan.Guest{Port: "alpha", Network: "net", MAC: alphaMAC, Device: "tapa", DefaultRoute: true}
	beta     = plan.Guest{Port: "beta", Network: "net", MAC: betaMAC, Device: "tapb"} // its default network is another
)

// unframe checks a frame from the gateway and returns whom it goes to and what
// it says.
func unframe(t *testing.T, m message) (mac vnet.MAC, to netip.Addr, icmp []byte) {
	t.Helper()
	b := m.data
	gateway := service().MAC
	from := netip.AddrFrom16([16]byte(b[etherLen+8:]))
	to = netip.AddrFrom16([16]byte(b[etherLen+24:]))
	icmp = b[etherLen+ipLen:]
	if m.device == "" || vnet.MAC(b[6:12]) != gateway || from != ipam.LinkLocal(gateway) || b[etherLen+7] != 255 {
		t.Errorf("frame on %q from %v, %v, hop limit %d", m.device, vnet.MAC(b[6:12]), from, b[etherLen+7])
	}
	if !summed(b[etherLen:]) {
		t.Error("wrong checksum")
	}
	return vnet.MAC(b[:6]), to, icmp
}

// round is everything of the round of frames that is due, by device.
func round(t *testing.T, e *engine, now Instant) map[string]string {
	t.Helper()
	out := map[string]string{}
	for {
		for _, m := range e.tick(now) {
			mac, to, icmp := unframe(t, m)
			if to != allNodes {
				t.Errorf("frame to %v", to)
			}
			out[m.device] += mac.String() + " " + text(icmp)
		}
		if len(e.round) == 0 {
			return out
		}
		now.Boot = e.step
	}
}

// TestDefaultRouteByGuest: with one guest whose default network is another one
// nothing is multicast; everybody gets frames of its own.
func TestDefaultRouteByGuest(t *testing.T) {
	svc := everything()
	svc.Strangers = []string{"tapa", "eth7"} // one of them is a port's
	e := started(svc)
	e.setGuest(alpha, at(0))
	if out := e.tick(at(0)); len(out) != 1 || out[0].device != "" || out[0].to != allNodes {
		t.Fatalf("without such a guest: %v", out)
	}
	e.setGuest(beta, at(0))
	e.setGuest(plan.Guest{Port: "away", MAC: vnet.MAC{2, 0, 0, 0, 0, 0xc}}, at(0)) // plugged elsewhere
	next, _ := e.deadline()
	got := round(t, e, at(next-time.Hour))
	if len(got) != 3 {
		t.Errorf("frames for %d devices: %v", len(got), got)
	}
	whole, aside := texts(e.to(allNodes, whole, at(0))), texts(e.to(allNodes, aside, at(0)))
	for device, want := range map[string]string{
		"tapa": alphaMAC.String() + " " + whole, "tapb": betaMAC.String() + " " + aside, "eth7": "33:33:00:00:00:01 " + whole,
	} {
		if got[device] != want {
			t.Errorf("%s: %s\nwant %s", device, got[device], want)
		}
	}
	for _, not := range []string{"rdnss", "dnssl", "encrypted", "pref64", "portal", "::/0", "preference 3"} {
		if strings.Contains(aside, not) {
			t.Errorf("%s is told aside:\n%s", not, aside)
		}
	}
	if !strings.HasPrefix(aside, "router lifetime 0s M=true O=true hop limit 33 reachable") || !strings.Contains(aside, "prefix") || !strings.Contains(aside, "route 2001:db8:ff::/48") {
		t.Errorf("what stays:\n%s", aside)
	}
	// The farewell reaches the same three.
	out := e.withdraw(at(time.Minute))
	if len(out) != 3 || out[0].device == "" {
		t.Errorf("farewell: %d messages", len(out))
	}
	e.set(svc, at(2*time.Minute))
	e.guests.remove("beta")
	e.guests.remove("away")
	if out := e.tick(at(2 * time.Minute)); len(out) != 1 || out[0].device != "" {
		t.Errorf("after it is gone: %v", out)
	}
}

// TestRoundIsPaced: a thousand ports are not one burst, and a solicitation
// between them is answered at once.
func TestRoundIsPaced(t *testing.T) {
	e := newTestEngine()
	for i := range 1000 {
		e.setGuest(plan.Guest{Port: vnet.ID(fmt.Sprint(i)), MAC: vnet.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Device: fmt.Sprint("tap", i), DefaultRoute: i != 500}, at(0))
	}
	e.set(service(subnet(net1, vnet.GuestsSLAAC)), at(0))
	e.setLink(true, at(0))
	seen := map[string]bool{}
	now := at(0)
	for len(seen) < 1000 {
		out := e.tick(now)
		if len(out) == 0 || len(out) > stepFrames {
			t.Fatalf("%d frames at once", len(out))
		}
		for _, m := range out {
			if seen[m.device] {
				t.Fatalf("%s is told twice", m.device)
			}
			seen[m.device] = true
		}
		if len(seen) == 1000 {
			break
		}
		if early := e.tick(now); early != nil {
			t.Fatalf("%d frames before their time", len(early))
		}
		if out, _ := e.solicit(asking(), solicitation{from: netip.MustParseAddr("fe80::1"), hopLimit: 255, port: "7"}, now); len(out) != 1 {
			t.Fatal("a solicitation waits for the round")
		}
		now.Boot, _ = e.deadline()
	}
	if d := now.Boot - time.Hour; d < 500*time.Millisecond || d > minDelay {
		t.Errorf("the round took %v", d)
	}
	if next, ok := e.deadline(); !ok || next < time.Hour+minDelay {
		t.Error("the next round begins too soon")
	}
}

// TestHaste: what changes soon after a multicast is told to the known guests at
// once, each by a frame of its own; to all at the pace that the RFC has. What
// changes without end is not told without end.
func TestHaste(t *testing.T) {
	e := newTestEngine()
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	svc.Strangers = []string{"br-other"}
	e.set(svc, at(0))
	for i, device := range []string{"tap0", "tap1"} {
		e.setGuest(plan.Guest{Port: vnet.ID(device), MAC: vnet.MAC{2, 0, 0, 0, 0, byte(i)}, Device: device, DefaultRoute: true}, at(0))
	}
	e.setLink(true, at(0))
	if out := e.tick(at(0)); len(out) != 1 || out[0].device != "" {
		t.Fatalf("with nothing to wait for: %v", out)
	}
	change := func(prefix string, when time.Duration) {
		next := svc
		next.Subnets = []plan.Subnet{subnet(prefix, vnet.GuestsSLAAC)}
		e.set(next, at(when))
	}
	told := func(when time.Duration, prefix string) {
		t.Helper()
		if got, ok := e.deadline(); !ok || got != at(when).Boot {
			t.Fatalf("told at %v, want %v", got-time.Hour, when)
		}
		got := round(t, e, at(when))
		for _, device := range []string{"tap0", "tap1"} {
			if !strings.Contains(got[device], "prefix "+prefix+" L=true A=true preferred") {
				t.Errorf("%s was told\n%s", device, got[device])
			}
		}
		if len(got) != 2 {
			t.Errorf("told %d", len(got))
		}
	}
	change("2001:db8:2::/64", time.Second)
	told(time.Second, "2001:db8:2::/64")
	change("2001:db8:3::/64", time.Second+50*time.Millisecond)
	change("2001:db8:4::/64", time.Second+100*time.Millisecond)
	told(time.Second+hasteEvery, "2001:db8:4::/64")
	if next, _ := e.deadline(); next != at(minDelay).Boot {
		t.Errorf("the multicast comes at %v", next-time.Hour)
	}
	if out := e.tick(at(minDelay)); len(out) != 1 || out[0].to != allNodes || out[0].device != "" {
		t.Errorf("%v", out)
	}
	change("2001:db8:5::/64", 2*minDelay-hasteEvery/2) // told once more, since the multicast is near
	told(2*minDelay-hasteEvery/2, "2001:db8:5::/64")
	change("2001:db8:6::/64", 2*minDelay-hasteEvery/4)
	if next, _ := e.deadline(); next != at(2*minDelay).Boot {
		t.Errorf("with the multicast near: %v", next-time.Hour)
	}
}

// TestWhoAsks: guests are told by port, frame, option, address, in this order.
func TestWhoAsks(t *testing.T) {
	slla := func(m vnet.MAC) []byte {
		return asking(&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: m[:]})
	}
	opaque, other := netip.MustParseAddr("fe80::1234:5678"), vnet.MAC{2, 0, 0, 0, 0, 0xee}
	for name, c := range map[string]struct {
		b     []byte
		s     solicitation
		aside bool // beta's, else the whole
		round bool // nobody in particular: everybody is told
	}{
		"port":                        {asking(), solicitation{from: opaque, port: "beta"}, true, false},
		"port before frame":           {asking(), solicitation{from: opaque, port: "alpha", mac: betaMAC}, false, false},
		"frame":                       {asking(), solicitation{from: opaque, mac: betaMAC}, true, false},
		"frame before option":         {slla(betaMAC), solicitation{from: opaque, mac: alphaMAC}, false, false},
		"frame of a stranger":         {slla(betaMAC), solicitation{from: opaque, mac: other}, false, false},
		"option":                      {slla(betaMAC), solicitation{from: opaque}, true, false},
		"option before address":       {slla(alphaMAC), solicitation{from: ipam.LinkLocal(betaMAC)}, false, false},
		"address":                     {asking(), solicitation{from: ipam.LinkLocal(betaMAC)}, true, false},
		"address of a stranger":       {asking(), solicitation{from: ipam.LinkLocal(other)}, false, false},
		"nothing":                     {asking(), solicitation{from: opaque}, false, true},
		"no address, but a known MAC": {asking(), solicitation{from: netip.IPv6Unspecified(), mac: betaMAC}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := started(everything())
			e.setGuest(alpha, at(0))
			e.setGuest(beta, at(0))
			timeline(e, 0, 100*time.Second)
			c.s.hopLimit = 255
			now := at(100 * time.Second)
			out, err := e.solicit(c.b, c.s, now)
			if err != nil {
				t.Fatal(err)
			}
			next, _ := e.deadline()
			if soon := next <= now.Boot+maxReplyDelay; soon != c.round || (len(out) == 0) != c.round {
				t.Fatalf("%d answers, the next round in %v", len(out), next-now.Boot)
			}
			if c.round {
				return
			}
			m := out[0]
			icmp := m.data
			if c.aside {
				var to netip.Addr
				if _, to, icmp = unframe(t, m); to != c.s.from || m.device != "tapb" {
					t.Errorf("to %v on %q", to, m.device)
				}
			} else if m.to != c.s.from || m.device != "" {
				t.Errorf("to %v on %q", m.to, m.device)
			}
			if got := text(icmp); strings.HasPrefix(got, "router lifetime 0s") != c.aside || strings.Contains(got, "rdnss") == c.aside {
				t.Errorf("%s", got)
			}
		})
	}
}

// TestDefaultRouteMoves: a guest whose default network becomes another one is
// told that the resolvers are not its any more, until it has forgotten them.
func TestDefaultRouteMoves(t *testing.T) {
	e := started(everything())
	e.setGuest(alpha, at(0))
	timeline(e, 0, time.Minute)
	moved := alpha
	moved.DefaultRoute = false
	if !e.setGuest(moved, at(time.Minute)) {
		t.Fatal("nothing to tell")
	}
	next, ok := e.deadline()
	if !ok || next > time.Hour+time.Minute+minDelay {
		t.Fatalf("not told soon: %v, %v", next, ok)
	}
	got := round(t, e, at(time.Minute+minDelay))["tapa"]
	for _, want := range []string{"router lifetime 0s", "rdnss [2001:db8:1::1 fd00:1::1] 0s", "dnssl [default.internal] 0s", "pref64 64:ff9b::/96 0s", "encrypted priority 1 0s", "prefix 2001:db8:1::1/64 L=true A=true R P preferred 1h0m0s"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	e.setGuest(moved, at(2*time.Minute)) // said again: not forgotten
	later := at(3 * time.Minute)
	if v := e.guests.ports["alpha"].variant(later.Boot); v != recalled {
		t.Errorf("variant %d", v)
	}
	if v := e.guests.ports["alpha"].variant(at(time.Hour).Boot); v != aside {
		t.Errorf("in the end, variant %d", v)
	}
	if !e.setGuest(alpha, later) || e.guests.deviants != 0 || e.guests.ports["alpha"].variant(later.Boot) != whole {
		t.Error("it does not come back")
	}
}

// TestFlood: one source is answered so often and no more, and whoever else asks
// is answered meanwhile; memory does not grow.
func TestFlood(t *testing.T) {
	e := started(service(subnet(net1, vnet.GuestsSLAAC)))
	flooder, other := netip.MustParseAddr("fe80::bad"), netip.MustParseAddr("fe80::900d")
	answers, lost := 0, 0
	for i := range 20000 { // in two seconds
		now := at(time.Duration(i) * 100 * time.Microsecond)
		out, err := e.solicit(asking(), solicitation{from: flooder, hopLimit: 255}, now)
		if err != nil {
			t.Fatal(err)
		}
		answers += len(out)
		if i%1000 == 0 {
			if out, _ := e.solicit(asking(), solicitation{from: other, hopLimit: 255}, now); len(out) == 0 {
				lost++
			}
		}
	}
	if answers < askBurst || answers > askBurst+int(2*time.Second/askEvery)+1 {
		t.Errorf("%d answers to a flood", answers)
	}
	if lost > 0 {
		t.Errorf("%d of another guest's solicitations were not answered", lost)
	}
	if n := testing.AllocsPerRun(1000, func() {
		_, _ = e.solicit([]byte{133, 7: 0}, solicitation{from: other, hopLimit: 255}, at(time.Minute))
	}); n > 0 {
		t.Errorf("a solicitation allocates %v times", n)
	}
	// Known MACs share what they have, whatever addresses they ask from.
	answers = 0
	for i := range 1000 {
		from := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)})
		out, _ := e.solicit(asking(), solicitation{from: from, hopLimit: 255, mac: alphaMAC}, at(2*time.Minute))
		answers += len(out)
	}
	if answers > askBurst {
		t.Errorf("%d answers to one MAC at a moment", answers)
	}
}

// Thousands that each ask less often than they may are all answered, whomever
// they share their buckets with.
func TestLimitOfMany(t *testing.T) {
	l := newLimiter()
	cut := 0
	const sources, each = 4000, 75
	for n := range each {
		for s := range uint64(sources) {
			now := time.Duration(n) * 2 * time.Second / each
			if !l.allow(s*0x9e3779b97f4a7c15, now) {
				cut++
			}
		}
	}
	if cut > 0 {
		t.Errorf("%d of %d were not answered", cut, sources*each)
	}
}
