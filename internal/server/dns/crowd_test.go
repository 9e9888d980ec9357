package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestCrowd: a crowd says what maps of names and addresses say.
func TestCrowd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGathering()
		names, pointers := map[string][]netip.Addr{}, map[netip.Addr]string{}
		for range rapid.IntRange(0, 60).Draw(t, "addresses") {
			label := fmt.Sprint("g", rapid.IntRange(0, 20).Draw(t, "label"))
			a := netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "four")})
			if rapid.Bool().Draw(t, "six") {
				a = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 15: rapid.Byte().Draw(t, "last")})
			}
			g.add(label, a)
			if !slices.Contains(names[label], a) {
				names[label] = append(names[label], a)
			}
			if pointers[a] == "" {
				pointers[a] = label
			}
		}
		z := &zone{domain: "lan.", crowd: g.sorted()}
		for label, want := range names {
			n := z.name(label + ".lan.")
			if n == nil || !n.chosen || !z.exists(label+".lan.") {
				t.Fatalf("%s is not found", label)
			}
			got := slices.Concat(n.v4, n.v6)
			if slices.SortFunc(want, netip.Addr.Compare); !slices.Equal(got, want) {
				t.Fatalf("%s has %v, want %v", label, got, want)
			}
		}
		for a, want := range pointers {
			if full, ok := z.pointer(a); !ok || full != want+".lan." {
				t.Fatalf("%v is %q, want %s", a, full, want)
			}
		}
		for i := range 256 {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			_, named := pointers[a]
			if _, ok := z.pointer(a); ok != named || z.hasWithin(netip.PrefixFrom(a, 32)) != named {
				t.Fatalf("%v has a name: %v, want %v", a, ok, named)
			}
		}
		for _, full := range []string{"g1", "g1.", "g1.wan.", "x.g1.lan.", "lan.", "h.lan."} {
			if z.exists(full) || z.name(full) != nil {
				t.Fatalf("%s is there", full)
			}
		}
	})
}
