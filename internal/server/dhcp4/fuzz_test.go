package dhcp4

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/server/listen"
)

func FuzzEngine(f *testing.F) {
	for _, m := range []msg{
		{kind: discover, mac: mac(1), host: "a", id: "xyz"}, {kind: requestM, mac: mac(2), requested: "192.0.2.9", server: "192.0.2.1"},
		{kind: requestM, mac: mac(1), ciaddr: "192.0.2.9"}, {kind: dhcpv4.MessageTypeDecline, mac: mac(1), requested: "192.0.2.9"},
		{kind: dhcpv4.MessageTypeRelease, mac: mac(1), ciaddr: "192.0.2.9"}, {kind: dhcpv4.MessageTypeInform, mac: mac(1), ciaddr: "192.0.2.9"},
	} {
		f.Add(m.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := newFake(t, service())
		e.SetGuest(guest(1, "192.0.2.77"))
		m, _ := e.send(b)
		if m != nil && m.OpCode != dhcpv4.OpcodeBootReply {
			t.Errorf("answer %v", m)
		}
		e.send(b)
	})
}

func BenchmarkDORA(b *testing.B) {
	f := newFake(b, service(subnet("10.0.0.0/8")))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		f.dora(msg{mac: mac(i)})
		f.claims = f.claims[:0]
	}
}

func BenchmarkRenew(b *testing.B) {
	f := newFake(b, service(subnet("10.0.0.0/8")))
	var a netip.Addr
	for i := range 100_000 {
		a = f.dora(msg{mac: mac(i + 1)})
	}
	m := msg{kind: requestM, mac: mac(100_000), ciaddr: a.String()}.bytes()
	b.ReportAllocs()
	for b.Loop() {
		if out, err := f.Receive(listen.Packet{Data: m}, f.now); err != nil || len(f.Committed(out.Claim[0], nil, f.now).Send) != 1 {
			b.Fatal("not renewed")
		}
	}
}
