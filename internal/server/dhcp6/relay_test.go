package dhcp6

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestRelay(t *testing.T) {
	near, far := subnet("2001:db8:1::/64"), subnet("2001:db8:2::/64")
	f := newFake(t, service(near, far))
	m := msg{
		kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true, xid: 9,
		via: []relay{
			{from: "2001:db8:1::77", link: "2001:db8:1::1", options: []dhcpv6.Option{interfaceID("outer")}},
			{from: "2001:db8:2::88", link: "2001:db8:2::1", options: []dhcpv6.Option{interfaceID("inner"), remoteID("x")}},
			{from: "fe80::99"}, // on the guest's link, without an address
		},
	}
	got := f.ask(m)
	if !strings.HasPrefix(got, "reply 1[2001:db8:2:") || strings.Contains(got, "2001:db8:1:") {
		t.Errorf("%s", got)
	}
	if f.sent.To != ip("2001:db8:1::77") || f.sent.Port != serverPort {
		t.Errorf("sent to %v port %d", f.sent.To, f.sent.Port)
	}
	d, _ := dhcpv6.FromBytes(f.sent.Data)
	for i, want := range []struct{ link, peer, id string }{
		{"2001:db8:1::1", "2001:db8:2::88", "outer"}, {"2001:db8:2::1", "fe80::99", "inner"}, {"::", private.String(), ""},
	} {
		r, ok := d.(*dhcpv6.RelayMessage)
		if !ok || r.MessageType != dhcpv6.MessageTypeRelayReply || int(r.HopCount) != 2-i || r.LinkAddr.String() != want.link ||
			r.PeerAddr.String() != want.peer || string(r.Options.InterfaceID()) != want.id {
			t.Fatalf("answer to relay %d: %v", i, d)
		}
		if r.GetOneOption(dhcpv6.OptionRemoteID) != nil {
			t.Errorf("relay %d gets its remote-id back", i)
		}
		d = r.Options.RelayMessage()
	}
	if l := f.claims[0]; l.Via.IsValid() {
		t.Errorf("an address has a next hop: %+v", l)
	}
}

func TestRelayOfPrefix(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	f.prefix(msg{duid: duidUUID(1), pds: []string{"1"}, via: []relay{{from: "fe80::77", link: "2001:db8:1::1"}}})
	if f.claims[0].Via != ip("fe80::77") {
		t.Errorf("the way to a prefix behind a relay: %+v", f.claims[0])
	}
}

func TestRelayPort(t *testing.T) {
	f := newFake(t, service())
	port := &dhcpv6.OptionGeneric{OptionCode: optRelayPort, OptionData: []byte{0, 0}}
	m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, via: []relay{{from: "fe80::1", options: []dhcpv6.Option{port}}}}
	p := m.packet()
	p.FromPort = 40000
	f.send(p)
	d, _ := dhcpv6.FromBytes(f.sent.Data)
	if f.sent.Port != 40000 || d.(*dhcpv6.RelayMessage).GetOneOption(optRelayPort) == nil {
		t.Errorf("to port %d: %v", f.sent.Port, d)
	}
}

