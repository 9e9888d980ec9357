package plan

import (
	"encoding/binary"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// PortName is the host's end of a port's veth.
func PortName(port vnet.ID) string { return "sxp" + ProjectTag(port) }

// Port returns a port's fragment: its device, and what the servers know of
// its guest. The guest is known wherever the port's network runs; the device
// is made on the host that the port is bound to.
func Port(s *Snapshot, f *Facts, id vnet.ID) *Fragment {
	out := &Fragment{Owner: vnet.Ref{Kind: vnet.KindPort, ID: id}}
	port := s.Ports[id]
	if port == nil || port.Deleting != nil || !s.Started(port.Network) {
		return out
	}
	n := s.Networks[port.Network]
	if n == nil || n.Deleting != nil {
		return out
	}
	out.Guest = guestOf(s, port)
	if p := (&networkPlan{s: s, f: f, n: n, out: out, mode: modesOf(f, n), bridge: n.Bridge}); p.placeGateway() {
		p.lend(out.Owner)
	}
	b := port.Binding
	if b == nil || b.Host != s.Host {
		return out
	}
	bridge := BridgeOf(f, n)
	var mac vnet.MAC // of the host's end
	if bridge != n.Bridge {
		// A bridge of somebody else's takes the lowest MAC of its members,
		// unless it has one of its own: ours must not be it.
		mac = port.MAC
		mac[0] = 0xfe
	}
	dev := ""
	switch b.Plug {
	case vnet.PlugVeth:
		dev = PortName(port.ID)
		out.Items = append(out.Items, Veth{Name: dev, Owner: out.Owner, MAC: mac, MTU: mtuOf(f, n), PeerNS: b.Netns, Peer: b.Device, PeerMAC: port.MAC, PeerUp: true})
	case vnet.PlugTap:
		dev = b.Device
		out.Items = append(out.Items, Tap{Name: dev, Owner: out.Owner, User: b.Owner, MAC: mac, MTU: mtuOf(f, n)})
	case vnet.PlugAdopted:
		out.Guest.Device = b.Device
		out.Items = append(out.Items, defaultElements(out.Guest)...)
		return out // somebody else's device; the network's fragment filters it
	}
	out.Guest.Device = dev
	out.Items = append(out.Items, defaultElements(out.Guest)...)
	if f.Has(vnet.FeatureIPv6) {
		out.Items = append(out.Items, linkSysctl("", dev, vnet.IPv6, "disable_ipv6", "1"))
	}
	out.Items = append(out.Items, portElements(dev, n, modesOf(f, n))...)
	out.Items = append(out.Items, Member{Link: dev, Bridge: bridge, Owner: out.Owner})
	return out
}

// defaultElements keep all router advertisements from a guest whose default
// network is another one: the address servers tell it what it is to hear on its
// device.
func defaultElements(g *Guest) []Item {
	if g.DefaultRoute {
		return nil
	}
	return []Item{Element{"", "bridge", "nodefault", quote(g.Device), ""}}
}

// mtuOf is a network's MTU on this host.
func mtuOf(f *Facts, n *vnet.Network) int {
	p := networkPlan{f: f, n: n}
	return p.mtu()
}

func guestOf(s *Snapshot, port *vnet.Port) *Guest {
	g := &Guest{
		Port: port.ID, Network: port.Network, Name: vnet.DNSLabel(port.Name), MAC: port.MAC,
		DefaultRoute: port.DefaultRoute == nil || *port.DefaultRoute, Relay: port.Relay,
	}
	if port.Hostname != "" {
		g.Name = port.Hostname
	}
	for _, fixed := range port.Fixed {
		g.Addresses = append(g.Addresses, completed(s, fixed)...)
	}
	return g
}

// completed turns a fixed address into real ones: one, or one for each prefix
// that a moving subnet holds.
func completed(s *Snapshot, fixed vnet.FixedAddress) []GuestAddress {
	sub := s.Subnets[fixed.Subnet]
	if sub == nil {
		return nil
	}
	if !sub.Source.Moves() {
		if fixed.Address.IsValid() {
			return append([]GuestAddress{{Subnet: sub.ID, Address: fixed.Address}}, beside(s, sub, vnet.InterfaceID(fixed.Address))...)
		}
		out := []GuestAddress{{Subnet: sub.ID, Address: join(sub.Prefix, fixed.Host)}}
		return append(append(out, beside(s, sub, fixed.Host)...), retiredOf(s, sub, fixed.Host)...)
	}
	var out []GuestAddress
	for _, as := range s.AssignmentsOf(sub.ID) {
		dep := as.State == vnet.PrefixDeprecated
		if dep && sub.Family == vnet.IPv4 {
			continue
		}
		if at, ok := fits(as.Prefix, fixed.Host); ok {
			out = append(out, GuestAddress{Subnet: sub.ID, Address: at, Deprecated: dep})
		}
	}
	return out
}

// retiredOf is what a guest still has in the prefixes that its subnet had.
func retiredOf(s *Snapshot, sub *vnet.Subnet, host uint64) []GuestAddress {
	n := s.Networks[sub.Network]
	if n == nil {
		return nil
	}
	var out []GuestAddress
	for _, r := range n.Retired {
		if r.Subnet == sub.ID && r.Delegate == 0 && r.Prefix.Bits() == sub.Prefix.Bits() && r.Prefix != sub.Prefix {
			out = append(out, GuestAddress{Subnet: sub.ID, Address: join(r.Prefix, host), Deprecated: true})
		}
	}
	return out
}

// Completed returns a reservation's addresses in the prefixes of the moment.
func Completed(s *Snapshot, fixed vnet.FixedAddress) []GuestAddress { return completed(s, fixed) }

// join puts a host part below a prefix.
func join(p netip.Prefix, host uint64) netip.Addr {
	p = p.Masked()
	if p.Addr().Is4() {
		b := p.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|uint32(host))
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])|host)
	return netip.AddrFrom16(b)
}
