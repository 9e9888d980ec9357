package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// guestMAC is the MAC of a client. Its first three octets are one number of
// QEMU's, the others count.
func guestMAC(client int) [6]byte {
	return [6]byte{0x52, 0x54, 0x02, byte(client >> 16), byte(client >> 8), byte(client)}
}

// clientOf is the client with a MAC.
func clientOf(mac []byte) int {
	return int(mac[3])<<16 | int(mac[4])<<8 | int(mac[5])
}

// guestLink is the link-local address that is made of a client's MAC (RFC 4291
// appendix A).
func guestLink(client int) [16]byte {
	m := guestMAC(client)
	return [16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
}

// Lengths of headers.
const (
	etherLen = 14
	ipv4Len  = 20
	ipv6Len  = 40
	udpLen   = 8
)

// errAnswer is an answer that no client can live with.
var errAnswer = errors.New("an answer without what was asked for")

// appendIPv6 appends the Ethernet and the IPv6 header of a frame to a
// multicast group; setLength completes it.
func appendIPv6(b []byte, client int, group [16]byte, protocol, hopLimit byte) []byte {
	mac, from := guestMAC(client), guestLink(client)
	b = append(b, 0x33, 0x33, group[12], group[13], group[14], group[15])
	b = append(b, mac[:]...)
	b = append(b, typeIPv6>>8, typeIPv6&0xff, 0x60, 0, 0, 0, 0, 0, protocol, hopLimit)
	b = append(b, from[:]...)
	return append(b, group[:]...)
}

// finishIPv6 completes the lengths and the checksum at the place of a frame's
// payload.
func finishIPv6(frame []byte, checksum int) []byte {
	payload := frame[etherLen+ipv6Len:]
	binary.BigEndian.PutUint16(frame[etherLen+4:], uint16(len(payload)))
	sum := uint32(len(payload)) + uint32(frame[etherLen+6])
	sum = sumWords(sum, frame[etherLen+8:etherLen+ipv6Len])
	sum = sumWords(sum, payload)
	binary.BigEndian.PutUint16(payload[checksum:], notZero(^fold(sum)))
	return frame
}

// notZero is the form of a checksum of zero that does not mean none.
func notZero(sum uint16) uint16 {
	if sum == 0 {
		return 0xffff
	}
	return sum
}

func sumWords(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// udpOf returns what a frame carries between two ports, nil if it is another.
func udpOf(frame []byte, header int, protocol int, from, to uint16) []byte {
	at := etherLen + header
	if len(frame) < at+udpLen || frame[etherLen+protocol] != 17 ||
		binary.BigEndian.Uint16(frame[at:]) != from || binary.BigEndian.Uint16(frame[at+2:]) != to {
		return nil
	}
	return frame[at+udpLen:]
}

// expects says which address each client must get; nil: any of the prefix.
type expects func(client int) netip.Addr

func (e expects) check(client int, given netip.Addr, prefix netip.Prefix) error {
	if e != nil && e(client) != given || !prefix.Contains(given) {
		return errAnswer
	}
	return nil
}
