package hear

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	guestMAC   = vnet.MAC{0x52, 0x54, 0, 0, 0, 1}
	guestLL    = netip.MustParseAddr("fe80::5054:ff:fe00:1")
	guest6     = netip.MustParseAddr("fd00::5054:ff:fe00:1")
	guest4     = netip.MustParseAddr("192.168.7.9")
	allRouters = netip.MustParseAddr("ff02::2")
	allNodes   = netip.MustParseAddr("ff02::1")
)

// ip6 wraps a payload into an IPv6 header.
func ip6(src, dst netip.Addr, next, hops byte, payload ...[]byte) []byte {
	body := bytes.Join(payload, nil)
	b := []byte{0x60, 0, 0, 0, 0, 0, next, hops}
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	s, d := src.As16(), dst.As16()
	return append(append(append(b, s[:]...), d[:]...), body...)
}

// nd encodes a message with somebody else's codec.
func nd(t testing.TB, m ndp.Message) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lla(d ndp.Direction) []ndp.Option {
	return []ndp.Option{&ndp.LinkLayerAddress{Direction: d, Addr: guestMAC[:]}}
}

func mldRecord(kind byte, group string, sources int) []byte {
	g := netip.MustParseAddr(group).As16()
	b := append([]byte{kind, 0, 0, byte(sources)}, g[:]...)
	return append(b, make([]byte, 16*sources)...)
}

func mldv2(records ...[]byte) []byte {
	return append([]byte{143, 0, 0, 0, 0, 0, 0, byte(len(records))}, bytes.Join(records, nil)...)
}

var routerAlert = []byte{58, 0, 5, 2, 0, 0, 1, 0}

