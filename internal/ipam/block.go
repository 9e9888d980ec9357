package ipam

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Blocks cuts a range into at most n parts of one size, of which the last has
// what is left over. The same range always gives the same blocks.
func Blocks(r vnet.Range, n int) []vnet.Range {
	size := Size(r)
	if size == 0 || n < 1 {
		return nil
	}
	each := size / uint64(n)
	if size%uint64(n) != 0 && each < size {
		each++
	}
	bits := 32
	if r.First.Is6() {
		bits = 128
	}
	var out []vnet.Range
	for from := uint64(0); from < size && len(out) < n; from += each {
		b := vnet.Range{First: offset(r, from, bits), Last: r.Last}
		if left := size - from; left > each && len(out) < n-1 {
			b.Last = offset(r, from+each-1, bits)
		}
		out = append(out, b)
		if size-from <= each {
			break
		}
	}
	return out
}

// offset returns the address so many after the first one.
func offset(r vnet.Range, by uint64, bits int) netip.Addr {
	w, _ := wideOf(r.First).add(wide{lo: by})
	return w.addr(bits)
}

// Meet reports whether two ranges have an address in common.
func Meet(a, b vnet.Range) bool {
	return a.First.BitLen() == b.First.BitLen() && a.First.Compare(b.Last) <= 0 && b.First.Compare(a.Last) <= 0
}

// Merge sorts ranges and makes one of those that follow each other.
func Merge(ranges []vnet.Range) []vnet.Range {
	all := slices.SortedFunc(slices.Values(ranges), func(a, b vnet.Range) int { return a.First.Compare(b.First) })
	var out []vnet.Range
	for _, r := range all {
		if k := len(out) - 1; k >= 0 && (Meet(out[k], r) || out[k].Last.Next() == r.First) {
			if out[k].Last.Less(r.Last) {
				out[k].Last = r.Last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}
