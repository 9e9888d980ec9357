package dhcp6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
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

func TestIdentify(t *testing.T) {
	const one, two = "2001:db8:1::11", "2001:db8:1::22"
	cases := map[string]struct {
		m    msg
		want string // address, or "" for a dynamic one
	}{
		"link-local address":               {msg{duid: duidUUID(1), peer: linkLocal(mac(1))}, one},
		"DUID-LL":                          {msg{duid: duidLL(mac(1))}, one},
		"DUID-LLT":                         {msg{duid: append([]byte{0, 1, 0, 1, 9, 9, 9, 9}, duidLL(mac(1))[4:]...)}, one},
		"seen behind the guard":            {msg{duid: duidUUID(1), seen: mac(1)}, one},
		"seen wins over DUID":              {msg{duid: duidLL(mac(1)), seen: mac(2)}, two},
		"seen wins over address":           {msg{duid: duidLL(mac(1)), seen: mac(2), peer: linkLocal(mac(1))}, two},
		"a clone with another's DUID":      {msg{duid: duidLL(mac(1)), peer: linkLocal(mac(2))}, two},
		"an unknown clone":                 {msg{duid: duidLL(mac(1)), peer: linkLocal(mac(7))}, ""},
		"a stranger who uses a guest DUID": {msg{duid: duidLL(mac(1)), seen: mac(7)}, ""},
		"learnt DUID":                      {msg{duid: duidUUID(99)}, one},
		"nobody":                           {msg{duid: duidUUID(5)}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, service())
			f.SetGuest(guest(1, one))
			f.SetGuest(guest(2, two))
			f.Load(pack.Of(&vnet.Lease{Family: vnet.IPv6, Address: ip(one), Port: "port1", DUID: ipam.DUID(duidUUID(99)).String(), IAID: 7, How: vnet.HowDHCPv6, Subnet: "2001:db8:1::/64"}), start)
			c.m.ias = []string{"7"}
			got := f.lease(c.m)
			if c.want != "" && (len(got) != 1 || got[0] != ip(c.want)) {
				t.Errorf("got %v, want %s", got, c.want)
			}
			if c.want == "" && (got[0] == ip(one) || got[0] == ip(two) || len(f.claims) != 1) {
				t.Errorf("a stranger got %v, claims %v", got, f.claims)
			}
			if c.want != "" && (len(f.claims) != 0 || len(f.granted) != 1 || f.granted[0].IAID != 7 || f.granted[0].Port == "") {
				t.Errorf("claims %v, grants %+v", f.claims, f.granted)
			}
		})
	}
}

