package dhcp6

import (
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// registers is an ADDR-REG-INFORM.
func registers(from string, addrs ...string) msg {
	m := msg{kind: kindRegister, duid: duidUUID(1), peer: ip(from), seen: mac(7), xid: 5}
	for _, a := range addrs {
		m.extra = append(m.extra, &dhcpv6.OptIAAddress{IPv6Addr: ip(a).AsSlice(), PreferredLifetime: 600 * time.Second, ValidLifetime: 1200 * time.Second})
	}
	return m
}

func TestRegistration(t *testing.T) {
	const a = "2001:db8:1::abcd"
	f := newFake(t, service())
	m := registers(a, a)
	m.name = "desk"
	out, err := f.Receive(m.packet(), f.now)
	if err != nil || len(out.Send) != 0 || len(out.Claim) != 1 {
		t.Fatalf("confirmed before it was durable: %+v %v", out, err)
	}
	l := out.Claim[0].Lease
	if l.Address != ip(a) || l.How != vnet.HowSLAAC || l.MAC != mac(7) || l.Hostname != "desk" || !l.Expires.Equal(start.Add(20*time.Minute)) || l.Subnet != "2001:db8:1::/64" {
		t.Errorf("claimed %+v", l)
	}
	out = f.Committed(out.Claim[0], nil, f.now)
	if len(out.Send) != 1 || out.Send[0].To != ip(a) {
		t.Fatalf("%+v", out)
	}
	r, err := dhcpv6.MessageFromBytes(out.Send[0].Data)
	if err != nil || r.MessageType != kindRegistered || r.TransactionID[2] != 5 || body(r, optIAAddr) != hex.EncodeToString(m.extra[0].ToBytes()) {
		t.Errorf("%v %v", r, err)
	}
	// Said again it is only confirmed; later it is prolonged.
	if out, _ := f.Receive(m.packet(), f.now); len(out.Send) != 1 || len(out.Claim) != 0 {
		t.Errorf("again: %+v", out)
	}
	if out, _ := f.Receive(m.packet(), f.now.Add(15*time.Minute)); len(out.Claim) != 1 {
		t.Errorf("later: %+v", out)
	}
	f.Abandon()
	// Nobody else gets it, and it does not count against who registered it.
	if f.Table().At(ip(a)).State != lease.Foreign || f.Table().Held("mac:"+mac(7).String()) != 0 {
		t.Errorf("%+v", f.Table().At(ip(a)))
	}
	if got := f.lease(msg{duid: duidUUID(3), ias: []string{"1=" + a}, seen: mac(3)}); got[0] == ip(a) {
		t.Error("an address that somebody made was given to somebody else")
	}
}

func TestRegistrationsThatAreIgnored(t *testing.T) {
	slaac, managed := subnet("2001:db8:1::/64"), subnet("2001:db8:2::/64")
	managed.Guests = vnet.GuestsStateful
	twice := registers("2001:db8:1::abcd", "2001:db8:1::abcd", "2001:db8:1::abce")
	server, unicast := registers("2001:db8:1::abcd", "2001:db8:1::abcd"), registers("2001:db8:1::abcd", "2001:db8:1::abcd").packet()
	server.server = true
	unicast.To = ip("2001:db8:1::1")
	anonymous := registers("2001:db8:1::abcd", "2001:db8:1::abcd")
	anonymous.duid = nil
	for name, m := range map[string]msg{
		"another's": registers("2001:db8:1::abcd", "2001:db8:1::abce"), "none": registers("2001:db8:1::abcd"), "two": twice,
		"off the link": registers("2001:db8:9::1", "2001:db8:9::1"), "no addresses of one's own there": registers("2001:db8:2::9", "2001:db8:2::9"),
		"a port's": registers("2001:db8:1::11", "2001:db8:1::11"), "ours": registers("2001:db8:1::1", "2001:db8:1::1"),
		"for a server": server, "nobody's": anonymous,
	} {
		f := newFake(t, service(slaac, managed))
		f.SetGuest(guest(1, "2001:db8:1::11"))
		if out, err := f.Receive(m.packet(), f.now); err == nil || len(out.Claim)+len(out.Send) > 0 {
			t.Errorf("%s: %+v %v", name, out, err)
		}
	}
	f := newFake(t, service())
	if _, err := f.Receive(unicast, f.now); !errors.Is(err, errUnicast) {
		t.Errorf("unicast: %v", err)
	}
	// Not an address that was given to somebody.
	given := f.lease(msg{duid: duidUUID(3), ias: []string{"1"}, seen: mac(3)})[0]
	if _, err := f.Receive(registers(given.String(), given.String()).packet(), f.now); !errors.Is(err, errAddress) {
		t.Errorf("a lease: %v", err)
	}
	f.err = vnet.Errorf(vnet.ErrExists, "taken")
	if got := f.ask(registers("2001:db8:1::abcd", "2001:db8:1::abcd")); got != "silence" {
		t.Errorf("confirmed what was not kept: %s", got)
	}
}

func TestRegistrationsAreBounded(t *testing.T) {
	f := newFake(t, service())
	for i := range 2 * maxReported {
		a := fmt.Sprintf("2001:db8:1::abcd:%x", 1+i)
		f.ask(registers(a, a))
	}
	if f.Table().Len() != maxReported {
		t.Errorf("%d were taken in", f.Table().Len())
	}
}
