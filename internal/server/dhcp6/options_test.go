package dhcp6

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// codes are the options of an answer beside the identifiers and IAs.
func codes(m *dhcpv6.Message) []int {
	var out []int
	for _, o := range m.Options.Options {
		if c := int(o.Code()); c != optClientID && c != optServerID && c != optIANA && c != optIAPD && c != optRapidCommit {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

// body is the first option of a code, in hex.
func body(m *dhcpv6.Message, code int) string {
	if o := m.GetOneOption(dhcpv6.OptionCode(code)); o != nil {
		return hex.EncodeToString(o.ToBytes())
	}
	return "none"
}

func hexName(s string) string { return hex.EncodeToString(vnet.AppendName(nil, s)) }

// richService is a network that tells its guests everything there is to tell.
func richService() plan.Service {
	svc := service()
	svc.NTP = []string{"2001:db8::123", "192.0.2.123", "ff05::101", "time.example"}
	svc.CaptivePortal = "https://portal.example/api"
	svc.DNS.Search = []string{"one.example", "two.example"}
	svc.DNS.Encrypted = []vnet.EncryptedDNS{
		{Priority: 1, Name: "dns.example", Addresses: []netip.Addr{ip("2001:db8::53"), ip("192.0.2.53")}, ALPN: []string{"dot"}, Port: 8853},
		{Priority: 2, Name: "other.example"},
	}
	svc.DHCP = vnet.DHCPPolicy{Preference: 7, Refresh: vnet.Duration(20 * time.Minute)}
	return svc
}

func ask(codes ...int) []dhcpv6.OptionCode {
	var out []dhcpv6.OptionCode
	for _, c := range codes {
		out = append(out, dhcpv6.OptionCode(c))
	}
	return out
}

var everything = ask(optPreference, optDNS, optSearch, optSNTP, optRefresh, optNTP, optSolMaxRT, optInfMaxRT, optPortal, optEncryptedDNS, optAddressReport, optBootURL, optFQDN)

func TestOptionRequest(t *testing.T) {
	f := newFake(t, richService())
	for _, c := range []struct {
		m    msg
		want []int
	}{
		{msg{kind: dhcpv6.MessageTypeInformationRequest}, []int{23, 24}},
		{msg{kind: dhcpv6.MessageTypeInformationRequest, oro: ask(82)}, []int{82}},
		{msg{kind: dhcpv6.MessageTypeInformationRequest, oro: everything}, []int{23, 24, 31, 32, 56, 56, 56, 82, 83, 103, 144, 144, 148}},
		{msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, oro: everything}, []int{7, 23, 24, 31, 56, 56, 56, 82, 83, 103, 144, 144, 148}},
		{msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, oro: ask(23)}, []int{7, 23}},
		{msg{kind: dhcpv6.MessageTypeRequest, server: true, duid: duidUUID(1), ias: []string{"1"}, oro: everything}, []int{23, 24, 31, 56, 56, 56, 82, 83, 103, 144, 144, 148}},
	} {
		if got := codes(f.send(c.m.packet())); !slices.Equal(got, c.want) {
			t.Errorf("%v %v: %v, want %v", c.m.kind, c.m.oro, got, c.want)
		}
	}
}

func TestOptionBodies(t *testing.T) {
	f := newFake(t, richService())
	m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, oro: everything}.packet())
	addr := func(s string) string { return hex.EncodeToString(ip(s).AsSlice()) }
	for code, want := range map[int]string{
		optDNS: addr("2001:db8:1::1"), optSearch: hexName("one.example") + hexName("two.example"), optSNTP: addr("2001:db8::123"),
		optRefresh: "000004b0", optSolMaxRT: "0000012c", optInfMaxRT: "0000012c", optPortal: hex.EncodeToString([]byte("https://portal.example/api")),
		optAddressReport: "",
	} {
		if got := body(m, code); got != want {
			t.Errorf("option %d: %s, want %s", code, got, want)
		}
	}
	var ntp, dnr []string
	for _, o := range m.Options.Options {
		switch o.Code() {
		case optNTP:
			ntp = append(ntp, hex.EncodeToString(o.ToBytes()))
		case optEncryptedDNS:
			dnr = append(dnr, hex.EncodeToString(o.ToBytes()))
		}
	}
	if want := []string{"00010010" + addr("2001:db8::123"), "00020010" + addr("ff05::101"), fmt.Sprintf("0003%04x", 14) + hexName("time.example")}; !slices.Equal(ntp, want) {
		t.Errorf("NTP %v, want %v", ntp, want)
	}
	name := hexName("dns.example")
	if want := []string{
		fmt.Sprintf("0001%04x%s", len(name)/2, name) + "0010" + addr("2001:db8::53") + "0001" + "0004" + "03646f74" + "0003" + "0002" + "2295",
		fmt.Sprintf("0002%04x%s", 15, hexName("other.example")),
	}; !slices.Equal(dnr, want) {
		t.Errorf("DNR %v, want %v", dnr, want)
	}
}

