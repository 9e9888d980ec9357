package dhcp6

import (
	"errors"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// TestValidation is the table of RFC 9915 section 16: which identifiers a
// message must and must not have, and which messages are for others.
func TestValidation(t *testing.T) {
	const none, ours, others = 0, 1, 2
	for _, c := range []struct {
		kind dhcpv6.MessageType
		// with tells for which server identifiers it is heard, alone whether it
		// may lack the client's.
		with  [3]bool
		alone bool
	}{
		{kind: dhcpv6.MessageTypeSolicit, with: [3]bool{none: true}},
		{kind: dhcpv6.MessageTypeRequest, with: [3]bool{ours: true}},
		{kind: dhcpv6.MessageTypeConfirm, with: [3]bool{none: true}},
		{kind: dhcpv6.MessageTypeRenew, with: [3]bool{ours: true}},
		{kind: dhcpv6.MessageTypeRebind, with: [3]bool{none: true}},
		{kind: dhcpv6.MessageTypeDecline, with: [3]bool{ours: true}},
		{kind: dhcpv6.MessageTypeRelease, with: [3]bool{ours: true}},
		{kind: dhcpv6.MessageTypeInformationRequest, with: [3]bool{none: true, ours: true}, alone: true},
		{kind: dhcpv6.MessageTypeAdvertise},
		{kind: dhcpv6.MessageTypeReply},
		{kind: dhcpv6.MessageTypeReconfigure},
		{kind: kindRegistered},
		{kind: 99},
	} {
		for server, heard := range c.with {
			for _, duid := range [][]byte{duidUUID(1), nil} {
				m := msg{kind: c.kind, duid: duid, server: server == ours}
				if c.kind != dhcpv6.MessageTypeInformationRequest {
					m.ias = []string{"1=2001:db8:1::5"}
				}
				if server == others {
					m.extra = []dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: duidUUID(77)}}
				}
				want := heard && (duid != nil || c.alone)
				if _, err := newFake(t, service()).Receive(m.packet(), start); (err == nil) != want {
					t.Errorf("%v, server %d, client %x: %v", c.kind, server, duid, err)
				}
			}
		}
	}
	relayed := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), via: []relay{{from: "fe80::1"}}}.packet()
	relayed.Data[0] = kindRelayRepl
	if _, err := newFake(t, service()).Receive(relayed, start); !errors.Is(err, errIgnored) {
		t.Errorf("a relay-reply: %v", err)
	}
	inside := msg{kind: dhcpv6.MessageTypeReply, duid: duidUUID(1), via: []relay{{from: "fe80::1"}}}.packet()
	if _, err := newFake(t, service()).Receive(inside, start); !errors.Is(err, errIgnored) {
		t.Errorf("a reply inside a relay's: %v", err)
	}
	if _, err := newFake(t, service()).Receive(listen.Packet{From: private, Data: []byte{kindSolicit, 1, 2}}, start); !errors.Is(err, errSize) {
		t.Errorf("a cut header: %v", err)
	}
}

// The transaction comes back, and so does the client's identifier whatever it
// is made of (RFC 9915 section 11).
func TestIdentifiersComeBack(t *testing.T) {
	for name, duid := range map[string][]byte{
		"LLT": append([]byte{0, 1, 0, 1, 9, 9, 9, 9}, 2, 0, 0, 0, 0, 1), "EN": {0, 2, 0, 0, 0, 9, 1, 2, 3}, "LL": duidLL(mac(1)), "UUID": duidUUID(1),
		"of a type to come": {0, 9, 1}, "the longest": append([]byte{0, 9}, make([]byte, maxDUID-2)...),
	} {
		f := newFake(t, service())
		m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duid, ias: []string{"1"}, xid: 42}.packet())
		if m == nil || m.TransactionID != [3]byte{0, 0, 42} || body(m, optClientID) != hexOf(duid) || body(m, optServerID) != hexOf(serverDUID) {
			t.Errorf("%s: %v", name, m)
		}
	}
}
