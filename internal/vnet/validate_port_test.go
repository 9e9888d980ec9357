package vnet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPortValidate(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tc := range []struct {
		what        string
		change      func(p *Port)
		kind        ErrKind
		field, want string
	}{
		{"nothing", func(*Port) {}, "", "", ""},
		{"no network", func(p *Port) { p.Network = "" }, ErrInvalid, "network", "missing"},
		{"multicast MAC", func(p *Port) { p.MAC = MAC{1, 0, 0x5e, 0, 0, 1} }, ErrInvalid, "mac", "multicast"},
		{"broadcast MAC", func(p *Port) { p.MAC = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }, ErrInvalid, "mac", "multicast"},
		{"addresses", func(p *Port) { p.Addresses = []netip.Addr{addr("10.1.2.3"), addr("2001:db8::5")} }, "", "", ""},
		{"zone", func(p *Port) { p.Addresses = []netip.Addr{addr("fe80::1%eth0")} }, ErrInvalid, "addresses", "zone"},
		{"twice", func(p *Port) { p.Addresses = []netip.Addr{addr("10.1.2.3"), addr("10.1.2.3")} }, ErrInvalid, "addresses", "twice"},
		{"multicast", func(p *Port) { p.Addresses = []netip.Addr{addr("ff02::1")} }, ErrInvalid, "addresses", "multicast"},
		{"mapped", func(p *Port) { p.Addresses = []netip.Addr{addr("::ffff:10.1.2.3")} }, ErrInvalid, "addresses", "write 10.1.2.3"},
		{"allowed", func(p *Port) { p.Allowed = []netip.Prefix{netip.MustParsePrefix("2001:db8:7::/64")} }, "", "", ""},
		{"allowed everything", func(p *Port) { p.Allowed = []netip.Prefix{netip.MustParsePrefix("::/0")} }, ErrInvalid, "allowed", "everything"},
		{"allowed host bits", func(p *Port) { p.Allowed = []netip.Prefix{netip.MustParsePrefix("2001:db8:7::1/64")} }, ErrInvalid, "allowed", "write 2001:db8:7::/64"},
		{"hostname", func(p *Port) { p.Hostname = "VM_1" }, ErrInvalid, "hostname", "for example vm-1"},
		{"veth", func(p *Port) { p.Binding = &Binding{Plug: PlugVeth, Device: "eth0", Netns: "guest"} }, "", "", ""},
		{"veth by path", func(p *Port) { p.Binding = &Binding{Plug: PlugVeth, Device: "eth0", Netns: "/proc/7/ns/net"} }, "", "", ""},
		{"veth to nowhere", func(p *Port) { p.Binding = &Binding{Plug: PlugVeth, Device: "eth0"} }, ErrInvalid, "netns", "netns=NAME"},
		{"netns climbing", func(p *Port) { p.Binding = &Binding{Plug: PlugVeth, Device: "eth0", Netns: "/run/netns/../x"} }, ErrInvalid, "netns", "path"},
		{"netns with slash", func(p *Port) { p.Binding = &Binding{Plug: PlugVeth, Device: "eth0", Netns: "a/b"} }, ErrInvalid, "netns", "ip netns"},
		{"tap", func(p *Port) { p.Binding = &Binding{Plug: PlugTap, Device: "tap7", Owner: "libvirt-qemu"} }, "", "", ""},
		{"tap by number", func(p *Port) { p.Binding = &Binding{Plug: PlugTap, Device: "tap7", Owner: "64055"} }, "", "", ""},
		{"tap name", func(p *Port) { p.Binding = &Binding{Plug: PlugTap, Device: "tap-of-a-long-name"} }, ErrInvalid, "tap", "for example tap-of-a-long-n"},
		{"tap in netns", func(p *Port) { p.Binding = &Binding{Plug: PlugTap, Device: "tap7", Netns: "x"} }, ErrInvalid, "netns", "leave netns out"},
		{"owner", func(p *Port) { p.Binding = &Binding{Plug: PlugTap, Device: "tap7", Owner: "a b"} }, ErrInvalid, "owner", "no user"},
		{"owner -1", func(p *Port) { p.Binding = &Binding{Plug: PlugTap, Device: "tap7", Owner: "4294967295"} }, ErrInvalid, "owner", "no user"},
		{"veth with owner", func(p *Port) {
			p.Binding = &Binding{Plug: PlugVeth, Device: "eth0", Netns: "guest", Owner: "root"}
		}, ErrInvalid, "owner", "only a tap"},
		{"plug", func(p *Port) { p.Binding = &Binding{Plug: "vhost", Device: "x"} }, ErrInvalid, "plug", "veth, tap or adopted"},
	} {
		p := Port{Meta: Meta{Name: "vm1"}, Network: "n", MAC: MAC{0x52, 0x54, 0, 0, 0, 1}}
		tc.change(&p)
		judge(t, tc.what, p.Validate(), tc.kind, tc.field, tc.want)
	}
}

