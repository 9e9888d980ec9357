package dhcp6

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// RFC 9915 section 7.2.
const (
	serverPort = 547
	clientPort = 546
)

// allServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
// Clients write to it, always (section 16).
var allServers = netip.MustParseAddr("ff02::1:2")

// conn is the sockets of one network namespace.
type conn struct{ *listen.Port }

// open makes the sockets where inNS runs functions and reads until Close.
func open(inNS func(func() error) error, recv func(listen.Packet)) (dhcp.Transport, error) {
	p, err := listen.OpenPort(listen.PortConfig{
		IPv6: true, Port: serverPort, Group: allServers, MaxMessage: maxMessage,
	}, inNS, recv)
	if err != nil {
		return nil, err
	}
	return conn{p}, nil
}

func (c conn) Send(index int, _ vnet.MAC, r dhcp.Reply) error {
	return c.Port.Send(index, r.From, netip.AddrPortFrom(r.To, clientPort), r.Data)
}
