package dhcp6

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Strangers with ever new DUIDs and MACs cost hardly anything, and guests that
// are known are served beside them.
func TestFlood(t *testing.T) {
	for name, prefix := range map[string]string{"wide": "2001:db8:1::/64", "narrow": "2001:db8:1::/120"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, service(subnet(prefix), delegation("2001:db8:f000::/48", 56)))
			f.SetGuest(guest(1, "2001:db8:1::11"))
			flood := msg{kind: dhcpv6.MessageTypeSolicit, ias: []string{"1"}, pds: []string{"1"}}
			for i := range 100_000 {
				flood.duid, flood.seen, flood.peer = duidUUID(i), mac(1<<20+i), linkLocal(mac(1<<20+i))
				if _, err := f.Receive(flood.packet(), f.now); err != nil {
					t.Fatal(err)
				}
			}
			if n := f.Table().Len(); n > lease.MaxOffers {
				t.Errorf("%d addresses are remembered", n)
			}
			if name == "wide" && f.Table().Live("2001:db8:1::/64") != 0 {
				t.Errorf("%d advertised addresses are remembered", f.Table().Live("2001:db8:1::/64"))
			}
			if n := len(f.known) + len(f.holds) + len(f.pending) + len(f.waiting) + len(f.grants) + len(f.accepts.clients); n != 0 {
				t.Errorf("%d things are remembered of strangers", n)
			}
			if got := f.ask(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidLL(mac(1)), ias: []string{"1"}, pds: []string{"1"}, rapid: true}); !strings.Contains(got, "1[2001:db8:1::11/2250/3600]") || strings.Contains(got, "NoPrefixAvail") {
				t.Errorf("the known guest: %s", got)
			}
		})
	}
}

// The same with messages that must be claimed, while the store is away.
func TestFloodOfRequests(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	f.SetGuest(guest(1, "2001:db8:1::11"))
	for i := range 3 * lease.MaxPending {
		m := msg{kind: dhcpv6.MessageTypeRequest, server: true, duid: duidUUID(i), seen: mac(1<<20 + i), ias: []string{"1"}}
		if _, err := f.Receive(m.packet(), f.now); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.pending) > lease.MaxPending/2 || len(f.waiting) > lease.MaxPending/2 || f.Table().Len() > lease.MaxPending/2 {
		t.Errorf("%d claims, %d messages, %d addresses", len(f.pending), len(f.waiting), f.Table().Len())
	}
	out, err := f.Receive(msg{kind: dhcpv6.MessageTypeRequest, server: true, duid: duidLL(mac(1)), pds: []string{"1"}}.packet(), f.now)
	if err != nil || len(out.Claim) != 1 {
		t.Errorf("the known guest's prefix is not claimed: %+v %v", out, err)
	}
	// What was not made durable in time is free again.
	f.now = f.now.Add(lease.OfferTime + time.Second)
	f.Table().Expire(f.now)
	if f.Table().Len() != 0 {
		t.Errorf("%d addresses are left", f.Table().Len())
	}
}

