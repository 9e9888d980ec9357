package ndproxy

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Sizes and numbers of frames.
const (
	etherLen  = 14
	ipLen     = 40
	ndLen     = 24 // of a solicitation or advertisement without options
	linkLen   = 8  // of a link-layer address option
	etherIPv6 = 0x86dd
	icmpv6    = 58
	// maxFrame is the longest frame that is read, in bytes. A solicitation has
	// 86, with a nonce 94.
	maxFrame = 512
)

// Types of messages and options (RFC 4861 sections 4.3, 4.4 and 4.6.1, RFC 3971
// section 5.3.2).
const (
	typeSolicitation  = 135
	typeAdvertisement = 136
	optSource         = 1
	optTarget         = 2
	optNonce          = 14
)

// Flags of an advertisement (RFC 4861 section 4.4).
const (
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)

// Where messages go to that are for more than one.
var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allRouters  = netip.MustParseAddr("ff02::2")
	unspecified = netip.IPv6Unspecified()
)

// message is a neighbour solicitation or advertisement.
type message struct {
	mac       vnet.MAC // that the frame came from
	from, to  netip.Addr
	advertise bool // else it solicits
	flags     byte // of an advertisement
	target    netip.Addr
	// link is the source or target link-layer address option; zero: none.
	link vnet.MAC
	// nonce is the whole nonce option (RFC 7527), part of the frame; nil: none.
	nonce []byte
}

// dad reports whether the message is duplicate address detection.
func (m *message) dad() bool { return !m.advertise && m.from.IsUnspecified() }

// errMessage is any fault of a frame: it is dropped without a word.
var errMessage = errors.New("no valid neighbour solicitation or advertisement")

// parse reads a frame and checks it as RFC 4861 sections 7.1.1 and 7.1.2
// demand. Packets with extension headers are refused: fragments are forbidden
// (RFC 6980), and nothing else needs one. Options that are not known are passed
// over.
func parse(frame []byte) (m message, err error) {
	if len(frame) < etherLen+ipLen+ndLen || len(frame) > maxFrame || binary.BigEndian.Uint16(frame[12:]) != etherIPv6 {
		return m, errMessage
	}
	ip := frame[etherLen:]
	n := int(binary.BigEndian.Uint16(ip[4:]))
	if ip[0]>>4 != 6 || ip[6] != icmpv6 || ip[7] != 255 || n < ndLen || len(ip) < ipLen+n {
		return m, errMessage
	}
	nd := ip[ipLen : ipLen+n]
	if nd[1] != 0 || nd[0] != typeSolicitation && nd[0] != typeAdvertisement || checksum(ip[8:ipLen], nd) != 0 {
		return m, errMessage
	}
	m = message{
		mac: vnet.MAC(frame[6:12]), from: netip.AddrFrom16([16]byte(ip[8:24])), to: netip.AddrFrom16([16]byte(ip[24:40])),
		advertise: nd[0] == typeAdvertisement, flags: nd[4], target: netip.AddrFrom16([16]byte(nd[8:24])),
	}
	if !m.mac.IsUnicast() || !m.target.IsValid() || m.target.IsMulticast() || m.from.IsMulticast() {
		return m, errMessage
	}
	if err := m.options(nd[ndLen:]); err != nil {
		return m, err
	}
	return m, m.check()
}

// options reads the options of a message.
func (m *message) options(b []byte) error {
	want := byte(optSource)
	if m.advertise {
		want = optTarget
	}
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return errMessage
		}
		n := 8 * int(b[1])
		switch {
		case b[0] == want && n == linkLen:
			m.link = vnet.MAC(b[2:8])
		case b[0] == optNonce && n == 8: // RFC 7527 section 4.1: six bytes
			m.nonce = b[:n]
		}
		b = b[n:]
	}
	return nil
}

// check tells if what the fields say together may be.
func (m *message) check() error {
	switch {
	case m.advertise && m.to.IsMulticast() && m.flags&flagSolicited != 0:
		return errMessage
	case m.dad() && (m.to != ipam.SolicitedNode(m.target) || !m.link.IsZero()):
		return errMessage
	case m.from.IsUnspecified() && m.advertise:
		return errMessage
	}
	return nil
}

// replyTo is the MAC that answers go to.
func (m *message) replyTo() vnet.MAC {
	if m.link.IsUnicast() {
		return m.link
	}
	return m.mac
}

// multicastMAC is the MAC that an IPv6 multicast address has (RFC 2464 section
// 7).
func multicastMAC(group netip.Addr) vnet.MAC {
	b := group.As16()
	return vnet.MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// advertisement appends a frame that says that target is at the MAC own.
func advertisement(b []byte, dst, own vnet.MAC, from, to, target netip.Addr, flags byte) []byte {
	start := len(b)
	b = header(b, dst, own, from, to, typeAdvertisement, flags, target, 1)
	b = append(b, optTarget, 1)
	b = append(b, own[:]...)
	return sumUp(b, start)
}

// solicitation appends a frame that asks for target, from the unspecified
// address for duplicate address detection, then with the nonce option that is
// given.
func solicitation(b []byte, dst, own vnet.MAC, from, target netip.Addr, nonce []byte) []byte {
	start := len(b)
	b = header(b, dst, own, from, ipam.SolicitedNode(target), typeSolicitation, 0, target, 1)
	switch {
	case !from.IsUnspecified():
		b = append(b, optSource, 1)
		b = append(b, own[:]...)
	case len(nonce) == linkLen:
		b = append(b, nonce...)
	default:
		binary.BigEndian.PutUint16(b[start+etherLen+4:], ndLen)
	}
	return sumUp(b, start)
}

// header appends everything up to the options, which are as many units of 8
// bytes.
func header(b []byte, dst, src vnet.MAC, from, to netip.Addr, kind, flags byte, target netip.Addr, options int) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	b = append(b, etherIPv6>>8, etherIPv6&0xff, 0x60, 0, 0, 0, 0, byte(ndLen+8*options), icmpv6, 255)
	s, d, t := from.As16(), to.As16(), target.As16()
	b = append(b, s[:]...)
	b = append(b, d[:]...)
	b = append(b, kind, 0, 0, 0, flags, 0, 0, 0)
	return append(b, t[:]...)
}

// sumUp writes the checksum of the frame that begins at start.
func sumUp(b []byte, start int) []byte {
	ip := b[start+etherLen:]
	binary.BigEndian.PutUint16(ip[ipLen+2:], checksum(ip[8:ipLen], ip[ipLen:]))
	return b
}

// checksum is the ICMPv6 checksum (RFC 8200 section 8.1) over the addresses and
// the message; 0 if the message's own is right.
func checksum(addresses, icmp []byte) uint16 {
	sum := uint64(len(icmp)) + icmpv6
	for _, b := range [][]byte{addresses, icmp} {
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
	return ^uint16(sum)
}