func TestReservationValidate(t *testing.T) {
	iaid := uint32(7)
	mac := MAC{0x52, 0x54, 0, 0, 0, 1}
	duid := "00:03:00:01:52:54:00:00:00:01"
	a := netip.MustParseAddr("2001:db8::7")
	for _, tc := range []struct {
		what        string
		r           Reservation
		kind        ErrKind
		field, want string
	}{
		{"mac", Reservation{MAC: mac, Address: a}, "", "", ""},
		{"duid", Reservation{DUID: duid, Address: a}, "", "", ""},
		{"duid and iaid", Reservation{DUID: duid, IAID: &iaid, Address: a}, "", "", ""},
		{"name", Reservation{Client: "vm1", Address: a}, "", "", ""},
		{"host part", Reservation{MAC: mac, Fixed: FixedAddress{Subnet: "s", Host: 7}}, "", "", ""},
		{"nobody", Reservation{Address: a}, ErrInvalid, "mac", "missing"},
		{"two", Reservation{MAC: mac, DUID: duid, Address: a}, ErrInvalid, "duid", "leave mac or duid out"},
		{"iaid alone", Reservation{MAC: mac, IAID: &iaid, Address: a}, ErrInvalid, "iaid", "duid"},
		{"bad duid", Reservation{DUID: "00:03:0", Address: a}, ErrInvalid, "duid", "hex with colons"},
		{"short duid", Reservation{DUID: "00:03", Address: a}, ErrInvalid, "duid", "3 to 130"},
		{"long duid", Reservation{DUID: strings.Repeat("00:", 130) + "00", Address: a}, ErrInvalid, "duid", "3 to 130"},
		{"bad name", Reservation{Client: "a b", Address: a}, ErrInvalid, "client", "a-b"},
		{"no address", Reservation{MAC: mac}, ErrInvalid, "address", "missing"},
		{"loopback", Reservation{MAC: mac, Address: netip.IPv6Loopback()}, ErrInvalid, "address", "loopback"},
	} {
		tc.r.Network = "n"
		judge(t, tc.what, tc.r.Validate(), tc.kind, tc.field, tc.want)
	}
	r := Reservation{DUID: "00:03:00:01:52:54:00:AA:00:01", Client: "VM1"}
	if r.SetDefaults(); r.DUID != "00:03:00:01:52:54:00:aa:00:01" || r.Client != "vm1" {
		t.Errorf("not in one form: %v", r)
	}
}

