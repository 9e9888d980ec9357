package learn

import "net/netip"

// known are addresses that have owners already, as bytes: there may be a hundred
// thousand, and a netip.Addr takes five times as much as four bytes. The zero
// value has none.
type known struct {
	v4 map[[4]byte]struct{}
	v6 map[[16]byte]struct{}
}

func (k *known) add(a netip.Addr) {
	switch {
	case a.Is4() && k.v4 == nil:
		k.v4 = map[[4]byte]struct{}{a.As4(): {}}
	case a.Is4():
		k.v4[a.As4()] = struct{}{}
	case k.v6 == nil:
		k.v6 = map[[16]byte]struct{}{a.As16(): {}}
	default:
		k.v6[a.As16()] = struct{}{}
	}
}

func (k *known) remove(a netip.Addr) {
	if a.Is4() {
		delete(k.v4, a.As4())
		return
	}
	delete(k.v6, a.As16())
}

func (k *known) has(a netip.Addr) (ok bool) {
	if a.Is4() {
		_, ok = k.v4[a.As4()]
		return ok
	}
	_, ok = k.v6[a.As16()]
	return ok
}
