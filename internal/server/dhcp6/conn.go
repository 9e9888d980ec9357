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

// RFC 9915 section 7.1. Clients write to All_DHCP_Relay_Agents_and_Servers,
// always (section 16); relays that know no server write to All_DHCP_Servers.
var (
	allServers = netip.MustParseAddr("ff02::1:2")
	allSites   = netip.MustParseAddr("ff05::1:3")
)

// conn is the sockets of one network namespace.
type conn struct{ *listen.Port }

// open makes the sockets where inNS runs functions and reads until Close.
func open(inNS func(func() error) error, recv func(...listen.Packet)) (dhcp.Transport, error) {
	p, err := listen.OpenPort(listen.PortConfig{
		IPv6: true, Port: serverPort, Groups: []netip.Addr{allServers, allSites}, MaxMessage: maxMessage,
	}, inNS, recv)
	if err != nil {
		return nil, err
	}
	return conn{p}, nil
}

func (c conn) Send(index int, _ vnet.MAC, r dhcp.Reply) error {
	port := r.Port
	if port == 0 {
		port = clientPort
	}
	return c.Port.Send(index, r.From, netip.AddrPortFrom(r.To, port), r.Data)
}
