package dhcp6

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// seeds are messages of every kind, good and hostile.
func seeds(f *testing.F) {
	user := &dhcpv6.OptUserClass{UserClasses: [][]byte{[]byte("iPXE")}}
	class := &dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte("HTTPClient")}}
	for k := dhcpv6.MessageTypeSolicit; k <= dhcpv6.MessageTypeInformationRequest; k++ {
		f.Add(msg{kind: k, duid: duidUUID(1), ias: []string{"1=2001:db8:1::5", "2"}, name: "a.b", rapid: true, oro: everything}.packet().Data)
		f.Add(msg{kind: k, duid: duidLL(mac(1)), ias: []string{"1=2001:db8:1::11"}, pds: []string{"1=2001:db8:f012::/56", "2"}, server: true, extra: []dhcpv6.Option{user, class, accept}}.packet().Data)
		f.Add(msg{kind: k, duid: duidLL(mac(1)), ias: []string{"1"}, server: true, via: []relay{{from: "fe80::1", link: "2001:db8:1::1", options: []dhcpv6.Option{interfaceID("x"), linkLayer(mac(1))}}, {from: "fe80::2", options: []dhcpv6.Option{remoteID("y")}}}}.packet().Data)
	}
	f.Add(registers("2001:db8:1::abcd", "2001:db8:1::abcd").packet().Data)
	deep := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}}
	for range maxHops + 3 {
		deep.via = append(deep.via, relay{from: "fe80::1"})
	}
	f.Add(deep.packet().Data)
	// Options that hold themselves: an IA_NA whose length reaches over the rest,
	// again and again.
	f.Add(append([]byte{kindSolicit, 1, 2, 3}, bytes.Repeat([]byte{0, optIANA, 0, 200, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 100)...))
	f.Add(bytes.Repeat(append([]byte{kindRelayForw, 0}, append(make([]byte, 32), 0, optRelayMessage, 0x0f, 0xff)...), 100))
	f.Add(append([]byte{kindSolicit, 1, 2, 3}, bytes.Repeat([]byte{0, 99, 0, 0}, 1000)...))
	f.Add(bytes.Repeat([]byte{kindRelayForw}, 65507))
}

func FuzzEngine(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		svc := richService()
		svc.Subnets = append(svc.Subnets, subnet("fd00::/64"), delegation("2001:db8:f000::/40", 56))
		svc.DHCP.Relays = prefixes("fe80::/10")
		svc.Boot = vnet.BootPolicy{Root: "/srv", Files: []vnet.BootFile{{Client: "ipxe", File: "http://x/"}, {Client: "any", File: "y"}}}
		e := newFake(t, svc)
		e.SetGuest(guest(1, "2001:db8:1::11"))
		_, err := dhcpv6.FromBytes(b)
		for _, from := range []netip.Addr{private, linkLocal(mac(1)), ip("2001:db8:1::abcd")} {
			p := listen.Packet{From: from, Data: b}
			if err == nil {
				e.send(p)
				continue
			}
			// What the codec would not read it would not read in our answer
			// either, where the client gets it back: a DUID, an address.
			out, _ := e.Receive(p, e.now)
			for _, r := range out.Send {
				checkAnswer(t, r.Data)
			}
			e.Abandon()
		}
		if n := e.Table().Len(); n > 3*maxIAs*3 {
			t.Errorf("%d leases of one message", n)
		}
		e.Work(e.now)
	})
}

// checkAnswer checks that the options of an answer are whole.
func checkAnswer(t *testing.T, b []byte) {
	head := 4
	if len(b) > 0 && b[0] == kindRelayRepl {
		head = relayHeader
	}
	count := -maxOptions // an answer may have more
	if len(b) < head || checkOptions(b[head:], 0, &count) != nil {
		t.Fatalf("broken answer %x", b)
	}
}

// FuzzParse reads what anybody may send, and holds the codec against it: what
// is taken for a message of a client is one.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := new(request)
		if err := r.parse(listen.Packet{From: private, Data: b}); err != nil {
			return
		}
		if len(b) > maxMessage || len(r.hops) > maxHops || len(r.ias) > maxIAs || len(r.raw) > maxDUID {
			t.Fatalf("beyond the bounds: %+v", r)
		}
		d, err := dhcpv6.FromBytes(b)
		if err != nil {
			return // it looks into options that are not read here
		}
		m, err := d.GetInnerMessage()
		if err != nil || byte(m.MessageType) != r.kind || [3]byte(m.TransactionID) != r.id {
			t.Fatalf("%v %v, read %+v", m, err, r)
		}
		if id := m.Options.ClientID(); (id == nil) != (r.raw == "") || id != nil && !bytes.Equal(id.ToBytes(), []byte(r.raw)) {
			t.Errorf("client %v, read %x", id, []byte(r.raw))
		}
	})
}
