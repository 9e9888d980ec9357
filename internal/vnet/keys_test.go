package vnet

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUniques(t *testing.T) {
	iaid := uint32(7)
	mac := MAC{0x52, 0x54, 0, 0xaa, 0, 1}
	for _, tc := range []struct {
		name string
		o    Object
		want []string
	}{
		{"project", &Project{Meta: Meta{Name: "p"}}, []string{"project/p"}},
		{"network", &Network{Meta: Meta{Name: "web", Project: "P"}, Bridge: "sx-web", Number: 4},
			[]string{"name/P/network/web", "link/sx-web", "number/network/4"}},
		{"router", &Router{Meta: Meta{Name: "r", Project: "P"}, Netns: "sextant-r", Number: 2},
			[]string{"name/P/router/r", "netns/sextant-r", "number/router/2"}},
		{"pool", &Pool{Meta: Meta{Name: "x", Project: "P"}}, []string{"name/P/pool/x"}},
		{"subnet", &Subnet{Network: "N", Family: IPv6, Primary: true, Prefix: netip.MustParsePrefix("2001:db8::/64")},
			[]string{"net/N/primary/ipv6", "net/N/prefix/2001:db8::/64"}},
		{"port", &Port{Meta: Meta{Name: "vm1"}, Network: "N", MAC: mac,
			Fixed:   []FixedAddress{{Subnet: "S", Host: 10}, {Subnet: "T", Host: 255}},
			Binding: &Binding{Host: "h", Plug: PlugTap, Device: "tap7"}},
			[]string{"net/N/mac/52:54:00:aa:00:01", "net/N/addr/S/a", "net/N/addr/T/ff", "plug/h/device/tap7", "net/N/name/port/vm1"}},
		{"veth", &Port{Network: "N", Binding: &Binding{Host: "h", Plug: PlugVeth, Netns: "g", Device: "eth0"}},
			[]string{"plug/h/netns/g/eth0"}},
		{"reservation", &Reservation{Network: "N", DUID: "00:01", IAID: &iaid, Fixed: FixedAddress{Subnet: "S", Host: 3}},
			[]string{"net/N/addr/S/3", "net/N/reserved/S/duid/00:01/7"}},
		{"IPv6 lease", &Lease{Network: "N", Subnet: "S", Address: netip.MustParseAddr("2001:db8::1:2")},
			[]string{"net/N/lease/2001:db8::1:2", "net/N/addr/S/10002"}},
		{"IPv4 lease", &Lease{Network: "N", Subnet: "S", Address: netip.MustParseAddr("10.0.0.9"), HostPart: 9},
			[]string{"net/N/lease/10.0.0.9", "net/N/addr/S/9"}},
		{"learnt lease", &Lease{Network: "N", Address: netip.MustParseAddr("fe80::1")}, []string{"net/N/lease/fe80::1"}},
		{"assignment", &PrefixAssignment{Host: "h", Prefix: netip.MustParsePrefix("10.1.0.0/24")}, []string{"prefix/host/h/10.1.0.0/24"}},
		{"prefix that networks share", &PrefixAssignment{Host: "h", Prefix: netip.MustParsePrefix("2001:db8::/64"), Rung: EgressProxied}, nil},
		{"uplink", &UplinkPolicy{Meta: Meta{Name: "eth0"}, Host: "h"}, []string{"uplink/h/eth0"}},
		{"pinned uplink", &UplinkPolicy{Meta: Meta{Name: "eth0"}, Host: "h", Pinned: "both"},
			[]string{"uplink/h/eth0", "pinned/h/ipv4", "pinned/h/ipv6"}},
		{"expired assignment", &PrefixAssignment{Host: "h", Prefix: netip.MustParsePrefix("10.1.0.0/24"), State: PrefixExpired}, nil},
		{"activation", &Activation{Network: "N", Host: "h"}, []string{"net/N/active/h"}},
		{"status", &Status{Host: "h"}, nil},
		{"event", &Event{Host: "h"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, Uniques(tc.o)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			for _, u := range Uniques(tc.o) {
				if f, v := DescribeUnique(u); f == "" || v == "" || v == u {
					t.Errorf("DescribeUnique(%q) = %q, %q", u, f, v)
				}
			}
		})
	}
}

func TestReferences(t *testing.T) {
	port := &Port{Network: "N", Fixed: []FixedAddress{{Subnet: "S", Host: 1}, {Subnet: "T", Host: 1}, {Subnet: "S", Host: 2}}}
	want := []Ref{{KindNetwork, "N"}, {KindSubnet, "S"}, {KindSubnet, "T"}}
	if d := cmp.Diff(want, References(port)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	lease := &Lease{Network: "N", Subnet: "S", Port: "P"}
	if r := References(lease); r != nil {
		t.Errorf("a lease keeps %v from being deleted", r)
	}
	if d := cmp.Diff([]Ref{{KindNetwork, "N"}, {KindSubnet, "S"}, {KindPort, "P"}}, Owners(lease)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func FuzzDecodeObject(f *testing.F) {
	f.Add("network", []byte(`{"name":"web","ipv4":{"mode":"nat","address":"10.0.0.1/24"}}`))
	f.Add("port", []byte(`{"mac":"52:54:00:aa:00:01","fixed":[{"subnet":"s","host":1}]}`))
	f.Add("lease", []byte(`{"address":"fe80::1%x","expires":"x"}`))
	f.Add("assignment", []byte(`[]`))
	f.Add("nonsense", []byte(`{}`))
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		o, err := DecodeObject(Kind(kind), data)
		if err != nil {
			if !Is(err, ErrInvalid) {
				t.Fatalf("not an Error: %v", err)
			}
			return
		}
		if o.Kind() != Kind(kind) {
			t.Fatalf("asked for %q, got %q", kind, o.Kind())
		}
		for _, u := range Uniques(o) {
			if u == "" || strings.HasPrefix(u, "/") {
				t.Fatalf("unique name %q", u)
			}
		}
		References(o)
		Owners(o)
		if _, err := json.Marshal(o); err != nil {
			t.Skip("what the library reads it need not be able to write: years over 9999")
		}
	})
}
