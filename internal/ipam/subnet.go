package ipam

import (
	"math"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// NthSubnet returns the n-th prefix of the length inside p, counted from 0:
// NthSubnet(2001:db8::/48, 64, 5) is 2001:db8:0:5::/64. The error is
// ErrInvalid for a length that does not fit, ErrExhausted for an n beyond the
// last.
func NthSubnet(p netip.Prefix, length int, n uint64) (netip.Prefix, error) {
	if !p.IsValid() || length < p.Bits() || length > p.Addr().BitLen() {
		return netip.Prefix{}, invalid("no /%d can be cut from %s", length, p)
	}
	if last, exact := SubnetCount(p, length); exact && n >= last {
		return netip.Prefix{}, vnet.Errorf(vnet.ErrExhausted, "%s has %d prefixes of /%d, there is no number %d", p, last, length, n)
	}
	size := p.Addr().BitLen()
	at := wideOf(p.Masked().Addr()).or(wide{0, n}.shl(size - length))
	return netip.PrefixFrom(at.addr(size), length), nil
}

// SubnetCount returns how many prefixes of the length fit into p. The number is
// capped at the largest uint64; exact is false then.
func SubnetCount(p netip.Prefix, length int) (n uint64, exact bool) {
	switch d := length - p.Bits(); {
	case !p.IsValid() || d < 0 || length > p.Addr().BitLen():
		return 0, true
	case d >= 64:
		return math.MaxUint64, false
	default:
		return 1 << d, true
	}
}

// SubnetIndex is the inverse of NthSubnet: the number of sub among the prefixes
// of its length in p. ok is false if sub is not inside p, or if its number has
// more than 64 bits.
func SubnetIndex(p, sub netip.Prefix) (n uint64, ok bool) {
	if !Contains(p, sub) {
		return 0, false
	}
	size := p.Addr().BitLen()
	d := wideOf(sub.Masked().Addr()).and(ones(hostBits(p))).shr(size - sub.Bits())
	return d.lo, d.hi == 0
}

// Contains reports whether the whole of sub lies in p (p itself does).
func Contains(p, sub netip.Prefix) bool {
	return p.IsValid() && sub.IsValid() && p.Bits() <= sub.Bits() && p.Contains(sub.Addr())
}

// Last returns the last address of p, the zero Addr if p is not valid.
func Last(p netip.Prefix) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	return wideOf(p.Masked().Addr()).or(ones(hostBits(p))).addr(p.Addr().BitLen())
}

// Join completes a host part, in the terms of vnet.FixedAddress.Host, with a
// prefix: for IPv6 the last 64 bits of the address, for IPv4 the number below
// the prefix. Under an IPv6 prefix longer than /64 the bits that belong to the
// prefix must be the prefix's, or zero.
func Join(p netip.Prefix, host uint64) (netip.Addr, error) {
	if !p.IsValid() {
		return netip.Addr{}, invalid("there is no prefix for the host part %#x", host)
	}
	size := p.Addr().BitLen()
	base, mask := wideOf(p.Masked().Addr()), ones(hostBits(p))
	h := wide{0, host}
	if over := h.and(mask.not()); over != (wide{}) && (size == 32 || over != wide{0, base.lo}) {
		return netip.Addr{}, invalid("the host part %#x does not fit below %s", host, p.Masked())
	}
	return base.or(h.and(mask)).addr(size), nil
}

// HostPart is the inverse of Join. ok is false if a is not in p, or lies in a
// prefix shorter than /64 so that its last 64 bits do not name it.
func HostPart(p netip.Prefix, a netip.Addr) (host uint64, ok bool) {
	if !p.Contains(a) {
		return 0, false
	}
	if a.Is4() {
		return wideOf(a).and(ones(hostBits(p))).lo, true
	}
	below := wideOf(a).and(ones(hostBits(p)))
	return vnet.InterfaceID(a), below.hi == 0
}

// FirstHost returns the first address of p that a host may have: see
// vnet.FirstAddr.
func FirstHost(p netip.Prefix) netip.Addr { return vnet.FirstAddr(p) }

// SubnetRouterAnycast returns the subnet-router anycast address of an IPv6
// prefix (RFC 4291 section 2.6.1).
func SubnetRouterAnycast(p netip.Prefix) netip.Addr { return p.Masked().Addr() }

// SolicitedNode returns the multicast group that neighbour solicitations for a
// go to (RFC 4291 section 2.7.1): ff02::1:ff with a's last 24 bits. It is the
// zero Addr if a is not IPv6.
func SolicitedNode(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return netip.Addr{}
	}
	g, b := [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff}, a.As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g)
}
