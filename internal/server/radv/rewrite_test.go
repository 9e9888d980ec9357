package radv

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	outsideMAC = vnet.MAC{0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee}
	outside    = netip.MustParseAddr("fe80::aa:1")
)

// foreign is an outside router's advertisement of all sorts of things, as a
// packet.
func foreign(t testing.TB) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{
		CurrentHopLimit: 55, ManagedConfiguration: true, MobileIPv6HomeAgent: true, RouterSelectionPreference: ndp.High,
		RouterLifetime: time.Hour, ReachableTime: time.Minute, RetransmitTimer: time.Second,
		Options: []ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: outsideMAC[:]},
			&ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour, Prefix: netip.MustParseAddr("2001:db8:7::")},
			&ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{netip.MustParseAddr("2001:db8:7::53")}},
			&ndp.RawOption{Type: 200, Length: 2, Value: []byte("something else")},
			&ndp.DNSSearchList{Lifetime: time.Hour, DomainNames: []string{"lan.example"}},
			&ndp.RouteInformation{PrefixLength: 48, Prefix: netip.MustParseAddr("2001:db8:9::"), RouteLifetime: time.Hour},
			&ndp.RouteInformation{Prefix: netip.IPv6Unspecified(), RouteLifetime: time.Hour},
			&ndp.PREF64{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: 10 * time.Minute},
			&ndp.CaptivePortal{URI: "https://portal.example"},
			&ndp.RawOption{Type: 7, Length: 1, Value: []byte{0, 0, 0, 0, 1, 2}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, encryptedOption(encrypted("1 dot.example 2001:db8::53"), time.Hour)...)
	return frame(allNodesMAC, outsideMAC, outside, allNodes, b)[etherLen:]
}

// TestRewrite: an outside router's advertisement without its default route and
// resolvers; every other byte stays.
func TestRewrite(t *testing.T) {
	packet := foreign(t)
	before := bytes.Clone(packet)
	icmp, from, to, err := asideOf(packet)
	if err != nil || from != outside || to != allNodes || !bytes.Equal(packet, before) {
		t.Fatalf("%v, %v, %v", from, to, err)
	}
	head := slices.Clone(packet[ipLen : ipLen+headerLen])
	head[5] = head[5] &^ 0x18 // preference
	head[6], head[7] = 0, 0   // lifetime
	if !bytes.Equal(icmp[4:headerLen], head[4:]) {
		t.Errorf("header %x, want %x", icmp[4:headerLen], head[4:])
	}
	var kept, want []string
	for _, o := range rawOptions(packet[ipLen:]) {
		if !slices.Contains([]byte{25, 31, 38, 37, 144}, o[0]) && !(o[0] == 24 && o[2] == 0) {
			want = append(want, hex.EncodeToString(o))
		}
	}
	for _, o := range rawOptions(icmp) {
		kept = append(kept, hex.EncodeToString(o))
	}
	if !slices.Equal(kept, want) || len(want) != 5 {
		t.Errorf("options\n%s\nwant\n%s", strings.Join(kept, "\n"), strings.Join(want, "\n"))
	}
	if mac, ok := linkOf(icmp); !ok || mac != outsideMAC {
		t.Errorf("source link-layer address %v", mac)
	}
}

// TestRewriteRefuses: what a host would not take for an advertisement is not
// sent again (RFC 4861 section 6.1.2).
func TestRewriteRefuses(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"short":                   func(b []byte) []byte { return b[:ipLen+headerLen-1] },
		"cut":                     func(b []byte) []byte { return b[:len(b)-8] },
		"IPv4":                    func(b []byte) []byte { b[0] = 0x45; return b },
		"hop limit":               func(b []byte) []byte { b[7] = 254; return b },
		"extension header":        func(b []byte) []byte { b[6] = 60; return b },
		"no advertisement":        func(b []byte) []byte { b[ipLen] = 133; return b },
		"code":                    func(b []byte) []byte { b[ipLen+1] = 1; sumUp(b); return b },
		"checksum":                func(b []byte) []byte { b[ipLen+2] ^= 1; return b },
		"global source":           func(b []byte) []byte { b[8], b[9] = 0x20, 1; sumUp(b); return b },
		"option of length 0":      func(b []byte) []byte { b[ipLen+headerLen+1] = 0; sumUp(b); return b },
		"option beyond the end":   func(b []byte) []byte { b[ipLen+headerLen+1] = 255; sumUp(b); return b },
		"payload length too long": func(b []byte) []byte { binary.BigEndian.PutUint16(b[4:], 9000); return b },
		"nothing":                 func([]byte) []byte { return nil },
	} {
		if _, _, _, err := asideOf(spoil(foreign(t))); !errors.Is(err, errForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := asideOf(append(foreign(t), 0, 0, 0)); err != nil {
		t.Errorf("what Ethernet pads: %v", err)
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add(foreign(f))
	f.Add(foreign(f)[:60])
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := bytes.Clone(packet)
		if len(packet) >= ipLen+headerLen { // or nearly nothing gets past the checksum
			sumUp(before)
		}
		b := bytes.Clone(before)
		icmp, _, _, err := asideOf(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the packet was changed")
		}
		if err != nil {
			return
		}
		if len(icmp) < headerLen || len(icmp) > len(packet)-ipLen || icmp[6]|icmp[7] != 0 {
			t.Fatalf("%d bytes of %d, lifetime %x", len(icmp), len(packet), icmp[6:8])
		}
		rest := headerLen
		for _, o := range rawOptions(icmp) {
			rest += len(o)
			if leadsAway(o) {
				t.Fatalf("option %d is still there", o[0])
			}
		}
		if rest != len(icmp) {
			t.Fatal("options that do not fill the message")
		}
	})
}

