package main

import (
	"math/rand/v2"
	"net/netip"
)

// talkND is address resolution by one router on the uplink: a solicitation for
// a guest's address, and an advertisement to the router (RFC 4861 section 7.2).
// Exchange n is of client n; clients must be as many as exchanges at a time, at
// least.
type talkND struct {
	router int      // the client whose MAC the router has
	last   []uint32 // exchange that each client is in
}

// Messages and flags of RFC 4861 section 4.3 and 4.4.
const (
	solicitND, advertiseND = 135, 136
	flagSolicited          = 0x40
	optSourceLink          = 1
)

// nearPrefix is the uplink's, in which guests are beside the host. An interface
// identifier is nearHost and the guest's number: no two share the group in
// which they are solicited.
var nearPrefix = netip.MustParsePrefix("2001:db8:ffff::/64")

const nearHost = 0x10

// nearAddress is the address of a client on the uplink's own prefix.
func nearAddress(client int) netip.Addr {
	a := nearPrefix.Addr().As16()
	a[8] = nearHost
	a[13], a[14], a[15] = byte(client>>16), byte(client>>8), byte(client)
	return netip.AddrFrom16(a)
}

// nearClient is the client of an address.
func nearClient(a [16]byte) int {
	return int(a[13])<<16 | int(a[14])<<8 | int(a[15])
}

func (*talkND) etherType() uint16 { return typeIPv6 }

func (t *talkND) open(frame []byte, n uint32, client int) []byte {
	t.last[client] = n
	return appendQuestionND(frame, t.router, nearAddress(client))
}

// appendQuestionND appends a solicitation, to the group of the address.
func appendQuestionND(frame []byte, router int, target netip.Addr) []byte {
	a, mac := target.As16(), guestMAC(router)
	group := [16]byte{0xff, 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}
	frame = appendIPv6(frame, router, group, 58, 255)
	frame = append(frame, solicitND, 0, 0, 0, 0, 0, 0, 0)
	frame = append(frame, a[:]...)
	frame = append(frame, optSourceLink, 1)
	return finishIPv6(append(frame, mac[:]...), 2)
}

func (t *talkND) hear(heard, _ []byte, client func(uint32) (int, bool)) (n uint32, next []byte, given netip.Addr, ok bool, err error) {
	const icmp = etherLen + ipv6Len
	if len(heard) < icmp+24 || heard[etherLen+6] != 58 || heard[icmp] != advertiseND || heard[icmp+4]&flagSolicited == 0 {
		return 0, nil, given, false, nil
	}
	target := [16]byte(heard[icmp+8 : icmp+24])
	c := nearClient(target)
	if c >= len(t.last) || netip.AddrFrom16(target) != nearAddress(c) {
		return 0, nil, given, false, nil
	}
	n = t.last[c]
	if _, underway := client(n); !underway {
		return 0, nil, given, false, nil
	}
	return n, nil, given, true, nil
}

// anyNear is some address of the prefix that is nobody's.
func anyNear(r *rand.Rand) netip.Addr {
	a := nearPrefix.Addr().As16()
	for i := 8; i < len(a); i++ {
		a[i] = byte(r.Uint32())
	}
	a[8] |= 0x80 // not a guest's
	return netip.AddrFrom16(a)
}
