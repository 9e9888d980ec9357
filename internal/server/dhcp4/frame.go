package dhcp4

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// appendFrame wraps a message to the client in UDP, IPv4 and Ethernet, for a
// client whose address the kernel cannot resolve yet, and appends it to start,
// which is empty.
func appendFrame(start []byte, src, dst vnet.MAC, from, to netip.Addr, payload []byte) []byte {
	const eth, ip, udp = 14, 20, 8
	b := slices.Grow(start, eth+ip+udp+len(payload))[:eth+ip+udp+len(payload)]
	clear(b[:eth+ip+udp])
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], 0x0800)

	h := b[eth:]
	h[0] = 0x45                                                    // version 4, 5 words
	h[1] = 0x10                                                    // low delay, as other servers have it
	binary.BigEndian.PutUint16(h[2:], uint16(ip+udp+len(payload))) // total length
	h[8], h[9] = 64, 17                                            // TTL, UDP
	f, t := from.As4(), to.As4()
	copy(h[12:], f[:])
	copy(h[16:], t[:])
	binary.BigEndian.PutUint16(h[10:], ^fold(sum(h[:ip], 0))) // header checksum
	u := h[ip:]
	binary.BigEndian.PutUint16(u[0:], serverPort)
	binary.BigEndian.PutUint16(u[2:], clientPort)
	binary.BigEndian.PutUint16(u[4:], uint16(udp+len(payload)))
	copy(u[udp:], payload)
	pseudo := sum(h[12:20], uint32(17)+uint32(udp+len(payload))) // RFC 768
	check := ^fold(sum(u, pseudo))
	if check == 0 {
		check = 0xffff // RFC 768: 0 means none
	}
	binary.BigEndian.PutUint16(u[6:], check)
	return b
}

// sum adds the 16-bit words of b to a running sum (RFC 1071).
func sum(b []byte, s uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// fold makes the running sum a ones' complement 16-bit one.
func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
