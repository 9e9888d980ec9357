package ipam

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestOverlaps(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"10.0.0.0/8", "10.1.2.0/24", true},
		{"10.1.2.0/24", "10.0.0.0/8", true},
		{"10.1.2.0/24", "10.1.2.0/24", true},
		{"10.1.2.0/24", "10.1.3.0/24", false},
		{"fd00::/8", "fd12:3456:789a:1::/64", true},
		{"fd12:3456:789a:1::/64", "fd12:3456:789a:2::/64", false},
		{"::/0", "10.0.0.0/8", false},
		{"::ffff:10.1.2.0/120", "10.0.0.0/8", true},
		{"10.1.2.77/24", "10.1.2.3/32", true}, // host bits
	} {
		if got := Overlaps(pfx(tc.a), pfx(tc.b)); got != tc.want {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
	if Overlaps(netip.Prefix{}, pfx("::/0")) {
		t.Error("nothing overlaps")
	}
}

func TestSetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Set[int]
		held := make([]netip.Prefix, rapid.IntRange(0, 40).Draw(t, "n"))
		for i := range held {
			held[i] = drawPrefix(t, "held")
			s.Add(held[i], i)
		}
		if s.Len() != len(held) {
			t.Fatalf("holds %d of %d", s.Len(), len(held))
		}
		p := drawPrefix(t, "p")
		var want, got []int
		for i, h := range held {
			if Overlaps(h, p) {
				want = append(want, i)
			}
		}
		containing := true
		for _, e := range s.Overlapping(p) {
			if held[e.Value] != e.Prefix {
				t.Fatalf("%s has the value of %s", e.Prefix, held[e.Value])
			}
			if above := Contains(e.Prefix, p); above && !containing {
				t.Fatalf("%s contains %s and comes after what does not", e.Prefix, p)
			} else {
				containing = above
			}
			got = append(got, e.Value)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%s overlaps %v, want %v of %v", p, got, want, held)
		}
		if _, ok := s.Overlap(p); ok != (len(want) > 0) {
			t.Fatalf("Overlap(%s) = %v, want %v", p, ok, want)
		}
	})
}

func TestFirstFreeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrefix(t, "p")
		length := min(p.Bits()+rapid.IntRange(0, 8).Draw(t, "more"), p.Addr().BitLen())
		var used []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			u := drawPrefix(t, "used")
			if rapid.Bool().Draw(t, "inside") {
				l := min(p.Bits()+rapid.IntRange(0, 10).Draw(t, "bits"), p.Addr().BitLen())
				count, _ := SubnetCount(p, l)
				u, _ = NthSubnet(p, l, rapid.Uint64().Draw(t, "i")%count)
			}
			used = append(used, u)
		}
		// The slow way: one after the other.
		var want netip.Prefix
		count, _ := SubnetCount(p, length)
		for i := range count {
			c, _ := NthSubnet(p, length, i)
			if !slices.ContainsFunc(used, func(u netip.Prefix) bool { return Overlaps(u, c) }) {
				want = c
				break
			}
		}
		if got, ok := FirstFree(p, length, used); got != want || ok != want.IsValid() {
			t.Fatalf("%s /%d beside %v: %v, want %v", p, length, used, got, want)
		}
	})
}

func TestFirstFree(t *testing.T) {
	for _, tc := range []struct {
		p    string
		len  int
		used []string
		want string
	}{
		{"2001:db8::/32", 64, nil, "2001:db8::/64"},
		{"2001:db8::/32", 64, []string{"2001:db8::/33"}, "2001:db8:8000::/64"},
		{"2001:db8::/32", 64, []string{"2001::/16"}, ""},
		{"2001:db8::/32", 64, []string{"2001:db8::1/128"}, "2001:db8:0:1::/64"},
		{"::/0", 1, []string{"::1/128", "8000::/128"}, ""},
		{"10.0.0.0/8", 24, []string{"10.0.0.0/16", "10.0.3.0/24", "10.2.0.0/16"}, "10.1.0.0/24"},
		{"255.255.255.0/24", 25, []string{"255.255.255.0/25"}, "255.255.255.128/25"},
		{"255.255.255.0/24", 25, []string{"255.255.255.0/25", "255.255.255.255/32"}, ""},
		{"::ffff:10.0.0.0/104", 120, []string{"10.0.0.0/24"}, "10.0.1.0/24"},
		{"10.0.0.0/24", 16, nil, ""},
	} {
		var used []netip.Prefix
		for _, u := range tc.used {
			used = append(used, pfx(u))
		}
		got, ok := FirstFree(pfx(tc.p), tc.len, used)
		if ok != (tc.want != "") || ok && got.String() != tc.want {
			t.Errorf("%s /%d beside %v: %v, want %q", tc.p, tc.len, tc.used, got, tc.want)
		}
	}
}

// BenchmarkSetFullTable looks a prefix up among a million routes.
func BenchmarkSetFullTable(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var s Set[struct{}]
	for range 1_000_000 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], rnd.Uint32())
		s.Add(netip.PrefixFrom(netip.AddrFrom4(a), 16+rnd.IntN(9)).Masked(), struct{}{})
	}
	p := pfx("192.168.150.0/24")
	b.ResetTimer()
	for b.Loop() {
		s.Overlap(p)
	}
}
