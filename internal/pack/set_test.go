package pack

import (
	"hash/maphash"
	"testing"

	"pgregory.net/rapid"
)

type thing struct{ key int }

var testSeed = maphash.MakeSeed()

// TestSet: whatever happens, a set says what a map says. Hashes that are all
// the same, or nearly, only make it slow.
func TestSet(t *testing.T) {
	hashes := map[string]func(int) uint64{
		"good": func(k int) uint64 { return maphash.Comparable(testSeed, k) },
		"poor": func(k int) uint64 { return uint64(k%3) << 62 },
		"last": func(int) uint64 { return 1<<64 - 1 },
	}
	rapid.Check(t, func(t *rapid.T) {
		hash := hashes[rapid.SampledFrom([]string{"good", "poor", "last"}).Draw(t, "hash")]
		s := NewSet(func(x *thing) uint64 { return hash(x.key) })
		find := func(k int) *thing { return s.Find(hash(k), func(x *thing) bool { return x.key == k }) }
		want := map[int]*thing{}
		for range rapid.IntRange(0, 600).Draw(t, "steps") {
			k := rapid.IntRange(0, 200).Draw(t, "key")
			x := &thing{k}
			switch old := want[k]; {
			case old == nil:
				if s.Remove(x) || s.Replace(x, x) {
					t.Fatal("something is there that was not put there")
				}
				s.Add(x)
				want[k] = x
			case rapid.IntRange(0, 3).Draw(t, "what") == 0:
				if !s.Replace(old, x) {
					t.Fatalf("%d is not there", k)
				}
				want[k] = x
			default:
				if !s.Remove(old) {
					t.Fatalf("%d is not there", k)
				}
				delete(want, k)
			}
		}
		n := 0
		for x := range s.All() {
			if n++; want[x.key] != x {
				t.Fatalf("%d is there", x.key)
			}
		}
		if n != len(want) || s.Len() != n {
			t.Fatalf("%d things, %d by Len, want %d", n, s.Len(), len(want))
		}
		for k := range 201 {
			if find(k) != want[k] {
				t.Fatalf("%d: %v, want %v", k, find(k), want[k])
			}
		}
	})
}

func TestSetShrinks(t *testing.T) {
	s := NewSet(func(x *thing) uint64 { return maphash.Comparable(testSeed, x.key) })
	var all []*thing
	for k := range 10000 {
		all = append(all, &thing{k})
		s.Add(all[k])
	}
	for _, x := range all[100:] {
		s.Remove(x)
	}
	if n := len(s.slots); n > 1000 {
		t.Errorf("%d slots for %d things", n, s.Len())
	}
}

func BenchmarkSetFind(b *testing.B) {
	hash := func(k int) uint64 { return maphash.Comparable(testSeed, k) }
	s := NewSet(func(x *thing) uint64 { return hash(x.key) })
	for k := range 100000 {
		s.Add(&thing{k})
	}
	k := 0
	for b.Loop() {
		k = (k + 1) % 200000
		s.Find(hash(k), func(x *thing) bool { return x.key == k })
	}
}