func TestWrittenOptions(t *testing.T) {
	svc := richService()
	for _, s := range []string{"6:23=ip:2001:db8::99", "6:17=hex:000000090001000141", "4:23=hex:01", "6:32=u32:900", "6:39=hex:00", "6:7=u8:9"} {
		var o vnet.DHCPOption
		if err := o.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		svc.DHCP.Options = append(svc.DHCP.Options, o)
	}
	f := newFake(t, svc)
	m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, oro: ask(23, 17, 32, 39), name: "a.b"}.packet())
	if got := codes(m); !slices.Equal(got, []int{17, 23, 32, 39}) || body(m, 17) != "000000090001000141" || body(m, 32) != "00000384" || body(m, 39) != "00" ||
		body(m, 23) != hex.EncodeToString(ip("2001:db8::99").AsSlice()) {
		t.Errorf("options %v: %v", got, m)
	}
	m = f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}}.packet())
	if got := body(m, optPreference); got != "09" {
		t.Errorf("preference %s", got)
	}
}

// A network that is not the guest's default network tells it nothing about the
// outside.
func TestNoDefaultRoute(t *testing.T) {
	f := newFake(t, richService())
	g := guest(1, "2001:db8:1::11")
	g.DefaultRoute = false
	f.SetGuest(g)
	m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidLL(mac(1)), ias: []string{"1"}, rapid: true, oro: everything}.packet())
	if got := codes(m); !slices.Equal(got, []int{31, 56, 56, 56, 82, 83, 148}) || !strings.Contains(text(m), "2001:db8:1::11/") {
		t.Errorf("%s: options %v", text(m), got)
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		policy vnet.DHCPPolicy
		want   string
	}{
		{vnet.DHCPPolicy{}, "2250/3600 T1 1125 T2 1800"},
		{vnet.DHCPPolicy{Preferred: vnet.Duration(30 * time.Minute)}, "1800/3600 T1 900 T2 1440"},
		{vnet.DHCPPolicy{Preferred: vnet.Duration(2 * time.Hour)}, "3600/3600 T1 1800 T2 2880"},
		{vnet.DHCPPolicy{Renew: vnet.Duration(5 * time.Minute), Rebind: vnet.Duration(10 * time.Minute)}, "2250/3600 T1 300 T2 600"},
		{vnet.DHCPPolicy{Renew: vnet.Duration(50 * time.Minute)}, "2250/3600 T1 1800 T2 1800"},
		{vnet.DHCPPolicy{Rebind: vnet.Duration(50 * time.Minute)}, "2250/3600 T1 1125 T2 2250"},
	} {
		svc := service()
		svc.DHCP = c.policy
		f := newFake(t, svc)
		m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true}.packet())
		o := m.Options.OneIANA()
		a := o.Options.OneAddress()
		if got := fmt.Sprintf("%d/%d T1 %d T2 %d", a.PreferredLifetime/time.Second, a.ValidLifetime/time.Second, o.T1/time.Second, o.T2/time.Second); got != c.want {
			t.Errorf("%+v: %s, want %s", c.policy, got, c.want)
		}
	}
	// Guests of prefixes that move renew soon, unless the network says otherwise.
	for renew, want := range map[time.Duration]time.Duration{0: 5 * time.Minute, 10 * time.Minute: 10 * time.Minute, time.Minute: time.Minute} {
		svc := service()
		svc.Moves, svc.DHCP.Renew = true, vnet.Duration(renew)
		m := newFake(t, svc).send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true}.packet())
		if o := m.Options.OneIANA(); o.T1 != want || o.T2 != 30*time.Minute {
			t.Errorf("prefixes move: T1 %v, T2 %v, want T1 %v", o.T1, o.T2, want)
		}
	}
	// The IAs of a message have the same T1 and T2.
	short := subnet("2001:db8:2::/64")
	short.PreferredUntil = start.Add(10 * time.Minute)
	f := newFake(t, service(short, delegation("2001:db8:f000::/40", 56)))
	m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, pds: []string{"2"}, rapid: true}.packet())
	if na, pd := m.Options.OneIANA(), m.Options.OneIAPD(); na.T1 != 5*time.Minute || pd.T1 != na.T1 || pd.T2 != na.T2 {
		t.Errorf("T1 %v and %v", na.T1, pd.T1)
	}
}

