package main

import (
	"fmt"
	"net/netip"
	"slices"
)

// talkRA is router discovery: a solicitation, and an advertisement to whoever
// asked (RFC 4861 section 6.2.6). It does not say to which solicitation it is:
// the client's oldest one is answered by it.
type talkRA struct {
	prefix netip.Prefix
	waits  [][]uint32 // exchanges that each client is in
}

var allRouters = [16]byte{0xff, 2, 15: 2}

func (*talkRA) etherType() uint16 { return typeIPv6 }

func (t *talkRA) open(frame []byte, n uint32, client int) []byte {
	t.waits[client] = append(t.waits[client], n)
	frame = appendIPv6(frame, client, allRouters, 58, 255)
	mac := guestMAC(client)
	frame = append(frame, 133, 0, 0, 0, 0, 0, 0, 0, 1, 1)
	return finishIPv6(append(frame, mac[:]...), 2)
}

func (t *talkRA) hear(heard, _ []byte, client func(uint32) (int, bool)) (n uint32, next []byte, given netip.Addr, ok bool, err error) {
	const icmp = etherLen + ipv6Len
	if len(heard) < icmp+16 || heard[etherLen+6] != 58 || heard[icmp] != 134 {
		return 0, nil, given, false, nil
	}
	c := clientOf(heard[icmp-6 : icmp]) // of the address it goes to
	if c >= len(t.waits) || len(t.waits[c]) == 0 || [16]byte(heard[icmp-16:icmp]) != guestLink(c) {
		return 0, nil, given, false, nil
	}
	n = t.waits[c][0]
	if _, underway := client(n); !underway {
		return 0, nil, given, false, nil
	}
	if !advertises(heard[icmp:], t.prefix) {
		return n, nil, given, false, fmt.Errorf("router advertisement to client %d: %w: %x", c, errAnswer, heard[icmp:])
	}
	t.waits[c] = slices.Delete(t.waits[c], 0, 1)
	return n, nil, given, true, nil
}
