package xml

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Definition translates our nouns back. Kept is the definition that Objects was
// made of, nil for a network that was never libvirt's: what did not change since
// stays as it was written, also what we have no noun for, and what did change
// natively is written anew. What our nouns have and libvirt's elements do not is
// left out, but for the modes, which our name space can say.
func Definition(o *Objects, kept *Network) (*Network, error) {
	v := o.Network
	n := &Network{Name: v.Name, UUID: string(v.ID), Bridge: Bridge{STP: false}}
	was := &Objects{Network: &vnet.Network{}}
	if kept != nil {
		var err error
		if was, err = kept.Objects(); err != nil {
			return nil, err
		}
		c := *kept
		n = &c
		if v.Name != was.Network.Name {
			n.Name = v.Name
		}
	}
	if v.Bridge != was.Network.Bridge && n.Forward.Mode.L3() {
		n.Bridge.Name = v.Bridge
	}
	if v.MAC != was.Network.MAC {
		n.MAC = v.MAC.String()
	}
	if v.MTU != was.Network.MTU {
		n.MTU = uint32(v.MTU)
	}
	if v.Domain != was.Network.Domain {
		n.Domain = NetworkDomain{}
		if v.Domain != "" {
			n.Domain = NetworkDomain{Name: &v.Domain, LocalOnly: "yes"}
		}
	}
	// Names of hosts are records: they are told apart while both are known.
	hosts := n.hostNames(was)
	if !sameServing(o, was) {
		n.IPs = addresses(o)
	}
	if !reflect.DeepEqual(v.DNS, was.Network.DNS) {
		n.DNS = names(v.DNS, hosts)
	}
	return n, n.setModes(o)
}

// hostNames are the records that hosts of DHCP brought about.
func (n *Network) hostNames(was *Objects) map[vnet.NameRecord]bool {
	records, l := map[vnet.NameRecord]bool{}, map[vnet.NameRecord]bool{}
	for _, r := range was.Network.DNS.Records {
		records[r] = true
	}
	for _, ip := range n.IPs {
		for _, h := range ip.Hosts {
			if h.Name == nil {
				continue
			}
			if r := addressRecord(*h.Name, h.IP); records[r] {
				l[r] = true
			}
		}
	}
	return l
}

// sameServing reports whether addresses and what is given of them are the same.
func sameServing(a, b *Objects) bool {
	same := func(f vnet.Family) bool {
		p, q := a.Network.Policy(f), b.Network.Policy(f)
		return p.Address == q.Address && p.Guests == q.Guests && slices.Equal(p.Ranges, q.Ranges)
	}
	return same(vnet.IPv4) && same(vnet.IPv6) && slices.Equal(a.Addresses, b.Addresses) &&
		slices.EqualFunc(a.Subnets, b.Subnets, sameSubnet) && slices.EqualFunc(a.Reservations, b.Reservations, sameReservation)
}

func sameSubnet(a, b *vnet.Subnet) bool {
	return a.Prefix == b.Prefix && a.Gateway == b.Gateway && a.Guests == b.Guests && slices.Equal(a.Ranges, b.Ranges)
}

func sameReservation(a, b *vnet.Reservation) bool {
	return a.MAC == b.MAC && a.DUID == b.DUID && a.Client == b.Client && a.Address == b.Address
}

// addresses writes all <ip> anew.
func addresses(o *Objects) (l []IP) {
	add := func(gateway netip.Prefix, ranges []vnet.Range) {
		if !gateway.IsValid() {
			return
		}
		ip := IP{Address: gateway.Addr(), Prefix: uint32(gateway.Bits())}
		if ip.Address.Is6() {
			ip.Family = "ipv6"
		}
		for _, r := range ranges {
			ip.Ranges = append(ip.Ranges, Range{Start: r.First, End: r.Last})
		}
		for _, r := range o.Reservations {
			if gateway.Masked().Contains(r.Address) {
				ip.Hosts = append(ip.Hosts, reserved(o, r))
			}
		}
		l = append(l, ip)
	}
	for _, f := range vnet.Families {
		add(o.Network.Policy(f).Address, o.Network.Policy(f).Ranges)
	}
	for _, s := range o.Subnets {
		if a := s.GatewayAddr(s.Prefix); a.IsValid() {
			add(netip.PrefixFrom(a, s.Prefix.Bits()), s.Ranges)
		}
	}
	for _, a := range o.Addresses {
		add(a, nil)
	}
	return l
}

// reserved is a reservation as a host of DHCP, with the name that the address
// has.
func reserved(o *Objects, r *vnet.Reservation) DHCPHost {
	h := DHCPHost{IP: r.Address}
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	if r.MAC != (vnet.MAC{}) && r.Address.Is4() {
		h.MAC = text(r.MAC.String())
	}
	if r.Address.Is6() {
		h.ID = text(r.DUID)
	}
	h.Name = text(r.Client)
	addr := r.Address.String()
	for _, d := range o.Network.DNS.Records {
		if h.Name == nil && (d.Type == "A" || d.Type == "AAAA") && d.Value == addr {
			h.Name = text(strings.TrimSuffix(d.Name, "."))
		}
	}
	return h
}

