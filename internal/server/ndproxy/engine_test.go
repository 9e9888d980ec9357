package ndproxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	hostMAC   = vnet.MAC{0x02, 0, 0, 0, 0, 0x01}
	gatewayA  = vnet.MAC{0x02, 0, 0, 0, 0, 0x0a}
	gatewayB  = vnet.MAC{0x02, 0, 0, 0, 0, 0x0b}
	provider  = vnet.MAC{0x02, 0, 0, 0, 0, 0xf1}
	neighbour = vnet.MAC{0x02, 0, 0, 0, 0, 0xf2}
	guestOne  = vnet.MAC{0x52, 0x54, 0, 0, 0, 0x01}
	guestTwo  = vnet.MAC{0x52, 0x54, 0, 0, 0, 0x02}

	prefix   = netip.MustParsePrefix("2001:db8:1::/64")
	own      = netip.MustParseAddr("2001:db8:1::100")
	one      = netip.MustParseAddr("2001:db8:1::1:1")
	two      = netip.MustParseAddr("2001:db8:1::2:2")
	somebody = netip.MustParseAddr("2001:db8:1::f2")
	nobody   = netip.MustParseAddr("2001:db8:1::dead")
)

// Sides of the engine under test.
const (
	sideUplink = iota
	sideA
	sideB
	sideC // shares another prefix
)

func wish() Uplink {
	a, b := Side{Network: "a", Link: "br-a", MAC: gatewayA}, Side{Network: "b", Link: "br-b", MAC: gatewayB}
	return Uplink{
		Link: "eth0", MAC: hostMAC, Own: []netip.Addr{own},
		Shared: []Shared{
			{Prefix: prefix, Sides: []Side{a, b}},
			{Prefix: netip.MustParsePrefix("2001:db8:2::/64"), Sides: []Side{{Network: "c", Link: "br-c", MAC: vnet.MAC{2, 0, 0, 0, 0, 0xc}}}},
		},
	}
}

// rig is an engine with a clock of the test's, with guest one on side A and
// two on side B, both tried.
type rig struct {
	*engine
	t  testing.TB
	at time.Duration
}

func newRig(t testing.TB) *rig {
	r := &rig{newEngine(), t, time.Hour}
	r.engine.set(wish(), r.at)
	r.setGuest(one, "a", r.at)
	r.setGuest(two, "b", r.at)
	r.pass(3 * time.Second)
	return r
}

// pass lets time go by, and returns what the engine says meanwhile.
func (r *rig) pass(d time.Duration) (out []string) {
	end := r.at + d
	for {
		at, ok := r.deadline()
		if !ok || at > end {
			r.at = end
			return out
		}
		r.at = max(r.at, at)
		o := r.tick(r.at)
		out = append(out, r.told(o)...)
		r.at += time.Millisecond
	}
}

// hear gives the engine a frame and returns what it says.
func (r *rig) hear(on int, frame []byte) []string { return r.told(r.heard(on, frame, r.at)) }

// told describes frames, judged by a codec of somebody else's, and events.
func (r *rig) told(o *output) (out []string) {
	r.t.Helper()
	for _, f := range o.frames {
		out = append(out, fmt.Sprintf("%s: %s", [...]string{"uplink", "A", "B", "C"}[f.side], describe(r.t, r.sides[f.side].mac, o.data(f))))
	}
	for _, ev := range o.events {
		out = append(out, fmt.Sprintf("event %s %s of %q, by %q", ev.Kind, ev.Address, ev.Network, ev.Other))
	}
	return out
}

