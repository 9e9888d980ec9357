package dhcp6

import (
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
