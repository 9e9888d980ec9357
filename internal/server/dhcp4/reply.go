package dhcp4

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// everybody is the limited broadcast address.
var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// broadcastMAC is everybody's on a link.
var broadcastMAC = vnet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// reply builds an answer and addresses it (RFC 2131 section 4.1).
func (e *engine) reply(r *request, kind dhcpv4.MessageType, g grant, d time.Duration) []dhcp.Reply {
	from := e.identifier(g.sub)
	if !from.IsValid() {
		return nil
	}
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: r.m.HWType, TransactionID: r.m.TransactionID, Flags: r.m.Flags,
		ClientHWAddr: r.m.ClientHWAddr, GatewayIPAddr: net.IPv4zero, ClientIPAddr: net.IPv4zero,
		YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, Options: make(dhcpv4.Options, 16),
	}
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	m.UpdateOption(dhcpv4.OptServerIdentifier(from.AsSlice()))
	if id := r.m.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 { // RFC 6842
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id))
	}
	out := dhcp.Reply{From: from, To: everybody, MAC: broadcastMAC}
	if kind == dhcpv4.MessageTypeNak {
		out.Data = m.ToBytes()
		return []dhcp.Reply{out}
	}
	if g.address.IsValid() {
		m.YourIPAddr = g.address.AsSlice()
		m.UpdateOption(dhcpv4.OptIPAddressLeaseTime(d))
		m.UpdateOption(dhcpv4.OptRenewTimeValue((d / 2).Truncate(time.Second)))         // RFC 2131 section 4.4.5
		m.UpdateOption(dhcpv4.OptRebindingTimeValue((d * 7 / 8).Truncate(time.Second))) // likewise
	}
	if kind == dhcpv4.MessageTypeAck && r.ciaddr.IsValid() {
		m.ClientIPAddr = r.ciaddr.AsSlice()
	}
	e.configure(m, r, g)
	switch {
	case r.ciaddr.IsValid():
		out.To, out.MAC = r.ciaddr, vnet.MAC{}
	case !r.m.IsBroadcast():
		out.To, out.MAC = g.address, r.mac
	}
	out.Data = m.ToBytes()
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionHostName} {
		if len(out.Data) > r.room {
			m.DeleteOption(code)
			out.Data = m.ToBytes()
		}
	}
	return []dhcp.Reply{out}
}

// configure adds the options that configure a client.
func (e *engine) configure(m *dhcpv4.DHCPv4, r *request, g grant) {
	sub := g.sub
	if r.wants(dhcpv4.OptionSubnetMask, true) {
		m.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(sub.Prefix.Bits(), 32)))
	}
	if r.wants(dhcpv4.OptionBroadcastAddress, true) && sub.Prefix.Bits() < 31 {
		m.UpdateOption(dhcpv4.OptBroadcastAddress(ipam.Last(sub.Prefix).AsSlice()))
	}
	if r.wants(dhcpv4.OptionRouter, true) && sub.Router.Is4() && (g.guest == nil || g.guest.DefaultRoute) {
		m.UpdateOption(dhcpv4.OptRouter(sub.Router.AsSlice()))
	}
	if servers := e.nameServers(sub.Gateway); r.wants(dhcpv4.OptionDomainNameServer, true) && len(servers) > 0 {
		m.UpdateOption(dhcpv4.OptDNS(servers...))
	}
	if r.wants(dhcpv4.OptionDomainName, true) && e.Service().Domain != "" {
		m.UpdateOption(dhcpv4.OptDomainName(e.Service().Domain))
	}
	if r.wants(dhcpv4.OptionDNSDomainSearchList, false) {
		if names := dhcp.SearchList(e.Service().DNS.Search); len(names) > 0 {
			m.UpdateOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: names}))
		}
	}
	if r.wants(dhcpv4.OptionHostName, false) && g.guest != nil && dhcp.Label(g.guest.Name) != "" {
		m.UpdateOption(dhcpv4.OptHostName(dhcp.Label(g.guest.Name)))
	}
	if r.wants(dhcpv4.OptionInterfaceMTU, false) && e.Service().MTU >= 68 && e.Service().MTU <= 65535 { // RFC 2132 section 5.1
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, dhcpv4.Uint16(e.Service().MTU).ToBytes()))
	}
}

// nameServers are the IPv4 name servers that guests are told: the network's,
// or ours when we serve and nothing was chosen.
func (e *engine) nameServers(gateway netip.Addr) []net.IP {
	var out []net.IP
	for _, a := range e.Service().DNS.Servers {
		if a.Is4() && len(out) < 4 {
			out = append(out, a.AsSlice())
		}
	}
	if e.Service().DNS.Serve && len(e.Service().DNS.Servers) == 0 && gateway.Is4() {
		out = append(out, gateway.AsSlice())
	}
	return out
}
