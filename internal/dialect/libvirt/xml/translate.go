package xml

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Objects are a definition in our nouns. Network has the primary subnets in its
// short form; Subnets are further ones. Nothing of it refers to anything by ID
// but Network.ID, which is the definition's UUID.
type Objects struct {
	Network      *vnet.Network
	Subnets      []*vnet.Subnet
	Reservations []*vnet.Reservation
	// Addresses are the gateway's besides, each alone: no guest has one near it.
	Addresses []netip.Prefix
	// HandedOut says that clients attach guests themselves, to links or
	// functions of NICs: nothing is made on the host.
	HandedOut bool
	// RADVD says that the administrator's radvd advertises: it is told when the
	// network starts and stops.
	RADVD bool
}

// Objects translates a definition that Validate let pass. What our nouns have no
// place for is only in the definition, which therefore is to be kept: DESIGN.md
// lists it. It is an error if what dnsmasq is told, or our own name space says,
// is not known.
func (n *Network) Objects() (*Objects, error) {
	wish, err := n.Wish()
	if err != nil {
		return nil, err
	}
	no := false
	o := &Objects{Network: &vnet.Network{
		Meta:   vnet.Meta{ID: vnet.ID(n.UUID), Name: networkName(n.Name)},
		Bridge: n.Bridge.Name, MTU: int(n.MTU), Admit: vnet.AdmitAny,
		Autostart: &no, Started: &no,
	}}
	v := o.Network
	if !n.Forward.Mode.L3() {
		v.Bridge = ""
	}
	if mac, ok := parseMAC(n.MAC); ok {
		v.MAC = mac
	}
	if n.Domain.Name != nil {
		v.Domain = strings.ToLower(strings.TrimSuffix(*n.Domain.Name, "."))
	}
	n.translateModes(o, wish)
	n.translateIPs(o, wish)
	v.LeaseTime = n.leaseTime()
	n.translateHosts(o)
	n.translateDNS(&v.DNS)
	if err := n.translateDnsmasq(o); err != nil {
		return nil, err
	}
	return o, nil
}

// networkName is a name that ours may have: libvirt's, or what of it can stand
// in one.
func networkName(name string) string {
	if vnet.CheckName("name", name) == nil {
		return name
	}
	if l := vnet.DNSLabel(name); l != "" && vnet.CheckName("name", l) == nil {
		return l
	}
	return "network-" + vnet.DNSLabel(uuidOf(name))[:8]
}

// translateModes says how each family reaches the outside.
func (n *Network) translateModes(o *Objects, wish Wish) {
	v, m := o.Network, n.Forward.Mode
	o.HandedOut = !m.L3() && (m != ModeBridge || n.Bridge.Name == "")
	for _, f := range vnet.Families {
		p := v.Policy(f)
		switch {
		case m == ModeBridge && n.Bridge.Name != "":
			p.Mode, v.Link = vnet.EgressBridged, n.Bridge.Name
		case o.HandedOut, !n.has(f):
			p.Mode = vnet.EgressNone
			// IPv4 frames between guests are never in libvirt's way.
			p.L2 = f == vnet.IPv4 || n.IPv6 || o.HandedOut
		case m == ModeOpen:
			p.Mode = vnet.EgressOpen
		case m == ModeNone:
			p.Mode = vnet.EgressIsolated
		case m == ModeNAT && f == vnet.IPv4:
			p.Mode = vnet.EgressNAT
		case m == ModeNAT && n.Forward.NAT.IPv6 == "yes":
			p.Mode = vnet.EgressNAT66
		default: // also IPv6 of a NATed network, as libvirt has it
			p.Mode, p.Inbound = vnet.EgressRouted, vnet.InboundOpen
		}
	}
	for _, w := range []struct {
		f    vnet.Family
		mode vnet.Egress
	}{{vnet.IPv4, wish.IPv4}, {vnet.IPv6, wish.IPv6}} {
		if w.mode != "" {
			*v.Policy(w.f) = vnet.FamilyPolicy{Mode: w.mode, L2: w.mode == vnet.EgressNone && v.Policy(w.f).L2}
		}
	}
}

// has reports whether the network has a prefix of the family.
func (n *Network) has(f vnet.Family) bool {
	return slices.ContainsFunc(n.IPs, func(ip IP) bool { return vnet.FamilyOf(ip.Address) == f && !ip.alone() })
}

// alone reports whether the address has nothing around it.
func (ip *IP) alone() bool { return ip.Bits() == ip.Address.BitLen() }