// Every message against a port with 2001:db8:1::11, a dynamic client with
// 2001:db8:1::99 bound to IAID 5, and an otherwise empty network.
func TestMessages(t *testing.T) {
	port, dyn := duidLL(mac(1)), duidUUID(9)
	const life = "/2250/3600"
	S, A, R := dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew
	cases := map[string]struct {
		m    msg
		want string
	}{
		"solicit":                           {msg{kind: S, duid: port, ias: []string{"1"}}, "advertise 1[2001:db8:1::11" + life + "]"},
		"solicit with server id":            {msg{kind: S, duid: port, ias: []string{"1"}, server: true}, "silence"},
		"solicit without client id":         {msg{kind: S, ias: []string{"1"}}, "silence"},
		"solicit from a global address":     {msg{kind: S, duid: port, ias: []string{"1"}, peer: ip("2001:db8:1::11")}, "silence"},
		"solicit, rapid":                    {msg{kind: S, duid: port, ias: []string{"1"}, rapid: true}, "reply 1[2001:db8:1::11" + life + "]"},
		"solicit, dynamic":                  {msg{kind: S, duid: dyn, ias: []string{"5"}}, "advertise 5[2001:db8:1::99" + life + "]"},
		"solicit, rapid, dynamic":           {msg{kind: S, duid: dyn, ias: []string{"5"}, rapid: true}, "reply 5[2001:db8:1::99" + life + "]"},
		"request":                           {msg{kind: A, duid: port, ias: []string{"1=2001:db8:1::11"}, server: true}, "reply 1[2001:db8:1::11" + life + "]"},
		"request without server id":         {msg{kind: A, duid: port, ias: []string{"1"}}, "silence"},
		"request of another server":         {msg{kind: A, duid: port, ias: []string{"1"}, extra: []dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: []byte{0, 4, 1}}}}, "silence"},
		"request off link":                  {msg{kind: A, duid: port, ias: []string{"1=2001:db8:9::1"}, server: true}, "reply 1[]NotOnLink"},
		"request of another's":              {msg{kind: A, duid: dyn, ias: []string{"5=2001:db8:1::11"}, server: true}, "reply 5[2001:db8:1::99" + life + "]"},
		"confirm":                           {msg{kind: dhcpv6.MessageTypeConfirm, duid: port, ias: []string{"1=2001:db8:1::77"}}, "reply Success"},
		"confirm off link":                  {msg{kind: dhcpv6.MessageTypeConfirm, duid: port, ias: []string{"1=2001:db8:9::1"}}, "reply NotOnLink"},
		"confirm of nothing":                {msg{kind: dhcpv6.MessageTypeConfirm, duid: port, ias: []string{"1"}}, "silence"},
		"renew":                             {msg{kind: R, duid: port, ias: []string{"1=2001:db8:1::11"}, server: true}, "reply 1[2001:db8:1::11" + life + "]"},
		"renew of an old address":           {msg{kind: R, duid: port, ias: []string{"1=2001:db8:1::33"}, server: true}, "reply 1[2001:db8:1::11" + life + " 2001:db8:1::33/0/0]"},
		"renew off link":                    {msg{kind: R, duid: port, ias: []string{"1=2001:db8:9::1"}, server: true}, "reply 1[2001:db8:1::11" + life + " 2001:db8:9::1/0/0]"},
		"renew, dynamic":                    {msg{kind: R, duid: dyn, ias: []string{"5=2001:db8:1::99"}, server: true}, "reply 5[2001:db8:1::99" + life + "]"},
		"renew of what was forgotten":       {msg{kind: R, duid: dyn, ias: []string{"6=2001:db8:1::66"}, server: true}, "reply 6[2001:db8:1::66" + life + "]"},
		"renew of another's":                {msg{kind: R, duid: dyn, ias: []string{"6=2001:db8:1::11"}, server: true}, "reply 6[]NoBinding"},
		"renew of nothing":                  {msg{kind: R, duid: dyn, ias: []string{"6"}, server: true}, "reply 6[]NoBinding"},
		"rebind":                            {msg{kind: dhcpv6.MessageTypeRebind, duid: port, ias: []string{"1=2001:db8:1::11"}}, "reply 1[2001:db8:1::11" + life + "]"},
		"release":                           {msg{kind: dhcpv6.MessageTypeRelease, duid: dyn, ias: []string{"5=2001:db8:1::99"}, server: true}, "reply Success"},
		"release of another's":              {msg{kind: dhcpv6.MessageTypeRelease, duid: dyn, ias: []string{"6=2001:db8:1::99"}, server: true}, "reply Success 6[]NoBinding"},
		"decline":                           {msg{kind: dhcpv6.MessageTypeDecline, duid: dyn, ias: []string{"5=2001:db8:1::99"}, server: true}, "reply Success"},
		"decline of another's":              {msg{kind: dhcpv6.MessageTypeDecline, duid: dyn, ias: []string{"5=2001:db8:1::98"}, server: true}, "reply Success 5[]NoBinding"},
		"information":                       {msg{kind: dhcpv6.MessageTypeInformationRequest}, "reply"},
		"information with an IA":            {msg{kind: dhcpv6.MessageTypeInformationRequest, ias: []string{"1"}}, "silence"},
		"reply":                             {msg{kind: dhcpv6.MessageTypeReply, duid: port}, "silence"},
		"two IAs of a port":                 {msg{kind: S, duid: port, ias: []string{"2", "1=2001:db8:1::77"}}, "advertise 2[2001:db8:1::11" + life + "] 1[2001:db8:1::77" + life + "]"},
		"two IAs that want the same":        {msg{kind: S, duid: duidUUID(4), ias: []string{"1=2001:db8:1::44", "2=2001:db8:1::44"}, rapid: true}, "reply 1[2001:db8:1::44" + life + "] 2[]NoAddrsAvail"},
		"another DUID of the port takes it": {msg{kind: S, duid: duidUUID(77), peer: linkLocal(mac(1)), ias: []string{"8"}}, "advertise 8[2001:db8:1::11" + life + "]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, service())
			f.SetGuest(guest(1, "2001:db8:1::11"))
			f.Load(pack.Of(&vnet.Lease{
				Network: "net", Subnet: "2001:db8:1::/64", Address: ip("2001:db8:1::99"), Family: vnet.IPv6,
				How: vnet.HowDHCPv6, DUID: ipam.DUID(dyn).String(), IAID: 5, Expires: start.Add(time.Hour),
			}), start)
			if got := text(f.send(c.m.packet())); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if len(f.pending) != 0 || len(f.waiting) != 0 {
				t.Errorf("%d claims left", len(f.pending))
			}
		})
	}
}