// TestWithheld: what is sent again is sent on the port's device, to the guest
// alone, from the outside router; where we advertise ourselves, nothing is.
func TestWithheld(t *testing.T) {
	w := &wire{links: map[string]int{"br0": 7}}
	now := time.Hour
	s := newServer(Config{}, func(func(func() error) error, func(...listen.Packet)) (transport, error) { return w, nil }, w, func() time.Duration { return now })
	packet := foreign(t)
	if s.Withheld("lan", "beta", outsideMAC, packet) {
		t.Error("for a port that is not known")
	}
	a, b := alpha, beta
	a.Network, b.Network = "lan", "lan"
	s.SetGuest(a)
	s.SetGuest(b)
	if s.Withheld("lan", "alpha", outsideMAC, packet) {
		t.Error("for a port whose default network it is")
	}
	if s.Withheld("lan", "beta", outsideMAC, packet[:50]) {
		t.Error("garbage")
	}
	if !s.Withheld("lan", "beta", outsideMAC, packet) || !s.Withheld("lan", "beta", vnet.MAC{}, packet) {
		t.Fatal("not sent")
	}
	for _, m := range w.frames {
		f := m.data
		from := netip.AddrFrom16([16]byte(f[etherLen+8:]))
		if m.device != "tapb" || vnet.MAC(f[:6]) != betaMAC || vnet.MAC(f[6:12]) != outsideMAC || from != outside || !summed(f[etherLen:]) {
			t.Errorf("on %s, %x", m.device, f[:60])
		}
	}
	sent := len(w.frames)
	for range 10 * askBurst {
		s.Withheld("lan", "beta", outsideMAC, packet)
	}
	if n := len(w.frames) - sent; n > askBurst {
		t.Errorf("%d of a flood are sent again", n)
	}
	now += time.Minute
	s.RemoveGuest("lan", "alpha")
	s.RemoveGuest("lan", "beta")
	if s.Withheld("lan", "beta", outsideMAC, packet) || len(s.guests)+len(s.homes) != 0 {
		t.Error("ports that are gone are remembered")
	}
	// Where we advertise, the port's rules keep others' advertisements from it.
	s.SetNetwork(service(subnet(net1, vnet.GuestsSLAAC)))
	s.SetGuest(beta)
	if s.Withheld("net", "beta", outsideMAC, packet) {
		t.Error("another router's advertisement is sent on where we advertise")
	}
}

// TestGuestsOfServer: a port that moves to another network, and one that is
// known before its network is, are each in one place.
func TestGuestsOfServer(t *testing.T) {
	w := &wire{links: map[string]int{"br0": 7}}
	s := newServer(Config{}, func(func(func() error) error, func(...listen.Packet)) (transport, error) { return w, nil }, w, func() time.Duration { return time.Hour })
	s.SetGuest(beta)
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	svc.Strangers = []string{"eth9"}
	s.SetNetwork(svc)
	if len(w.sent) != 0 || len(w.frames) != 2 {
		t.Fatalf("%d multicast, %d frames", len(w.sent), len(w.frames))
	}
	moved := beta
	moved.Network = "other"
	s.SetGuest(moved)
	if s.guests["net"].deviants != 0 || s.guests["other"].deviants != 1 {
		t.Error("the port is in both networks, or in none")
	}
	s.Withdraw("net")
	s.RemoveNetwork("net")
	s.RemoveGuest("other", "beta")
	if len(s.guests) != 0 {
		t.Errorf("%d networks' guests are remembered", len(s.guests))
	}
}