// samples are packets and what they say; nil: nothing.
func samples(t testing.TB) []struct {
	name   string
	ether  uint16
	packet []byte
	want   Event
} {
	none := netip.IPv6Unspecified()
	arp := func(op byte, sender, target string) []byte {
		s, d := netip.MustParseAddr(sender).As4(), netip.MustParseAddr(target).As4()
		b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, guestMAC[:]...)
		b = append(append(b, s[:]...), make([]byte, 6)...)
		return append(append(b, d[:]...), make([]byte, 18)...) // padded
	}
	udp := func(dport uint16, payload string) []byte {
		b := []byte{0, 68, 0, 0, 0, byte(8 + len(payload)), 0, 0}
		binary.BigEndian.PutUint16(b[2:], dport)
		return append(b, payload...)
	}
	ip4 := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}, udp(67, "hello")...)
	joined := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	return []struct {
		name   string
		ether  uint16
		packet []byte
		want   Event
	}{
		{"DAD", EtherIPv6, ip6(none, SolicitedNode(guest6), 58, 255, nd(t, &ndp.NeighborSolicitation{TargetAddress: guest6})),
			&Solicitation{Source: none, Target: guest6}},
		{"enhanced DAD", EtherIPv6, ip6(none, SolicitedNode(guest6), 58, 255, nd(t, &ndp.NeighborSolicitation{TargetAddress: guest6}), []byte{14, 1, 1, 2, 3, 4, 5, 6}),
			&Solicitation{Source: none, Target: guest6, Nonce: []byte{1, 2, 3, 4, 5, 6}}},
		{"DAD to the wrong group", EtherIPv6, ip6(none, allNodes, 58, 255, nd(t, &ndp.NeighborSolicitation{TargetAddress: guest6})), nil},
		{"DAD with a link-layer address", EtherIPv6, ip6(none, SolicitedNode(guest6), 58, 255, nd(t, &ndp.NeighborSolicitation{TargetAddress: guest6, Options: lla(ndp.Source)})), nil},
		{"NS", EtherIPv6, ip6(guest6, SolicitedNode(guestLL), 58, 255, nd(t, &ndp.NeighborSolicitation{TargetAddress: guestLL, Options: lla(ndp.Source)})),
			&Solicitation{Source: guest6, Target: guestLL, LinkAddr: guestMAC}},
		{"NS from beyond the link", EtherIPv6, ip6(guest6, SolicitedNode(guestLL), 58, 254, nd(t, &ndp.NeighborSolicitation{TargetAddress: guestLL})), nil},
		{"NS for a group", EtherIPv6, ip6(guest6, guestLL, 58, 255, []byte{135, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 0), []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), nil},
		{"NS cut short", EtherIPv6, ip6(guest6, guestLL, 58, 255, []byte{135, 0, 0, 0, 0, 0, 0, 0, 1}), nil},
		{"NS with an empty option", EtherIPv6, ip6(guest6, guestLL, 58, 255, nd(t, &ndp.NeighborSolicitation{TargetAddress: guestLL}), make([]byte, 8)), nil},
		{"NS in a fragment", EtherIPv6, ip6(guest6, guestLL, 44, 255, []byte{58, 0, 0, 0, 0, 0, 0, 1}, nd(t, &ndp.NeighborSolicitation{TargetAddress: guestLL})), nil},
		{"NA", EtherIPv6, ip6(guest6, allNodes, 58, 255, nd(t, &ndp.NeighborAdvertisement{Override: true, TargetAddress: guest6, Options: lla(ndp.Target)})),
			&Advertisement{Source: guest6, Target: guest6, LinkAddr: guestMAC, Override: true}},
		{"solicited NA", EtherIPv6, ip6(guest6, guestLL, 58, 255, nd(t, &ndp.NeighborAdvertisement{Solicited: true, Router: true, TargetAddress: guest6})),
			&Advertisement{Source: guest6, Target: guest6, Solicited: true, Router: true}},
		{"solicited NA to all", EtherIPv6, ip6(guest6, allNodes, 58, 255, nd(t, &ndp.NeighborAdvertisement{Solicited: true, TargetAddress: guest6})), nil},
		{"NA from nobody", EtherIPv6, ip6(none, allNodes, 58, 255, nd(t, &ndp.NeighborAdvertisement{TargetAddress: guest6})), nil},
		{"RS", EtherIPv6, ip6(guestLL, allRouters, 58, 255, nd(t, &ndp.RouterSolicitation{Options: lla(ndp.Source)})),
			&RouterSolicitation{Source: guestLL, LinkAddr: guestMAC}},
		{"RS from nobody with an address", EtherIPv6, ip6(none, allRouters, 58, 255, nd(t, &ndp.RouterSolicitation{Options: lla(ndp.Source)})), nil},
		{"RA", EtherIPv6, ip6(guestLL, allNodes, 58, 255, nd(t, &ndp.RouterAdvertisement{})), nil},
		{"MLDv2", EtherIPv6, ip6(guestLL, allRouters, 0, 1, routerAlert, mldv2(
			mldRecord(4, "ff02::1:ff00:1", 0), mldRecord(3, "ff02::1:ff00:2", 0), mldRecord(5, "ff02::fb", 2), mldRecord(6, "ff02::fb", 1))),
			&Report{Source: guestLL, Joined: append(joined("ff02::1:ff00:1"), joined("ff02::fb")...), Left: joined("ff02::1:ff00:2")}},
		{"MLDv2 that promises more", EtherIPv6, ip6(guestLL, allRouters, 0, 1, routerAlert, []byte{143, 0, 0, 0, 0, 0, 0xff, 0xff}), nil},
		{"MLDv1", EtherIPv6, ip6(guestLL, allRouters, 0, 1, routerAlert, []byte{131, 0, 0, 0, 0, 0, 0, 0}, mldRecord(0, "ff02::fb", 0)[4:]),
			&Report{Source: guestLL, Joined: joined("ff02::fb")}},
		{"MLDv1 done", EtherIPv6, ip6(guestLL, allRouters, 0, 1, routerAlert, []byte{132, 0, 0, 0, 0, 0, 0, 0}, mldRecord(0, "ff02::fb", 0)[4:]),
			&Report{Source: guestLL, Left: joined("ff02::fb")}},
		{"extension headers without end", EtherIPv6, ip6(guestLL, allRouters, 0, 1, bytes.Repeat(make([]byte, 8), 40)), nil},
		{"DHCPv6", EtherIPv6, ip6(guestLL, netip.MustParseAddr("ff02::1:2"), 17, 1, udp(547, "hi")),
			&DHCP{Family: vnet.IPv6, Source: guestLL, Message: []byte("hi")}},
		{"other UDP", EtherIPv6, ip6(guestLL, allNodes, 17, 1, udp(53, "hi")), nil},
		{"DHCPv4", EtherIPv4, ip4, &DHCP{Family: vnet.IPv4, Source: netip.IPv4Unspecified(), Message: []byte("hello")}},
		{"IPv4 with a wrong header length", EtherIPv4, append([]byte{0x4f}, ip4[1:]...), nil},
		{"ARP", EtherARP, arp(1, "192.168.7.9", "192.168.7.1"), &ARP{SenderMAC: guestMAC, Sender: guest4, Target: netip.MustParseAddr("192.168.7.1")}},
		{"ARP reply", EtherARP, arp(2, "192.168.7.9", "192.168.7.1"), &ARP{Reply: true, SenderMAC: guestMAC, Sender: guest4, Target: netip.MustParseAddr("192.168.7.1")}},
		{"ARP of another kind", EtherARP, arp(3, "192.168.7.9", "192.168.7.1"), nil},
		{"ARP cut short", EtherARP, arp(1, "192.168.7.9", "192.168.7.1")[:20], nil},
		{"VLAN", 0x8100, []byte{0, 1}, nil},
		{"nothing", EtherIPv6, nil, nil},
	}
}

