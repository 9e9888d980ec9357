package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// DHCPv6 as far as a server needs it that says what no real one would say (RFC
// 8415).
const (
	solicit, advertise, request, renew, rebind, reply, release = 1, 2, 3, 5, 6, 7, 8

	optionClientID, optionServerID, optionIAPD, optionIAPrefix = 1, 2, 25, 26
)

// delegate answers every question on a link with a prefix as it was told, host
// bits, lifetimes and all: DEV PREFIX PREFERRED VALID.
func delegate(args []string) error {
	if len(args) != 4 {
		return errors.New("delegate: want DEV PREFIX PREFERRED VALID")
	}
	link, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	address, length, _ := strings.Cut(args[1], "/")
	prefix, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	var numbers [3]uint32
	for i, text := range []string{length, args[2], args[3]} {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return err
		}
		numbers[i] = uint32(n)
	}
	c, err := net.ListenMulticastUDP("udp6", link, &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547, Zone: link.Name})
	if err != nil {
		return err
	}
	offer := binary.BigEndian.AppendUint32(nil, numbers[1])
	offer = binary.BigEndian.AppendUint32(offer, numbers[2])
	offer = append(append(offer, byte(numbers[0])), prefix.AsSlice()...)
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFromUDP(b)
		if err != nil {
			return err
		}
		if answer := answer(b[:n], offer); answer != nil {
			fmt.Println("answered", from)
			if _, err := c.WriteToUDP(answer, from); err != nil {
				return err
			}
		}
	}
}

// answer is what a client gets whose message asks for a prefix.
func answer(b, offer []byte) []byte {
	if len(b) < 4 {
		return nil
	}
	kind := byte(reply)
	switch b[0] {
	case solicit:
		kind = advertise
	case request, renew, rebind, release:
	default:
		return nil
	}
	out := append([]byte{kind}, b[1:4]...)
	out = option(out, optionServerID, []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1})
	for rest := b[4:]; len(rest) >= 4; {
		code, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+size {
			return nil
		}
		switch body := rest[4 : 4+size]; {
		case code == optionClientID:
			out = option(out, code, body)
		case code == optionIAPD && size >= 12:
			ia := append([]byte(nil), body[:4]...)
			ia = binary.BigEndian.AppendUint32(ia, 2) // T1
			ia = binary.BigEndian.AppendUint32(ia, 4) // T2
			out = option(out, code, option(ia, optionIAPrefix, offer))
		}
		rest = rest[4+size:]
	}
	return out
}

// option appends an option.
func option(b []byte, code uint16, body []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}