// Where guests are heard at their ports, a port that makes up addresses faster
// than it can be heard gets nothing for those that were not.
func TestUnheardStrangers(t *testing.T) {
	for _, limit := range []int{0, 1000} {
		svc := service()
		svc.DHCP.Limit = limit
		f := newFake(t, svc)
		f.SetGuest(guest(1, "2001:db8:1::11"))
		f.SetReservations([]vnet.Reservation{{DUID: ipam.DUID(duidUUID(7)).String(), Address: ip("2001:db8:1::7")}})
		early := msg{duid: duidUUID(1), peer: linkLocal(mac(7)), ias: []string{"1"}}
		f.lease(early) // nobody was heard yet: it may be that nobody ever is
		heard := func(m msg) msg { m.heard = true; return m }
		f.lease(msg{duid: duidUUID(2), seen: mac(8), ias: []string{"1"}})
		for i := range 50 {
			m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(100 + i), peer: linkLocal(mac(100 + i)), ias: []string{"1"}, rapid: true, heard: true}
			if got := f.ask(m); (got == "silence") != (limit == 0) {
				t.Fatalf("limit %d: %s", limit, got)
			}
		}
		if n := f.Table().Len(); limit == 0 && n != 2 {
			t.Errorf("%d leases", n)
		}
		if got := f.ask(heard(msg{kind: dhcpv6.MessageTypeRenew, duid: duidUUID(2), ias: []string{"1=" + f.claims[1].Address.String()}, server: true})); !strings.Contains(got, "/3600") {
			t.Errorf("a guest that was heard when it got its lease: %s", got)
		}
		if got := f.lease(heard(msg{duid: duidLL(mac(1)), ias: []string{"1"}}))[0]; got != ip("2001:db8:1::11") {
			t.Errorf("a port: %v", got)
		}
		if got := f.lease(heard(msg{duid: duidUUID(7), ias: []string{"1"}}))[0]; got != ip("2001:db8:1::7") {
			t.Errorf("a reservation: %v", got)
		}
		if got := f.ask(msg{kind: dhcpv6.MessageTypeInformationRequest}); got != "reply" {
			t.Errorf("information: %s", got)
		}
	}
}

// A guest that takes and releases again and again does not have the others'
// addresses forgotten.
func TestChurn(t *testing.T) {
	f := newFake(t, service())
	first := f.lease(msg{duid: duidUUID(999_999), seen: mac(2), ias: []string{"1"}})[0]
	f.ask(msg{kind: dhcpv6.MessageTypeRelease, duid: duidUUID(999_999), seen: mac(2), ias: []string{"1=" + first.String()}, server: true})
	for i := range 5000 {
		m := msg{duid: duidUUID(i), seen: mac(3), ias: []string{"1"}}
		a := f.lease(m)[0]
		m.kind, m.server, m.ias = dhcpv6.MessageTypeRelease, true, []string{"1=" + a.String()}
		f.ask(m)
	}
	if n := f.Table().Len(); n > 100 {
		t.Errorf("%d addresses are remembered", n)
	}
	if again := f.lease(msg{duid: duidUUID(999_999), seen: mac(2), ias: []string{"1"}})[0]; again != first {
		t.Errorf("had %v, got %v", first, again)
	}
}

// A client that repeats itself costs no write.
func TestRepetitionIsNotClaimed(t *testing.T) {
	f := newFake(t, service())
	m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true}
	first := f.ask(m)
	f.now = f.now.Add(10 * time.Second)
	if second := f.ask(m); len(f.claims) != 1 || second != strings.Replace(first, "/3600", "/3590", 1) {
		t.Errorf("%s, then %s, %d claims", first, second, len(f.claims))
	}
	f.now = f.now.Add(settled)
	if third := f.ask(m); len(f.claims) != 2 || third != first {
		t.Errorf("%s, %d claims", third, len(f.claims))
	}
	m.name = "desk"
	if f.ask(m); len(f.claims) != 3 {
		t.Error("a new name was not written down")
	}
	// Renewals that come every few minutes are not written down each time.
	moves := service()
	moves.Moves = true
	f.Set(moves)
	for i, want := range []int{3, 4} {
		f.now = f.now.Add(time.Hour / 20)
		if got := f.ask(m); len(f.claims) != want {
			t.Errorf("renewal %d where prefixes move: %d claims, want %d: %s", i, len(f.claims), want, got)
		}
	}
	f.Set(service())
	f.SetGuest(guest(1, "2001:db8:1::11"))
	for i := range 5 {
		f.ask(msg{kind: dhcpv6.MessageTypeRequest, server: true, duid: duidLL(mac(1)), ias: []string{"1"}, xid: byte(1 + i)})
	}
	if len(f.granted) != 1 {
		t.Errorf("%d grants for one address", len(f.granted))
	}
	f.now = f.now.Add(30 * time.Minute)
	if f.ask(msg{kind: dhcpv6.MessageTypeRenew, server: true, duid: duidLL(mac(1)), ias: []string{"1"}}); len(f.granted) != 2 {
		t.Errorf("a renewal is not told: %s", fmt.Sprint(f.granted))
	}
}
