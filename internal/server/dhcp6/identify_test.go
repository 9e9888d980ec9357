package dhcp6

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

func linkLayer(m vnet.MAC) dhcpv6.Option {
	return dhcpv6.OptClientLinkLayerAddress(iana.HWTypeEthernet, m[:])
}

func interfaceID(s string) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionInterfaceID, OptionData: []byte(s)}
}

func remoteID(s string) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRemoteID, OptionData: append([]byte{0, 0, 9, 1}, s...)}
}

// Every clue of the order in which guests are known points at another port
// than all that come after it.
func TestIdentificationOrder(t *testing.T) {
	via := func(options ...dhcpv6.Option) []relay {
		return []relay{{from: "2001:db8:1::ffff", link: "2001:db8:1::fffe", options: options}}
	}
	for _, c := range []struct {
		name string
		m    msg
		want int // the port; 0: none
	}{
		{"ingress port", msg{port: "port1", seen: mac(2), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 1},
		{"source of the frame", msg{seen: mac(2), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 2},
		{"frame of a stranger", msg{seen: mac(77), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 0},
		{"option 79", msg{via: via(linkLayer(mac(3)), interfaceID("line4")), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 3},
		{"option 79 of a stranger, option 18", msg{via: via(linkLayer(mac(77)), interfaceID("line4")), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 4},
		{"option 79 of a stranger", msg{via: via(linkLayer(mac(77))), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 0},
		{"option 18", msg{via: via(interfaceID("line4"), remoteID("line8")), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 4},
		{"option 37", msg{via: via(remoteID("line8")), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 8},
		{"option 37, in hex with its enterprise number", msg{via: via(remoteID("\xff")), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 9},
		{"EUI-64 behind a relay", msg{via: via(), peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 5},
		{"EUI-64", msg{peer: linkLocal(mac(5)), duid: duidLL(mac(6))}, 5},
		{"EUI-64 of a stranger", msg{peer: linkLocal(mac(77)), duid: duidLL(mac(6))}, 0},
		{"MAC in the DUID", msg{duid: duidLL(mac(6))}, 6},
		{"learnt DUID and IAID", msg{duid: duidUUID(7), ias: []string{"70"}}, 7},
		{"learnt DUID with another IAID", msg{duid: duidUUID(7), ias: []string{"71"}}, 0},
		{"nothing", msg{duid: duidUUID(1)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := service()
			svc.DHCP.Relays = prefixes("2001:db8:1::ffff/128")
			f := newFake(t, svc)
			for i := 1; i <= 9; i++ {
				g := guest(i, fmt.Sprintf("2001:db8:1::%d", i*11))
				g.Relay = map[int]string{4: "line4", 8: "line8", 9: "0x00000901ff"}[i]
				f.SetGuest(g)
			}
			f.Load(pack.Of(&vnet.Lease{
				Family: vnet.IPv6, Address: ip("2001:db8:1::77"), Port: "port7", DUID: ipam.DUID(duidUUID(7)).String(), IAID: 70, How: vnet.HowDHCPv6,
			}), start)
			if c.m.ias == nil {
				c.m.ias = []string{"1"}
			}
			c.m.kind, c.m.rapid = dhcpv6.MessageTypeSolicit, true
			got := f.send(c.m.packet())
			if got == nil {
				t.Fatal("silence")
			}
			if a := addr(got.Options.OneIANA().Options.OneAddress()); c.want > 0 && a != ip(fmt.Sprintf("2001:db8:1::%d", c.want*11)) {
				t.Errorf("got %v, want that of port %d", a, c.want)
			}
			if c.want == 0 && (len(f.claims) != 1 || f.claims[0].Port != "" || f.Owned(f.claims[0].Address)) {
				t.Errorf("not taken for a stranger: %s", text(got))
			}
		})
	}
}

// What a guest without IAs is told follows from its port, too.
func TestInformationOfAPort(t *testing.T) {
	f := newFake(t, service())
	g := guest(1, "2001:db8:1::11")
	g.DefaultRoute = false
	f.SetGuest(g)
	ask := msg{kind: dhcpv6.MessageTypeInformationRequest, duid: duidUUID(1)}
	if m := f.send(ask.packet()); len(m.Options.DNS()) != 1 {
		t.Errorf("a stranger is not told our name server: %v", m)
	}
	f.ask(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, port: "port1"})
	if m := f.send(ask.packet()); len(m.Options.DNS()) != 0 {
		t.Errorf("a guest by its DUID: %v", m)
	}
}

func TestMaxKnown(t *testing.T) {
	f := newFake(t, service())
	for i := range maxKnown + 10 {
		f.remember(known{duid: "x", iaid: uint32(i)}, whom{port: "port1"})
	}
	if len(f.known) > maxKnown || f.known[known{duid: "x", iaid: maxKnown + 9}].port != "port1" {
		t.Errorf("%d are remembered", len(f.known))
	}
}

// The lease belongs to the port, whatever its guest calls itself.
func TestLeaseBelongsToThePort(t *testing.T) {
	llt := append([]byte{0, 1, 0, 1, 9, 9, 9, 9}, duidLL(mac(1))[4:]...)
	type asks struct {
		port vnet.ID
		duid []byte
		iaid string
	}
	one := asks{"port1", duidLL(mac(1)), "1"}
	for _, c := range []struct {
		name string
		then asks
		same bool
	}{
		{"stop and start", one, true},
		{"clone with the same DUID on another port", asks{"port2", duidLL(mac(1)), "1"}, false},
		{"installed anew: another DUID and IAID", asks{"port1", duidUUID(5), "99"}, true},
		{"loader, then system: two DUIDs within seconds", asks{"port1", duidUUID(6), "1"}, true},
		{"another IAID", asks{"port1", duidLL(mac(1)), "2"}, true},
		{"LL today, UUID tomorrow", asks{"port1", duidUUID(7), "1"}, true},
		{"LL today, LLT tomorrow", asks{"port1", llt, "1"}, true},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, ", restart ", restart), func(t *testing.T) {
				// An address that is the port's, one from a subnet in which it has
				// none, and a prefix.
				svc := service(subnet("2001:db8:1::/64"), subnet("2001:db8:2::/64"), delegation("2001:db8:f000::/40", 56))
				f := newFake(t, svc)
				setPorts := func() {
					f.SetGuest(guest(1, "2001:db8:1::11"))
					f.SetGuest(guest(2, "2001:db8:1::22"))
				}
				setPorts()
				take := func(a asks) string {
					m := msg{kind: dhcpv6.MessageTypeSolicit, duid: a.duid, ias: []string{a.iaid}, pds: []string{a.iaid}, port: a.port, rapid: true}
					r := f.send(m.packet())
					if r == nil || len(r.Options.OneIANA().Options.Addresses()) != 2 || len(r.Options.OneIAPD().Options.Prefixes()) != 1 {
						t.Fatalf("%s", text(r))
					}
					ia := r.Options.OneIANA().Options.Addresses()
					return fmt.Sprint(ia[0].IPv6Addr, ia[1].IPv6Addr, r.Options.OneIAPD().Options.Prefixes()[0].Prefix)
				}
				had := take(one)
				if restart {
					claims := f.claims
					f = newFake(t, svc)
					setPorts()
					for _, l := range claims {
						f.Load(pack.Of(&l), f.now)
					}
				}
				if got := take(c.then); (got == had) != c.same {
					t.Errorf("had %s, got %s", had, got)
				}
				if got := take(one); got != had {
					t.Errorf("the first had %s, got %s", had, got)
				}
			})
		}
	}
}

// The same for guests without a port, as long as their MACs are seen: one that
// calls itself otherwise keeps its address, one that calls itself the same as
// another gets its own.
func TestLeaseBelongsToTheCard(t *testing.T) {
	for _, restart := range []bool{false, true} {
		f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
		take := func(n int, duid []byte, iaid string) string {
			m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duid, ias: []string{iaid}, pds: []string{iaid}, seen: mac(n), peer: ip(fmt.Sprintf("fe80::%x", 0x1000+n)), rapid: true}
			return strings.NewReplacer("reply "+iaid, "", "pd "+iaid, "").Replace(f.ask(m))
		}
		first := take(1, duidLL(mac(9)), "1")
		if restart {
			claims := f.claims
			f = newFake(t, *f.Service())
			for _, l := range claims {
				f.Load(pack.Of(&l), f.now)
			}
		}
		for i, duid := range [][]byte{duidUUID(5), duidLL(mac(1)), duidUUID(6)} {
			if got := take(1, duid, fmt.Sprint(1+i/2)); got != first {
				t.Errorf("restart %v: had %s, got %s as %x", restart, first, got, duid)
			}
		}
		clone := take(2, duidUUID(6), "2")
		if clone == first || take(1, duidUUID(6), "2") != first || take(2, duidUUID(6), "2") != clone {
			t.Errorf("the clone has %s, the original %s", clone, first)
		}
	}
	// Behind one MAC may be many where the network says so.
	svc := service()
	svc.DHCP.Limit = 1000
	f := newFake(t, svc)
	for i := range 50 {
		f.lease(msg{duid: duidUUID(i), ias: []string{"1"}, seen: mac(1)})
	}
	if n := f.Table().Live("2001:db8:1::/64"); n != 50 {
		t.Errorf("50 guests have %d addresses", n)
	}
}

// A guest is not lost sight of while its MAC is not seen: before its first
// packet was heard, and after a restart.
func TestMACThatIsSeenLater(t *testing.T) {
	f := newFake(t, service())
	m := msg{duid: duidUUID(1), ias: []string{"1"}}
	first := f.lease(m)[0]
	m.seen = mac(1)
	if got := f.lease(m)[0]; got != first {
		t.Errorf("with its MAC: had %v, got %v", first, got)
	}
	f.now = f.now.Add(30 * time.Minute)
	f.ask(msg{kind: dhcpv6.MessageTypeRenew, duid: duidUUID(1), ias: []string{"1=" + first.String()}, seen: mac(1), server: true})
	last := f.claims[len(f.claims)-1]
	if last.MAC != mac(1) {
		t.Errorf("claimed %+v", last)
	}
	f = newFake(t, service())
	f.Load(pack.Of(&last), start)
	m.seen = vnet.MAC{}
	if got := f.lease(m)[0]; got != first {
		t.Errorf("without its MAC, after a restart: had %v, got %v", first, got)
	}
}

// A port that is made for somebody else's device is another one after each time
// that it was plugged; so may be what was a stranger first.
func TestLeaseOfPortsThatComeAndGo(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	first := ""
	for i, port := range []vnet.ID{"", "one", "two", "", "three"} {
		if port != "" {
			f.SetGuest(plan.Guest{Port: port, Network: "net", MAC: mac(1)})
		}
		m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(i), ias: []string{"1"}, pds: []string{"1"}, rapid: true, seen: mac(1), port: port}
		got := f.ask(m)
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("as port %q: had %s, got %s", port, first, got)
		}
		if i == 2 { // the server starts anew
			claims := f.claims
			f = newFake(t, *f.Service())
			for _, l := range claims {
				f.Load(pack.Of(&l), f.now)
			}
			f.SetGuest(plan.Guest{Port: port, Network: "net", MAC: mac(1)})
		}
		f.RemoveGuest(port)
	}
}

// Two IAs of one message do not take each other's lease over.
func TestSeveralIAsOfAPort(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1))
	m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1", "2"}, port: "port1", rapid: true}
	first := f.ask(m)
	if second := f.ask(m); first != second || f.Table().Len() != 2 {
		t.Errorf("%s, then %s, %d leases", first, second, f.Table().Len())
	}
	// Installed anew it has both as well.
	m.duid, m.ias = duidUUID(2), []string{"7", "8"}
	if f.ask(m); f.Table().Len() != 2 {
		t.Errorf("%d leases", f.Table().Len())
	}
	m.duid, m.ias, m.port, m.seen = duidUUID(3), []string{"1", "2"}, "", mac(9)
	f.ask(m)
	if m.duid = duidUUID(4); f.ask(m) == "" || f.Table().Len() != 4 {
		t.Errorf("%d leases with a stranger's", f.Table().Len())
	}
}

func TestReservedForOneIA(t *testing.T) {
	five := uint32(5)
	f := newFake(t, service())
	f.SetReservations([]vnet.Reservation{{DUID: ipam.DUID(duidUUID(1)).String(), IAID: &five, Address: ip("2001:db8:1::5")}})
	m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"4", "5"}, rapid: true}.packet())
	for _, o := range m.Options.IANA() {
		got := addr(o.Options.OneAddress())
		if (binary.BigEndian.Uint32(o.IaId[:]) == 5) != (got == ip("2001:db8:1::5")) {
			t.Errorf("IA %v got %v", o.IaId, got)
		}
	}
}

func TestIngressPortThatIsNotKnownYet(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "2001:db8:1::11"))
	p := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true}.packet()
	p.Sender = listen.Sender{Port: "later", MAC: mac(9)}
	if f.send(p); len(f.claims) != 1 || f.claims[0].MAC != mac(9) || f.claims[0].Port != "" {
		t.Errorf("claims %+v", f.claims)
	}
}