func TestRenumbering(t *testing.T) {
	old, next := subnet("2001:db8:1::/64"), subnet("2001:db8:2::/64")
	f := newFake(t, service(old))
	f.SetGuest(guest(1, "2001:db8:1::11"))
	dyn := f.lease(msg{duid: duidUUID(9), ias: []string{"5"}})[0]
	f.lease(msg{duid: duidLL(mac(1)), ias: []string{"1"}})

	old.Deprecated, old.ValidUntil = true, start.Add(20*time.Minute)
	f.Set(service(next, old))
	f.SetGuest(guest(1, "2001:db8:1::11", "2001:db8:2::11"))
	R := dhcpv6.MessageTypeRenew
	got := text(f.send(msg{kind: R, duid: duidLL(mac(1)), ias: []string{"1=2001:db8:1::11"}, server: true}.packet()))
	if want := "reply 1[2001:db8:2::11/2250/3600 2001:db8:1::11/0/1200]"; got != want {
		t.Errorf("port: %s, want %s", got, want)
	}
	m := f.send(msg{kind: R, duid: duidUUID(9), ias: []string{"5=" + dyn.String()}, server: true}.packet())
	got = text(m)
	if !strings.Contains(got, fmt.Sprintf("%v/0/1200", dyn)) || !strings.Contains(got, "2001:db8:2:") {
		t.Errorf("dynamic: %s", got)
	}
	if o := m.Options.OneIANA(); o.T1 != 1125*time.Second || o.T2 != 1800*time.Second {
		t.Errorf("T1 %v T2 %v", o.T1, o.T2)
	}
	// The old prefix goes altogether.
	f.Set(service(next))
	f.SetGuest(guest(1, "2001:db8:2::11"))
	got = text(f.send(msg{kind: dhcpv6.MessageTypeRebind, duid: duidLL(mac(1)), ias: []string{"1=2001:db8:1::11,2001:db8:2::11"}}.packet()))
	if want := "reply 1[2001:db8:2::11/2250/3600 2001:db8:1::11/0/0]"; got != want {
		t.Errorf("port: %s, want %s", got, want)
	}
}

func TestSeveralSubnets(t *testing.T) {
	v4 := plan.Subnet{ID: "v4", Family: vnet.IPv4, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Guests: vnet.GuestsDHCP}
	slaac := subnet("2001:db8:3::/64")
	slaac.Guests = vnet.GuestsSLAAC
	f := newFake(t, service(subnet("2001:db8:1::/64"), v4, subnet("fd00:1::/64"), slaac))
	got := f.lease(msg{duid: duidUUID(1), ias: []string{"1"}})
	if len(got) != 2 || len(f.claims) != 2 {
		t.Fatalf("addresses %v, %d claims", got, len(f.claims))
	}
	if again := f.lease(msg{duid: duidUUID(1), ias: []string{"1"}}); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("again: %v, had %v", again, got)
	}
	// A server that has forgotten everything gives the same.
	g := newFake(t, service(subnet("2001:db8:1::/64"), v4, subnet("fd00:1::/64"), slaac))
	if again := g.lease(msg{duid: duidUUID(1), ias: []string{"1"}}); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("after a loss: %v, had %v", again, got)
	}
}

