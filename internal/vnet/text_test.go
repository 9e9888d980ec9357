package vnet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddr(t *testing.T) {
	for _, tc := range []struct{ in, out, fault string }{
		{in: "2001:db8::1", out: "2001:db8::1"},
		{in: " 2001:DB8:0:0:0:0:0:1 ", out: "2001:db8::1"},
		{in: "2001:0db8:0000:0000:0001:0000:0000:0001", out: "2001:db8::1:0:0:1"},
		{in: "2001:db8:0:1:1:1:1:1", out: "2001:db8:0:1:1:1:1:1"}, // RFC 5952 4.2.2: not for one group
		{in: "2001:0:0:1:0:0:0:1", out: "2001:0:0:1::1"},          // 4.2.3: the longest run
		{in: "[2001:db8::1]", out: "2001:db8::1"},
		{in: "::", out: "::"},
		{in: "::ffff:1.2.3.4", out: "::ffff:1.2.3.4"},
		{in: "::ffff:102:304", out: "::ffff:1.2.3.4"},
		{in: "64:ff9b::192.0.2.1", out: "64:ff9b::c000:201"},
		{in: "192.0.2.1", out: "192.0.2.1"},
		{in: "fe80::1%eth0", fault: "one host only; write fe80::1"},
		{in: "[fe80::1%eth0]", fault: "one host only"},
		{in: "", fault: "empty"},
		{in: "2001:db8::1/64", fault: "without a prefix length"},
		{in: "[2001:db8::1]:53", fault: "has a port, an address alone is wanted; write 2001:db8::1"},
		{in: "[2001:db8::1", fault: "closing bracket"},
		{in: "[192.0.2.1]", fault: "brackets"},
		{in: "[2001:db8::1]x", fault: "brackets"},
		{in: "1::2::3", fault: "one ::"},
		{in: "1:::3", fault: "one ::"},
		{in: "2001:db8:1", fault: "8 groups"},
		{in: "2001:db8::00001", fault: "1 to 4 hex digits"},
		{in: "192.168.01.1", fault: "octal"},
		{in: "192.168.1", fault: "no IPv4 or IPv6 address"},
		{in: "example.org", fault: "no IPv4 or IPv6 address"},
		{in: "192.0.2.1\n" + strings.Repeat("x", 1000), fault: "…"},
	} {
		a, err := ParseAddr(tc.in)
		checkText(t, tc.in, FormatAddr(a), err, tc.out, tc.fault)
	}
	if a, err := ParseAddrZone("[fe80::1%eth0]"); err != nil || FormatAddr(a) != "fe80::1%eth0" {
		t.Errorf("with a zone: %v, %v", a, err)
	}
}

// checkText compares a parse with what is wanted: out, or an error of one line
// with the fault in it.
func checkText(t *testing.T, in, got string, err error, out, fault string) {
	t.Helper()
	switch {
	case fault == "" && (err != nil || got != out):
		t.Errorf("%q: got %q, %v, want %q", in, got, err, out)
	case fault != "" && (err == nil || KindOf(err) != ErrInvalid || !strings.Contains(err.Error(), fault)):
		t.Errorf("%q: got %q, %v, want …%s…", in, got, err, fault)
	case fault != "" && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 300):
		t.Errorf("%q: the error is no single short line: %v", in, err)
	}
}

func TestParsePrefix(t *testing.T) {
	for _, tc := range []struct{ in, out, fault string }{
		{in: "2001:db8:5::/64", out: "2001:db8:5::/64"},
		{in: "[2001:DB8:5::]/64", out: "2001:db8:5::/64"},
		{in: "192.168.1.0/24", out: "192.168.1.0/24"},
		{in: "192.168.1.0/255.255.255.0", out: "192.168.1.0/24"},
		{in: "0.0.0.0/0.0.0.0", out: "0.0.0.0/0"},
		{in: "192.0.2.1/255.255.255.255", out: "192.0.2.1/32"},
		{in: "::/0", out: "::/0"},
		{in: "2001:db8:5::1/64", fault: "host bits below /64; write 2001:db8:5::/64"},
		{in: "192.168.1.7/24", fault: "write 192.168.1.0/24"},
		{in: "2001:db8::/129", fault: "/129 is no prefix length of ipv6; write /0 to /128"},
		{in: "192.168.1.0/33", fault: "write /0 to /32"},
		{in: "192.168.1.0/-1", fault: "no prefix length"},
		{in: "192.168.1.0/+4", fault: "no prefix length"},
		{in: "192.168.1.0/", fault: "no prefix length"},
		{in: "192.168.1.0/99999999999999999999", fault: "no prefix length"},
		{in: "192.168.1.0/255.0.255.0", fault: "gaps"},
		{in: "192.168.1.0/0.0.0.255", fault: "gaps"},
		{in: "192.168.1.0/255.255.255", fault: "no netmask"},
		{in: "2001:db8::/255.255.255.0", fault: "no prefix length of ipv6"},
		{in: "2001:db8::", fault: "has no prefix length; write 2001:db8::/64"},
		{in: "192.168.1.0", fault: "write 192.168.1.0/24"},
		{in: "fe80::%eth0/64", fault: "zone"},
		{in: "fe80::/64%eth0", fault: "zone"},
		{in: "x/24", fault: "no IPv4 or IPv6 address"},
		{in: "/24", fault: "empty"},
	} {
		p, err := ParsePrefix(tc.in)
		checkText(t, tc.in, FormatPrefix(p), err, tc.out, tc.fault)
	}
	p, err := ParseInterfacePrefix("2001:db8:5::1/64")
	checkText(t, "host bits", FormatPrefix(p), err, "2001:db8:5::1/64", "")
}

