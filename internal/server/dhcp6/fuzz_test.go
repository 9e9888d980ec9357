package dhcp6

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/server/listen"
)

func FuzzEngine(f *testing.F) {
	for k := dhcpv6.MessageTypeSolicit; k <= dhcpv6.MessageTypeInformationRequest; k++ {
		f.Add(msg{kind: k, duid: duidUUID(1), ias: []string{"1=2001:db8:1::5", "2"}, name: "a.b", rapid: true}.packet().Data)
		f.Add(msg{kind: k, duid: duidLL(mac(1)), ias: []string{"1=2001:db8:1::11"}, server: true, oro: []dhcpv6.OptionCode{23, 82}}.packet().Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := newFake(t, service(subnet("2001:db8:1::/64"), subnet("fd00::/64")))
		e.SetGuest(guest(1, "2001:db8:1::11"))
		e.send(listen.Packet{From: private, Data: b})
		e.send(listen.Packet{From: linkLocal(mac(1)), Data: b})
	})
}

func BenchmarkRapid(b *testing.B) {
	f := newFake(b, service())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(i), ias: []string{"1"}, rapid: true}.packet()); m == nil {
			b.Fatal("silence")
		}
		f.claims = f.claims[:0]
	}
}

func BenchmarkRenew(b *testing.B) {
	f := newFake(b, service())
	var a netip.Addr
	for i := range 100_000 {
		m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(i), ias: []string{"1"}, rapid: true}.packet())
		a = addr(m.Options.OneIANA().Options.OneAddress())
	}
	p := msg{kind: dhcpv6.MessageTypeRenew, duid: duidUUID(99_999), ias: []string{"1=" + a.String()}, server: true}.packet()
	b.ReportAllocs()
	for b.Loop() {
		out, err := f.Receive(p, f.now)
		if err != nil || len(out.Claim) != 1 || len(f.Committed(out.Claim[0], nil, f.now).Send) != 1 {
			b.Fatal("not renewed")
		}
	}
}
