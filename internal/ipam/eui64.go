package ipam

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// EUI64 returns the modified EUI-64 interface identifier of a MAC (RFC 4291
// appendix A): ff:fe in the middle, the universal/local bit inverted.
func EUI64(m vnet.MAC) uint64 {
	return uint64(m[0]^2)<<56 | uint64(m[1])<<48 | uint64(m[2])<<40 | 0xfffe<<24 |
		uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// MACOf is the inverse of EUI64. ok is false if the identifier was not made of
// the MAC of a station; one that was made at random looks like it once in
// 2^17.
func MACOf(iid uint64) (m vnet.MAC, ok bool) {
	if iid>>24&0xffff != 0xfffe {
		return vnet.MAC{}, false
	}
	m = vnet.MAC{byte(iid>>56) ^ 2, byte(iid >> 48), byte(iid >> 40), byte(iid >> 16), byte(iid >> 8), byte(iid)}
	if !m.IsUnicast() {
		return vnet.MAC{}, false
	}
	return m, true
}

// SLAAC returns the address that a guest with the MAC makes of an advertised
// /64 if it follows RFC 2464; its link-local one with fe80::/64. ok is false
// for any other length of prefix.
func SLAAC(p netip.Prefix, m vnet.MAC) (a netip.Addr, ok bool) {
	if p.Bits() != 64 || !p.Addr().Is6() {
		return netip.Addr{}, false
	}
	a, err := Join(p, EUI64(m))
	return a, err == nil
}

// IsEUI64 reports whether the last 64 bits of a were made of the MAC. A stable
// private address (RFC 7217) cannot be recognised: it is made with a secret of
// the guest's.
func IsEUI64(a netip.Addr, m vnet.MAC) bool {
	return a.Is6() && !a.Is4In6() && vnet.InterfaceID(a) == EUI64(m)
}

// LinkLocal returns the link-local address made of the MAC.
func LinkLocal(m vnet.MAC) netip.Addr {
	return wide{0xfe80 << 48, EUI64(m)}.addr(128)
}
