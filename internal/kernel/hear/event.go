package hear

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Event is what a packet says: a *Solicitation, *Advertisement,
// *RouterSolicitation, *Report, *ARP or *DHCP.
type Event interface{ event() }

// Solicitation is a neighbour solicitation (RFC 4861 section 4.3). From the
// unspecified address it is duplicate address detection (RFC 4862 section
// 5.4.2), an enhanced one if it has a nonce (RFC 7527).
type Solicitation struct {
	Source, Target netip.Addr
	LinkAddr       vnet.MAC // source link-layer address option; zero: none
	Nonce          []byte
}

// DAD reports whether it is duplicate address detection.
func (s *Solicitation) DAD() bool { return s.Source.IsUnspecified() }

// Advertisement is a neighbour advertisement (RFC 4861 section 4.4).
type Advertisement struct {
	Source, Target              netip.Addr
	LinkAddr                    vnet.MAC // target link-layer address option; zero: none
	Router, Solicited, Override bool
}

// RouterSolicitation is a router solicitation (RFC 4861 section 4.1).
type RouterSolicitation struct {
	Source   netip.Addr
	LinkAddr vnet.MAC
}

// Report is an MLD report or done (RFC 2710, RFC 9777): the groups that the
// guest joined or is in, and those it left.
type Report struct {
	Source       netip.Addr
	Joined, Left []netip.Addr
}

// ARP is an ARP packet for IPv4 over Ethernet (RFC 826).
type ARP struct {
	Reply                bool
	SenderMAC, TargetMAC vnet.MAC
	Sender, Target       netip.Addr
}

// Probe reports whether it asks if an address is free (RFC 5227 section 1.1).
func (a *ARP) Probe() bool { return !a.Reply && a.Sender.IsUnspecified() }

// Announcement reports whether it says that an address is taken (RFC 5227
// section 1.1).
func (a *ARP) Announcement() bool { return a.Sender == a.Target && !a.Sender.IsUnspecified() }

// DHCP is a packet from a DHCP client.
type DHCP struct {
	Family  vnet.Family
	Source  netip.Addr
	Message []byte // the UDP payload, perhaps cut short
}

func (*Solicitation) event()       {}
func (*Advertisement) event()      {}
func (*RouterSolicitation) event() {}
func (*Report) event()             {}
func (*ARP) event()                {}
func (*DHCP) event()               {}