func TestParse(t *testing.T) {
	for _, tt := range samples(t) {
		got, err := Parse(tt.ether, tt.packet)
		if (err == nil) == (tt.want == nil) || tt.want != nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestARPKinds(t *testing.T) {
	zero := netip.IPv4Unspecified()
	for _, tt := range []struct {
		arp                 ARP
		probe, announcement bool
	}{
		{ARP{Sender: zero, Target: guest4}, true, false},
		{ARP{Sender: guest4, Target: guest4}, false, true},
		{ARP{Reply: true, Sender: guest4, Target: guest4}, false, true},
		{ARP{Sender: guest4, Target: zero}, false, false},
	} {
		if tt.arp.Probe() != tt.probe || tt.arp.Announcement() != tt.announcement {
			t.Errorf("%+v: probe %v, announcement %v", tt.arp, tt.arp.Probe(), tt.arp.Announcement())
		}
	}
}

// TestProbeFrames reads our own probes with our parser and somebody else's.
func TestProbeFrames(t *testing.T) {
	gateway := vnet.MAC{2, 0, 0, 0, 0, 1}
	gatewayLL := netip.MustParseAddr("fe80::1")
	frame, err := Probe{Target: guest6, MAC: guestMAC, Gateway: gateway, Source: gatewayLL}.frame()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(binary.BigEndian.Uint16(frame[12:]), frame[14:])
	if want := (&Solicitation{Source: gatewayLL, Target: guest6, LinkAddr: gateway}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := ndp.ParseMessage(frame[14+40:]); err != nil {
		t.Error(err)
	}
	frame, err = Probe{Target: guest4, MAC: guestMAC, Gateway: gateway}.frame()
	if err != nil {
		t.Fatal(err)
	}
	got, err = Parse(binary.BigEndian.Uint16(frame[12:]), frame[14:])
	if want := (&ARP{SenderMAC: gateway, Sender: netip.IPv4Unspecified(), Target: guest4}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []Probe{
		{Target: guest6, MAC: guestMAC, Gateway: gateway, Source: netip.IPv6Unspecified()},
		{Target: guest6, MAC: guestMAC, Gateway: gateway},
		{Target: guest4, Gateway: gateway},
		{},
	} {
		if _, err := bad.frame(); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.ether, s.packet)
	}
	f.Fuzz(func(t *testing.T, ether uint16, packet []byte) {
		before := bytes.Clone(packet)
		e, err := Parse(ether, packet)
		if (e == nil) == (err == nil) {
			t.Fatalf("event %v and error %v", e, err)
		}
		if from, err := Source(ether, packet); (err == nil) != from.Is6() {
			t.Fatalf("from %v and error %v", from, err)
		}
		if !bytes.Equal(packet, before) {
			t.Fatal("the packet was changed")
		}
		if r, ok := e.(*Report); ok && len(r.Joined)+len(r.Left) > len(packet)/16 {
			t.Fatalf("%d groups from %d bytes", len(r.Joined)+len(r.Left), len(packet))
		}
	})
}
