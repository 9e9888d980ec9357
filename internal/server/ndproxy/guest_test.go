package ndproxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestNewGuests(t *testing.T) {
	free := netip.MustParseAddr("2001:db8:1::5")
	r := newRig(t)
	expect(t, "told of", r.told(r.setGuest(free, "a", r.at)), "uplink: DAD 2001:db8:1::5")
	expect(t, "told of again", r.told(r.setGuest(free, "a", r.at)))
	expect(t, "answered for at once", r.hear(sideUplink, ns(provider, free)), "uplink: NA 2001:db8:1::5 RS to fe80::ff:fe00:f1 ("+provider.String()+")")
	expect(t, "announced", r.pass(2*time.Second), "uplink: NA 2001:db8:1::5 R to ff02::2 (all)")

	moved := wish()
	moved.MAC = vnet.MAC{2, 0, 0, 0, 0, 0x99}
	expect(t, "a new MAC", append(r.told(r.engine.set(moved, r.at)), r.pass(time.Second)...),
		"uplink: NA 2001:db8:1::5 RO to ff02::1 (all)", "uplink: NA 2001:db8:1::1:1 RO to ff02::1 (all)", "uplink: NA 2001:db8:1::2:2 RO to ff02::1 (all)")
	expect(t, "the same again", append(r.told(r.engine.set(moved, r.at)), r.pass(time.Minute)...))
}

func TestContested(t *testing.T) {
	r := newRig(t)
	r.hear(sideUplink, naAll(neighbour, somebody))
	expect(t, "a neighbour's address", r.told(r.setGuest(somebody, "a", r.at)), "uplink: DAD 2001:db8:1::f2", `event contested 2001:db8:1::f2 of "a", by ""`)
	expect(t, "not answered for", r.hear(sideUplink, ns(provider, somebody)))
	expect(t, "nor defended", r.hear(sideUplink, dad(neighbour, somebody)), "A: DAD 2001:db8:1::f2 with nonce", "B: DAD 2001:db8:1::f2 with nonce")
	r.hear(sideUplink, naAll(neighbour, somebody))
	expect(t, "tried again", r.pass(3500*time.Millisecond), "uplink: DAD 2001:db8:1::f2")
	expect(t, "the neighbour has left", r.pass(10*time.Second),
		"uplink: NA 2001:db8:1::f2 R to ff02::2 (all)", `event cleared 2001:db8:1::f2 of "a", by ""`)
	expect(t, "answered for", r.hear(sideUplink, ns(provider, somebody)), "uplink: NA 2001:db8:1::f2 RS to fe80::ff:fe00:f1 ("+provider.String()+")")

	t.Run("learnt in the trial", func(t *testing.T) {
		r := newRig(t)
		r.setGuest(nobody, "a", r.at)
		expect(t, "an answer", r.hear(sideUplink, naAll(neighbour, nobody)), `event contested 2001:db8:1::dead of "a", by ""`)
		expect(t, "not answered for", r.hear(sideUplink, ns(provider, nobody)))
	})
	t.Run("forgotten", func(t *testing.T) {
		r := newRig(t)
		r.hear(sideUplink, naAll(neighbour, somebody))
		r.forget(somebody)
		expect(t, "told of", r.told(r.setGuest(somebody, "a", r.at)), "uplink: DAD 2001:db8:1::f2")
	})
}

func TestForgetGuests(t *testing.T) {
	r := newRig(t)
	if r.removeGuest(one, "b", r.at); r.guests[one] == nil {
		t.Error("another network's word counted")
	}
	o := r.removeGuest(one, "a", r.at)
	if len(o.leave) != 1 || o.leave[0] != ipam.SolicitedNode(one) {
		t.Errorf("left %v", o.leave)
	}
	expect(t, "asked for as unknown", r.hear(sideUplink, ns(provider, one)), "A: NS 2001:db8:1::1:1", "B: NS 2001:db8:1::1:1")

	fewer := wish()
	fewer.Shared[0].Sides = fewer.Shared[0].Sides[:1]
	if o := r.engine.set(fewer, r.at); len(r.guests) != 0 || len(o.leave) != 1 {
		t.Errorf("%d guests without a network, left %v", len(r.guests), o.leave)
	}
}

// TestContestedIsAlwaysTold: the agent goes by it, so that it is told again when
// a guest that was gone comes back while somebody else has its address.
func TestContestedIsAlwaysTold(t *testing.T) {
	e := newEngine()
	e.set(wish(), 0)
	contested := func(o *output) int {
		n := 0
		for _, ev := range o.events {
			if ev.Kind == Contested {
				n++
			}
		}
		return n
	}
	from := advertisement(nil, multicastMAC(allNodes), neighbour, one, allNodes, one, flagOverride)
	e.heard(0, from, 0)
	for i := range 3 {
		if n := contested(e.setGuest(one, "a", time.Duration(i)*time.Second)); n != 1 {
			t.Errorf("the %d. time: told %d times", i+1, n)
		}
		e.removeGuest(one, "a", time.Duration(i)*time.Second)
	}
}
