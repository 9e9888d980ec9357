package dhcp6

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// prefix takes an IA_PD by rapid commit and returns its prefix, or the zero one.
func (f *fake) prefix(m msg) netip.Prefix {
	f.t.Helper()
	m.kind, m.rapid = dhcpv6.MessageTypeSolicit, true
	r := f.send(m.packet())
	if r == nil {
		f.t.Fatal("silence")
	}
	for _, p := range r.Options.OneIAPD().Options.Prefixes() {
		return netip.MustParsePrefix(p.Prefix.String())
	}
	return netip.Prefix{}
}

func TestPrefixDelegation(t *testing.T) {
	f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	f.SetGuest(guest(1, "2001:db8:1::11"))
	m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), port: "port1", pds: []string{"7"}, peer: ip("fe80::7")}
	got := f.ask(m)
	p := netip.MustParsePrefix(strings.TrimSuffix(strings.Split(strings.TrimPrefix(got, "advertise pd 7["), "]")[0], "/2250/3600"))
	if p.Bits() != 56 || !netip.MustParsePrefix("2001:db8:f000::/40").Contains(p.Addr()) {
		t.Fatalf("%s", got)
	}
	m.kind, m.server, m.pds = dhcpv6.MessageTypeRequest, true, []string{"7=" + p.String()}
	if again := f.ask(m); again != strings.Replace(got, "advertise", "reply", 1) {
		t.Errorf("advertised %s, got %s", got, again)
	}
	l := f.claims[0]
	if l.Prefix() != p || l.Via != ip("fe80::7") || l.Port != "port1" || l.IAID != 7 || l.Subnet != "2001:db8:f000::/40" || !l.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("claimed %+v", l)
	}
	// The guest is another one by its link-local address: the route moves.
	f.now = f.now.Add(time.Minute / 2)
	m.kind, m.peer = dhcpv6.MessageTypeRenew, ip("fe80::8")
	if got := f.ask(m); len(f.claims) != 2 || f.claims[1].Via != ip("fe80::8") || !strings.Contains(got, "/2250/3600") {
		t.Errorf("renewed by another address: %s, claims %+v", got, f.claims)
	}
	m.kind = dhcpv6.MessageTypeRelease
	if got := f.ask(m); got != "reply Success" || len(f.ended) != 1 || f.ended[0].Prefix() != p {
		t.Errorf("release: %s, ended %+v", got, f.ended)
	}
	if again := f.prefix(msg{duid: duidUUID(9), port: "port1", pds: []string{"9"}}); again != p {
		t.Errorf("had %v, got %v", p, again)
	}
}

func TestPrefixHints(t *testing.T) {
	svc := service(delegation("2001:db8:a000::/40", 56), delegation("2001:db8:b000::/40", 60), delegation("2001:db8:c000::/40", 64))
	for hint, want := range map[string]string{
		"": "2001:db8:a000::/40", "::/56": "2001:db8:a000::/40", "::/60": "2001:db8:b000::/40", "::/64": "2001:db8:c000::/40",
		"::/62": "2001:db8:b000::/40", "::/48": "2001:db8:a000::/40", "::/0": "2001:db8:a000::/40", "::/127": "2001:db8:c000::/40",
		"2001:db8:b012:30::/60": "2001:db8:b012:30::/60", "2001:db8:c012:3456::/64": "2001:db8:c012:3456::/64",
		"2001:db8:b012:30::/56": "2001:db8:a000::/40", "2001:db9::/60": "2001:db8:b000::/40",
	} {
		f := newFake(t, svc)
		ia := "1"
		if hint != "" {
			ia += "=" + hint
		}
		if got := f.prefix(msg{duid: duidUUID(1), pds: []string{ia}}); !netip.MustParsePrefix(want).Contains(got.Addr()) {
			t.Errorf("%q: got %v, want one of %s", hint, got, want)
		}
	}
}

func TestNoPrefix(t *testing.T) {
	for name, svc := range map[string]struct{ subnets []string }{"none": {}, "one": {[]string{"2001:db8:f:ff00::/56"}}} {
		s := service(subnet("2001:db8:1::/64"))
		for _, p := range svc.subnets {
			s.Subnets = append(s.Subnets, delegation(p, 56))
		}
		f := newFake(t, s)
		for i := range svc.subnets {
			if p := f.prefix(msg{duid: duidUUID(50 + i), pds: []string{"1"}}); p.Bits() != 56 {
				t.Fatalf("%s: got %v", name, p)
			}
		}
		for kind, want := range map[dhcpv6.MessageType]string{
			dhcpv6.MessageTypeSolicit: "advertise pd 3[]NoPrefixAvail", dhcpv6.MessageTypeRequest: "reply pd 3[]NoPrefixAvail",
			dhcpv6.MessageTypeRenew: "reply pd 3[]NoBinding", dhcpv6.MessageTypeRelease: "reply Success pd 3[]NoBinding",
		} {
			if got := f.ask(msg{kind: kind, duid: duidUUID(1), pds: []string{"3"}, server: kind != dhcpv6.MessageTypeSolicit}); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
	// Addresses and prefixes are had of different subnets, with one IAID.
	f := newFake(t, service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56)))
	m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, pds: []string{"1"}, rapid: true}.packet())
	if len(m.Options.OneIANA().Options.Addresses()) != 1 || len(m.Options.OneIAPD().Options.Prefixes()) != 1 || f.Table().Len() != 2 {
		t.Errorf("%s", text(m))
	}
}

