package dhcp4

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// RFC 2131 section 4.3.1, table 3: what the fields of answers are.
func TestReplyFields(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "192.0.2.77"))
	for name, c := range map[string]struct {
		m              msg
		yiaddr, ciaddr string
	}{
		"offer":  {msg{kind: discover}, "192.0.2.77", "0.0.0.0"},
		"ack":    {msg{kind: requestM, requested: "192.0.2.77", server: "192.0.2.1"}, "192.0.2.77", "0.0.0.0"},
		"renew":  {msg{kind: requestM, ciaddr: "192.0.2.77"}, "192.0.2.77", "192.0.2.77"},
		"inform": {msg{kind: dhcpv4.MessageTypeInform, ciaddr: "192.0.2.99"}, "0.0.0.0", "192.0.2.99"},
		"nak":    {msg{kind: requestM, requested: "192.0.2.78", server: "192.0.2.1"}, "0.0.0.0", "0.0.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			c.m.mac, c.m.broadcast = mac(1), true
			// secs says how long the client has tried: nobody waits for that.
			c.m.edit = func(d *dhcpv4.DHCPv4) { d.TransactionID, d.HopCount, d.NumSeconds = [4]byte{1, 2, 3, 4}, 3, 500 }
			m, r := f.send(c.m.bytes())
			if m.OpCode != dhcpv4.OpcodeBootReply || m.HWType != iana.HWTypeEthernet || m.TransactionID != [4]byte{1, 2, 3, 4} ||
				m.HopCount != 0 || m.NumSeconds != 0 || !m.IsBroadcast() || m.ClientHWAddr.String() != mac(1).String() ||
				m.YourIPAddr.String() != c.yiaddr || m.ClientIPAddr.String() != c.ciaddr || m.ServerIPAddr.String() != "0.0.0.0" ||
				m.GatewayIPAddr.String() != "0.0.0.0" || m.BootFileName != "" || m.ServerHostName != "" || len(r.Data) < leastReply {
				t.Errorf("%v", m)
			}
			if oaddr(m.ServerIdentifier()) != ip("192.0.2.1") || r.From != ip("192.0.2.1") {
				t.Errorf("server identifier %v, from %v", m.ServerIdentifier(), r.From)
			}
			// What only clients send.
			for _, code := range []uint8{optRequested, optAsked, optMaxSize} {
				if v := value(t, m, r.Data, code); v != nil {
					t.Errorf("option %d: %x", code, v)
				}
			}
			leased := c.yiaddr != "0.0.0.0"
			for _, code := range []uint8{optLeaseTime, optRenew, optRebind} {
				if v := value(t, m, r.Data, code); (v != nil) != leased {
					t.Errorf("option %d: %x", code, v)
				}
			}
			if v := value(t, m, r.Data, optMessage); (v != nil) != (name == "nak") {
				t.Errorf("option 56: %q", v)
			}
		})
	}
}

// What is meant for another server, and what a client says of others' leases,
// changes nothing.
func TestNotOurBusiness(t *testing.T) {
	f := newFake(t, service())
	a := f.dora(msg{mac: mac(1)}).String()
	n := len(f.claims)
	for name, m := range map[string]msg{
		"release to another server": {kind: dhcpv4.MessageTypeRelease, mac: mac(1), ciaddr: a, server: "192.0.2.9"},
		"release of another's":      {kind: dhcpv4.MessageTypeRelease, mac: mac(2), ciaddr: a, server: "192.0.2.1"},
		"release of nothing":        {kind: dhcpv4.MessageTypeRelease, mac: mac(1)},
		"decline to another server": {kind: dhcpv4.MessageTypeDecline, mac: mac(1), requested: a, server: "192.0.2.9"},
		"decline of another's":      {kind: dhcpv4.MessageTypeDecline, mac: mac(2), requested: a, server: "192.0.2.1"},
		"decline of nothing":        {kind: dhcpv4.MessageTypeDecline, mac: mac(1), server: "192.0.2.1"},
		"a server's message":        {kind: offerM, mac: mac(1), requested: a},
		"a kind that is unknown":    {kind: 13, mac: mac(1)},
	} {
		if m, _ := f.send(m.bytes()); m != nil || len(f.claims) != n || len(f.ended) != 0 {
			t.Errorf("%s: answer %v, claims %v, ended %v", name, m, f.claims[n:], f.ended)
		}
	}
	if en := f.Table().At(ip(a)); en == nil || en.State != lease.Bound {
		t.Errorf("the lease is %+v", en)
	}
	// BOOTP, which has no message type, and what has no cookie.
	bootp := msg{kind: discover, mac: mac(1), edit: func(d *dhcpv4.DHCPv4) { d.Options = dhcpv4.Options{} }}.bytes()
	plain := bytes.Clone(bootp)
	copy(plain[offCookie:], make([]byte, 4))
	for _, b := range [][]byte{bootp, plain} {
		if m, _ := f.send(b); m != nil {
			t.Errorf("answered %x: %v", b[offCookie:], m)
		}
	}
}

