package vnet

import (
	"net/netip"
	"strings"
	"testing"
)

// policy reads "mode address guests inbound" with "-" for what is not said.
func policy(t *testing.T, s string) FamilyPolicy {
	t.Helper()
	var p FamilyPolicy
	for i, w := range strings.Fields(s) {
		if w == "-" {
			continue
		}
		switch i {
		case 0:
			p.Mode = Egress(w)
		case 1:
			p.Address = netip.MustParsePrefix(w)
		case 2:
			p.Guests = Guests(w)
		case 3:
			p.Inbound = Inbound(w)
		default:
			r, err := ParseRange(w, p.Address)
			if err != nil {
				t.Fatal(err)
			}
			p.Ranges = append(p.Ranges, r)
		}
	}
	return p
}

func TestNetworkValidate(t *testing.T) {
	ok := ErrKind("")
	for _, tc := range []struct {
		v4, v6 string
		kind   ErrKind
		field  string
		want   string // part of the line
	}{
		{"auto", "auto", ok, "", ""},
		{"nat 192.168.150.1/24", "routed 2001:db8:5::1/64 stateful", ok, "", ""},
		{"nat", "nat66", ok, "", ""},
		{"isolated", "nat66 fd00:1::1/64", ok, "", ""},
		{"nat", "isolated", ok, "", ""},
		{"none", "ula", ok, "", ""},
		{"none", "link-local", ok, "", ""},
		{"open", "open", ok, "", ""},
		{"none", "none", ok, "", ""},
		{"nat 10.9.0.0/31", "routed 2001:db8::/127 stateful", ok, "", ""},
		{"nat 192.168.150.0/24", "routed 2001:db8:5::/64", ok, "", ""},

		{"nat66", "auto", ErrInvalid, "ipv4", "say nat"},
		{"auto", "nat", ErrInvalid, "ipv6", "say nat66"},
		{"ula", "auto", ErrInvalid, "ipv4", "say isolated"},
		{"link-local", "auto", ErrInvalid, "ipv4", "say none"},
		{"-", "auto", ErrInvalid, "ipv4", "say auto"},
		{"bogus", "auto", ErrInvalid, "ipv4", "auto, nat, routed"},
		{"192.168.1.1/24", "auto", ErrInvalid, "ipv4", "ipv4.address=192.168.1.1/24"},
		{"bridged", "auto", ErrUnsupported, "ipv4", "ipv6=bridged"},
		{"bridged", "proxied", ErrUnsupported, "ipv4", "ipv4=nat ipv6=bridged"},

		{"auto", "delegated", ok, "", ""},
		{"none", "delegated - slaac open", ok, "", ""},
		{"delegated", "auto", ErrInvalid, "ipv4", "say routed"},
		{"auto", "delegated 2001:db8:5::1/64", ErrInvalid, "ipv6.address", "ipv6=routed"},
		{"auto", "proxied", ok, "", ""},
		{"nat", "proxied 2001:db8:5::/64 slaac+stateful", ok, "", ""},
		{"nat", "proxied 2001:db8:5:0:f000::/80 stateful", ok, "", ""},
		{"nat", "proxied 2001:db8:5::1:0/112 manual", ok, "", ""},
		{"nat", "proxied 2001:db8:5:0:f000::/80 stateful - ::10-::20", ok, "", ""},
		{"nat", "proxied 2001:db8:5:0:f000::/80 slaac", ErrInvalid, "ipv6.guests", "say stateful"},
		{"nat", "proxied 2001:db8:5:0:f000::/80 slaac+stateful", ErrInvalid, "ipv6.guests", "SLAAC needs a /64"},
		{"nat", "proxied 2001:db8:5:0:f000::1/80 stateful", ErrInvalid, "ipv6.address", "write 2001:db8:5:0:f000::/80"},
		{"nat", "proxied 2001:db8:500::/56 stateful", ErrInvalid, "ipv6.address", "a /64 or a part of one"},
		{"nat", "proxied 2001:db8::1/128 stateful", ErrInvalid, "ipv6.address", "none left for a guest"},
		{"nat", "proxied fe80::/64", ErrInvalid, "ipv6.address", "link-local"},
		{"auto", "nptv6", ok, "", ""},
		{"auto", "nptv6 fd12:3456:789a:1::1/64", ok, "", ""},
		{"auto", "nptv6 fd12:3456:789a:1::1/80 stateful", ErrInvalid, "ipv6.address", "no /64"},
		{"nptv6", "auto", ErrInvalid, "ipv4", "say nat"},
		{"nat", "bridged", ok, "", ""},
		{"none", "bridged", ok, "", ""},
		{"isolated", "bridged", ok, "", ""},
		{"nat", "bridged 2001:db8::1/64", ErrInvalid, "ipv6.address", "somebody else's"},
		{"nat", "bridged - slaac", ErrInvalid, "ipv6.guests", "no addresses are given by us"},

		{"routed", "auto", ErrInvalid, "ipv4.address", "needs the gateway address"},
		{"auto", "routed", ErrInvalid, "ipv6.address", "2001:db8:5::1/64"},
		{"auto 192.168.9.1/24", "auto", ErrInvalid, "ipv4.address", "ipv4=nat"},
		{"auto", "auto fd00::1/64", ErrInvalid, "ipv6.address", "ipv6=nat66"},
		{"none 192.168.9.1/24", "auto", ErrInvalid, "ipv4.address", "no address"},
		{"auto", "link-local 2001:db8::1/64", ErrInvalid, "ipv6.address", "no address"},
		{"auto", "ula 2001:db8::1/64", ErrInvalid, "ipv6.address", "fc00::/7"},
		{"auto", "ula fd00::1/6", ErrInvalid, "ipv6.address", "link-local"},
		{"nat 2001:db8::1/64", "auto", ErrInvalid, "ipv4.address", "IPv4 one is wanted"},
		{"auto", "routed 192.168.1.1/24", ErrInvalid, "ipv6.address", "IPv6 one is wanted"},
		{"auto", "routed ::ffff:192.168.1.1/120", ErrInvalid, "ipv6.address", "write 192.168.1.1"},
		{"auto", "routed 2001:db8::1/128", ErrInvalid, "ipv6.address", "none left for a guest"},
		{"nat 192.168.1.1/32", "auto", ErrInvalid, "ipv4.address", "none left for a guest"},
		{"auto", "routed 2001:db8::1/0", ErrInvalid, "ipv6.address", "everything"},
		{"auto", "routed fe80::1/64", ErrInvalid, "ipv6.address", "link-local"},
		{"auto", "routed ff02::1/64", ErrInvalid, "ipv6.address", "multicast"},
		{"auto", "routed ::1/64", ErrInvalid, "ipv6.address", "cannot be a network"},
		{"nat 127.0.0.1/8", "auto", ErrInvalid, "ipv4.address", "loopback"},
		{"nat 169.254.1.1/24", "auto", ErrInvalid, "ipv4.address", "link-local"},
		{"nat 224.0.0.1/24", "auto", ErrInvalid, "ipv4.address", "multicast"},
		{"nat 0.0.0.1/24", "auto", ErrInvalid, "ipv4.address", "this host"},
		{"nat 192.168.1.255/24", "auto", ErrInvalid, "ipv4.address", "broadcast"},

		{"auto - slaac", "auto", ErrInvalid, "ipv4.guests", "dhcp or manual"},
		{"auto", "auto - dhcp", ErrInvalid, "ipv6.guests", "stateful"},
		{"auto", "auto - dhpc", ErrInvalid, "ipv6.guests", "slaac+stateful"},
		{"auto", "routed 2001:db8::1/80 slaac", ErrInvalid, "ipv6.guests", "SLAAC needs a /64"},
		{"auto", "routed 2001:db8::1/56 slaac+stateful", ErrInvalid, "ipv6.guests", "SLAAC needs a /64"},
		{"none - dhcp", "auto", ErrInvalid, "ipv4.guests", "leave it out"},

		{"auto - - open", "auto", ErrInvalid, "ipv4.inbound", "ipv4=routed"},
		{"auto", "auto - - open", ok, "", ""},
		{"routed 192.0.2.1/24 - open", "nat66 - - closed", ok, "", ""},
		{"open - - closed", "auto", ErrInvalid, "ipv4.inbound", "leave it out"},
		{"auto - - ajar", "auto", ErrInvalid, "ipv4.inbound", "open or closed"},

		{"nat 192.168.5.1/24 dhcp - 192.168.5.10-192.168.5.20", "auto", ok, "", ""},
		{"auto", "routed 2001:db8:5::1/64 stateful - ::10-::20", ok, "", ""},
		{"nat 192.168.5.1/24 dhcp - 192.168.5.1-192.168.5.20", "auto", ErrInvalid, "ipv4.ranges", "192.168.5.2-192.168.5.20"},
		{"nat 192.168.5.9/24 dhcp - 192.168.5.5-192.168.5.20", "auto", ErrInvalid, "ipv4.ranges", "192.168.5.5-192.168.5.8 and 192.168.5.10-192.168.5.20"},
		{"nat 192.168.5.1/24 dhcp - 192.168.5.200-192.168.5.255", "auto", ErrInvalid, "ipv4.ranges", "192.168.5.200-192.168.5.254"},
		{"nat 192.168.5.1/24 dhcp - 192.168.6.2-192.168.6.3", "auto", ErrInvalid, "ipv4.ranges", "not inside 192.168.5.0/24"},
		{"nat 192.168.5.1/24 dhcp - 192.168.5.2-192.168.5.9 192.168.5.9-192.168.5.12", "auto", ErrInvalid, "ipv4.ranges", "overlap"},
		{"auto", "routed 2001:db8:5::1/64 slaac - ::10-::20", ErrInvalid, "ipv6.ranges", "choose their addresses themselves"},
		{"nat - dhcp - 192.168.5.2-192.168.5.9", "auto", ErrInvalid, "ipv4.ranges", "ipv4.address as well"},
	} {
		n := Network{Meta: Meta{Name: "web"}, IPv4: policy(t, tc.v4), IPv6: policy(t, tc.v6)}
		if tc.v4 == "bridged" {
			n.Link = "eth1"
		}
		if tc.v6 == "bridged" {
			n.Link = "eth1"
		}
		judge(t, "ipv4="+tc.v4+" ipv6="+tc.v6, n.Validate(), tc.kind, tc.field, tc.want)
	}
}