func TestRelaysThatAreServed(t *testing.T) {
	m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidLL(mac(1)), peer: linkLocal(mac(1)), ias: []string{"1"}, rapid: true}
	through := func(relays ...relay) (out msg) { out = m; out.via = relays; return out }
	good, bad := relay{from: "2001:db8:1::77", link: "2001:db8:1::1"}, relay{from: "2001:db8:1::66", link: "2001:db8:1::1"}
	good.options, bad.options = []dhcpv6.Option{linkLayer(mac(1))}, []dhcpv6.Option{linkLayer(mac(1))}
	elsewhere := good
	elsewhere.link = "2001:db8:9::1"
	for _, c := range []struct {
		name   string
		relays []string // that the network names
		m      msg
		err    error
		port   bool // whether the guest gets its port's address
	}{
		{"named", []string{"2001:db8:1::77/128"}, through(good), nil, true},
		{"another", []string{"2001:db8:1::77/128"}, through(bad), errRelay, false},
		{"another behind it", []string{"2001:db8:1::77/128"}, through(good, bad), errRelay, false},
		{"two", []string{"2001:db8:1::/64"}, through(good, bad), nil, true},
		{"nobody is named, by what the guest says", nil, through(good), nil, true},
		{"of no link of ours", nil, through(elsewhere), errLink, false},
	} {
		svc := service()
		svc.DHCP.Relays = prefixes(c.relays...)
		f := newFake(t, svc)
		f.SetGuest(guest(1, "2001:db8:1::11"))
		if _, err := f.Receive(c.m.packet(), f.now); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		f.Abandon()
		if got := f.ask(c.m); c.err == nil && strings.Contains(got, "2001:db8:1::11/") != c.port {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// A relay that nobody names, which any guest can play, takes nothing away from
// a port, and gets nothing in its name.
func TestRelayThatIsNotBelieved(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	f.SetGuest(guest(1, "2001:db8:1::11"))
	own := f.prefix(msg{duid: duidLL(mac(1)), pds: []string{"1"}, seen: mac(1)})
	f.ask(msg{kind: dhcpv6.MessageTypeRequest, duid: duidLL(mac(1)), ias: []string{"1"}, seen: mac(1), server: true})
	forged := msg{duid: duidLL(mac(1)), peer: linkLocal(mac(1)), via: []relay{{from: "fe80::bad", options: []dhcpv6.Option{linkLayer(mac(1))}}}}
	if p := f.prefix(func() msg { m := forged; m.pds = []string{"1"}; return m }()); p == own || f.claims[len(f.claims)-1].Port != "" {
		t.Errorf("it got the port's prefix %v: %+v", p, f.claims)
	}
	for _, kind := range []dhcpv6.MessageType{dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline} {
		m := forged
		m.kind, m.server, m.ias, m.pds = kind, true, []string{"1=2001:db8:1::11"}, []string{"1=" + own.String()}
		f.ask(m)
	}
	conflicts := 0
	for range f.Conflicts(f.now) {
		conflicts++
	}
	if en := f.Table().At(own.Addr()); len(f.ended) != 0 || conflicts != 0 || en == nil || en.Lease.Port() != "port1" {
		t.Errorf("ended %+v, %d conflicts, prefix %+v", f.ended, conflicts, en)
	}
	if w := f.known[known{duid: ipam.DUID(duidUUID(3)).String(), iaid: 1}]; w != (whom{}) {
		t.Errorf("learnt %+v", w)
	}
}

// What a client of ours must do by itself it cannot have a relay do.
func TestUnicastFromClients(t *testing.T) {
	f := newFake(t, service())
	m := msg{kind: dhcpv6.MessageTypeRequest, duid: duidUUID(1), server: true, ias: []string{"1"}}
	p := m.packet()
	p.To = ip("2001:db8:1::1")
	if _, err := f.Receive(p, f.now); !errors.Is(err, errUnicast) {
		t.Errorf("unicast: %v", err)
	}
	m.via = []relay{{from: "2001:db8:1::77"}}
	p = m.packet()
	p.To = ip("2001:db8:1::1")
	if _, err := f.Receive(p, f.now); err != nil {
		t.Errorf("unicast of a relay: %v", err)
	}
	p.To = allSites
	if _, err := f.Receive(p, f.now); err != nil {
		t.Errorf("a relay that writes to all servers: %v", err)
	}
}

func TestRelayBounds(t *testing.T) {
	inner := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}}
	deep := func(n int) listen.Packet {
		m := inner
		for range n {
			m.via = append(m.via, relay{from: "fe80::1"})
		}
		return m.packet()
	}
	many := inner
	for range maxOptions {
		many.via = []relay{{from: "fe80::1", options: append(many.extra, &dhcpv6.OptionGeneric{OptionCode: 999})}}
		many.extra = many.via[0].options
	}
	many.extra = nil
	counted := deep(1)
	counted.Data[1] = hopCountLimit + 1
	twice := deep(1)
	twice.Data = append(twice.Data, 0, optRelayMessage, 0, 1, kindSolicit)
	empty := listen.Packet{From: private, Data: append([]byte{kindRelayForw}, make([]byte, relayHeader-1)...)}
	looping := listen.Packet{From: private, Data: []byte(strings.Repeat(string(append([]byte{kindRelayForw, 0}, append(make([]byte, 32), 0, optRelayMessage, 0xff, 0xff)...)), 100))}
	for name, p := range map[string]listen.Packet{
		"deep": deep(maxHops + 1), "many options": many.packet(), "hop count": counted, "two messages": twice, "no message": empty,
		"looping": looping, "cut": {From: private, Data: deep(2).Data[:60]}, "a relay's answer": {From: private, Data: append([]byte{kindRelayRepl}, deep(1).Data[1:]...)},
		"64 kB": {From: private, Data: make([]byte, 65507)},
	} {
		if err := new(request).parse(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := new(request).parse(deep(maxHops)); err != nil {
		t.Errorf("%d relays: %v", maxHops, err)
	}
}

func TestConfirmBehindARelay(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64"), subnet("2001:db8:2::/64")))
	for a, want := range map[string]string{"2001:db8:1::5": "reply NotOnLink", "2001:db8:2::5": "reply Success"} {
		if got := f.ask(msg{kind: dhcpv6.MessageTypeConfirm, duid: duidUUID(1), ias: []string{"1=" + a}, via: []relay{{from: "fe80::1", link: "2001:db8:2::1"}}}); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

// A guest behind a relay that is believed is known by its line.
func TestLineOfAPort(t *testing.T) {
	svc := service()
	svc.DHCP.Relays, svc.Admit = prefixes("fe80::/10"), vnet.AdmitPorts
	f := newFake(t, svc)
	g := guest(1, "2001:db8:1::11")
	g.Relay = "switch7/port3"
	f.SetGuest(g)
	for line, want := range map[string]string{"switch7/port3": "reply 1[2001:db8:1::11/2250/3600]", "switch7/port4": "silence"} {
		m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(len(want)), ias: []string{"1"}, rapid: true}
		m.via = []relay{{from: "fe80::1", options: []dhcpv6.Option{interfaceID(line)}}}
		if got := f.ask(m); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	if fmt.Sprint(f.granted[0].Port) != "port1" {
		t.Errorf("granted %+v", f.granted)
	}
}