func TestPoolLife(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64", "2001:db8:1::50-2001:db8:1::51")))
	a := f.lease(msg{duid: duidUUID(1), ias: []string{"1"}})[0]
	b := f.lease(msg{duid: duidUUID(2), ias: []string{"1"}})[0]
	S := dhcpv6.MessageTypeSolicit
	if got := text(f.send(msg{kind: S, duid: duidUUID(3), ias: []string{"1"}}.packet())); got != "advertise 1[]NoAddrsAvail" {
		t.Errorf("empty pool: %s", got)
	}
	f.send(msg{kind: dhcpv6.MessageTypeRelease, duid: duidUUID(2), ias: []string{"1=" + b.String()}, server: true}.packet())
	if len(f.ended) != 1 || f.ended[0].Address != b {
		t.Errorf("released %+v", f.ended)
	}
	f.now = f.now.Add(2 * time.Hour)
	if c := f.lease(msg{duid: duidUUID(3), ias: []string{"1"}})[0]; c != b {
		t.Errorf("got %v, the longest idle is %v", c, b)
	}
	if c := f.lease(msg{duid: duidUUID(1), ias: []string{"1"}})[0]; c != a {
		t.Errorf("got %v, had %v", c, a)
	}
	f.send(msg{kind: dhcpv6.MessageTypeDecline, duid: duidUUID(1), ias: []string{"1=" + a.String()}, server: true}.packet())
	if l := f.claims[len(f.claims)-1]; !l.Declined || l.Address != a {
		t.Errorf("decline was not claimed: %+v", l)
	}
	if got := text(f.send(msg{kind: S, duid: duidUUID(1), ias: []string{"1"}}.packet())); got != "advertise 1[]NoAddrsAvail" {
		t.Errorf("after a decline: %s", got)
	}
}

func TestReservations(t *testing.T) {
	five := uint32(5)
	f := newFake(t, service())
	f.SetReservations([]vnet.Reservation{
		{DUID: strings.ToUpper(ipam.DUID(duidUUID(1)).String()), IAID: &five, Address: ip("2001:db8:1::1:5")},
		{DUID: ipam.DUID(duidUUID(2)).String(), Address: ip("2001:db8:1::2")},
		{MAC: mac(3), Address: ip("2001:db8:1::3")},
		{Client: "Printer", Address: ip("2001:db8:1::4")},
	})
	for want, m := range map[string]msg{
		"2001:db8:1::1:5": {duid: duidUUID(1), ias: []string{"5"}}, "2001:db8:1::2": {duid: duidUUID(2), ias: []string{"9"}},
		"2001:db8:1::3": {duid: duidUUID(8), ias: []string{"9"}, seen: mac(3)}, "2001:db8:1::4": {duid: duidUUID(4), ias: []string{"9"}, name: "printer"},
	} {
		if got := f.lease(m); len(got) != 1 || got[0] != ip(want) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if got := f.lease(msg{duid: duidUUID(1), ias: []string{"6"}, seen: mac(1)}); got[0] == ip("2001:db8:1::1:5") {
		t.Error("an address reserved for one IA went to another")
	}
}

func TestAdmitPorts(t *testing.T) {
	svc := service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56))
	svc.Admit = vnet.AdmitPorts
	f := newFake(t, svc)
	f.SetGuest(guest(1, "2001:db8:1::11"))
	if m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}}.packet()); m != nil {
		t.Errorf("a stranger was answered: %s", text(m))
	}
	if got := text(f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidLL(mac(1)), ias: []string{"1", "2"}}.packet())); got != "advertise 1[2001:db8:1::11/2250/3600] 2[]NoAddrsAvail" {
		t.Errorf("port: %s", got)
	}
	if f.Table().Len() != 0 {
		t.Error("state is kept for a stranger")
	}
	if p := f.prefix(msg{duid: duidLL(mac(1)), pds: []string{"1"}}); p.Bits() != 56 {
		t.Errorf("a port's prefix: %v", p)
	}
}