// judge compares an error with its kind, field and a part of its line.
func judge(t *testing.T, what string, err error, kind ErrKind, field, want string) {
	t.Helper()
	if kind == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	e, ok := err.(*Error)
	if !ok {
		t.Errorf("%s: got %v, want an *Error about %s", what, err, field)
		return
	}
	if e.Kind != kind || e.Field != field || !strings.Contains(e.Error(), want) || strings.Contains(e.Error(), "\n") {
		t.Errorf("%s:\n got %s %q %v\nwant %s %q …%s…", what, e.Kind, e.Field, e, kind, field, want)
	}
}

func TestNetworkValidateRest(t *testing.T) {
	for _, tc := range []struct {
		what        string
		change      func(n *Network)
		kind        ErrKind
		field, want string
	}{
		{"nothing", func(n *Network) {}, "", "", ""},
		{"slash", func(n *Network) { n.Name = "a/b" }, ErrInvalid, "name", "may not have"},
		{"empty name", func(n *Network) { n.Name = "" }, ErrInvalid, "name", "empty"},
		{"long name", func(n *Network) { n.Name = strings.Repeat("a", 64) }, ErrInvalid, "name", "64 characters"},
		{"huge name", func(n *Network) { n.Name = strings.Repeat("é\n", 1<<20) }, ErrInvalid, "name", "…"},
		{"hyphen first", func(n *Network) { n.Name = "-a" }, ErrInvalid, "name", "start"},
		{"16-character bridge", func(n *Network) { n.Bridge = "abcdefghijklmnop" }, ErrInvalid, "bridge", "16 characters"},
		{"15-character bridge", func(n *Network) { n.Bridge = "abcdefghijklmno" }, "", "", ""},
		{"colon in bridge", func(n *Network) { n.Bridge = "br:0" }, ErrInvalid, "bridge", "character"},
		{"quote in bridge", func(n *Network) { n.Bridge = `br";x` }, ErrInvalid, "bridge", "character"},
		{"pattern in bridge", func(n *Network) { n.Bridge = "br*" }, ErrInvalid, "bridge", "character"},
		{"dots", func(n *Network) { n.Bridge = ".." }, ErrInvalid, "bridge", "name of a device"},
		{"conf/all", func(n *Network) { n.Bridge = "all" }, ErrInvalid, "bridge", "something else"},
		{"link unasked", func(n *Network) { n.Link = "eth1" }, ErrInvalid, "link", "ipv4=bridged"},
		{"link missing", func(n *Network) { n.IPv4.Mode, n.IPv6.Mode = EgressBridged, EgressBridged }, ErrInvalid, "link", "link=NIC"},
		{"bridged", func(n *Network) { n.IPv4.Mode, n.IPv6.Mode, n.Link = EgressBridged, EgressBridged, "eth1" }, "", "", ""},
		{"IPv6 bridged beside NAT, on whichever is shared", func(n *Network) { n.IPv6.Mode = EgressBridged }, "", "", ""},
		{"IPv6 bridged beside NAT, on one of them", func(n *Network) { n.IPv6.Mode, n.Link = EgressBridged, "eth1" }, "", "", ""},
		{"nat64", func(n *Network) { n.NAT64 = "auto" }, "", "", ""},
		{"nat64 off", func(n *Network) { n.NAT64 = "off" }, "", "", ""},
		{"nat64 of somebody else", func(n *Network) { n.NAT64, n.IPv4.Mode = "64:ff9b::/96", EgressNone }, "", "", ""},
		{"nat64 of a length of its own", func(n *Network) { n.NAT64 = "2001:db8:64::/48" }, "", "", ""},
		{"nat64 word", func(n *Network) { n.NAT64 = "on" }, ErrInvalid, "nat64", "auto, off"},
		{"nat64 length", func(n *Network) { n.NAT64 = "64:ff9b::/95" }, ErrInvalid, "nat64", "32, 40, 48, 56 or 64"},
		{"nat64 host bits", func(n *Network) { n.NAT64 = "64:ff9b::1/96" }, ErrInvalid, "nat64", "write 64:ff9b::/96"},
		{"nat64 middle octet", func(n *Network) { n.NAT64 = "2001:db8:0:0:100::/96" }, ErrInvalid, "nat64", "section 2.2"},
		{"nat64 IPv4", func(n *Network) { n.NAT64 = "192.0.2.0/24" }, ErrInvalid, "nat64", "64:ff9b::/96"},
		{"nat64 nowhere", func(n *Network) { n.NAT64, n.IPv6.Mode = "64:ff9b::/96", EgressULA }, ErrInvalid, "nat64", "ipv6=auto"},
		{"nat64 beside dns64", func(n *Network) {
			n.NAT64, n.DNS.DNS64 = "64:ff9b::/96", netip.MustParsePrefix("2001:db8:64::/96")
		}, ErrInvalid, "nat64", "dns.dns64 has another"},
		{"nat64 beside pref64", func(n *Network) {
			n.NAT64, n.RA.PREF64 = "64:ff9b::/96", netip.MustParsePrefix("2001:db8:64::/96")
		}, ErrInvalid, "nat64", "ra.pref64 has another"},
		{"bridged, IPv6 off", func(n *Network) { n.IPv4.Mode, n.IPv6.Mode, n.Link = EgressBridged, EgressNone, "eth1" }, "", "", ""},
		{"multicast MAC", func(n *Network) { n.MAC = MAC{0x53, 0x54, 0, 0, 0, 1} }, ErrInvalid, "mac", "52:54:00:00:00:01"},
		{"MTU below IPv6", func(n *Network) { n.MTU = 1279 }, ErrInvalid, "mtu", "1280"},
		{"MTU without IPv6", func(n *Network) { n.MTU, n.IPv6.Mode = 576, EgressNone }, "", "", ""},
		{"MTU below IPv4", func(n *Network) { n.MTU, n.IPv6.Mode = 575, EgressNone }, ErrInvalid, "mtu", "576"},
		{"MTU above all", func(n *Network) { n.MTU = 65536 }, ErrInvalid, "mtu", "65535"},
		{"negative MTU", func(n *Network) { n.MTU = -1 }, ErrInvalid, "mtu", "1280"},
		{"l2 with IPv6 on", func(n *Network) { n.IPv6.L2 = true }, ErrInvalid, "ipv6.l2", "ipv6=none"},
		{"l2", func(n *Network) { n.IPv6 = FamilyPolicy{Mode: EgressNone, L2: true} }, "", "", ""},
		{"admit", func(n *Network) { n.Admit = "all" }, ErrInvalid, "admit", "any or ports"},
		{"domain", func(n *Network) { n.Domain = "a..b" }, ErrInvalid, "domain", "empty label"},
		{"domain with a dot", func(n *Network) { n.Domain = "lab." }, ErrInvalid, "domain", "write lab"},
		{"domain with a blank", func(n *Network) { n.Domain = "la b" }, ErrInvalid, "domain", "no DNS name"},
		{"lease too short", func(n *Network) { n.LeaseTime = Duration(1e9) }, ErrInvalid, "leaseTime", "10s"},
		{"server twice", func(n *Network) {
			a := netip.MustParseAddr("2001:db8::53")
			n.DNS.Servers = []netip.Addr{a, a}
		}, ErrInvalid, "dns.servers", "twice"},
		{"server loopback", func(n *Network) { n.DNS.Servers = []netip.Addr{netip.MustParseAddr("127.0.0.53")} }, ErrInvalid, "dns.servers", "loopback"},
		{"server link-local", func(n *Network) { n.DNS.Servers = []netip.Addr{netip.MustParseAddr("fe80::53")} }, "", "", ""},
		{"search", func(n *Network) { n.DNS.Search = []string{"lab", "LAB"} }, ErrInvalid, "dns.search", "twice"},
		{"tag", func(n *Network) { n.Tags = map[string]string{"": "x"} }, ErrInvalid, "tags", "key"},
	} {
		n := Network{Meta: Meta{Name: "web"}, IPv4: FamilyPolicy{Mode: EgressAuto}, IPv6: FamilyPolicy{Mode: EgressAuto}}
		tc.change(&n)
		judge(t, tc.what, n.Validate(), tc.kind, tc.field, tc.want)
	}
}