func TestRapidCommit(t *testing.T) {
	off := false
	for _, c := range []struct {
		policy *bool
		rapid  bool
		want   string
	}{{nil, true, "reply"}, {nil, false, "advertise"}, {&off, true, "advertise"}} {
		svc := service()
		svc.DHCP.RapidCommit = c.policy
		f := newFake(t, svc)
		m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: c.rapid}.packet())
		if got := text(m); !strings.HasPrefix(got, c.want+" 1[") || (m.GetOneOption(optRapidCommit) != nil) != (c.want == "reply") {
			t.Errorf("%v: %s", c, got)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags byte
		port  bool
		asks  bool
		want  string
	}{
		{"a name we are to publish", 1, false, true, "01" + hexName("desk.default.internal")},
		{"one that it wants to publish itself", 0, false, true, "03" + hexName("desk.default.internal")},
		{"one that nobody is to publish", 4, false, true, "04" + hexName("desk.default.internal")},
		{"a port's own name wins", 0, true, true, "03" + hexName("vm1.default.internal")},
		{"a port's is published in any case", 4, true, true, "03" + hexName("vm1.default.internal")},
		{"not asked for", 1, false, false, "none"},
	} {
		f := newFake(t, service())
		m := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true, oro: ask(23)}
		if c.asks {
			m.oro = ask(optFQDN)
		}
		m.extra = []dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionFQDN, OptionData: append([]byte{c.flags}, vnet.AppendName(nil, "Desk.example")...)}}
		if c.port {
			f.SetGuest(guest(1, "2001:db8:1::11"))
			m.port = "port1"
		}
		if got := body(f.send(m.packet()), optFQDN); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		for _, l := range append(f.claims, f.granted...) {
			if want := map[bool]string{true: "", false: "desk"}[c.flags == 4]; l.Hostname != want {
				t.Errorf("%s: the lease is called %q", c.name, l.Hostname)
			}
		}
	}
}

