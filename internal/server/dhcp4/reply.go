package dhcp4

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/sextant-net/sextant/internal/vnet"
)

// everybody is the limited broadcast address.
var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// broadcastMAC is everybody's on a link.
var broadcastMAC = vnet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// reply is a message to be sent on the network's link.
type reply struct {
	from, to netip.Addr
	// mac, if set, is whom the frame goes to: the client has no address that
	// the kernel could resolve. Else the kernel sends it.
	mac  vnet.MAC
	data []byte
}

// reply builds an answer and addresses it (RFC 2131 section 4.1).
func (e *engine) reply(r *request, kind dhcpv4.MessageType, g grant, d time.Duration) []reply {
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
	out := reply{from: from, to: everybody, mac: broadcastMAC}
	if kind == dhcpv4.MessageTypeNak {
		out.data = m.ToBytes()
		return []reply{out}
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
		out.to, out.mac = r.ciaddr, vnet.MAC{}
	case !r.m.IsBroadcast():
		out.to, out.mac = g.address, r.mac
	}
	out.data = m.ToBytes()
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionHostName} {
		if len(out.data) > r.room {
			m.DeleteOption(code)
			out.data = m.ToBytes()
		}
	}
	return []reply{out}
}

// configure adds the options that configure a client.
func (e *engine) configure(m *dhcpv4.DHCPv4, r *request, g grant) {
	sub := g.sub
	if r.wants(dhcpv4.OptionSubnetMask, true) {
		m.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(sub.Prefix.Bits(), 32)))
	}
	if r.wants(dhcpv4.OptionBroadcastAddress, true) && sub.Prefix.Bits() < 31 {
		m.UpdateOption(dhcpv4.OptBroadcastAddress(broadcast(sub.Prefix).AsSlice()))
	}
	if r.wants(dhcpv4.OptionRouter, true) && sub.Router.Is4() && (g.guest == nil || g.guest.DefaultRoute) {
		m.UpdateOption(dhcpv4.OptRouter(sub.Router.AsSlice()))
	}
	if servers := e.nameServers(sub.Gateway); r.wants(dhcpv4.OptionDomainNameServer, true) && len(servers) > 0 {
		m.UpdateOption(dhcpv4.OptDNS(servers...))
	}
	if r.wants(dhcpv4.OptionDomainName, true) && e.svc.Domain != "" {
		m.UpdateOption(dhcpv4.OptDomainName(e.svc.Domain))
	}
	if r.wants(dhcpv4.OptionDNSDomainSearchList, false) {
		if names := searchList(e.svc.DNS.Search); len(names) > 0 {
			m.UpdateOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: names}))
		}
	}
	if r.wants(dhcpv4.OptionHostName, false) && g.guest != nil && label(g.guest.Name) != "" {
		m.UpdateOption(dhcpv4.OptHostName(label(g.guest.Name)))
	}
	if r.wants(dhcpv4.OptionInterfaceMTU, false) && e.svc.MTU >= 68 && e.svc.MTU <= 65535 { // RFC 2132 section 5.1
		m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, dhcpv4.Uint16(e.svc.MTU).ToBytes()))
	}
}

// nameServers are the IPv4 name servers that guests are told: the network's,
// or ours when we serve and nothing was chosen.
func (e *engine) nameServers(gateway netip.Addr) []net.IP {
	var out []net.IP
	for _, a := range e.svc.DNS.Servers {
		if a.Is4() && len(out) < 4 {
			out = append(out, a.AsSlice())
		}
	}
	if e.svc.DNS.Serve && len(e.svc.DNS.Servers) == 0 && gateway.Is4() {
		out = append(out, gateway.AsSlice())
	}
	return out
}

// searchList returns the names that RFC 1035 labels can carry, at most six.
func searchList(names []string) []string {
	var out []string
	for _, n := range names {
		n = strings.TrimSuffix(n, ".")
		ok := n != "" && len(n) <= 253 && len(out) < 6
		for l := range strings.SplitSeq(n, ".") {
			ok = ok && l != "" && len(l) < 64
		}
		if ok {
			out = append(out, n)
		}
	}
	return out
}
