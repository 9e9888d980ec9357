package ipam

import (
	"math"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

var (
	pfx = netip.MustParsePrefix
	adr = netip.MustParseAddr
)

func TestNthSubnet(t *testing.T) {
	for _, tc := range []struct {
		p    string
		len  int
		n    uint64
		want string // "" is an error
	}{
		{"2001:db8::/48", 64, 0, "2001:db8::/64"},
		{"2001:db8::/48", 64, 5, "2001:db8:0:5::/64"},
		{"2001:db8::/48", 64, 65535, "2001:db8:0:ffff::/64"},
		{"2001:db8::/48", 64, 65536, ""},
		{"2001:db8::/64", 64, 0, "2001:db8::/64"},
		{"2001:db8::/64", 48, 0, ""},
		{"2001:db8::/64", 129, 0, ""},
		{"::/0", 128, math.MaxUint64, "::ffff:ffff:ffff:ffff/128"},
		{"2001:db8::/32", 96, 1 << 40, "2001:db8:0:100::/96"},
		{"10.0.0.0/8", 24, 257, "10.1.1.0/24"},
		{"10.0.0.0/8", 24, 65536, ""},
		{"0.0.0.0/0", 32, math.MaxUint32, "255.255.255.255/32"},
	} {
		got, err := NthSubnet(pfx(tc.p), tc.len, tc.n)
		if tc.want == "" && err == nil || tc.want != "" && (err != nil || got.String() != tc.want) {
			t.Errorf("%s /%d number %d: %v, %v, want %q", tc.p, tc.len, tc.n, got, err, tc.want)
		}
	}
	if _, err := NthSubnet(pfx("2001:db8::/48"), 64, 65536); !vnet.Is(err, vnet.ErrExhausted) {
		t.Errorf("beyond the last: %v", err)
	}
	if _, err := NthSubnet(netip.Prefix{}, 64, 0); err == nil {
		t.Error("cut from nothing")
	}
}

func TestHostPart(t *testing.T) {
	for _, tc := range []struct {
		p    string
		host uint64
		want string
	}{
		{"2001:db8:5::/64", 0x1234, "2001:db8:5::1234"},
		{"2001:db8:5::/64", math.MaxUint64, "2001:db8:5:0:ffff:ffff:ffff:ffff"},
		{"2001:db8::/48", 7, "2001:db8::7"},
		{"2001:db8:0:0:5::/80", 7, "2001:db8::5:0:0:7"},
		{"2001:db8:0:0:5::/80", 0x0005000000000007, "2001:db8::5:0:0:7"},
		{"2001:db8:0:0:5::/80", 0x0006000000000007, ""},
		{"192.168.1.0/24", 7, "192.168.1.7"},
		{"192.168.1.0/24", 256, ""},
		{"10.0.0.0/8", 65536, "10.1.0.0"},
		{"192.168.1.0/24", 1 << 40, ""},
	} {
		a, err := Join(pfx(tc.p), tc.host)
		if tc.want == "" {
			if err == nil {
				t.Errorf("%s + %#x = %s", tc.p, tc.host, a)
			}
			continue
		}
		if err != nil || a.String() != tc.want {
			t.Errorf("%s + %#x = %s, %v, want %s", tc.p, tc.host, a, err, tc.want)
		}
	}
	for _, tc := range []struct {
		p, a string
		host uint64
		ok   bool
	}{
		{"2001:db8::/64", "2001:db8:0:1::1", 0, false},
		{"2001:db8::/48", "2001:db8:0:1::1", 1, false}, // its last 64 bits do not name it
		{"2001:db8::/48", "2001:db8::1", 1, true},
		{"192.168.1.0/24", "::ffff:192.168.1.7", 0, false},
		{"192.168.1.0/24", "192.168.1.255", 255, true},
		{"10.0.0.0/8", "10.1.0.1", 65537, true},
	} {
		if host, ok := HostPart(pfx(tc.p), adr(tc.a)); ok != tc.ok || ok && host != tc.host {
			t.Errorf("%s in %s: %#x, %v", tc.a, tc.p, host, ok)
		}
	}
}

// drawPrefix draws a masked prefix of either family, often a short common one
// so that overlaps happen.
func drawPrefix(t *rapid.T, label string) netip.Prefix {
	if rapid.Bool().Draw(t, label+" is IPv4") {
		var b [4]byte
		copy(b[:], rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 128, 255}), 4, 4).Draw(t, label))
		return netip.PrefixFrom(netip.AddrFrom4(b), rapid.IntRange(0, 32).Draw(t, label+" bits")).Masked()
	}
	b := [16]byte{0: 0xfd}
	copy(b[1:], rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 128, 255}), 15, 15).Draw(t, label))
	return netip.PrefixFrom(netip.AddrFrom16(b), rapid.IntRange(0, 128).Draw(t, label+" bits")).Masked()
}

func TestSubnetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrefix(t, "p")
		length := rapid.IntRange(p.Bits(), p.Addr().BitLen()).Draw(t, "length")
		n := rapid.Uint64().Draw(t, "n")
		if count, exact := SubnetCount(p, length); exact {
			n %= count
		}
		sub, err := NthSubnet(p, length, n)
		if err != nil {
			t.Fatalf("%s /%d number %d: %v", p, length, n, err)
		}
		if sub != sub.Masked() || sub.Bits() != length || !Contains(p, sub) || !Overlaps(p, sub) || !Overlaps(sub, p) {
			t.Fatalf("%s is not a /%d of %s", sub, length, p)
		}
		if i, ok := SubnetIndex(p, sub); !ok || i != n {
			t.Fatalf("%s is number %d, %v of %s, want %d", sub, i, ok, p, n)
		}
		if last := Last(p); !p.Contains(last) || p.Contains(last.Next()) {
			t.Fatalf("%s is not the last of %s", last, p)
		}
		host := rapid.Uint64().Draw(t, "host")
		if a, err := Join(p, host); err == nil {
			back, ok := HostPart(p, a)
			again, err := Join(p, back)
			if !ok || err != nil || again != a {
				t.Fatalf("%s + %#x = %s, whose host part is %#x, %v", p, host, a, back, ok)
			}
			if p.Bits() <= 64 && back != host && a.Is6() {
				t.Fatalf("%s + %#x has host part %#x", p, host, back)
			}
		}
	})
}

func TestSolicitedNode(t *testing.T) {
	if got := SolicitedNode(adr("2001:db8::28:5678:9abc")); got != adr("ff02::1:ff78:9abc") {
		t.Error(got)
	}
	if SolicitedNode(adr("192.0.2.1")).IsValid() {
		t.Error("IPv4 has no solicited-node group")
	}
	if got := SubnetRouterAnycast(pfx("2001:db8::7/64")); got != adr("2001:db8::") {
		t.Error(got)
	}
}