func TestCommitFails(t *testing.T) {
	f := newFake(t, service())
	m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true}
	f.err = errors.New("store is away")
	if got := text(f.send(m.packet())); got != "silence" {
		t.Errorf("answer without a claim: %s", got)
	}
	f.err = vnet.Errorf(vnet.ErrExists, "taken")
	if got := text(f.send(m.packet())); got != "reply 1[]NoAddrsAvail" {
		t.Errorf("address that somebody has: %s", got)
	}
	taken := f.claims[len(f.claims)-1].Address
	f.err = nil
	if got := f.lease(m); got[0] == taken {
		t.Errorf("the taken address %v was given again", taken)
	}
}

func TestRepeatedRequestIsClaimedOnce(t *testing.T) {
	f := newFake(t, service())
	p := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true}.packet()
	first, _ := f.Receive(p, f.now)
	second, _ := f.Receive(p, f.now)
	if len(first.Claim) != 1 || len(second.Claim) != 0 {
		t.Fatalf("%d and %d claims", len(first.Claim), len(second.Claim))
	}
	if out := f.Committed(first.Claim[0], nil, f.now); len(out.Send) != 1 {
		t.Error("no answer")
	}
}

func TestOptions(t *testing.T) {
	f := newFake(t, service())
	m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, oro: []dhcpv6.OptionCode{
		dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionInformationRefreshTime, dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT,
	}}.packet())
	if got := fmt.Sprint(m.Options.DNS(), m.Options.DomainSearchList().Labels, m.Options.InformationRefreshTime(0)); got != "[2001:db8:1::1] [default.internal] 1h0m0s" {
		t.Errorf("options %s", got)
	}
	for _, code := range []dhcpv6.OptionCode{dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT} {
		if o := m.GetOneOption(code); o == nil || binary.BigEndian.Uint32(o.ToBytes()) != 300 {
			t.Errorf("option %v: %v", code, o)
		}
	}
	m = f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, oro: []dhcpv6.OptionCode{dhcpv6.OptionSolMaxRT}}.packet())
	if len(m.Options.DNS()) != 0 || m.Options.DomainSearchList() != nil {
		t.Errorf("more than was asked for: %v", m.Options)
	}
	pd := &dhcpv6.OptIAPD{IaId: [4]byte{0, 0, 0, 3}}
	m = f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), extra: []dhcpv6.Option{pd}}.packet())
	if p := m.Options.OneIAPD(); p == nil || p.Options.Status().StatusCode != iana.StatusNoPrefixAvail {
		t.Errorf("prefix delegation: %v", m)
	}
	stateless := subnet("2001:db8:1::/64")
	stateless.Guests = vnet.GuestsStateless
	f = newFake(t, service(stateless))
	if m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest}.packet()); len(m.Options.DNS()) != 1 {
		t.Errorf("stateless: %v", m)
	}
	if got := text(f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}}.packet())); got != "advertise 1[]NoAddrsAvail" {
		t.Errorf("stateless: %s", got)
	}
}

func TestParseBounds(t *testing.T) {
	good := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1=2001:db8::1"}}
	many, deep := good, good
	for range maxOptions {
		many.extra = append(many.extra, &dhcpv6.OptionGeneric{OptionCode: 999})
	}
	inner := &dhcpv6.OptIANA{}
	for range 5 {
		outer := &dhcpv6.OptIANA{}
		outer.Options.Add(inner)
		inner = outer
	}
	deep.extra = []dhcpv6.Option{inner}
	long := good
	long.duid = make([]byte, maxDUID+1)
	twice := good
	twice.extra = []dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: duidUUID(2)}}
	relay := good.packet()
	relay.Data[0] = 12
	cut := good.packet()
	cut.Data = cut.Data[:len(cut.Data)-3]
	for name, p := range map[string]listen.Packet{
		"empty": {From: private}, "many": many.packet(), "deep": deep.packet(), "duid": long.packet(), "twice": twice.packet(),
		"relay": relay, "cut": cut, "big": {From: private, Data: append(good.packet().Data, make([]byte, maxMessage)...)},
	} {
		if err := new(request).parse(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := new(request).parse(good.packet()); err != nil {
		t.Error(err)
	}
}