func TestPrefixRenumbering(t *testing.T) {
	old, next := delegation("2001:db8:a000::/40", 56), delegation("2001:db8:b000::/40", 56)
	f := newFake(t, service(old))
	had := f.prefix(msg{duid: duidUUID(1), pds: []string{"1"}})
	old.Deprecated, old.ValidUntil = true, start.Add(20*time.Minute)
	f.Set(service(old, next))
	got := f.ask(msg{kind: dhcpv6.MessageTypeRenew, duid: duidUUID(1), pds: []string{"1=" + had.String()}, server: true})
	if !strings.Contains(got, "2001:db8:b0") || !strings.Contains(got, had.String()+"/0/1200") {
		t.Errorf("%s", got)
	}
	f.Set(service(next))
	got = f.ask(msg{kind: dhcpv6.MessageTypeRebind, duid: duidUUID(1), pds: []string{"1=" + had.String()}})
	if !strings.Contains(got, "2001:db8:b0") || !strings.Contains(got, had.String()+"/0/0") {
		t.Errorf("%s", got)
	}
}

// The last prefixes are for ports.
func TestStrangersLeavePrefixes(t *testing.T) {
	f := newFake(t, service(delegation("2001:db8:f000::/52", 56)))
	f.SetGuest(guest(1))
	f.SetGuest(guest(2))
	strangers := 0
	for i := range 30 {
		if f.prefix(msg{duid: duidUUID(100 + i), pds: []string{"1"}, peer: linkLocal(mac(100 + i))}).IsValid() {
			strangers++
		}
	}
	if strangers != 14 {
		t.Errorf("%d of 16 went to strangers, with two ports", strangers)
	}
	for i := 1; i <= 2; i++ {
		if !f.prefix(msg{duid: duidUUID(i), port: vnet.ID(fmt.Sprint("port", i)), pds: []string{"1"}}).IsValid() {
			t.Errorf("port %d got none", i)
		}
	}
}

// One guest does not get the whole pool, however many IAs and DUIDs it has.
func TestLimit(t *testing.T) {
	for name, who := range map[string]func(i int) msg{
		"port":  func(i int) msg { return msg{duid: duidUUID(i), port: "port1", peer: ip(fmt.Sprintf("fe80::1:%x", i))} },
		"MAC":   func(i int) msg { return msg{duid: duidUUID(i), seen: mac(9), peer: ip(fmt.Sprintf("fe80::1:%x", i))} },
		"peer":  func(i int) msg { return msg{duid: duidUUID(i)} },
		"relay": func(i int) msg { return msg{duid: duidUUID(i), via: []relay{{from: "fe80::99"}}} },
	} {
		t.Run(name, func(t *testing.T) {
			svc := service(subnet("2001:db8:1::/64"), delegation("2001:db8:f000::/40", 56))
			svc.DHCP.Limit = 5
			f := newFake(t, svc)
			f.SetGuest(guest(1))
			got := 0
			for i := range 40 {
				m := who(i)
				m.kind, m.rapid, m.ias, m.pds = dhcpv6.MessageTypeSolicit, true, []string{fmt.Sprint(i), fmt.Sprint(1000 + i)}, []string{fmt.Sprint(i)}
				got += strings.Count(f.ask(m), "/3600")
				for _, l := range f.claims { // as the store says them again
					l.Expires = l.Expires.Add(time.Second)
					f.Load(pack.Of(&l), f.now)
				}
			}
			if live := f.Table().Live("2001:db8:1::/64") + f.Table().Live("2001:db8:f000::/40"); live > 5 || got < 5 {
				t.Errorf("%d leases, %d given", live, got)
			}
			other := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(999), seen: mac(5), ias: []string{"1"}, rapid: true}
			if got := f.ask(other); !strings.Contains(got, "/3600") {
				t.Errorf("another guest: %s", got)
			}
			if f.Table().Len() > 5+1+lease.MaxOffers {
				t.Errorf("%d entries", f.Table().Len())
			}
		})
	}
}