func TestParseRange(t *testing.T) {
	within := netip.MustParsePrefix("2001:db8:5::/64")
	for _, tc := range []struct{ in, out, fault string }{
		{in: "192.168.1.10-192.168.1.20", out: "192.168.1.10-192.168.1.20"},
		{in: " 192.168.1.10 - 192.168.1.20 ", out: "192.168.1.10-192.168.1.20"},
		{in: "2001:db8:5::10-2001:db8:5::20", out: "2001:db8:5::10-2001:db8:5::20"},
		{in: "::10-::20", out: "2001:db8:5::10-2001:db8:5::20"},
		{in: "::1:0:0:0-::1:0:0:ff", out: "2001:db8:5:0:1::-2001:db8:5:0:1::ff"},
		{in: "::10", out: "2001:db8:5::10"},
		{in: "::20-::10", fault: "ends before it begins; write 2001:db8:5::10-2001:db8:5::20"},
		{in: "::10-", fault: "lacks one end"},
		{in: "-", fault: "lacks one end"},
		{in: "::10-192.168.1.1", fault: "mixes"},
		{in: "a-b", fault: "no IPv4 or IPv6 address"},
		{in: "fe80::1%a-fe80::2%a", fault: "zone"},
	} {
		r, err := ParseRange(tc.in, within)
		checkText(t, tc.in, r.String(), err, tc.out, tc.fault)
	}
	if r, err := ParseRange("::10-::20", netip.Prefix{}); err != nil || r.String() != "::10-::20" {
		t.Errorf("relative to nothing: %v, %v", r, err)
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"2001:db8::1", "[::1]", "::ffff:1.2.3.4", "fe80::1%eth0", "1.2.3.4", "[", "[]", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseAddr(s); err == nil {
			if b, err := ParseAddr(FormatAddr(a)); err != nil || a != b {
				t.Errorf("%q: %v prints as %q, which parses as %v, %v", s, a, FormatAddr(a), b, err)
			}
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", s, err)
		}
		if a, err := ParseAddrZone(s); err == nil {
			if b, err := ParseAddrZone(FormatAddr(a)); err != nil || a != b {
				t.Errorf("%q: %v prints as %q, which parses as %v, %v", s, a, FormatAddr(a), b, err)
			}
		}
	})
}

func FuzzParsePrefix(f *testing.F) {
	for _, s := range []string{"2001:db8::/64", "192.168.1.1/255.255.255.0", "::ffff:1.2.3.4/120", "::/0", "/", "%/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseInterfacePrefix(s)
		if err != nil {
			return
		}
		if q, err := ParseInterfacePrefix(FormatPrefix(p)); err != nil || p != q {
			t.Errorf("%q: %v prints as %q, which parses as %v, %v", s, p, FormatPrefix(p), q, err)
		}
		if m, err := ParsePrefix(s); err == nil && m != m.Masked() {
			t.Errorf("%q: %v has host bits", s, m)
		}
		for _, f := range Families {
			_ = checkPrefix("x", f, p)
			_ = checkGateway("x", p, FirstAddr(p))
		}
	})
}

func FuzzParseRange(f *testing.F) {
	f.Add("::10-::20", "2001:db8::/64")
	f.Add("192.168.1.10 - 192.168.1.20", "")
	f.Fuzz(func(t *testing.T, s, in string) {
		within, _ := ParsePrefix(in)
		r, err := ParseRange(s, within)
		if err != nil {
			return
		}
		if q, err := ParseRange(r.String(), netip.Prefix{}); err != nil || q != r {
			t.Errorf("%q: %v parses as %v, %v", s, r, q, err)
		}
		if !r.Contains(r.First) || !r.Contains(r.Last) || !r.Overlaps(r) {
			t.Errorf("%v does not contain its ends", r)
		}
	})
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"52:54:00:aa:00:01", "52-54-00-AA-00-01", "5254.00aa.0001", "52:54-00:aa:00:01", "52:54:00:aa:00:0g", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		if o, err := ParseMAC(m.String()); err != nil || o != m {
			t.Errorf("%q: %v parses as %v, %v", s, m, o, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90s", "12h", "2h30m", "7d", "1d12h", "43200", "0", "1.5h", "-1s", "d", "99999d", "9223372036s", "65535d2562047h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if o, err := ParseDuration(d.String()); err != nil || o != d || d < 0 {
			t.Errorf("%q: %v parses as %v, %v", s, d, o, err)
		}
	})
}