func TestSubnetValidate(t *testing.T) {
	prefix := netip.MustParsePrefix
	rng := func(s string) []Range {
		r, err := ParseRange(s, netip.Prefix{})
		if err != nil {
			t.Fatal(err)
		}
		return []Range{r}
	}
	for _, tc := range []struct {
		what        string
		s           Subnet
		kind        ErrKind
		field, want string
	}{
		{"fixed", Subnet{Prefix: prefix("2001:db8:5::/64")}, "", "", ""},
		{"auto", Subnet{Family: IPv4}, "", "", ""},
		{"ula", Subnet{Family: IPv6}, "", "", ""},
		{"pool", Subnet{Family: IPv6, Pool: "p"}, "", "", ""},
		{"ranges", Subnet{Prefix: prefix("192.168.9.0/24"), Ranges: rng("192.168.9.100-192.168.9.200")}, "", "", ""},
		{"range to the end, gateway elsewhere", Subnet{Prefix: prefix("192.168.9.0/24"), Gateway: GatewayExternal, Ranges: rng("192.168.9.1-192.168.9.254")}, "", "", ""},
		{"no family", Subnet{}, ErrInvalid, "family", "prefix=PREFIX"},
		{"host bits", Subnet{Prefix: prefix("2001:db8:5::1/64")}, ErrInvalid, "prefix", "write 2001:db8:5::/64"},
		{"mixed", Subnet{Family: IPv6, Prefix: prefix("192.168.9.0/24")}, ErrInvalid, "prefix", "IPv6 one is wanted"},
		{"no prefix", Subnet{Family: IPv6, Source: SourceFixed}, ErrInvalid, "prefix", "source=ula"},
		{"auto with prefix", Subnet{Source: SourceAuto, Prefix: prefix("192.168.9.0/24")}, ErrInvalid, "prefix", "source=fixed"},
		{"auto IPv6", Subnet{Family: IPv6, Source: SourceAuto}, ErrInvalid, "source", "source=ula"},
		{"ula IPv4", Subnet{Family: IPv4, Source: SourceULA}, ErrInvalid, "source", "source=auto"},
		{"ula global", Subnet{Source: SourceULA, Prefix: prefix("2001:db8:5::/64")}, ErrInvalid, "prefix", "fc00::/7"},
		{"delegated", Subnet{Source: SourceDelegated}, "", "", ""},
		{"delegated, without a gateway", Subnet{Source: SourceDelegated, Gateway: GatewayNone, Guests: GuestsSLAAC}, "", "", ""},
		{"delegated IPv4", Subnet{Family: IPv4, Source: SourceDelegated}, ErrInvalid, "source", "source=auto"},
		{"delegated with prefix", Subnet{Source: SourceDelegated, Prefix: prefix("2001:db8:5::/64")}, ErrInvalid, "prefix", "source=fixed"},
		{"delegated on", Subnet{Source: SourceDelegated, Guests: GuestsDelegation}, ErrInvalid, "guests", "pool=NAME"},
		{"proxied", Subnet{Source: SourceProxied}, "", "", ""},
		{"proxied part", Subnet{Source: SourceProxied, Prefix: prefix("2001:db8:5:0:f000::/80"), Ranges: rng("2001:db8:5:0:f000::1-2001:db8:5:0:f000::9")}, "", "", ""},
		{"proxied whole", Subnet{Source: SourceProxied, Prefix: prefix("2001:db8:5::/56")}, ErrInvalid, "prefix", "a part of one"},
		{"proxied part slaac", Subnet{Source: SourceProxied, Prefix: prefix("2001:db8:5::/80"), Guests: GuestsSLAAC}, ErrInvalid, "guests", "/64"},
		{"proxied gateway", Subnet{Source: SourceProxied, Gateway: GatewayExternal}, ErrInvalid, "gateway", "no address of ours"},
		{"proxied IPv4", Subnet{Family: IPv4, Source: SourceProxied}, ErrInvalid, "source", "prefix=PREFIX"},
		{"source", Subnet{Family: IPv6, Source: "dhcp"}, ErrInvalid, "source", "fixed, pool, or ula"},
		{"pool missing", Subnet{Family: IPv6, Source: SourcePool}, ErrInvalid, "pool", "pool=NAME"},
		{"pool unasked", Subnet{Family: IPv6, Source: SourceULA, Pool: "p"}, ErrInvalid, "pool", "source=pool"},
		{"gateway", Subnet{Prefix: prefix("2001:db8:5::/64"), Gateway: "2001:db8:5::ff"}, "", "", ""},
		{"gateway elsewhere", Subnet{Prefix: prefix("2001:db8:5::/64"), Gateway: "2001:db8:6::1"}, ErrInvalid, "gateway", "not in 2001:db8:5::/64"},
		{"gateway anycast", Subnet{Prefix: prefix("2001:db8:5::/64"), Gateway: "2001:db8:5::"}, ErrInvalid, "gateway", "anycast"},
		{"gateway network", Subnet{Prefix: prefix("192.168.9.0/24"), Gateway: "192.168.9.0"}, ErrInvalid, "gateway", "the network itself"},
		{"gateway broadcast", Subnet{Prefix: prefix("192.168.9.0/24"), Gateway: "192.168.9.255"}, ErrInvalid, "gateway", "broadcast"},
		{"gateway RFC 6164", Subnet{Prefix: prefix("2001:db8:5::/127"), Gateway: "2001:db8:5::"}, "", "", ""},
		{"gateway word", Subnet{Prefix: prefix("192.168.9.0/24"), Gateway: "me"}, ErrInvalid, "gateway", "external or none"},
		{"gateway of a moving prefix", Subnet{Family: IPv4, Gateway: "192.168.9.1"}, ErrInvalid, "gateway", "chosen with the prefix"},
		{"slaac", Subnet{Prefix: prefix("2001:db8:5::/80"), Guests: GuestsSLAAC}, ErrInvalid, "guests", "/64"},
		{"range with gateway", Subnet{Prefix: prefix("192.168.9.0/24"), Ranges: rng("192.168.9.1-192.168.9.200")}, ErrInvalid, "ranges", "192.168.9.2-192.168.9.200"},
		{"range of the other family", Subnet{Prefix: prefix("192.168.9.0/24"), Ranges: rng("2001:db8::1-2001:db8::2")}, ErrInvalid, "ranges", "IPv4 one is wanted"},
		{"range with zone", Subnet{Prefix: prefix("2001:db8:5::/64"), Ranges: []Range{{netip.MustParseAddr("2001:db8:5::1%a"), netip.MustParseAddr("2001:db8:5::2%a")}}}, ErrInvalid, "ranges", "zone"},
		{"range without ends", Subnet{Prefix: prefix("2001:db8:5::/64"), Ranges: []Range{{}}}, ErrInvalid, "ranges", "lacks an end"},
	} {
		tc.s.Network = "n"
		tc.s.SetDefaults()
		judge(t, tc.what, tc.s.Validate(), tc.kind, tc.field, tc.want)
	}
	s := Subnet{Prefix: prefix("2001:db8:5::/64"), Gateway: "2001:db8:5::ff"}
	if got := s.GatewayAddr(s.Prefix); got != netip.MustParseAddr("2001:db8:5::ff") {
		t.Errorf("gateway %v", got)
	}
	s.Gateway = ""
	if got := s.GatewayAddr(s.Prefix); got != netip.MustParseAddr("2001:db8:5::1") {
		t.Errorf("gateway %v", got)
	}
	s.Gateway = GatewayNone
	if got := s.GatewayAddr(s.Prefix); got.IsValid() {
		t.Errorf("gateway %v", got)
	}
}