func TestBoot(t *testing.T) {
	arch := func(n ...iana.Arch) dhcpv6.Option { return dhcpv6.OptClientArchType(n...) }
	userClass := func(s string) dhcpv6.Option { return &dhcpv6.OptUserClass{UserClasses: [][]byte{[]byte(s)}} }
	vendorClass := func(s string) dhcpv6.Option {
		return &dhcpv6.OptVendorClass{EnterpriseNumber: 343, Data: [][]byte{[]byte(s)}}
	}
	svc := service()
	svc.Boot = vnet.BootPolicy{Root: "/srv/tftp", Params: []string{"a", "bc"}, Files: []vnet.BootFile{
		{Client: "efi64", File: "grubx64.efi"}, {Client: "http-efi64", File: "https://boot.example/x64.efi"}, {Client: "ipxe", File: "http://boot.example/menu"},
		{Client: "arch11", File: "arm.efi"}, {Client: "any", File: "/fallback"},
	}}
	tftp := "tftp://[2001:db8:1::1]/"
	for _, c := range []struct {
		name  string
		extra []dhcpv6.Option
		want  string
	}{
		{"x64", []dhcpv6.Option{arch(7)}, tftp + "grubx64.efi"},
		{"x64 under its old number", []dhcpv6.Option{arch(9)}, tftp + "grubx64.efi"},
		{"arm64 by number", []dhcpv6.Option{arch(11)}, tftp + "arm.efi"},
		{"the client's order", []dhcpv6.Option{arch(27, 11, 7)}, tftp + "arm.efi"},
		{"another", []dhcpv6.Option{arch(27)}, tftp + "fallback"},
		{"nothing is known", nil, tftp + "fallback"},
		{"iPXE", []dhcpv6.Option{arch(7), userClass("iPXE")}, "http://boot.example/menu"},
		{"HTTP", []dhcpv6.Option{arch(16), vendorClass("HTTPClient:Arch:00016:UNDI:003001")}, "https://boot.example/x64.efi"},
		{"HTTP, with a file of TFTP only", []dhcpv6.Option{arch(19), vendorClass("HTTPClient:Arch:00019")}, ""},
	} {
		f := newFake(t, svc)
		m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, extra: c.extra, oro: ask(optBootURL, optBootParams)}.packet())
		want := map[int]string{optBootURL: hex.EncodeToString([]byte(c.want)), optBootParams: "00016100026263", optVendorClass: "none"}
		if c.want == "" {
			want[optBootURL], want[optBootParams] = "none", "none"
		}
		if c.name == "HTTP" {
			want[optVendorClass] = "00000157" + "000a" + hex.EncodeToString([]byte("HTTPClient"))
		}
		for code, w := range want {
			if got := body(m, code); got != w {
				t.Errorf("%s: option %d is %s, want %s", c.name, code, got, w)
			}
		}
	}
	for server, want := range map[string]string{"2001:db8::69": "tftp://[2001:db8::69]/fallback", "boot.example": "tftp://boot.example/fallback", "192.0.2.69": tftp + "fallback"} {
		svc.Boot.Server = server
		f := newFake(t, svc)
		m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, oro: ask(optBootURL)}.packet())
		if got, _ := hex.DecodeString(body(m, optBootURL)); string(got) != want {
			t.Errorf("server %s: %s, want %s", server, got, want)
		}
		if m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest}.packet()); body(m, optBootURL) != "none" {
			t.Error("a system that does not ask is told what to boot")
		}
	}
	svc.Boot.Server, svc.Boot.Root = "192.0.2.69", ""
	f := newFake(t, svc)
	if m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, oro: ask(optBootURL)}.packet()); body(m, optBootURL) != "none" {
		t.Error("a boot server of the other family")
	}
}

// IA_TA is obsolete (RFC 9915): it is passed over, the rest is answered.
func TestTemporaryAddresses(t *testing.T) {
	f := newFake(t, service())
	ta := &dhcpv6.OptionGeneric{OptionCode: optIATA, OptionData: []byte{0, 0, 0, 9}}
	m := f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), extra: []dhcpv6.Option{ta}}.packet())
	if m == nil || m.GetOneOption(optIATA) != nil || f.Table().Len() != 0 {
		t.Errorf("%v", m)
	}
}
