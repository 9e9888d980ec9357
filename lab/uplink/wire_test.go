package uplink

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/lab/topo"
)

// allNodes is where routers advertise themselves.
var allNodes = netip.MustParseAddr("ff02::1")

// frame is an ICMPv6 message to all nodes, as a line of a file for the lab's
// peer. The hop limit of neighbour discovery is 255.
func frame(mac [6]byte, from netip.Addr, hops byte, message []byte) string {
	b := []byte{0x33, 0x33, 0, 0, 0, 1}
	b = append(append(b, mac[:]...), 0x86, 0xdd, 0x60, 0, 0, 0)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(message))), 58, hops)
	src, dst := from.As16(), allNodes.As16()
	b = append(append(b, src[:]...), dst[:]...)
	m := append([]byte(nil), message...)
	if len(m) >= 4 {
		m[2], m[3] = 0, 0
		binary.BigEndian.PutUint16(m[2:], sum(src[:], dst[:], []byte{0, 0, byte(len(m) >> 8), byte(len(m)), 0, 0, 0, 58}, m))
	}
	return hex.EncodeToString(append(b, m...)) + "\n"
}

// sum is the checksum of the internet (RFC 1071).
func sum(parts ...[]byte) uint16 {
	var n uint32
	for _, p := range parts {
		for i, x := range p {
			n += uint32(x) << (8 * uint(1-i%2))
		}
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

// router is the i-th of many that do not exist.
func router(i int) (mac [6]byte, a netip.Addr) {
	mac = [6]byte{2, 0xba, 0xd0, byte(i >> 16), byte(i >> 8), byte(i)}
	return mac, netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
}

// advertisement is what a router says of one prefix, which no host would use.
func advertisement(t *testing.T, ra *ndp.RouterAdvertisement) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(ra)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sends has a node send frames so many times over.
func (w *world) sends(n *topo.Node, dev, frames string, times int) {
	w.t.Helper()
	w.logs++
	file := fmt.Sprintf("/run/frames%d", w.logs)
	w.ok(n.WriteFile(w.ctx, file, frames))
	_, err := n.Run(w.ctx, peerBinary, "frames", dev, file, fmt.Sprint(times))
	w.ok(err)
}

// TestRogueRouters: a neighbour advertises another prefix, and then thousands
// of routers that do not exist. Networks stay where they are.
func TestRogueRouters(t *testing.T) {
	t.Parallel()
	manyNeighbours(t)
	w := newWorld(t, 2*time.Minute, "enp7s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}, More: "AdvDefaultPreference high;"})
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	w.stands("default", "proxied", onLink(first))
	w.usable(alpha, first.Link6.Masked())
	conn := w.hold(alpha, topo.Server6)
	before := len(w.events())

	nb := w.neighbour(isp, "neighbour")
	w.ok(nb.WriteFile(w.ctx, "/etc/radvd.conf", "interface eth0 { AdvSendAdvert on; AdvDefaultPreference low; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:bad::/64 { }; };\n"))
	w.on(nb, "sysctl -qw net.ipv6.conf.all.forwarding=1")
	_, err := nb.Start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd.conf", "--pidfile=/run/radvd.pid")
	w.ok(err)
	w.eventually(patience, "the rogue router is heard", func() error {
		if out := w.sh("sextant uplink show " + isp.link); !strings.Contains(out, "2001:db8:bad::/64") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	var flood strings.Builder
	for i := range 5000 {
		mac, from := router(i)
		p := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 4: 0xba, 5: 0xd0, 6: byte(i >> 8), 7: byte(i)})
		flood.WriteString(frame(mac, from, 255, advertisement(t, &ndp.RouterAdvertisement{
			CurrentHopLimit: 64, Options: []ndp.Option{&ndp.PrefixInformation{PrefixLength: 64, OnLink: false, Prefix: p,
				AutonomousAddressConfiguration: i%8 == 0, ValidLifetime: 600 * time.Second, PreferredLifetime: 600 * time.Second}},
		})))
	}
	memory := w.anonymous()
	w.sends(nb, "eth0", flood.String(), 10)
	w.ok(w.host.Ready(w.ctx, w.daemon))
	if now := w.anonymous(); now > memory+32<<20 {
		t.Errorf("the agent grew from %d to %d MiB", memory>>20, now>>20)
	}
	w.stands("default", "proxied", onLink(first))
	w.hasRoom(nb, "eth0")
	w.usable(w.guest("beta", "default"), first.Link6.Masked())
	conn.lives("rogue routers")
	if all := w.events(); len(all) > before+12 {
		t.Errorf("%d events of it:\n%s", len(all)-before, strings.Join(all[before:], "\n"))
	}
	kept("all of it")
}

// anonymous is how much memory of its own the agent has, in bytes.
func (w *world) anonymous() int {
	w.t.Helper()
	var kb int
	out := w.sh(fmt.Sprintf("grep RssAnon /proc/%d/status", w.pid("agent")))
	_, err := fmt.Sscanf(out, "RssAnon: %d kB", &kb)
	w.ok(err)
	return kb << 10
}

// TestGarbage: advertisements that are none, from the router's own address.
func TestGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "p1p1")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	w.stands("default", "delegated", pool1.String())
	w.usable(alpha, pool1)
	conn := w.hold(alpha, topo.Server6)
	before := len(w.events())
	good := advertisement(t, &ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: time.Hour})
	pio := func(length, flags byte, valid, preferred uint32, p string) []byte {
		b := []byte{3, 4, length, flags}
		b = binary.BigEndian.AppendUint32(b, valid)
		b = binary.BigEndian.AppendUint32(b, preferred)
		a := netip.MustParseAddr(p).As16()
		return append(append(b, 0, 0, 0, 0), a[:]...)
	}
	bodies := map[string][]byte{
		"nothing": {134, 0, 0, 0}, "cut": good[:len(good)-2], "an option without length": append(good[:len(good):len(good)], 3, 0),
		"an option beyond the end": append(good[:len(good):len(good)], 3, 200, 1, 1),
		"129 bits":                 append(good[:len(good):len(good)], pio(129, 0x40, 600, 600, "2001:db8:bad::")...),
		"link-local":               append(good[:len(good):len(good)], pio(64, 0x40, 600, 600, "fe80::")...),
		"multicast":                append(good[:len(good):len(good)], pio(64, 0x40, 600, 600, "ff05::")...),
		"preferred beyond valid":   append(good[:len(good):len(good)], pio(64, 0x40, 600, 1200, "2001:db8:bad::")...),
		"a hundred prefixes":       append(good[:len(good):len(good)], []byte(strings.Repeat(string(pio(64, 0, 600, 600, "2001:db8:bad::")), 40))...),
	}
	var lines strings.Builder
	mac, _ := router(1)
	from, err := isp.LinkLocal(w.ctx)
	w.ok(err)
	for _, body := range bodies {
		lines.WriteString(frame(mac, from, 255, body))
		lines.WriteString(frame(mac, from, 64, body)) // by way of a router
	}
	nb := w.neighbour(isp, "neighbour")
	w.sends(nb, "eth0", lines.String(), 20)
	w.ok(w.host.Ready(w.ctx, w.daemon))
	w.stands("default", "delegated", pool1.String())
	if got := w.sh("sextant uplink show " + isp.link); strings.Contains(got, "ff05::") || strings.Contains(got, "/129") {
		t.Errorf("taken for true:\n%s", got)
	}
	conn.lives("garbage")
	for _, event := range []string{"cannot be read", "prefix of 129 bits", "fe80::/64 no prefix of a network", "ff05::/64 no prefix of a network", "preferred for longer"} {
		w.told(isp.link + " " + from.String() + " " + event)
		if n := w.count(from.String() + " " + event); n != 1 {
			t.Errorf("%s: %d events", event, n)
		}
	}
	if all := w.events(); len(all) > before+6 {
		t.Errorf("%d events of it:\n%s", len(all)-before, strings.Join(all[before:], "\n"))
	}
	kept("all of it")
}

