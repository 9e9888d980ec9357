package radv

import (
	"encoding/binary"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Sizes and numbers of frames.
const (
	etherLen  = 14
	ipLen     = 40
	etherIPv6 = 0x86dd
	icmpv6    = 58
)

// frames appends messages to out as Ethernet frames for one port device, from
// the gateway. What is sent to a multicast address goes to the one guest all
// the same (RFC 6085).
func (e *engine) frames(out []message, device string, mac vnet.MAC, to netip.Addr, messages [][]byte) []message {
	for _, b := range messages {
		out = append(out, message{to: to, data: frame(mac, e.svc.MAC, ipam.LinkLocal(e.svc.MAC), to, b), device: device})
	}
	return out
}

// frame puts an ICMPv6 message into a packet and a frame, with its checksum.
func frame(dst, src vnet.MAC, from, to netip.Addr, icmp []byte) []byte {
	b := make([]byte, etherLen+ipLen, etherLen+ipLen+len(icmp))
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], etherIPv6)
	ip := b[etherLen:]
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[4:], uint16(len(icmp)))
	ip[6], ip[7] = icmpv6, 255
	s, d := from.As16(), to.As16()
	copy(ip[8:], s[:])
	copy(ip[24:], d[:])
	b = append(b, icmp...)
	sumUp(b[etherLen:])
	return b
}

// sumUp writes the ICMPv6 checksum (RFC 8200 section 8.1) into a packet without
// extension headers.
func sumUp(packet []byte) {
	icmp := packet[ipLen:]
	icmp[2], icmp[3] = 0, 0
	sum := uint64(len(icmp)) + icmpv6
	for _, b := range [][]byte{packet[8:ipLen], icmp} {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint64(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint64(b[0]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(icmp[2:], ^uint16(sum))
}
