package radv

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// errForeign is why an outside router's advertisement is not sent again.
var errForeign = errors.New("no valid router advertisement")

// asideOf makes of an outside router's advertisement what a guest whose default
// network is another one is to hear: the same packet with router lifetime 0,
// without a route that leads everywhere, resolvers, NAT64 prefix and captive
// portal. What else there is stays as it is, byte for byte. packet begins with
// the IPv6 header; the result is the ICMPv6 message.
//
// What is no advertisement by RFC 4861 section 6.1.2 is refused: hop limit 255,
// a link-local source, code 0, a right checksum, options with a length, and no
// extension headers (RFC 6980).
func asideOf(packet []byte) (icmp []byte, from, to netip.Addr, err error) {
	if len(packet) < ipLen+headerLen || packet[0]>>4 != 6 || packet[6] != icmpv6 || packet[7] != 255 {
		return nil, from, to, errForeign
	}
	n := int(binary.BigEndian.Uint16(packet[4:]))
	if n < headerLen || ipLen+n > len(packet) { // Ethernet pads, and hearing cuts
		return nil, from, to, errForeign
	}
	from, to = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
	b := packet[ipLen : ipLen+n]
	if !isAdvertisement(b) || !from.IsLinkLocalUnicast() || !summed(packet[:ipLen+n]) {
		return nil, from, to, errForeign
	}
	out := append(make([]byte, 0, n), b[:headerLen]...)
	withoutRouter(out)
	for b = b[headerLen:]; len(b) > 0; {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return nil, from, to, errForeign
		}
		o := b[:8*int(b[1])]
		if !leadsAway(o) {
			out = append(out, o...)
		}
		b = b[len(o):]
	}
	return out, from, to, nil
}

// leadsAway reports whether an option sends a guest's packets or questions
// beyond the network.
func leadsAway(o []byte) bool {
	switch o[0] {
	case optRDNSS, optDNSSL, optEncrypted, optPREF64, optPortal:
		return true
	case optRoute:
		return o[2] == 0 // ::/0
	}
	return false
}

// summed reports whether a packet's checksum is right.
func summed(packet []byte) bool {
	said := binary.BigEndian.Uint16(packet[ipLen+2:])
	b := append([]byte(nil), packet...)
	sumUp(b)
	return binary.BigEndian.Uint16(b[ipLen+2:]) == said
}

// linkOf is the source link-layer address that an advertisement names.
func linkOf(icmp []byte) (mac [6]byte, ok bool) {
	for o := range options(icmp) {
		if o[0] == optSource && len(o) == 8 {
			return [6]byte(o[2:8]), true
		}
	}
	return mac, false
}
