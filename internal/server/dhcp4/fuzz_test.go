package dhcp4

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
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