// A client that chooses another server's offer gives ours back.
func TestOfferGivenBack(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.50")))
	if m, _ := f.send(msg{kind: discover, mac: mac(1)}.bytes()); m == nil {
		t.Fatal("no offer")
	}
	if m, _ := f.send(msg{kind: discover, mac: mac(2)}.bytes()); m != nil {
		t.Errorf("offered to two: %v", m)
	}
	f.send(msg{kind: requestM, mac: mac(1), requested: "203.0.113.5", server: "203.0.113.1"}.bytes())
	if m, _ := f.send(msg{kind: discover, mac: mac(2)}.bytes()); m == nil {
		t.Error("the offer was not given back")
	}
}

// Every option that there is and that is not the protocol's own can be told by
// dhcp.options, in offers, acknowledgements and answers to INFORM.
func TestEveryOption(t *testing.T) {
	protocols := []uint8{optRequested, optLeaseTime, optOverload, optType, optServer, optAsked, optMaxSize, optClient, optRelay}
	for code := uint8(1); code < optEnd; code++ {
		o := vnet.DHCPOption{Family: vnet.IPv4, Code: uint16(code), Type: "hex", Value: fmt.Sprintf("%02x42", code)}
		svc := service()
		svc.DHCP.Options = []vnet.DHCPOption{o}
		if slices.Contains(protocols, code) {
			continue
		}
		f := newFake(t, svc)
		f.SetGuest(guest(1, "192.0.2.77"))
		for _, m := range []msg{
			{kind: discover}, {kind: requestM, ciaddr: "192.0.2.77"}, {kind: dhcpv4.MessageTypeInform, ciaddr: "192.0.2.77"},
			{kind: discover, opts: []dhcpv4.Option{prl(code)}},
		} {
			if m.kind == dhcpv4.MessageTypeInform && (code == optRenew || code == optRebind) {
				continue
			}
			m.mac = mac(1)
			if got := hex.EncodeToString(f.option(m, code)); got != o.Value {
				t.Errorf("option %d in the answer to %v: %q", code, m.kind, got)
			}
		}
	}
}

// Options that say nothing to us change nothing: authentication (RFC 3118), the
// network interface (RFC 4578), another subnet (RFC 3011), a server's own.
func TestPassedOver(t *testing.T) {
	f := newFake(t, relayService())
	f.SetGuest(guest(1, "192.0.2.77"))
	m := msg{kind: discover, mac: mac(1), edit: func(d *dhcpv4.DHCPv4) { d.TransactionID = [4]byte{1, 2, 3, 4} }}
	_, want := f.send(m.bytes())
	m.opts = []dhcpv4.Option{
		raw(90, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0), raw(94, 1, 3, 16), raw(118, 198, 51, 100, 0), raw(optRouter, 192, 0, 2, 66), raw(optDNS, 1),
	}
	if _, got := f.send(m.bytes()); got == nil || !bytes.Equal(got.Data, want.Data) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
