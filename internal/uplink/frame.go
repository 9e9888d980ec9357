package uplink

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Numbers of the protocols that are spoken here.
const (
	protoUDP    = 17
	protoICMPv6 = 58

	clientPort, serverPort = 546, 547 // RFC 9915 section 7.2

	headerSize, udpSize = 40, 8 // of IPv6 (RFC 8200 section 3) and UDP
	// mostPacket is larger than any MTU that matters.
	mostPacket = 9216
)

// Destinations.
var (
	allServers = netip.MustParseAddr("ff02::1:2") // RFC 9915 section 7.1
	allRouters = netip.MustParseAddr("ff02::2")
)

// Errors about packets: they are dropped.
var (
	errPacket   = errors.New("no packet of the expected kind")
	errChecksum = errors.New("wrong checksum")
)

// packet is an IPv6 packet without extension headers.
type packet struct {
	from, to netip.Addr
	hopLimit int
	payload  []byte // from the ICMPv6 type, or behind the UDP header
}

// readPacket reads an IPv6 packet of a protocol. Packets with extension
// headers are not read: RFC 6980 forbids fragments of neighbour discovery, and
// no server fragments answers about a few prefixes. unsummed says that the
// checksum was never put in, since the packet has not left this machine.
func readPacket(b []byte, proto byte, unsummed bool) (p packet, err error) {
	if len(b) < headerSize || len(b) > mostPacket || b[0]>>4 != 6 || b[6] != proto {
		return packet{}, errPacket
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n > len(b)-headerSize || n < udpSize {
		return packet{}, errPacket
	}
	body := b[headerSize : headerSize+n] // what follows is padding of a short frame
	from, to := [16]byte(b[8:24]), [16]byte(b[24:40])
	p = packet{from: netip.AddrFrom16(from), to: netip.AddrFrom16(to), hopLimit: int(b[7]), payload: body}
	if !unsummed && checksum(p.from, p.to, proto, body) != 0 {
		return packet{}, errChecksum
	}
	if proto == protoUDP {
		size := int(binary.BigEndian.Uint16(body[4:]))
		if size < udpSize || size > len(body) || binary.BigEndian.Uint16(body[2:]) != clientPort {
			return packet{}, errPacket
		}
		p.payload = body[udpSize:size]
	}
	return p, nil
}

// makePacket makes an IPv6 packet around an ICMPv6 message or a UDP datagram
// whose checksum, at the offset, is still 0.
func makePacket(from, to netip.Addr, proto byte, hopLimit int, body []byte, sumAt int) []byte {
	b := make([]byte, headerSize, headerSize+len(body))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	b[6], b[7] = proto, byte(hopLimit)
	src, dst := from.As16(), to.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	b = append(b, body...)
	sum := checksum(from, to, proto, body)
	if sum == 0 && proto == protoUDP {
		sum = 0xffff // RFC 8200 section 8.1: 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(b[headerSize+sumAt:], sum)
	return b
}

// toServers is a DHCPv6 message on its way to the servers of a link.
func toServers(from netip.Addr, message []byte) []byte {
	b := make([]byte, udpSize, udpSize+len(message))
	binary.BigEndian.PutUint16(b, clientPort)
	binary.BigEndian.PutUint16(b[2:], serverPort)
	binary.BigEndian.PutUint16(b[4:], uint16(udpSize+len(message)))
	return makePacket(from, allServers, protoUDP, 1, append(b, message...), 6)
}

// toRouters is a router solicitation on its way.
func toRouters(from netip.Addr, mac []byte) []byte {
	return makePacket(from, allRouters, protoICMPv6, 255, solicitation(mac), 2)
}

// multicastMAC is the Ethernet address of an IPv6 group (RFC 2464 section 7).
func multicastMAC(group netip.Addr) [6]byte {
	a := group.As16()
	return [6]byte{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// checksum is that of RFC 8200 section 8.1; 0 over a body with its checksum in
// place means that it is right.
func checksum(from, to netip.Addr, proto byte, body []byte) uint16 {
	sum := uint32(proto) + uint32(len(body))
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	src, dst := from.As16(), to.As16()
	add(src[:])
	add(dst[:])
	add(body)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
