package vnet

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestUplinkValidate(t *testing.T) {
	prefixes := func(list string) (out []netip.Prefix) {
		for s := range strings.FieldsSeq(list) {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for _, tc := range []struct {
		what        string
		change      func(p *UplinkPolicy)
		field, want string // "" is valid
	}{
		{"nothing", func(p *UplinkPolicy) {}, "", ""},
		{"everything", func(p *UplinkPolicy) {
			*p = UplinkPolicy{Meta: Meta{Name: "enx001122334455"}, Host: "h", Shared: true, Pinned: "Both", Ask: "ON", Hint: 56,
				Prefixes: prefixes("2001:db8:100::/56 2001:db8:200::/64"), File: "/etc/sextant/prefixes",
				Command: []string{"/usr/local/bin/prefixes", "-v", ""}, Every: Duration(10 * time.Second), Settle: Duration(time.Hour)}
		}, "", ""},
		{"any", func(p *UplinkPolicy) {
			p.Name, p.Prefixes, p.Settle = AnyUplink, prefixes("2001:db8::/48"), Duration(time.Second)
		}, "", ""},
		{"three letters", func(p *UplinkPolicy) { p.Name = "wg0" }, "", ""},
		{"a VLAN", func(p *UplinkPolicy) { p.Name = "eth0.7" }, "", ""},
		{"no host", func(p *UplinkPolicy) { p.Host = "" }, "host", "host=NAME"},
		{"no name", func(p *UplinkPolicy) { p.Name = "" }, "name", "empty"},
		{"long name", func(p *UplinkPolicy) { p.Name = "abcdefghijklmnop" }, "name", "16 characters"},
		{"slash", func(p *UplinkPolicy) { p.Name = "a/b" }, "name", "character"},
		{"loopback", func(p *UplinkPolicy) { p.Name = "lo" }, "name", "another name"},
		{"tag", func(p *UplinkPolicy) { p.Tags = map[string]string{"": "x"} }, "tags", "key"},
		{"pinned", func(p *UplinkPolicy) { p.Pinned = "yes" }, "pinned", "ipv4, ipv6 or both"},
		{"ask", func(p *UplinkPolicy) { p.Ask = "yes" }, "ask", "auto, on or off"},
		{"short hint", func(p *UplinkPolicy) { p.Hint = 31 }, "hint", "32 to 64"},
		{"long hint", func(p *UplinkPolicy) { p.Hint = 65 }, "hint", "32 to 64"},
		{"IPv4 prefix", func(p *UplinkPolicy) { p.Prefixes = prefixes("192.0.2.0/24") }, "prefixes", "IPv6 one is wanted"},
		{"longer than /64", func(p *UplinkPolicy) { p.Prefixes = prefixes("2001:db8::/80") }, "prefixes", "ipv6=proxied"},
		{"host bits", func(p *UplinkPolicy) { p.Prefixes = prefixes("2001:db8::1/64") }, "prefixes", "write 2001:db8::/64"},
		{"unique local", func(p *UplinkPolicy) { p.Prefixes = prefixes("fd00:1::/48") }, "prefixes", "unique local"},
		{"link-local", func(p *UplinkPolicy) { p.Prefixes = prefixes("fe80::/64") }, "prefixes", "link-local"},
		{"all there is", func(p *UplinkPolicy) { p.Prefixes = prefixes("2000::/3") }, "prefixes", "more than anybody"},
		{"overlap", func(p *UplinkPolicy) { p.Prefixes = prefixes("2001:db8:0:7::/64 2001:db8::/56") }, "prefixes", "overlaps"},
		{"too many", func(p *UplinkPolicy) { p.Prefixes = make([]netip.Prefix, 17) }, "prefixes", "at most 16"},
		{"relative file", func(p *UplinkPolicy) { p.File = "prefixes" }, "file", "absolute path"},
		{"relative program", func(p *UplinkPolicy) { p.Command = []string{"prefixes"} }, "command", "absolute path"},
		{"no program", func(p *UplinkPolicy) { p.Command = []string{""} }, "command", "absolute path"},
		{"NUL", func(p *UplinkPolicy) { p.Command = []string{"/bin/true", "a\x00b"} }, "command", "NUL"},
		{"too often", func(p *UplinkPolicy) { p.Every = Duration(9 * time.Second) }, "every", "10s"},
		{"too seldom", func(p *UplinkPolicy) { p.Every = Duration(25 * time.Hour) }, "every", "24h"},
		{"settles late", func(p *UplinkPolicy) { p.Settle = Duration(61 * time.Minute) }, "settle", "1h"},
		{"any shared", func(p *UplinkPolicy) { p.Name, p.Shared = AnyUplink, true }, "shared", "name the link"},
		{"any pinned", func(p *UplinkPolicy) { p.Name, p.Pinned = AnyUplink, "ipv4" }, "pinned", "name the link"},
		{"any asked", func(p *UplinkPolicy) { p.Name, p.Ask = AnyUplink, AskOff }, "ask", "name the link"},
		{"any hinted", func(p *UplinkPolicy) { p.Name, p.Hint = AnyUplink, 56 }, "hint", "name the link"},
	} {
		p := UplinkPolicy{Meta: Meta{Name: "eth0"}, Host: "h"}
		tc.change(&p)
		p.SetDefaults()
		kind := ErrKind("")
		if tc.field != "" {
			kind = ErrInvalid
		}
		judge(t, tc.what, p.Validate(), kind, tc.field, tc.want)
	}
}

func TestUplinkFold(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := UplinkPolicy{Shared: true, Until: now}
	if p.Fold(now.Add(-1)) || !p.SharedAt(now.Add(-1)) {
		t.Error("taken back before its time")
	}
	if p.SharedAt(now) || !p.Fold(now) || p.Shared || !p.Until.IsZero() || p.Fold(now) {
		t.Errorf("not taken back: %+v", p)
	}
	p = UplinkPolicy{Before: true, Until: now}
	if !p.Fold(now) || !p.Shared || p.Before {
		t.Errorf("the end of sharing was not taken back: %+v", p)
	}
}

func TestNAT64Wanted(t *testing.T) {
	for _, tc := range []struct {
		key    NAT64
		v4, v6 Egress
		want   bool
	}{
		{"", EgressNone, EgressAuto, true},
		{"auto", EgressNone, EgressProxied, true},
		{"AUTO", EgressNone, EgressRouted, true},
		{"", EgressNAT, EgressAuto, false},
		{"", EgressIsolated, EgressAuto, false},
		{"", EgressNone, EgressULA, false},
		{"", EgressNone, EgressIsolated, false},
		{"", EgressNone, EgressBridged, false},
		{"off", EgressNone, EgressAuto, false},
		{"64:ff9b::/96", EgressNone, EgressAuto, true},
		{"64:ff9b::/96", EgressNAT, EgressAuto, true},
		{"64:ff9b::/96", EgressNone, EgressNone, false},
	} {
		n := Network{NAT64: tc.key, IPv4: FamilyPolicy{Mode: tc.v4}, IPv6: FamilyPolicy{Mode: tc.v6}}
		if got := n.NAT64Wanted(); got != tc.want {
			t.Errorf("nat64=%s ipv4=%s ipv6=%s: %t", tc.key, tc.v4, tc.v6, got)
		}
	}
	n := Network{NAT64: " 2001:DB8:64::/96"}
	n.SetDefaults()
	if n.NAT64 != "2001:db8:64::/96" || n.NAT64.Prefix() != netip.MustParsePrefix("2001:db8:64::/96") || NAT64Off.Prefix().IsValid() {
		t.Errorf("%q is %v", n.NAT64, n.NAT64.Prefix())
	}
}
