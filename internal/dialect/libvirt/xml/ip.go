package xml

import (
	"fmt"
	"net/netip"
)

// IP is an address of the gateway and what is served around it.
type IP struct {
	Family   string // as written: "", "ipv4", "ipv6"
	Address  netip.Addr
	Netmask  netip.Addr
	Prefix   uint32 // 0: not said
	LocalPTR YesNo
	TFTPRoot string
	DHCP
	// RADVD hands router advertisements over to the administrator's radvd
	// (libvirt's list of 2010); no libvirt prints or keeps it.
	RADVD bool
}

// Bits is the length of the prefix: as written, from the netmask, the class of
// an IPv4 address, or 64. -1: there is none (virSocketAddrGetIPPrefix).
func (ip *IP) Bits() int {
	switch {
	case ip.Prefix > 0:
		return int(ip.Prefix)
	case ip.Netmask.IsValid():
		return maskBits(ip.Netmask)
	case ip.Address.IsUnspecified():
		return 0
	case ip.Address.Is6():
		return 64
	}
	switch first := ip.Address.As4()[0]; {
	case first < 0x80:
		return 8
	case first < 0xc0:
		return 16
	case first < 0xe0:
		return 24
	}
	return -1
}

func parseIP(network string, n *node) (ip IP, err error) {
	ip.Family = n.value("family")
	address, netmask := n.value("address"), n.value("netmask")
	if address == "" {
		return ip, fail(CodeXML, "Missing required address attribute in network '%s'", network)
	}
	if ip.Address, err = parseAddr(address); err != nil {
		return ip, fail(CodeXML, "Invalid address '%s' in network '%s'", address, network)
	}
	if netmask != "" {
		if ip.Netmask, err = parseAddr(netmask); err != nil {
			return ip, fail(CodeXML, "Invalid netmask '%s' in network '%s'", netmask, network)
		}
	}
	if ip.Prefix, _, err = n.uintProp("prefix", 10); err != nil {
		return ip, err
	}
	if ip.LocalPTR, err = n.yesNoProp("localPtr"); err != nil {
		return ip, err
	}
	if err := ip.checkFamily(network, address, netmask); err != nil {
		return ip, err
	}
	if d := n.first("dhcp"); d != nil {
		if err := ip.DHCP.parse(network, &ip, d); err != nil {
			return ip, err
		}
	}
	if t := n.first("tftp"); t != nil {
		if !ip.Address.Is4() {
			return ip, fail(CodeConfigUnsupported, "Unsupported <tftp> element in an IPv6 element in network '%s'", network)
		}
		ip.TFTPRoot = t.value("root")
	}
	return ip, ip.parseRADVD(network, n.all("radvd"))
}

// checkFamily checks the address against what is said of its family.
func (ip *IP) checkFamily(network, address, netmask string) error {
	switch ip.Family {
	case "", "ipv4":
		switch {
		case !ip.Address.Is4():
			who := ip.Family
			if who == "" {
				who = "no"
			}
			return fail(CodeConfigUnsupported, "%s family specified for non-IPv4 address '%s' in network '%s'", who, address, network)
		case netmask != "" && !ip.Netmask.Is4():
			return fail(CodeConfigUnsupported, "Invalid netmask '%s' for address '%s' in network '%s' (both must be IPv4)", netmask, address, network)
		case netmask != "" && ip.Prefix > 0:
			return fail(CodeConfigUnsupported, "Network '%s' IP address cannot have both a prefix and a netmask", network)
		case ip.Prefix > 32:
			return fail(CodeConfigUnsupported, "Invalid IPv4 prefix '%d' in network '%s'", ip.Prefix, network)
		}
	case "ipv6":
		switch {
		case !ip.Address.Is6():
			return fail(CodeConfigUnsupported, "Family 'ipv6' specified for non-IPv6 address '%s' in network '%s'", address, network)
		case netmask != "":
			return fail(CodeConfigUnsupported, "netmask not allowed for IPv6 address '%s' in network '%s'", address, network)
		case ip.Prefix > 128:
			return fail(CodeConfigUnsupported, "Invalid IPv6 prefix '%d' in network '%s'", ip.Prefix, network)
		}
	default:
		return fail(CodeXML, "Unrecognized family '%s' in network '%s'", ip.Family, network)
	}
	return nil
}

// parseRADVD reads <radvd/>, which the proposal of 2010 has empty: whatever
// would be in it is for radvd.conf.
func (ip *IP) parseRADVD(network string, l []*node) error {
	for _, r := range l {
		switch {
		case len(r.attrs) > 0:
			return fail(CodeXML, "unexpected attribute '%s' in <radvd> of network '%s'", r.attrs[0].name, network)
		case len(r.elements()) > 0:
			return fail(CodeXML, "unexpected element <%s> in <radvd> of network '%s'", r.elements()[0].name, network)
		case ip.Address.Is4():
			return fail(CodeConfigUnsupported, "Unsupported <radvd> element in an IPv4 element in network '%s'", network)
		}
		ip.RADVD = true
	}
	return nil
}

func (ip *IP) print(p *printer) {
	attrs := some("family", ip.Family) + addrAttr("address", ip.Address) + addrAttr("netmask", ip.Netmask) +
		some32("prefix", ip.Prefix) + some("localPtr", ip.LocalPTR)
	p.block("ip", attrs, func() {
		if ip.TFTPRoot != "" {
			p.line("<tftp%s/>", some("root", ip.TFTPRoot))
		}
		ip.DHCP.print(p)
		if ip.RADVD {
			p.line("<radvd/>")
		}
	})
}

// String names the address in logs.
func (ip *IP) String() string { return fmt.Sprintf("%s/%d", formatAddr(ip.Address), ip.Bits()) }
