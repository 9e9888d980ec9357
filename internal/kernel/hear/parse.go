package hear

import (
	"encoding/binary"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// errWrong is why a packet is no Event. Guests send all sorts of things, so it
// is small and made without allocation.
type errWrong string

func (e errWrong) Error() string { return "hear: " + string(e) }

// ICMPv6 types: RFC 4861, RFC 2710, RFC 9777.
const (
	typeMLDReport = 131
	typeMLDDone   = 132
	typeRS        = 133
	typeNS        = 135
	typeNA        = 136
	typeMLDv2     = 143
)

// IP protocol numbers.
const (
	protoHopByHop = 0
	protoUDP      = 17
	protoICMPv6   = 58
	protoDestOpts = 60
)

// Options of neighbour discovery: RFC 4861 section 4.6, RFC 3971 section 5.3.2.
const (
	optSource = 1
	optTarget = 2
	optNonce  = 14
)

// Parse reads a packet that starts at the network header. Checksums are not
// looked at: what a guest sends to its neighbours it could as well send right,
// and offloading leaves them unfinished.
func Parse(etherType uint16, packet []byte) (Event, error) {
	switch etherType {
	case EtherIPv6:
		return parseIPv6(packet)
	case EtherIPv4:
		return parseIPv4(packet)
	case EtherARP:
		return parseARP(packet)
	}
	return nil, errWrong("unexpected Ethernet type")
}

// Source returns who an IPv6 packet is from that starts at the network header.
func Source(etherType uint16, packet []byte) (netip.Addr, error) {
	if etherType != EtherIPv6 || len(packet) < 40 || packet[0]>>4 != 6 {
		return netip.Addr{}, errWrong("short or no IPv6 header")
	}
	return netip.AddrFrom16([16]byte(packet[8:24])), nil
}

func parseIPv6(b []byte) (Event, error) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return nil, errWrong("short or no IPv6 header")
	}
	ip := ipv6{hops: b[7], src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40]))}
	payload := b[40:]
	if n := int(binary.BigEndian.Uint16(b[4:])); n < len(payload) {
		payload = payload[:n] // Ethernet pads
	}
	next := b[6]
	for range 4 { // RFC 8200 section 4.1 has no more headers worth reading
		switch next {
		case protoHopByHop, protoDestOpts:
			if len(payload) < 8 {
				return nil, errWrong("short extension header")
			}
			n := 8 + 8*int(payload[1])
			if len(payload) < n {
				return nil, errWrong("short extension header")
			}
			next, payload = payload[0], payload[n:]
		case protoICMPv6:
			return parseICMPv6(ip, payload)
		case protoUDP:
			return parseUDP(vnet.IPv6, ip.src, 547, payload)
		default: // fragments among them: RFC 6980 section 5
			return nil, errWrong("neither ICMPv6 nor UDP")
		}
	}
	return nil, errWrong("too many extension headers")
}

type ipv6 struct {
	hops     uint8
	src, dst netip.Addr
}

func parseICMPv6(ip ipv6, b []byte) (Event, error) {
	if len(b) < 8 || b[1] != 0 {
		return nil, errWrong("short ICMPv6 message, or unknown code")
	}
	switch b[0] {
	case typeMLDReport, typeMLDDone:
		if ip.hops != 1 || len(b) < 24 { // RFC 2710 section 3
			return nil, errWrong("bad MLD message")
		}
		group := []netip.Addr{netip.AddrFrom16([16]byte(b[8:24]))}
		if b[0] == typeMLDDone {
			return &Report{Source: ip.src, Left: group}, nil
		}
		return &Report{Source: ip.src, Joined: group}, nil
	case typeMLDv2:
		if ip.hops != 1 {
			return nil, errWrong("MLD report from beyond the link")
		}
		return parseMLDv2(ip.src, b)
	}
	if ip.hops != 255 { // RFC 4861 sections 6.1.1, 7.1.1, 7.1.2
		return nil, errWrong("neighbour discovery from beyond the link")
	}
	switch b[0] {
	case typeNS:
		return parseSolicitation(ip, b)
	case typeNA:
		return parseAdvertisement(ip, b)
	case typeRS:
		o, ok := parseOptions(b[8:])
		if !ok || (ip.src.IsUnspecified() && !o.source.IsZero()) {
			return nil, errWrong("bad router solicitation")
		}
		return &RouterSolicitation{Source: ip.src, LinkAddr: o.source}, nil
	}
	return nil, errWrong("other ICMPv6 type")
}

// parseSolicitation holds to RFC 4861 section 7.1.1.
func parseSolicitation(ip ipv6, b []byte) (Event, error) {
	if len(b) < 24 {
		return nil, errWrong("short neighbour solicitation")
	}
	s := &Solicitation{Source: ip.src, Target: netip.AddrFrom16([16]byte(b[8:24]))}
	o, ok := parseOptions(b[24:])
	s.LinkAddr, s.Nonce = o.source, o.nonce
	switch {
	case !ok:
		return nil, errWrong("bad option in a neighbour solicitation")
	case s.Target.IsMulticast() || s.Source.IsMulticast():
		return nil, errWrong("multicast target or source in a neighbour solicitation")
	case s.DAD() && (ip.dst != SolicitedNode(s.Target) || !s.LinkAddr.IsZero()):
		return nil, errWrong("malformed duplicate address detection")
	}
	return s, nil
}