func describe(t testing.TB, own vnet.MAC, b []byte) string {
	t.Helper()
	if len(b) < 78 || vnet.MAC(b[6:12]) != own || binary.BigEndian.Uint16(b[12:]) != 0x86dd || b[21] != 255 ||
		int(binary.BigEndian.Uint16(b[18:])) != len(b)-54 || checksum(b[22:54], b[54:]) != 0 {
		t.Fatalf("no frame of %s's: %x", own, b)
	}
	from, to := netip.AddrFrom16([16]byte(b[22:38])), netip.AddrFrom16([16]byte(b[38:54]))
	if from != ipam.LinkLocal(own) && !from.IsUnspecified() {
		t.Fatalf("from %s", from)
	}
	m, err := ndp.ParseMessage(b[54:])
	if err != nil {
		t.Fatal(err)
	}
	mac := vnet.MAC(b[:6]).String()
	if to.IsMulticast() && vnet.MAC(b[:6]) == multicastMAC(to) {
		mac = "all"
	}
	switch m := m.(type) {
	case *ndp.NeighborAdvertisement:
		link := m.Options[0].(*ndp.LinkLayerAddress)
		if link.Direction != ndp.Target || vnet.MAC(link.Addr) != own {
			t.Fatalf("tells %v", link)
		}
		flags := ""
		for _, f := range []struct {
			on   bool
			name string
		}{{m.Router, "R"}, {m.Solicited, "S"}, {m.Override, "O"}} {
			if f.on {
				flags += f.name
			}
		}
		return fmt.Sprintf("NA %s %s to %s (%s)", m.TargetAddress, flags, to, mac)
	case *ndp.NeighborSolicitation:
		if to != ipam.SolicitedNode(m.TargetAddress) || mac != "all" {
			t.Fatalf("asks %s at %s", to, mac)
		}
		if from.IsUnspecified() {
			if len(m.Options) == 1 {
				return fmt.Sprintf("DAD %s with nonce", m.TargetAddress)
			}
			return fmt.Sprintf("DAD %s", m.TargetAddress)
		}
		if link := m.Options[0].(*ndp.LinkLayerAddress); link.Direction != ndp.Source || vnet.MAC(link.Addr) != own {
			t.Fatalf("tells %v", link)
		}
		return fmt.Sprintf("NS %s", m.TargetAddress)
	}
	t.Fatalf("%T", m)
	return ""
}

// Frames that others send.

func ns(mac vnet.MAC, target netip.Addr) []byte {
	return solicitation(nil, multicastMAC(ipam.SolicitedNode(target)), mac, ipam.LinkLocal(mac), target, nil)
}

func nsFrom(mac vnet.MAC, from, target netip.Addr) []byte {
	return solicitation(nil, multicastMAC(ipam.SolicitedNode(target)), mac, from, target, nil)
}

// probe is a unicast solicitation.
func probe(mac, to vnet.MAC, target netip.Addr) []byte {
	b := ns(mac, target)
	copy(b, to[:])
	a := target.As16()
	copy(b[38:], a[:])
	b[56], b[57] = 0, 0
	return sumUp(b, 0)
}

func dad(mac vnet.MAC, target netip.Addr) []byte {
	nonce := []byte{optNonce, 1, 1, 2, 3, 4, 5, 6}
	return solicitation(nil, multicastMAC(ipam.SolicitedNode(target)), mac, unspecified, target, nonce)
}

func na(mac, dst vnet.MAC, to, target netip.Addr, flags byte) []byte {
	return advertisement(nil, dst, mac, target, to, target, flags)
}

// naTo answers a question of ours on a side.
func naTo(mac, asker vnet.MAC, target netip.Addr) []byte {
	return na(mac, asker, ipam.LinkLocal(asker), target, flagSolicited|flagOverride)
}