func TestPoolProjectRouterValidate(t *testing.T) {
	pool := func(s string, n int) error {
		p := Pool{Meta: Meta{Name: "p"}, Prefix: netip.MustParsePrefix(s), SubnetLen: n}
		p.SetDefaults()
		return p.Validate()
	}
	judge(t, "pool", pool("2001:db8::/48", 0), "", "", "")
	judge(t, "pool of IPv4", pool("10.0.0.0/8", 0), "", "", "")
	judge(t, "long pool", pool("2001:db8::/72", 0), ErrInvalid, "subnetLen", "subnetLen=72")
	judge(t, "big pieces", pool("2001:db8::/48", 40), ErrInvalid, "subnetLen", "cannot be cut")
	judge(t, "small pieces", pool("2001:db8::/48", 128), ErrInvalid, "subnetLen", "cannot be cut")
	judge(t, "host bits", pool("2001:db8::1/48", 64), ErrInvalid, "prefix", "write 2001:db8::/48")
	judge(t, "project", (&Project{Meta: Meta{Name: "a"}}).Validate(), "", "", "")
	judge(t, "project's description", (&Project{Meta: Meta{Name: "a"}, Description: "a\nb"}).Validate(), ErrInvalid, "description", "one printable line")
	judge(t, "router", (&Router{Meta: Meta{Name: "r/1"}}).Validate(), ErrInvalid, "name", "may not have")
	judge(t, "activation", (&Activation{Network: "n"}).Validate(), ErrInvalid, "host", "missing")
}

func TestDNSLabel(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web", "VM_1.web": "vm-1-web", "a..b": "a-b", "a-": "a", "é": "", "": "", "_x_": "x",
		strings.Repeat("a", 62) + ".b": strings.Repeat("a", 62),
		strings.Repeat("a", 70):        strings.Repeat("a", 63),
	} {
		got := DNSLabel(in)
		if got != want || got != "" && !IsDNSLabel(got) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