// translateIPs makes the address with DHCP the primary subnet of its family, or
// the first one, and the others further ones.
func (n *Network) translateIPs(o *Objects, wish Wish) {
	for _, f := range vnet.Families {
		p := o.Network.Policy(f)
		if !p.Mode.Addressed() {
			continue
		}
		var l []*IP
		for i := range n.IPs {
			ip := &n.IPs[i]
			switch {
			case vnet.FamilyOf(ip.Address) != f:
			case ip.alone():
				o.Addresses = append(o.Addresses, netip.PrefixFrom(ip.Address, ip.Bits()))
			default:
				l = append(l, ip)
			}
		}
		slices.SortStableFunc(l, func(a, b *IP) int { return a.rank() - b.rank() })
		for i, ip := range l {
			bits := max(ip.Bits(), 0)
			gateway := netip.PrefixFrom(ip.Address, bits)
			o.RADVD = o.RADVD || ip.RADVD
			if i == 0 && takesAddress(p.Mode) {
				p.Address, p.Guests, p.Ranges = gateway, ip.guests(), ip.ranges()
				o.Network.Advertise.Off = ip.RADVD
			} else if i > 0 {
				o.Subnets = append(o.Subnets, &vnet.Subnet{
					Network: o.Network.ID, Family: f, Source: vnet.SourceFixed, Prefix: gateway.Masked(), Gateway: ip.Address.String(),
					Guests: ip.guests(), Ranges: ip.ranges(), Advertise: vnet.PrefixPolicy{Off: ip.RADVD},
				})
			}
			ip.translateBoot(o)
		}
	}
	if wish.Guests != "" {
		o.Network.IPv6.Guests = wish.Guests
	}
	o.Network.RA.Off = o.RADVD
}

// rank has the address with DHCP first.
func (ip *IP) rank() int {
	if ip.serves() {
		return 0
	}
	return 1
}

// takesAddress reports whether the prefix of a network in that mode can be
// written down; of others it is found.
func takesAddress(m vnet.Egress) bool {
	switch m {
	case vnet.EgressAuto, vnet.EgressDelegated, vnet.EgressProxied:
		return false
	}
	return true
}

// guests is how guests get addresses: with DHCP by it alone, else IPv6 ones by
// the prefix that is advertised.
func (ip *IP) guests() vnet.Guests {
	switch six := ip.Address.Is6(); {
	case ip.serves() && six:
		return vnet.GuestsStateful
	case ip.serves():
		return vnet.GuestsDHCP
	case six && ip.Bits() == 64 && !ip.RADVD:
		return vnet.GuestsSLAAC
	}
	return vnet.GuestsManual
}

func (ip *IP) ranges() (l []vnet.Range) {
	for _, r := range ip.Ranges {
		l = append(l, vnet.Range{First: r.Start, Last: r.End})
	}
	return l
}

func (ip *IP) translateBoot(o *Objects) {
	b := &o.Network.Boot
	if ip.TFTPRoot != "" {
		b.Root = ip.TFTPRoot
	}
	if ip.BootFile != nil && ip.serves() {
		b.Files = []vnet.BootFile{{Client: "any", File: *ip.BootFile}}
		if ip.BootServer.IsValid() {
			b.Server = ip.BootServer.String()
		}
	}
}

// longestLease stands for a lease without end.
const longestLease = 365 * 24 * time.Hour

// leaseTime is the time of the first range that says one: a network of ours has
// one for all. 0: not said.
func (n *Network) leaseTime() vnet.Duration {
	for _, ip := range n.IPs {
		for _, r := range ip.Ranges {
			if r.Lease != nil {
				return vnet.Duration(r.Lease.duration())
			}
		}
	}
	return 0
}

// duration is how long a lease lasts, as far as leases of ours can.
func (l *Lease) duration() time.Duration {
	unit := map[string]time.Duration{"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour}[l.Unit]
	if l.Expiry == 0 || l.Expiry > uint64(longestLease/unit) {
		return longestLease
	}
	return time.Duration(l.Expiry) * unit
}

// translateHosts makes reservations of the hosts of DHCP. The name of a host
// that is known by its MAC or DUID is a record.
func (n *Network) translateHosts(o *Objects) {
	for i := range n.IPs {
		for _, h := range n.IPs[i].Hosts {
			r := &vnet.Reservation{Network: o.Network.ID, Address: h.IP}
			if h.MAC != nil {
				if mac, ok := parseMAC(*h.MAC); ok {
					r.MAC = mac
				}
			}
			if h.ID != nil && h.IP.Is6() {
				r.DUID = duid(*h.ID)
			}
			if known := r.MAC != (vnet.MAC{}) || r.DUID != ""; h.Name != nil && !known {
				r.Client = strings.ToLower(*h.Name)
			} else if h.Name != nil {
				o.Network.DNS.Records = append(o.Network.DNS.Records, addressRecord(*h.Name, h.IP))
			}
			o.Reservations = append(o.Reservations, r)
		}
	}
}

// duid writes a DUID with two digits for each byte.
func duid(id string) string {
	words := strings.Split(strings.ToLower(id), ":")
	for i, w := range words {
		if len(w) == 1 {
			words[i] = "0" + w
		}
	}
	return strings.Join(words, ":")
}