// parseAdvertisement holds to RFC 4861 section 7.1.2.
func parseAdvertisement(ip ipv6, b []byte) (Event, error) {
	if len(b) < 24 {
		return nil, errWrong("short neighbour advertisement")
	}
	a := &Advertisement{
		Source: ip.src, Target: netip.AddrFrom16([16]byte(b[8:24])),
		Router: b[4]&0x80 != 0, Solicited: b[4]&0x40 != 0, Override: b[4]&0x20 != 0,
	}
	o, ok := parseOptions(b[24:])
	a.LinkAddr = o.target
	switch {
	case !ok:
		return nil, errWrong("bad option in a neighbour advertisement")
	case a.Target.IsMulticast() || a.Source.IsMulticast() || a.Source.IsUnspecified():
		return nil, errWrong("bad target or source in a neighbour advertisement")
	case ip.dst.IsMulticast() && a.Solicited:
		return nil, errWrong("solicited advertisement to a multicast address")
	}
	return a, nil
}

type options struct {
	source, target vnet.MAC
	nonce          []byte
}

func parseOptions(b []byte) (o options, ok bool) {
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return options{}, false
		}
		n := 8 * int(b[1])
		switch {
		case b[0] == optSource && n == 8:
			o.source = vnet.MAC(b[2:8])
		case b[0] == optTarget && n == 8:
			o.target = vnet.MAC(b[2:8])
		case b[0] == optNonce:
			o.nonce = append([]byte(nil), b[2:n]...)
		}
		b = b[n:]
	}
	return o, true
}

// Record types of RFC 9777 section 5.2.12.
const (
	recordIsInclude = 1
	recordIsExclude = 2
	recordToInclude = 3
	recordToExclude = 4
	recordAllow     = 5
)

// parseMLDv2 reads RFC 9777 section 5.2. "Include nothing" is to leave.
func parseMLDv2(src netip.Addr, b []byte) (Event, error) {
	r := &Report{Source: src}
	records := int(binary.BigEndian.Uint16(b[6:]))
	b = b[8:]
	for range records {
		if len(b) < 20 {
			return nil, errWrong("short MLD record")
		}
		sources, aux := int(binary.BigEndian.Uint16(b[2:])), int(b[1])
		n := 20 + 16*sources + 4*aux
		if len(b) < n {
			return nil, errWrong("short MLD record")
		}
		group := netip.AddrFrom16([16]byte(b[4:20]))
		if !group.IsMulticast() {
			return nil, errWrong("MLD record without a group")
		}
		switch b[0] {
		case recordIsExclude, recordToExclude, recordAllow:
			r.Joined = append(r.Joined, group)
		case recordIsInclude, recordToInclude:
			if sources == 0 {
				r.Left = append(r.Left, group)
			} else {
				r.Joined = append(r.Joined, group)
			}
		}
		b = b[n:]
	}
	return r, nil
}

// parseARP reads ARP for IPv4 over Ethernet.
func parseARP(b []byte) (Event, error) {
	if len(b) < 28 || binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != EtherIPv4 || b[4] != 6 || b[5] != 4 {
		return nil, errWrong("no ARP for IPv4 over Ethernet")
	}
	op := binary.BigEndian.Uint16(b[6:])
	if op != 1 && op != 2 {
		return nil, errWrong("neither ARP request nor reply")
	}
	return &ARP{
		Reply:     op == 2,
		SenderMAC: vnet.MAC(b[8:14]), Sender: netip.AddrFrom4([4]byte(b[14:18])),
		TargetMAC: vnet.MAC(b[18:24]), Target: netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}

func parseIPv4(b []byte) (Event, error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, errWrong("short or no IPv4 header")
	}
	n := 4 * int(b[0]&15)
	switch {
	case n < 20 || len(b) < n:
		return nil, errWrong("short IPv4 header")
	case b[9] != protoUDP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0:
		return nil, errWrong("neither UDP nor a first fragment")
	}
	return parseUDP(vnet.IPv4, netip.AddrFrom4([4]byte(b[12:16])), 67, b[n:])
}

// parseUDP takes what is sent to a DHCP server.
func parseUDP(f vnet.Family, src netip.Addr, port uint16, b []byte) (Event, error) {
	if len(b) < 8 || binary.BigEndian.Uint16(b[2:]) != port {
		return nil, errWrong("not to a DHCP server")
	}
	return &DHCP{Family: f, Source: src, Message: append([]byte(nil), b[8:]...)}, nil
}

// SolicitedNode returns the solicited-node group of an address (RFC 4291
// section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	g := [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff}
	b := a.As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g)
}
