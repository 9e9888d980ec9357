package ipam

import (
	"net/netip"
	"slices"
)

// FirstFree returns the first prefix of the length in p that overlaps none of
// the used ones, which may be of any length and either family, in any order. It
// goes from gap to gap: the time is that of sorting what is used. ok is false
// if there is no room left.
func FirstFree(p netip.Prefix, length int, used []netip.Prefix) (free netip.Prefix, ok bool) {
	if !p.IsValid() || length < p.Bits() || length > p.Addr().BitLen() {
		return netip.Prefix{}, false
	}
	if c := canonical(p); c.Addr().BitLen() != p.Addr().BitLen() {
		p, length = c, length-96
	}
	p = p.Masked()
	bitLen := p.Addr().BitLen()
	var in []netip.Prefix
	for _, u := range used {
		if Overlaps(p, u) {
			in = append(in, canonical(u))
		}
	}
	slices.SortFunc(in, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	below := ones(bitLen - length) // the last address of the first prefix of the length
	at, end := wideOf(p.Addr()), wideOf(Last(p))
	for _, u := range in {
		first, last := wideOf(u.Addr()), wideOf(Last(u))
		if last.less(at) {
			continue // inside one that came before
		}
		if at.or(below).less(first) {
			break
		}
		next, over := last.or(below).add(wide{0, 1})
		if over || end.less(next) {
			return netip.Prefix{}, false
		}
		at = next
	}
	return netip.PrefixFrom(at.addr(bitLen), length), true
}