func TestNetworkSetDefaults(t *testing.T) {
	for _, tc := range []struct{ v4, v6, want4, want6 string }{
		{"", "", "auto - dhcp", "auto - slaac+stateful"},
		{"nat", "", "nat - dhcp", "auto - slaac+stateful"},
		{"", "routed 2001:db8::/64", "auto - dhcp", "routed 2001:db8::1/64 slaac+stateful"},
		{"nat 192.168.9.0/24", "routed 2001:db8::5/80", "nat 192.168.9.1/24 dhcp", "routed 2001:db8::5/80 stateful"},
		{"bridged", "", "bridged", "bridged"},
		{"isolated", "", "isolated - dhcp", "isolated - slaac+stateful"},
		{"", "isolated", "isolated - dhcp", "isolated - slaac+stateful"},
		{"nat", "isolated", "nat - dhcp", "isolated - slaac+stateful"},
		{"none", "", "none", "auto - slaac+stateful"},
		{"", "link-local", "auto - dhcp", "link-local"},
		{"", "delegated", "auto - dhcp", "delegated - slaac+stateful"},
		{"nat", "proxied 2001:db8::/80", "nat - dhcp", "proxied 2001:db8::/80 stateful"},
		{"nat", "proxied 2001:db8::/64", "nat - dhcp", "proxied 2001:db8::/64 slaac+stateful"},
		{"", "nptv6 fd00:1::/64", "auto - dhcp", "nptv6 fd00:1::1/64 slaac+stateful"},
		{"nat", "bridged", "nat - dhcp", "bridged"},
	} {
		n := Network{Meta: Meta{Name: "My_Net.1"}, IPv4: policy(t, tc.v4), IPv6: policy(t, tc.v6)}
		n.SetDefaults()
		if got, want := show(n.IPv4), show(policy(t, tc.want4)); got != want {
			t.Errorf("ipv4=%s ipv6=%s: ipv4 is %s, want %s", tc.v4, tc.v6, got, want)
		}
		if got, want := show(n.IPv6), show(policy(t, tc.want6)); got != want {
			t.Errorf("ipv4=%s ipv6=%s: ipv6 is %s, want %s", tc.v4, tc.v6, got, want)
		}
		if n.Domain != "my-net-1.internal" || n.Admit != AdmitAny || n.LeaseTime.String() != "12h" {
			t.Errorf("domain %s, admit %s, lease %s", n.Domain, n.Admit, n.LeaseTime)
		}
		if n.IPv4.Mode != EgressBridged {
			if err := n.Validate(); err != nil {
				t.Errorf("ipv4=%s ipv6=%s: %v", tc.v4, tc.v6, err)
			}
		}
		again := n
		again.SetDefaults()
		if show(again.IPv4) != show(n.IPv4) || show(again.IPv6) != show(n.IPv6) || again.Domain != n.Domain {
			t.Errorf("ipv4=%s ipv6=%s: a second time changes it", tc.v4, tc.v6)
		}
	}
}

func show(p FamilyPolicy) string {
	return string(p.Mode) + " " + FormatPrefix(p.Address) + " " + string(p.Guests)
}
