package vnet

import (
	"encoding"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// text is a value that is written as one string.
type text interface {
	encoding.TextUnmarshaler
	String() string
}

// textRows are what is read, and how it is printed; "" marks what is refused.
var textRows = []struct {
	in   string
	into func() text
	out  string
}{
	{"2001:db8:ff::/48", func() text { return new(Route) }, "2001:db8:ff::/48"},
	{" 2001:DB8::/32  pref high lifetime 3600", func() text { return new(Route) }, "2001:db8::/32 pref high lifetime 1h"},
	{"10.9.0.0/16 via 192.168.150.2", func() text { return new(Route) }, "10.9.0.0/16 via 192.168.150.2"},
	{"10.9.0.0/16 via", func() text { return new(Route) }, ""},
	{"10.9.0.1/16", func() text { return new(Route) }, ""},
	{"::/0 pref highest", func() text { return new(Route) }, ""},
	{"", func() text { return new(Route) }, ""},

	{"efi64=shimx64.efi", func() text { return new(BootFile) }, "efi64=shimx64.efi"},
	{"arch9=x.efi", func() text { return new(BootFile) }, "arch9=x.efi"},
	{"pxelinux.0", func() text { return new(BootFile) }, "any=pxelinux.0"},
	{"http://[2001:db8::1]/boot.ipxe?a=b", func() text { return new(BootFile) }, "any=http://[2001:db8::1]/boot.ipxe?a=b"},
	{"IPXE=http://x/boot.ipxe", func() text { return new(BootFile) }, "ipxe=http://x/boot.ipxe"},
	{"amiga=x", func() text { return new(BootFile) }, ""},
	{"arch70000=x", func() text { return new(BootFile) }, ""},
	{"bios=", func() text { return new(BootFile) }, ""},
	{"bios=a b", func() text { return new(BootFile) }, ""},

	{"4:252=text:http://wpad/wpad.dat", func() text { return new(DHCPOption) }, "4:252=text:http://wpad/wpad.dat"},
	{"6:242=ip:2001:db8::1 2001:db8::2", func() text { return new(DHCPOption) }, "6:242=ip:2001:db8::1 2001:db8::2"},
	{"4:150=ip:2001:db8::1", func() text { return new(DHCPOption) }, ""},
	{"4:0=text:x", func() text { return new(DHCPOption) }, ""},
	{"4:26=u16:70000", func() text { return new(DHCPOption) }, ""},
	{"5:26=u16:7", func() text { return new(DHCPOption) }, ""},
	{"4:26=float:7", func() text { return new(DHCPOption) }, ""},
	{"4:26", func() text { return new(DHCPOption) }, ""},
	{"4:43=hex:zz", func() text { return new(DHCPOption) }, ""},

	{"www cname web", func() text { return new(NameRecord) }, "www CNAME web"},
	{"_ldap._tcp 60 SRV 0 5 389 ldap.example.org.", func() text { return new(NameRecord) }, "_ldap._tcp 60 SRV 0 5 389 ldap.example.org."},
	{"@ TXT v=spf1  -all, \"two\"", func() text { return new(NameRecord) }, "@ TXT v=spf1  -all, \"two\""},
	{"*.web AAAA 2001:db8::1", func() text { return new(NameRecord) }, "*.web AAAA 2001:db8::1"},
	{"2001:db8::9 PTR printer", func() text { return new(NameRecord) }, "2001:db8::9 PTR printer"},
	{"2001:db8::9 TXT printer", func() text { return new(NameRecord) }, ""},
	{`web TXT "one" "t\"wo"`, func() text { return new(NameRecord) }, `web TXT "one" "t\"wo"`},
	{`web TXT "one`, func() text { return new(NameRecord) }, ""},
	{"web A 2001:db8::1", func() text { return new(NameRecord) }, ""},
	{"web SRV 0 5 ldap", func() text { return new(NameRecord) }, ""},
	{"web SRV 0 5 70000 ldap", func() text { return new(NameRecord) }, ""},
	{"web LOC here", func() text { return new(NameRecord) }, ""},
	{"a..b CNAME web", func() text { return new(NameRecord) }, ""},
	{"web", func() text { return new(NameRecord) }, ""},

	{"2001:db8::53", func() text { return new(Forwarder) }, "2001:db8::53"},
	{"corp.Example.=10.0.0.53:5353", func() text { return new(Forwarder) }, "corp.example=10.0.0.53:5353"},
	{"[2001:db8::53]:53", func() text { return new(Forwarder) }, "2001:db8::53"},
	{"fe80::1%eth0", func() text { return new(Forwarder) }, "fe80::1%eth0"},
	{"secret.example=", func() text { return new(Forwarder) }, "secret.example="},
	{"=10.0.0.1", func() text { return new(Forwarder) }, ""},
	{"a b=10.0.0.1", func() text { return new(Forwarder) }, ""},
	{"corp=there", func() text { return new(Forwarder) }, ""},

	{"1 dns.Example.org. 2001:db8::53 192.0.2.53 alpn=dot port=853", func() text { return new(EncryptedDNS) }, "1 dns.example.org 2001:db8::53 192.0.2.53 alpn=dot port=853"},
	{"2 doh.example.org dohpath=/dns-query{?dns}", func() text { return new(EncryptedDNS) }, "2 doh.example.org alpn=h2 dohpath=/dns-query{?dns}"},
	{"0 dns.example.org", func() text { return new(EncryptedDNS) }, ""},
	{"1 dns.example.org port=0", func() text { return new(EncryptedDNS) }, ""},
	{"1 dns.example.org dohpath=x", func() text { return new(EncryptedDNS) }, ""},
	{"1 dns.example.org ech=1", func() text { return new(EncryptedDNS) }, ""},
	{"1", func() text { return new(EncryptedDNS) }, ""},
}

func TestServingTexts(t *testing.T) {
	for _, row := range textRows {
		v := row.into()
		err := v.UnmarshalText([]byte(row.in))
		switch {
		case row.out == "" && err == nil:
			t.Errorf("%q was taken as %q", row.in, v)
		case row.out == "" && !Is(err, ErrInvalid):
			t.Errorf("%q: %v is not ErrInvalid", row.in, err)
		case row.out != "" && err != nil:
			t.Errorf("%q: %v", row.in, err)
		case row.out != "" && v.String() != row.out:
			t.Errorf("%q is printed as %q, want %q", row.in, v, row.out)
		}
	}
}

// FuzzServingTexts: what is taken prints as what is taken as the same.
func FuzzServingTexts(f *testing.F) {
	for _, row := range textRows {
		f.Add(row.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, make := range []func() text{
			func() text { return new(Route) }, func() text { return new(BootFile) }, func() text { return new(DHCPOption) },
			func() text { return new(NameRecord) }, func() text { return new(Forwarder) }, func() text { return new(EncryptedDNS) },
		} {
			v, again := make(), make()
			if v.UnmarshalText([]byte(s)) != nil {
				continue
			}
			if err := again.UnmarshalText([]byte(v.String())); err != nil {
				t.Errorf("%T %q prints as %q: %v", v, s, v, err)
			} else if again.String() != v.String() {
				t.Errorf("%T %q prints as %q, then as %q", v, s, v, again)
			}
		}
	})
}

func TestDHCPOptionBytes(t *testing.T) {
	for in, want := range map[string]string{
		"4:26=u16:1400 9":              "05780009",
		"4:150=ip:192.0.2.1 192.0.2.2": "c0000201c0000202",
		"6:31=ip:2001:db8::1":          "20010db8000000000000000000000001",
		"6:24=name:a.example b":        "01610765" + hex.EncodeToString([]byte("xample")) + "00016200",
		"4:43=hex:0x01:02ff":           "0102ff",
		"4:252=text:a:b":               "613a62",
		"4:2=u32:0xffffffff":           "ffffffff",
		"4:19=u8:1":                    "01",
	} {
		var o DHCPOption
		if err := o.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		b, err := o.Bytes()
		if err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%s is %x (%v), want %s", in, b, err, want)
		}
	}
}

