package main

import (
	"fmt"
	"net/netip"
)

// Limits of the numbers of networks and ports, by their names and addresses.
const (
	maxNetworks = 4000
	maxPorts    = 20000
)

// network is what every candidate is asked to make: a dual-stack network with
// NAT in both families, its own domain, DHCP in both families and router
// advertisements.
type network struct {
	index  int // from 0
	name   string
	bridge string
	domain string
	guest  string       // device in the guests' namespace
	plug   string       // its other end, in the host's namespace
	v4, v6 netip.Prefix // gateway address and length
	mac    [6]byte      // of the guest
}

func networks(n int) []network {
	all := make([]network, n)
	for i := range all {
		v6 := netip.MustParseAddr("fd5e:be:c::1").As16()
		v6[6], v6[7] = byte((i+1)>>8), byte(i+1)
		all[i] = network{
			index: i, name: fmt.Sprintf("n%d", i), bridge: fmt.Sprintf("sxb%d", i), domain: fmt.Sprintf("n%d.internal", i),
			guest: fmt.Sprintf("g%d", i), plug: fmt.Sprintf("p%d", i),
			v4:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100 + byte(i/250), byte(i % 250), 1}), 24),
			v6:  netip.PrefixFrom(netip.AddrFrom16(v6), 64),
			mac: [6]byte{0x52, 0x54, 0, 0xbe, byte(i >> 8), byte(i)},
		}
	}
	return all
}

// guest4 and guest6 are the guest's addresses.
func (n *network) guest4() netip.Prefix { return netip.PrefixFrom(host4(n.v4.Addr(), 2), 24) }
func (n *network) guest6() netip.Prefix { return netip.PrefixFrom(n.v6.Addr().Next(), 64) }

// guestLinkLocal is made of the MAC (RFC 4291 appendix A).
func (n *network) guestLinkLocal() netip.Addr {
	m := n.mac
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// host4 is the address with the last byte k beside a.
func host4(a netip.Addr, k byte) netip.Addr {
	b := a.As4()
	b[3] = k
	return netip.AddrFrom4(b)
}

// gatewayMAC is the MAC of the network's bridge.
func (n *network) gatewayMAC() string {
	return fmt.Sprintf("52:54:01:be:%02x:%02x", n.mac[4], n.mac[5])
}

// macText is the guest's MAC; with a first octet of fe that of the host's end,
// as libvirt names its taps.
func (n *network) macText(first byte) string {
	m := n.mac
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", first, m[1], m[2], m[3], m[4], m[5])
}