func naAll(mac vnet.MAC, target netip.Addr) []byte {
	return na(mac, multicastMAC(allNodes), allNodes, target, flagOverride)
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// step is one frame of a conversation, a pause, or what the agent tells of, and
// what is said then.
type step struct {
	network vnet.ID
	guest   netip.Addr
	on      int
	frame   []byte
	pause   time.Duration
	want    []string
}

func say(on int, frame []byte, want ...string) step { return step{on: on, frame: frame, want: want} }
func pause(d time.Duration, want ...string) step    { return step{pause: d, want: want} }

func told(network vnet.ID, a netip.Addr, want ...string) step {
	return step{network: network, guest: a, want: want}
}

func TestConversations(t *testing.T) {
	toProvider := "fe80::ff:fe00:f1 (" + provider.String() + ")"
	toGuest := ipam.LinkLocal(guestOne).String() + " (" + guestOne.String() + ")"
	for name, steps := range map[string][]step{
		"the uplink asks for a guest": {
			say(sideUplink, ns(provider, one), "uplink: NA 2001:db8:1::1:1 RS to "+toProvider),
			say(sideUplink, probe(provider, hostMAC, one), "uplink: NA 2001:db8:1::1:1 RS to "+toProvider),
		},
		"what is not ours is not answered": {
			say(sideUplink, ns(provider, own)),
			say(sideUplink, dad(neighbour, own)),
			say(sideUplink, ns(provider, netip.MustParseAddr("2001:db8:9::1"))),
			say(sideUplink, ns(provider, ipam.LinkLocal(gatewayA))),
			say(sideUplink, ns(provider, prefix.Addr())),
			say(sideUplink, ns(hostMAC, one)), // reflected
			say(sideA, ns(guestOne, netip.MustParseAddr("2001:db8:2::1"))),
		},
		"an unknown guest is asked for once and found": {
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			say(sideUplink, ns(provider, nobody)),
			say(sideUplink, nsFrom(neighbour, somebody, nobody)),
			say(sideA, naTo(guestTwo, gatewayA, nobody), `event found 2001:db8:1::dead of "a", by "a"`),
			say(sideUplink, ns(provider, nobody)),
			told("a", nobody, "uplink: DAD 2001:db8:1::dead",
				"uplink: NA 2001:db8:1::dead RS to "+toProvider,
				"uplink: NA 2001:db8:1::dead RS to 2001:db8:1::f2 ("+neighbour.String()+")"),
			say(sideUplink, ns(provider, nobody), "uplink: NA 2001:db8:1::dead RS to "+toProvider),
			say(sideB, ns(guestTwo, nobody), "B: NA 2001:db8:1::dead RS to "+ipam.LinkLocal(guestTwo).String()+" ("+guestTwo.String()+")"),
		},
		"one that is found and not told of leads nowhere": {
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			say(sideA, naTo(guestTwo, gatewayA, nobody), `event found 2001:db8:1::dead of "a", by "a"`),
			pause(vouchLife),
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			say(sideA, naTo(guestTwo, gatewayA, nobody), `event found 2001:db8:1::dead of "a", by "a"`),
			say(sideUplink, dad(neighbour, nobody), "A: DAD 2001:db8:1::dead with nonce", "B: DAD 2001:db8:1::dead with nonce"),
			say(sideA, naAll(guestTwo, nobody), "uplink: NA 2001:db8:1::dead R to ff02::1 (all)", `event duplicate 2001:db8:1::dead of "a", by ""`),
		},
		"who is absent is not asked for again": {
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			pause(3*time.Second, "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			say(sideUplink, ns(provider, nobody)),
			pause(absentLife),
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
		},
		"who was absent and comes is asked for at once": {
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			pause(3*time.Second, "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
			say(sideA, dad(guestTwo, nobody), "uplink: DAD 2001:db8:1::dead with nonce", "B: DAD 2001:db8:1::dead with nonce"),
			say(sideUplink, ns(provider, nobody), "A: NS 2001:db8:1::dead", "B: NS 2001:db8:1::dead"),
		},
		"neighbours outside are their own": {
			say(sideUplink, nsFrom(neighbour, somebody, own)),
			say(sideUplink, ns(provider, somebody)),
			pause(outsideLife),
			say(sideUplink, naAll(neighbour, somebody)),
			say(sideUplink, ns(provider, somebody)),
			pause(outsideLife),
			say(sideUplink, ns(provider, somebody), "A: NS 2001:db8:1::f2", "B: NS 2001:db8:1::f2"),
		},
		"a guest asks for a neighbour outside": {
			say(sideA, ns(guestOne, somebody), "uplink: NS 2001:db8:1::f2", "B: NS 2001:db8:1::f2"),
			say(sideUplink, naTo(neighbour, hostMAC, somebody), "A: NA 2001:db8:1::f2 RS to "+toGuest),
			say(sideA, ns(guestOne, somebody), "A: NA 2001:db8:1::f2 RS to "+toGuest),
		},
		"a guest asks for whom we know": {
			say(sideA, ns(guestOne, own), "A: NA 2001:db8:1::100 RS to "+toGuest),
			say(sideA, ns(guestOne, two), "A: NA 2001:db8:1::2:2 RS to "+toGuest),
			say(sideB, ns(guestTwo, two)),
		},
		"an address of the uplink's is refused to a guest": {
			say(sideA, dad(guestOne, somebody), "uplink: DAD 2001:db8:1::f2 with nonce", "B: DAD 2001:db8:1::f2 with nonce"),
			say(sideUplink, naAll(neighbour, somebody),
				"A: NA 2001:db8:1::f2 R to ff02::1 ("+guestOne.String()+")", `event duplicate 2001:db8:1::f2 of "", by "a"`),
		},
		"the host's own is refused to a guest": {
			say(sideA, dad(guestOne, own), "A: NA 2001:db8:1::100 R to ff02::1 ("+guestOne.String()+")", `event duplicate 2001:db8:1::100 of "", by "a"`),
		},
		"an address of another network's is refused to a guest": {
			say(sideA, dad(guestOne, two), "A: NA 2001:db8:1::2:2 R to ff02::1 ("+guestOne.String()+")", `event duplicate 2001:db8:1::2:2 of "b", by "a"`),
		},
		"a guest's address is refused to the uplink": {
			say(sideUplink, dad(neighbour, one), "uplink: NA 2001:db8:1::1:1 R to ff02::1 (all)", `event duplicate 2001:db8:1::1:1 of "a", by ""`),
		},
		"an unknown guest's address is refused to the uplink": {
			say(sideUplink, dad(neighbour, nobody), "A: DAD 2001:db8:1::dead with nonce", "B: DAD 2001:db8:1::dead with nonce"),
			say(sideB, naAll(guestTwo, nobody), "uplink: NA 2001:db8:1::dead R to ff02::1 (all)",
				`event found 2001:db8:1::dead of "b", by "b"`, `event duplicate 2001:db8:1::dead of "b", by ""`),
		},
		"two that want one address at once hear of each other": {
			say(sideA, dad(guestOne, nobody), "uplink: DAD 2001:db8:1::dead with nonce", "B: DAD 2001:db8:1::dead with nonce"),
			say(sideUplink, dad(neighbour, nobody), "A: DAD 2001:db8:1::dead with nonce", "B: DAD 2001:db8:1::dead with nonce"),
			pause(3 * time.Second),
		},
		"a free address stays free": {
			say(sideA, dad(guestOne, nobody), "uplink: DAD 2001:db8:1::dead with nonce", "B: DAD 2001:db8:1::dead with nonce"),
			pause(3 * time.Second),
			say(sideUplink, naAll(neighbour, nobody)), // too late
		},
		"who has an address keeps it": {
			say(sideUplink, naAll(neighbour, one), `event duplicate 2001:db8:1::1:1 of "a", by ""`),
			say(sideUplink, naAll(neighbour, one)), // told once
			say(sideB, naAll(guestTwo, one)),       // told once
			say(sideUplink, ns(provider, one), "uplink: NA 2001:db8:1::1:1 RS to "+toProvider),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for i, s := range steps {
				var got []string
				switch {
				case s.frame != nil:
					got = r.hear(s.on, s.frame)
				case s.network != "":
					got = r.told(r.setGuest(s.guest, s.network, r.at))
				default:
					got = r.pass(s.pause)
				}
				expect(t, fmt.Sprintf("step %d", i), got, s.want...)
			}
		})
	}
}

func TestNotInAPrefix(t *testing.T) {
	r := newRig(t)
	for _, a := range []string{"fe80::1", "2001:db8:2::1", "2001:db8:1::", "192.0.2.1"} {
		expect(t, a, r.told(r.setGuest(netip.MustParseAddr(a), "a", r.at)))
	}
	r.setGuest(nobody, "unheard-of", r.at)
	if len(r.guests) != 2 {
		t.Errorf("%d guests", len(r.guests))
	}
}

// TestLongerPrefixes: two /80 of one provider's.
func TestLongerPrefixes(t *testing.T) {
	e := newEngine()
	e.set(Uplink{Link: "eth0", MAC: hostMAC, Shared: []Shared{
		{Prefix: netip.MustParsePrefix("2001:db8:1:0:1::/80"), Sides: []Side{{Network: "a", MAC: gatewayA}}},
		{Prefix: netip.MustParsePrefix("2001:db8:1:0:2::/112"), Sides: []Side{{Network: "b", MAC: gatewayB}}},
	}}, 0)
	r := &rig{e, t, time.Hour}
	a := netip.MustParseAddr("2001:db8:1:0:2::7")
	r.setGuest(a, "a", r.at) // not a's
	r.setGuest(a, "b", r.at)
	expect(t, "in its own", r.hear(sideUplink, ns(provider, a)), "uplink: NA 2001:db8:1:0:2::7 RS to fe80::ff:fe00:f1 ("+provider.String()+")")
	expect(t, "between them", r.hear(sideUplink, ns(provider, netip.MustParseAddr("2001:db8:1:0:3::7"))))
	if len(r.guests) != 1 {
		t.Errorf("%d guests", len(r.guests))
	}
}