// TestServingValidation: what guests are told is checked before it is stored,
// and each error names its key.
func TestServingValidation(t *testing.T) {
	sec := func(n int) Duration { return Duration(time.Duration(n) * time.Second) }
	zero, big, yes := Duration(0), sec(9001), true
	for key, change := range map[string]func(*Network){
		"":               func(n *Network) { n.RA.Lifetime = &zero },
		"ra.maxInterval": func(n *Network) { n.RA.MaxInterval = sec(3) },
		"ra.minInterval": func(n *Network) { n.RA.MaxInterval, n.RA.MinInterval = sec(100), sec(76) },
		"ra.lifetime":    func(n *Network) { n.RA.Lifetime = &big },
		"ra.hopLimit":    func(n *Network) { h := 256; n.RA.HopLimit = &h },
		"ra.mtu":         func(n *Network) { m := 1279; n.RA.MTU = &m },
		"ra.preference":  func(n *Network) { n.RA.Preference = "best" },
		"ra.pref64":      func(n *Network) { n.RA.PREF64 = netip.MustParsePrefix("64:ff9b::/80") },
		"dns.dns64":      func(n *Network) { n.DNS.DNS64 = netip.MustParsePrefix("64:ff9b::1/96") },
		"dns.records":    func(n *Network) { n.DNS.Records = []NameRecord{{"a", 0, "CNAME", "b"}, {"a", 0, "A", "192.0.2.1"}} },
		"dns.forwarders": func(n *Network) { n.DNS.Forwarders = make([]Forwarder, 1) },
		"dns.encrypted":  func(n *Network) { n.DNS.Encrypted = make([]EncryptedDNS, 5) },
		"routes": func(n *Network) {
			n.Routes = []Route{{Prefix: netip.MustParsePrefix("2001:db8::/48"), Via: netip.MustParseAddr("2001:db8::1")}}
		},
		"ntp":           func(n *Network) { n.NTP = []string{"not a name"} },
		"captivePortal": func(n *Network) { n.CaptivePortal = "http://portal.example" },
		"dhcp.renew":    func(n *Network) { n.DHCP.Renew, n.DHCP.Rebind = sec(100), sec(50) },
		"dhcp.limit":    func(n *Network) { n.DHCP.Limit = -1 },
		"dhcp.v6only":   func(n *Network) { d := sec(299); n.DHCP.V6Only = &d },
		"dhcp.options":  func(n *Network) { n.DHCP.Options = []DHCPOption{{IPv4, 53, "u8", "1"}} },
		"boot.root":     func(n *Network) { n.Boot.Root = "srv/tftp" },
		"boot.server":   func(n *Network) { n.Boot.Server = "not a name" },
		"boot.files":    func(n *Network) { n.Boot.Files = []BootFile{{"bios", "a"}, {"bios", "b"}} },
		"advertise.preferred": func(n *Network) {
			n.Advertise = PrefixPolicy{Preferred: sec(5401), OnLink: &yes}
		},
		"advertise": func(n *Network) { n.IPv6.Mode, n.Advertise.OnLink = EgressLinkLocal, &yes },
	} {
		n := &Network{Meta: Meta{Name: "net"}}
		n.SetDefaults()
		change(n)
		if !n.IPv6.Mode.Addressed() {
			n.IPv6.Guests = ""
		}
		err := n.Validate()
		var e *Error
		if key == "" {
			if err != nil {
				t.Errorf("a router that is nobody's default: %v", err)
			}
			continue
		}
		if e, _ = err.(*Error); e == nil || e.Field != key {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestDelegationValidation(t *testing.T) {
	for want, s := range map[string]Subnet{
		"":          {Prefix: netip.MustParsePrefix("2001:db8:8000::/40"), Delegate: 56},
		"delegate":  {Prefix: netip.MustParsePrefix("2001:db8:8000::/40"), Delegate: 40},
		"guests":    {Prefix: netip.MustParsePrefix("10.0.0.0/8"), Family: IPv4},
		"gateway":   {Prefix: netip.MustParsePrefix("2001:db8:8000::/40"), Gateway: "2001:db8:8000::1"},
		"advertise": {Prefix: netip.MustParsePrefix("2001:db8:8000::/40"), Advertise: PrefixPolicy{Off: true}},
		"ranges":    {Prefix: netip.MustParsePrefix("2001:db8:8000::/40"), Ranges: []Range{{netip.MustParseAddr("2001:db8:8000::1"), netip.MustParseAddr("2001:db8:8000::2")}}},
	} {
		s.Name, s.Network, s.Guests = "pd", "net", GuestsDelegation
		s.SetDefaults()
		err := s.Validate()
		field := ""
		if e, ok := err.(*Error); ok {
			field = e.Field
		}
		if field != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	s := Subnet{Meta: Meta{Name: "x"}, Network: "net", Prefix: netip.MustParsePrefix("2001:db8::/64"), Delegate: 64}
	s.SetDefaults()
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "delegates no prefixes") {
		t.Errorf("delegate without delegation: %v", err)
	}
}
