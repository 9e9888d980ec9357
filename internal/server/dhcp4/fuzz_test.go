package dhcp4

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// seeds are messages of all kinds.
func seeds() (out [][]byte) {
	for _, m := range []msg{
		{kind: discover, mac: mac(1), host: "a", id: "xyz"}, {kind: requestM, mac: mac(2), requested: "192.0.2.9", server: "192.0.2.1"},
		{kind: requestM, mac: mac(1), ciaddr: "192.0.2.9"}, {kind: dhcpv4.MessageTypeDecline, mac: mac(1), requested: "192.0.2.9"},
		{kind: dhcpv4.MessageTypeRelease, mac: mac(1), ciaddr: "192.0.2.9"}, {kind: dhcpv4.MessageTypeInform, mac: mac(1), ciaddr: "192.0.2.9"},
		{kind: discover, mac: mac(3), id: id4361(1, "\x00\x02machine"), opts: []dhcpv4.Option{
			raw(optRapidCommit), texts(optFQDN, "\x05\x00\x00\x03web"), raw(optMaxSize, 5, 220), prl(optRoutes, optSearch, optV6Only, optBootFile),
		}},
		{kind: discover, mac: mac(4), opts: []dhcpv4.Option{texts(optClass, "PXEClient"), arch(7), line82("\x01", "port 7", "\x05", "\xc6\x33\x64\x01")},
			edit: func(d *dhcpv4.DHCPv4) { d.GatewayIPAddr = ip("198.51.100.1").AsSlice() }},
		{kind: discover, mac: mac(5), opts: []dhcpv4.Option{raw(optOverload, 3)}, edit: func(d *dhcpv4.DHCPv4) {
			d.BootFileName, d.ServerHostName = "\x0c\x01b\xff", "\x0c\x01c\xff"
		}},
	} {
		out = append(out, m.bytes())
	}
	return out
}

// everything is a network that has all that can be told.
func everything() *fake {
	svc := relayService()
	svc.Routes = []vnet.Route{{Prefix: netip.MustParsePrefix("10.9.0.0/16")}}
	svc.Boot = vnet.BootPolicy{Root: "/srv/tftp", Files: []vnet.BootFile{{Client: "any", File: "a"}}}
	wait := vnet.Duration(1e12)
	svc.DHCP.V6Only, svc.CaptivePortal, svc.NTP = &wait, "https://portal.example", []string{"192.0.2.3"}
	svc.DHCP.Options = []vnet.DHCPOption{{Family: vnet.IPv4, Code: 252, Type: "text", Value: "wpad"}}
	f := newFake(nil, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	return f
}

// Whatever comes, from a client or through a relay: what goes out is a message
// that the codec reads, no longer than may be, and repeating does no harm.
func FuzzEngine(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, relayed bool) {
		e := everything()
		e.t = t
		p := listen.Packet{Data: b, From: netip.IPv4Unspecified()}
		if relayed {
			p.From = ip("203.0.113.1")
		}
		for range 2 {
			before := bytes.Clone(b)
			m, r := e.receive(p)
			if m != nil && (m.OpCode != dhcpv4.OpcodeBootReply || len(r.Data) > maxMessage-headers || len(r.Data) < leastReply) {
				t.Errorf("answer %v", m)
			}
			if !bytes.Equal(b, before) {
				t.Error("the reader's message was written to")
			}
		}
		if n := e.Table().Len(); n > 2 {
			t.Errorf("one message, twice: %d addresses", n)
		}
	})
}

// What we read by hand is what the codec reads; what we pass over it may take.
func FuzzMessage(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parsed(b)
		if err != nil {
			return
		}
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			t.Fatalf("the codec does not read what we do: %v", err)
		}
		if byte(m.MessageType()) != byte(r.kind) && r.opts.get(optOverload) == nil {
			t.Errorf("kind %v, the codec says %v", r.kind, m.MessageType())
		}
		if oaddr(m.ClientIPAddr) != r.ciaddr || oaddr(m.GatewayIPAddr) != r.giaddr || m.ClientHWAddr.String() != r.mac.String() ||
			m.IsBroadcast() != r.broadcast() {
			t.Errorf("%+v\n%v", r, m)
		}
		if r.opts.get(optOverload) != nil {
			return // the codec does not look into the fields
		}
		for _, code := range read {
			if v := r.opts.get(code); !bytes.Equal(v, m.Options.Get(dhcpv4.GenericOptionCode(code))) {
				t.Errorf("option %d: %x", code, v)
			}
		}
	})
}
