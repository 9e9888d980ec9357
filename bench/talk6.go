package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// talk6 is DHCPv6 (RFC 9915): Solicit, Advertise, Request, Reply, or with rapid
// commit only the first and the last.
type talk6 struct {
	rapid  bool
	first  int // number of the first client
	prefix netip.Prefix
	known  expects
}

// Messages and options of RFC 9915.
const (
	solicit6, advertise6, request6, reply6 = 1, 2, 3, 7

	optClientID, optServerID, optIANA, optIAAddr = 1, 2, 3, 5
	optAsked, optElapsed, optRapid               = 6, 8, 14
)

var allServers6 = [16]byte{0xff, 2, 13: 1, 15: 2}

func (*talk6) etherType() uint16 { return typeIPv6 }

func (t *talk6) open(frame []byte, n uint32, client int) []byte {
	frame = t.begin(frame, solicit6, n<<1, t.first+client)
	if t.rapid {
		frame = append(frame, 0, optRapid, 0, 0)
	}
	frame = appendIANA(frame, t.first+client, nil)
	return finishUDP6(frame)
}

// begin appends all headers and what each message says.
func (t *talk6) begin(frame []byte, kind byte, transaction uint32, client int) []byte {
	frame = appendIPv6(frame, client, allServers6, 17, 1)
	frame = append(frame, 546>>8, 546&0xff, 547>>8, 547&0xff, 0, 0, 0, 0)
	frame = append(frame, kind, byte(transaction>>16), byte(transaction>>8), byte(transaction))
	mac := guestMAC(client)
	frame = append(frame, 0, optClientID, 0, 10, 0, 3, 0, 1) // DUID-LL
	frame = append(frame, mac[:]...)
	frame = append(frame, 0, optElapsed, 0, 2, 0, 0)
	return append(frame, 0, optAsked, 0, 4, 0, 23, 0, 24) // resolvers, search list
}

// appendIANA appends an IA_NA, with the addresses of what was advertised.
func appendIANA(frame []byte, client int, addresses []byte) []byte {
	frame = append(frame, 0, optIANA, 0, byte(12+len(addresses)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(client)|0x52000000)
	frame = append(frame, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(frame, addresses...)
}

func finishUDP6(frame []byte) []byte {
	udp := frame[etherLen+ipv6Len:]
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	return finishIPv6(frame, 6)
}

func (t *talk6) hear(heard, frame []byte, client func(uint32) (int, bool)) (n uint32, next []byte, given netip.Addr, ok bool, err error) {
	m := udpOf(heard, ipv6Len, 6, 547, 546)
	if len(m) < 4 {
		return 0, nil, given, false, nil
	}
	transaction := binary.BigEndian.Uint32(m) & 0xffffff
	n = transaction >> 1
	c, underway := client(n)
	// The request has an odd number.
	if last := t.rapid || transaction&1 == 1; !underway || last != (m[0] == reply6) {
		return 0, nil, given, false, nil
	}
	c += t.first
	var server, address []byte
	for o := m[4:]; len(o) >= 4; {
		code, size := binary.BigEndian.Uint16(o), int(binary.BigEndian.Uint16(o[2:]))
		if len(o) < 4+size {
			break
		}
		switch code {
		case optServerID:
			server = o[:4+size]
		case optIANA:
			address = addressOf(o[4 : 4+size])
		}
		o = o[4+size:]
	}
	if server == nil || address == nil {
		return n, nil, given, false, fmt.Errorf("DHCPv6, client %d: %w: %x", c, errAnswer, m)
	}
	given = netip.AddrFrom16([16]byte(address[4:20]))
	if err := t.known.check(c, given, t.prefix); err != nil {
		return n, nil, given, false, fmt.Errorf("DHCPv6, client %d: %v: %w", c, given, err)
	}
	if m[0] == reply6 {
		return n, nil, given, true, nil
	}
	frame = t.begin(frame, request6, n<<1|1, c)
	frame = append(frame, server...)
	frame = appendIANA(frame, c, address)
	return n, finishUDP6(frame), given, true, nil
}

// addressOf returns the first address of an IA_NA that is valid for a while,
// as the option that it is; nil if there is none.
func addressOf(ia []byte) []byte {
	if len(ia) < 12 {
		return nil
	}
	for o := ia[12:]; len(o) >= 4; {
		code, size := binary.BigEndian.Uint16(o), int(binary.BigEndian.Uint16(o[2:]))
		if len(o) < 4+size {
			return nil
		}
		if code == optIAAddr && size >= 24 && binary.BigEndian.Uint32(o[24:]) > 0 {
			address := o[:28:28]
			if size > 24 {
				address = append([]byte{}, address...)
				address[3] = 24
			}
			return address
		}
		o = o[4+size:]
	}
	return nil
}