// TestBadDelegations: a server delegates what cannot be used, or hardly. There
// is one clear event of each, and networks that need none of it are unharmed.
func TestBadDelegations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3*time.Minute, "em1")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant network create fixed ipv4=none ipv6=routed ipv6.address=2001:db8:5:5::1/64")
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "fixed")
	w.stands("default", "proxied")
	w.usable(alpha, first.Link6.Masked())
	w.usableOn(beta, prefix("2001:db8:5:5::/64"))
	conn := w.hold(alpha, topo.Server6)
	const infinite = "4294967295"
	for _, c := range []struct{ name, prefix, preferred, valid, rung, event string }{
		{"host bits", "2001:db8:1300::77/56", "600", "1200", "", "2001:db8:1300::77/56 has bits below its length: 2001:db8:1300::/56 is used"},
		{"longer than /64", "2001:db8:1400::/72", "600", "1200", "proxied", "2001:db8:1400::/72 is longer than a /64"},
		{"lifetimes 0", "2001:db8:1500::/56", "0", "0", "proxied", "2001:db8:1500::/56 has no time left"},
		{"preferred beyond valid", "2001:db8:1600::/56", "1200", "600", "", "2001:db8:1600::/56 is preferred for longer (20m0s) than it is valid (10m0s)"},
		{"overlaps a fixed subnet", "2001:db8:5:5::/64", "600", "1200", "proxied", "2001:db8:5:5::/64 overlaps network fixed, which stays"},
		{"not global", "fe80:1::/56", "600", "1200", "proxied", "fe80:1::/56 cannot be used for guests"},
		{"infinite", "2001:db8:1700::/56", infinite, infinite, "delegated", "2001:db8:1700::/56 may be used for guests"},
	} {
		w.logs++
		p, err := isp.Start(fmt.Sprintf("delegate%d", w.logs), peerBinary, "delegate", "wan0", c.prefix, c.preferred, c.valid)
		w.ok(err)
		w.sh("sextant uplink set " + isp.link + " ask=off; sextant uplink set " + isp.link + " ask=on")
		w.told(isp.link + " " + c.event)
		if n := w.count(c.event + " " + isp.link); n != 1 {
			t.Errorf("%s: %d events:\n%s", c.name, n, strings.Join(w.events(), "\n"))
		}
		if c.rung != "" {
			w.stands("default", c.rung)
		}
		if c.name == "host bits" || c.name == "preferred beyond valid" {
			if conn.ended(time.Millisecond) {
				t.Errorf("%s: the guest's connection broke", c.name)
			}
		}
		w.usableOn(beta, prefix("2001:db8:5:5::/64"))
		w.ok(p.Stop())
	}
	kept("all of it")
}
