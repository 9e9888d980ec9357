package dhcp6

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// sameSubnet are prefixes in which one subnet is served.
func sameSubnet(prefixes ...string) []plan.Subnet {
	var out []plan.Subnet
	for _, p := range prefixes {
		s := subnet(p)
		s.ID = "one"
		out = append(out, s)
	}
	return out
}

// TestPrefixesOfOneSubnet: a guest has an address in each prefix of a subnet,
// with the same interface identifier, and keeps them over renewals, a loss of
// memory, and the coming and going of prefixes.
func TestPrefixesOfOneSubnet(t *testing.T) {
	all := sameSubnet("fd00:1::/64", "2001:db8:1::/64", "2001:db8:2::/64")
	f := newFake(t, service(all[:2]...))
	f.SetGuest(guest(1, "fd00:1::11", "2001:db8:1::11"))
	dyn := duidUUID(9)
	got := f.lease(msg{duid: dyn, ias: []string{"5"}})
	if len(got) != 2 || vnet.InterfaceID(got[0]) != vnet.InterfaceID(got[1]) || !all[0].Prefix.Contains(got[0]) || !all[1].Prefix.Contains(got[1]) {
		t.Fatalf("addresses %v, want one in each prefix with the same identifier", got)
	}
	if got := f.lease(msg{duid: duidLL(mac(1)), ias: []string{"1"}}); fmt.Sprint(got) != "[fd00:1::11 2001:db8:1::11]" {
		t.Errorf("port: %v", got)
	}
	list := func(addrs []netip.Addr) string {
		var s []string
		for _, a := range addrs {
			s = append(s, a.String())
		}
		return strings.Join(s, ",")
	}
	renew := func(have []netip.Addr) string {
		return text(f.send(msg{kind: dhcpv6.MessageTypeRenew, duid: dyn, ias: []string{"5=" + list(have)}, server: true}.packet()))
	}
	if s := renew(got); !strings.Contains(s, got[0].String()+"/") || !strings.Contains(s, got[1].String()+"/") || strings.Count(s, "/") != 4 {
		t.Errorf("renewed: %s, had %v", s, got)
	}

	// The second prefix makes room for a third.
	old := all[1]
	old.Deprecated, old.ValidUntil = true, start.Add(20*time.Minute)
	f.Set(service(all[0], all[2], old))
	third := netip.MustParsePrefix("2001:db8:2::/64").Addr().As16()
	id := got[0].As16()
	copy(third[8:], id[8:])
	now := netip.AddrFrom16(third)
	s := renew(got)
	for _, want := range []string{got[0].String() + "/2250/3600", now.String() + "/2250/3600", got[1].String() + "/0/1200"} {
		if !strings.Contains(s, want) {
			t.Errorf("renumbered: %s, want %s in it", s, want)
		}
	}
	// The old one ends; what is left stays.
	f.Set(service(all[0], all[2]))
	s = renew([]netip.Addr{got[0], got[1], now})
	for _, want := range []string{got[0].String() + "/2250/3600", now.String() + "/2250/3600", got[1].String() + "/0/0"} {
		if !strings.Contains(s, want) {
			t.Errorf("the old prefix is gone: %s, want %s in it", s, want)
		}
	}
	// It comes back, and with it the address.
	f.Set(service(all...))
	if s = renew([]netip.Addr{got[0], now}); !strings.Contains(s, got[1].String()+"/2250/3600") {
		t.Errorf("the old prefix is back: %s, want %v in it", s, got[1])
	}
}
