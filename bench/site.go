package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// site is a host with one network, behind whose one bridge port all clients
// are.
type site struct {
	*host
	known int // clients whose addresses are set beforehand; 0: none, and everybody is admitted
}

// The network of a site. Addresses known beforehand lie below the ranges of the
// others.
const (
	siteBridge  = "lan"
	sitePlug    = "plug"    // the bridge port
	siteClients = "clients" // its other end
	siteMAC     = "52:54:01:bf:00:01"
	siteTester  = "tester" // of perfdhcp
)

var (
	siteGateway4 = netip.MustParsePrefix("10.64.0.1/14")
	siteGateway6 = netip.MustParsePrefix("fd5e:be:d:1::1/64")
	siteRange4   = [2]netip.Addr{netip.MustParseAddr("10.65.0.0"), netip.MustParseAddr("10.67.255.250")}
	siteRange6   = [2]netip.Addr{netip.MustParseAddr("fd5e:be:d:1::1:0:0"), netip.MustParseAddr("fd5e:be:d:1::1:ffff:ffff")}
)

// known4 and known6 are the addresses that a client has beforehand.
func known4(client int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 64, byte(client>>8) + 1, byte(client)})
}

func known6(client int) netip.Addr {
	b := siteGateway6.Addr().As16()
	binary.BigEndian.PutUint32(b[12:], uint32(client)+0x1000)
	return netip.AddrFrom16(b)
}

// clientMAC and clientDUID are a client's, as people write them.
func clientMAC(client int) string {
	m := guestMAC(client)
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

func clientDUID(client int) string { return "00:03:00:01:" + clientMAC(client) }

// newSite makes a site, and n further networks' guests beside it.
func (l *lab) newSite(ctx context.Context, known, n int) (_ *site, err error) {
	h, err := l.newHost(ctx, n)
	if err != nil {
		return nil, err
	}
	const clients = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; exec ip -batch -"
	err = commandIn(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %s\nlink set %s arp off up\n", siteClients, sitePlug, h.netns, siteClients),
		"ip", "netns", "exec", h.guests, "sh", "-ec", clients)
	if err == nil {
		err = command(ctx, "ip", "-n", h.netns, "link", "set", sitePlug, "addrgenmode", "none", "up")
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return &site{host: h, known: known}, nil
}

// bridge makes the network's bridge, for servers that make none.
func (s *site) bridge(ctx context.Context) error {
	return commandIn(ctx, fmt.Sprintf(`link add %[1]s address %[2]s type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set %[1]s up
addr add %[3]v dev %[1]s
addr add %[4]v dev %[1]s nodad
`, siteBridge, siteMAC, siteGateway4, siteGateway6), "ip", "netns", "exec", s.netns,
		"sh", "-ec", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; exec ip -batch -")
}

// join puts the clients behind the bridge. The host's kernel is told their
// link-local addresses: how fast it asks for neighbours is not what is
// measured, and it keeps no more than about a thousand of those it asked for.
func (s *site) join(ctx context.Context, clients int) error {
	if err := command(ctx, "ip", "-n", s.netns, "link", "set", sitePlug, "master", siteBridge); err != nil {
		return err
	}
	var b strings.Builder
	for c := range clients {
		fmt.Fprintf(&b, "neigh replace %v lladdr %s dev %s nud permanent\n", netip.AddrFrom16(guestLink(c)), clientMAC(c), siteBridge)
	}
	return commandIn(ctx, b.String(), "ip", "netns", "exec", s.netns, "ip", "-batch", "-")
}

// load is a load on the network.
func (s *site) load(t talk) *load {
	return &load{netns: s.guests, device: siteClients, talk: t}
}

// serving waits until one client is served by every protocol.
func (s *site) serving(ctx context.Context, talks ...talk) error {
	for _, t := range talks {
		err := until(ctx, time.Minute, 20*time.Millisecond, fmt.Sprintf("%T", t), func(ctx context.Context) error {
			l := s.load(t)
			l.flight, l.clients, l.limit, l.time, l.giveUp = 1, 1, 1, time.Second, 300*time.Millisecond
			_, err := l.run(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// announce has somebody who is none of the clients speak first on the bridge
// port: an ARP probe (RFC 5227 section 2.1.1).
func (s *site) announce() error {
	const typeARP = 0x0806
	w, err := openWire(s.guests, siteClients, typeARP)
	if err != nil {
		return err
	}
	mac := [6]byte{0x52, 0x54, 0x03, 0, 0, 1}
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:]...)
	frame = append(frame, typeARP>>8, typeARP&0xff, 0, 1, typeIPv4>>8, typeIPv4&0xff, 6, 4, 0, 1)
	frame = append(frame, mac[:]...)
	frame = append(frame, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 64, 0, 2)
	frame = append(frame, make([]byte, 60-len(frame))...)
	return errors.Join(w.queue(frame), w.flush(), w.close())
}

// tester puts a device with an address of its own into the network, for a
// client that needs one.
func (s *site) tester(ctx context.Context) error {
	err := commandIn(ctx, fmt.Sprintf("link add %s type veth peer name tester0 netns %s\nlink set %s up\n", siteTester, s.netns, siteTester),
		"ip", "netns", "exec", s.guests, "sh", "-ec", "cd /proc/sys/net/ipv6/conf/default; echo 0 >disable_ipv6; echo 0 >accept_dad; exec ip -batch -")
	if err != nil {
		return err
	}
	return command(ctx, "ip", "-n", s.netns, "link", "set", "tester0", "addrgenmode", "none", "master", siteBridge, "up")
}
