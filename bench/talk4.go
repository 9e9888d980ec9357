package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// talk4 is DHCPv4 (RFC 2131): Discover, Offer, Request, Ack.
type talk4 struct {
	first  int // number of the first client
	prefix netip.Prefix
	known  expects
	// refused counts requests for what had been offered that were refused.
	refused int
}

// Messages and options of RFC 2132.
const (
	discover4, offer4, request4, ack4, nak4 = 1, 2, 3, 5, 6

	optWanted, optLeaseTime, optKind, optServer, optAskedFor, optClient = 50, 51, 53, 54, 55, 61
)

// Offsets in a message.
const (
	at4Transaction = 4
	at4Given       = 16
	at4MAC         = 28
	at4Options     = 240
)

func (*talk4) etherType() uint16 { return typeIPv4 }

func (t *talk4) open(frame []byte, n uint32, client int) []byte {
	return finish4(t.begin(frame, discover4, n<<1, t.first+client))
}

// begin appends all headers and what each message says.
func (t *talk4) begin(frame []byte, kind byte, transaction uint32, client int) []byte {
	mac := guestMAC(client)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, mac[:]...)
	frame = append(frame, typeIPv4>>8, typeIPv4&0xff,
		0x45, 0x10, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
		0, 68, 0, 67, 0, 0, 0, 0)
	frame = append(frame, 1, 1, 6, 0)
	frame = binary.BigEndian.AppendUint32(frame, transaction)
	var rest [at4Options - 8]byte
	copy(rest[at4MAC-8:], mac[:])
	copy(rest[at4Options-8-4:], []byte{0x63, 0x82, 0x53, 0x63})
	frame = append(frame, rest[:]...)
	frame = append(frame, optKind, 1, kind, optClient, 7, 1)
	frame = append(frame, mac[:]...)
	return append(frame, optAskedFor, 4, 1, 3, 6, 15)
}

func finish4(frame []byte) []byte {
	frame = append(frame, 255)
	for len(frame) < etherLen+ipv4Len+udpLen+300 { // RFC 1542 section 2.1
		frame = append(frame, 0)
	}
	ip := frame[etherLen:]
	udp := ip[ipv4Len:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[10:], ^fold(sumWords(0, ip[:ipv4Len])))
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	sum := sumWords(uint32(len(udp))+17, ip[12:ipv4Len])
	binary.BigEndian.PutUint16(udp[6:], notZero(^fold(sumWords(sum, udp))))
	return frame
}

func (t *talk4) hear(heard, frame []byte, client func(uint32) (int, bool)) (n uint32, next []byte, given netip.Addr, ok bool, err error) {
	m := udpOf(heard, ipv4Len, 9, 67, 68)
	if len(m) < at4Options || m[0] != 2 {
		return 0, nil, given, false, nil
	}
	transaction := binary.BigEndian.Uint32(m[at4Transaction:])
	n = transaction >> 1
	c, underway := client(n)
	if !underway {
		return 0, nil, given, false, nil
	}
	c += t.first
	var kind byte
	var server []byte
	lease := uint32(0)
	for o := m[at4Options:]; len(o) >= 2 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		size := int(o[1])
		if len(o) < 2+size {
			break
		}
		switch {
		case o[0] == optKind && size == 1:
			kind = o[2]
		case o[0] == optServer && size == 4:
			server = o[:6]
		case o[0] == optLeaseTime && size == 4:
			lease = binary.BigEndian.Uint32(o[2:])
		}
		o = o[2+size:]
	}
	if last := transaction&1 == 1; last == (kind == offer4) {
		return 0, nil, given, false, nil
	}
	if kind == nak4 { // RFC 2131 section 3.1, 4: from the beginning
		t.refused++
		return n, t.open(frame, n, c-t.first), given, true, nil
	}
	given = netip.AddrFrom4([4]byte(m[at4Given:]))
	if kind != offer4 && kind != ack4 || server == nil || lease == 0 || clientOf(m[at4MAC:]) != c {
		return n, nil, given, false, fmt.Errorf("DHCPv4, client %d: %w: %x", c, errAnswer, m)
	}
	if err := t.known.check(c, given, t.prefix); err != nil {
		return n, nil, given, false, fmt.Errorf("DHCPv4, client %d: %v: %w", c, given, err)
	}
	if kind == ack4 {
		return n, nil, given, true, nil
	}
	frame = t.begin(frame, request4, n<<1|1, c)
	frame = append(frame, server...)
	frame = append(frame, optWanted, 4)
	frame = append(frame, m[at4Given:at4Given+4]...)
	return n, finish4(frame), given, true, nil
}
