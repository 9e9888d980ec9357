// Package ipam does the arithmetic of addresses and prefixes: the n-th subnet
// of a prefix, host parts, what overlaps what, what is still free; and what is
// derived from them or from link-layer addresses: interface identifiers,
// DUIDs, unique local prefixes, reverse zones.
//
// The package is pure: time and randomness come in as arguments. Both families
// are treated alike wherever they are alike, and nothing walks a prefix: every
// function takes time in the length of an address or in the number of things
// that exist, never in the number of addresses.
package ipam

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// wide is an unsigned number of 128 bits: an address of either family. IPv4
// addresses are in the low 32 bits.
type wide struct{ hi, lo uint64 }

func wideOf(a netip.Addr) wide {
	if a.Is4() {
		b := a.As4()
		return wide{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// addr turns w into an address of length n bits (32 or 128).
func (w wide) addr(n int) netip.Addr {
	if n == 32 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(w.lo))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.hi)
	binary.BigEndian.PutUint64(b[8:], w.lo)
	return netip.AddrFrom16(b)
}

// add returns w+o, and whether it overflowed 128 bits.
func (w wide) add(o wide) (wide, bool) {
	lo, c := bits.Add64(w.lo, o.lo, 0)
	hi, c := bits.Add64(w.hi, o.hi, c)
	return wide{hi, lo}, c != 0
}

// sub returns w-o modulo 2^128.
func (w wide) sub(o wide) wide {
	lo, b := bits.Sub64(w.lo, o.lo, 0)
	hi, _ := bits.Sub64(w.hi, o.hi, b)
	return wide{hi, lo}
}

func (w wide) and(o wide) wide { return wide{w.hi & o.hi, w.lo & o.lo} }
func (w wide) or(o wide) wide  { return wide{w.hi | o.hi, w.lo | o.lo} }
func (w wide) not() wide       { return wide{^w.hi, ^w.lo} }

// shl returns w<<n; Go's shifts by 64 and more give 0.
func (w wide) shl(n int) wide {
	if n >= 64 {
		return wide{w.lo << (n - 64), 0}
	}
	return wide{w.hi<<n | w.lo>>(64-n), w.lo << n}
}

func (w wide) shr(n int) wide {
	if n >= 64 {
		return wide{0, w.hi >> (n - 64)}
	}
	return wide{w.hi >> n, w.lo>>n | w.hi<<(64-n)}
}

func (w wide) less(o wide) bool { return w.hi < o.hi || w.hi == o.hi && w.lo < o.lo }

// ones returns the number whose n lowest bits are set.
func ones(n int) wide {
	switch {
	case n >= 128:
		return wide{math.MaxUint64, math.MaxUint64}
	case n >= 64:
		return wide{1<<(n-64) - 1, math.MaxUint64}
	}
	return wide{0, 1<<n - 1}
}

// canonical masks p and turns a prefix of IPv4-mapped addresses into one of
// IPv4, so that both spellings of an address are compared as one.
func canonical(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// hostBits is the number of bits below the prefix.
func hostBits(p netip.Prefix) int { return p.Addr().BitLen() - p.Bits() }

func invalid(format string, args ...any) error { return vnet.Invalid("", format, args...) }