// names writes <dns> anew, without the names of hosts of DHCP.
func names(d vnet.DNSPolicy, hosts map[vnet.NameRecord]bool) (out DNS) {
	if d.Off {
		out.Enable = "no"
		return out
	}
	for _, f := range d.Forwarders {
		w := Forwarder{Addr: f.Server.Addr()}
		if f.Domain != "" {
			w.Domain = &f.Domain
		}
		out.Forwarders = append(out.Forwarders, w)
	}
	for _, r := range d.Records {
		if hosts[r] {
			continue
		}
		name := strings.TrimSuffix(r.Name, ".")
		switch r.Type {
		case "A", "AAAA":
			a, err := netip.ParseAddr(r.Value)
			if err != nil {
				continue
			}
			if i := slices.IndexFunc(out.Hosts, func(h DNSHost) bool { return h.IP == a }); i >= 0 {
				out.Hosts[i].Names = append(out.Hosts[i].Names, name)
			} else {
				out.Hosts = append(out.Hosts, DNSHost{a, []string{name}})
			}
		case "TXT":
			value := strings.Join(vnet.TXTStrings(r.Value), "")
			out.TXTs = append(out.TXTs, TXT{name, &value})
		case "SRV":
			if s, ok := service(name, r.Value); ok {
				out.SRVs = append(out.SRVs, s)
			}
		}
	}
	return out
}

// service reads a service record.
func service(name, value string) (s SRV, ok bool) {
	labels, words := strings.SplitN(name, ".", 3), strings.Fields(value)
	if len(labels) < 2 || !strings.HasPrefix(labels[0], "_") || !strings.HasPrefix(labels[1], "_") || len(words) != 4 {
		return s, false
	}
	a, b := labels[0][1:], labels[1][1:]
	s.Service, s.Protocol = &a, &b
	if len(labels) == 3 {
		s.Domain = &labels[2]
	}
	if target := strings.TrimSuffix(words[3], "."); target != "" {
		s.Target = &target
		for i, to := range []*uint32{&s.Priority, &s.Weight, &s.Port} {
			v, good := number(words[i], 10, 16)
			if !good {
				return s, false
			}
			*to = uint32(v)
		}
	}
	return s, true
}

// setModes writes <forward> anew if it does not say the modes, and what it
// cannot say in our name space.
func (n *Network) setModes(o *Objects) error {
	says := func() (bool, error) {
		now, err := n.Objects()
		if err != nil {
			return false, err
		}
		a, b := o.Network, now.Network
		return a.IPv4.Mode == b.IPv4.Mode && a.IPv6.Mode == b.IPv6.Mode && a.Link == b.Link, nil
	}
	if ok, err := says(); ok || err != nil {
		return err
	}
	v := o.Network
	n.Forward = Forward{Mode: forwardMode(v)}
	if v.IPv6.Mode == vnet.EgressNAT66 && n.Forward.Mode == ModeNAT {
		n.Forward.NAT.IPv6 = "yes"
	}
	if n.Forward.Mode == ModeBridge {
		n.Bridge, n.MAC, n.Domain, n.DNS, n.IPs = Bridge{Name: v.Link}, "", NetworkDomain{}, DNS{}, nil
	}
	n.dropWish()
	if ok, err := says(); ok || err != nil {
		return err
	}
	n.addWish(v.IPv4.Mode, v.IPv6.Mode)
	return nil
}

// forwardMode is the mode nearest to what both families do.
func forwardMode(v *vnet.Network) Mode {
	switch {
	case v.IPv4.Mode == vnet.EgressBridged:
		return ModeBridge
	case !v.IPv4.Address.IsValid() && !v.IPv6.Address.IsValid():
		return ModeNone // libvirt forwards nothing without an address
	case v.IPv4.Mode == vnet.EgressNAT, v.IPv4.Mode == vnet.EgressAuto, v.IPv6.Mode == vnet.EgressNAT66:
		return ModeNAT
	case v.IPv4.Mode == vnet.EgressRouted, v.IPv4.Mode == vnet.EgressNone && v.IPv6.Mode == vnet.EgressRouted:
		return ModeRoute
	case v.IPv4.Mode == vnet.EgressOpen, v.IPv4.Mode == vnet.EgressNone && v.IPv6.Mode == vnet.EgressOpen:
		return ModeOpen
	}
	return ModeNone
}

// dropWish removes our elements from <metadata>.
func (n *Network) dropWish() {
	if n.metadata == nil {
		return
	}
	m := *n.metadata
	m.children = slices.DeleteFunc(slices.Clone(m.children), func(c *node) bool { return c.space == Space })
	if n.metadata = &m; len(m.children) == 0 {
		n.metadata = nil
	}
}

// addWish writes the modes into <metadata>.
func (n *Network) addWish(v4, v6 vnet.Egress) {
	m := &node{name: "metadata"}
	if n.metadata != nil {
		c := *n.metadata
		m = &c
	}
	ours := &node{prefix: "sextant", name: "network", space: Space, parent: m, decls: []attribute{{name: "sextant", value: Space}}}
	for _, f := range []struct {
		name string
		mode vnet.Egress
	}{{"ipv4", v4}, {"ipv6", v6}} {
		ours.children = append(ours.children, &node{prefix: "sextant", name: f.name, space: Space, parent: ours,
			attrs: []attribute{{name: "mode", value: string(f.mode)}}})
	}
	m.children = append(slices.Clone(m.children), ours)
	n.metadata = m
}
