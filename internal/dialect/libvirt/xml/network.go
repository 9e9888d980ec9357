package xml

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Network is a definition: <network>.
type Network struct {
	Name                string
	UUID                string // in its usual form; made if absent
	Title, Description  string
	metadata            *node
	Connections         int  // ports; printed of running networks only
	IPv6                bool // guests exchange IPv6 frames also without an address
	TrustGuestRxFilters YesNo
	Forward             Forward
	Bridge              Bridge
	MTU                 uint32
	MAC                 string // in its usual form, "" if not said
	Domain              NetworkDomain
	DNS                 DNS
	VLAN                VLAN
	Bandwidth           *Bandwidth
	Isolated            YesNo // of ports
	IPs                 []IP
	Routes              []Route
	VirtualPort         *VirtualPort
	PortGroups          []PortGroup
	Dnsmasq             []string // options for dnsmasq, in words that it knows
}

// Bridge is the link that ports join.
type Bridge struct {
	Name, Zone      string
	STP             bool
	Delay           uint64 // seconds
	MACTableManager string // "", kernel, libvirt
	stpSaid         bool
}

// NetworkDomain is the name that guests' names end in; a nil name: none.
type NetworkDomain struct {
	Name      *string
	LocalOnly YesNo
	Register  YesNo
}

// Parse reads a definition. What is wrong is told in libvirt's words, and in
// its order.
func Parse(text string) (*Network, error) {
	root, err := read(text, "network")
	if err != nil {
		return nil, err
	}
	n := &Network{Bridge: Bridge{STP: true}}
	for _, step := range []func(*node) error{
		n.parseNames, n.parseDomain, n.parsePorts, n.parseBridge, n.parseServing, n.parseRoutes, n.parseForward, n.parseExtras,
	} {
		if err := step(root); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Network) parseNames(root *node) error {
	if n.Name = root.first("name").content(); n.Name == "" {
		return fail(CodeNoName, "missing name information")
	}
	if strings.Contains(n.Name, "/") {
		return failFrom(DomainXML, CodeXMLDetail, "invalid char in name: /")
	}
	if text := root.first("uuid").content(); text == "" {
		n.UUID = uuid.NewString()
	} else {
		var ok bool
		if n.UUID, ok = parseUUID(text); !ok {
			return fail(CodeInternal, "malformed uuid element")
		}
	}
	if n.Title = root.first("title").content(); strings.Contains(n.Title, "\n") {
		return fail(CodeXML, "Network title can't contain newlines")
	}
	n.Description = root.first("description").content()
	switch v := root.value("ipv6"); v {
	case "", "no":
	case "yes":
		n.IPv6 = true
	default:
		return fail(CodeXML, "Invalid ipv6 setting '%s' in network '%s'", v, n.Name)
	}
	return nil
}

func (n *Network) parseDomain(root *node) (err error) {
	if n.TrustGuestRxFilters, err = root.yesNoProp("trustGuestRxFilters"); err != nil {
		return err
	}
	d := root.first("domain")
	n.Domain.Name = d.prop("name")
	if n.Domain.LocalOnly, err = d.yesNoProp("localOnly"); err != nil {
		return err
	}
	if n.Domain.Register, err = d.yesNoProp("register"); err != nil {
		return err
	}
	if n.Domain.Register == "yes" && n.Domain.LocalOnly != "yes" {
		return fail(CodeConfigUnsupported, "attribute 'register=yes' in <domain> element requires 'localOnly=yes' in network %s", n.Name)
	}
	return nil
}

// parsePorts reads what holds for all ports.
func (n *Network) parsePorts(root *node) (err error) {
	if n.Bandwidth, err = parseBandwidth(root.first("bandwidth"), false); err != nil {
		return err
	}
	if n.VLAN, err = parseVLAN(root.first("vlan")); err != nil {
		return err
	}
	n.Isolated, err = root.first("port").yesNoProp("isolated")
	return err
}

func (n *Network) parseBridge(root *node) error {
	b, node := &n.Bridge, root.first("bridge")
	b.Name, b.Zone = node.value("name"), node.value("zone")
	stp := node.value("stp")
	b.STP, b.stpSaid = stp != "off", stp != ""
	if s := node.value("delay"); s != "" {
		v, ok := number(s, 10, 64)
		if !ok {
			return fail(CodeXML, "Invalid delay value in network '%s'", n.Name)
		}
		b.Delay = v
	}
	switch b.MACTableManager = node.value("macTableManager"); b.MACTableManager {
	case "", "kernel", "libvirt":
	default:
		return fail(CodeXML, "Invalid macTableManager setting '%s' in network '%s'", b.MACTableManager, n.Name)
	}
	if s := root.first("mac").value("address"); s != "" {
		mac, ok := parseMAC(s)
		if !ok {
			return fail(CodeXML, "Invalid bridge mac address '%s' in network '%s'", s, n.Name)
		}
		if mac[0]&1 != 0 {
			return fail(CodeXML, "Invalid multicast bridge mac address '%s' in network '%s'", s, n.Name)
		}
		n.MAC = formatMAC(mac)
	}
	for _, m := range root.all("mtu") {
		size := m.prop("size")
		if size == nil {
			continue
		}
		if *size == "" {
			break
		}
		v, ok := wrapped(*size, 10)
		if !ok {
			return fail(CodeXML, "Invalid mtu size '%s' in network '%s'", *size, n.Name)
		}
		n.MTU = v
		break
	}
	return nil
}

// parseServing reads name service, profile, groups and addresses.
func (n *Network) parseServing(root *node) (err error) {
	if d := root.first("dns"); d != nil {
		if err := n.DNS.parse(n.Name, d); err != nil {
			return err
		}
	}
	if n.VirtualPort, err = parseVirtualPort(root.first("virtualport"), true); err != nil {
		return err
	}
	for _, c := range root.all("portgroup") {
		g, err := parsePortGroup(c)
		if err != nil {
			return err
		}
		n.PortGroups = append(n.PortGroups, g)
	}
	for _, c := range root.all("ip") {
		ip, err := parseIP(n.Name, c)
		if err != nil {
			return err
		}
		n.IPs = append(n.IPs, ip)
	}
	return nil
}

// parseRoutes reads routes; their gateways must be in the network.
func (n *Network) parseRoutes(root *node) error {
	for _, c := range root.all("route") {
		r, err := parseRoute(n.Name, c)
		if err != nil {
			return err
		}
		n.Routes = append(n.Routes, r)
	}
	for _, r := range n.Routes {
		if !n.reaches(r.Gateway) {
			return fail(CodeConfigUnsupported, "unreachable static route gateway '%s' specified for network '%s'", formatAddr(r.Gateway), n.Name)
		}
	}
	return nil
}

func (n *Network) reaches(gateway netip.Addr) bool {
	for i := range n.IPs {
		ip := &n.IPs[i]
		if ip.Address.Is4() != gateway.Is4() {
			continue
		}
		if a := masked(ip.Address, ip.Bits()); a.IsValid() && a == masked(gateway, ip.Bits()) {
			return true
		}
	}
	return false
}

func (n *Network) parseForward(root *node) error {
	if f := root.first("forward"); f != nil {
		if err := n.Forward.parse(n.Name, f); err != nil {
			return err
		}
	}
	return n.checkMode()
}

// parseExtras reads what libvirt keeps for others: metadata, and options for
// dnsmasq.
func (n *Network) parseExtras(root *node) error {
	n.parseMetadata(root)
	for _, o := range root.children {
		if o.kind != elementNode || o.space != dnsmasqSpace || o.name != "options" {
			continue
		}
		for _, c := range o.children {
			if c.kind != elementNode || c.space != dnsmasqSpace || c.name != "option" {
				continue
			}
			v := c.prop("value")
			if v == nil {
				return fail(CodeInternal, "No dnsmasq options value specified")
			}
			n.Dnsmasq = append(n.Dnsmasq, *v)
		}
	}
	return nil
}

// checkMode checks what must fit the mode.
func (n *Network) checkMode() error {
	m, b, f := n.Forward.Mode, &n.Bridge, &n.Forward
	switch {
	case m == ModeNone:
	case m == ModeNAT || m == ModeRoute:
		if len(n.IPs) == 0 {
			return fail(CodeXML, "%s forwarding requested, but no IP address provided for network '%s'", m, n.Name)
		}
		if len(f.Devices) > 1 {
			return fail(CodeXML, "multiple forwarding interfaces specified for network '%s', only one is supported", n.Name)
		}
	case m == ModeOpen:
		if len(f.Devices) > 0 {
			return fail(CodeXML, "forward dev not allowed for network '%s' with forward mode='%s'", n.Name, m)
		}
	case m != ModeBridge && b.Name != "":
		return fail(CodeXML, "bridge name not allowed in %s mode (network '%s')", m, n.Name)
	case m != ModeBridge && b.Zone != "":
		return fail(CodeXML, "bridge zone not allowed in %s mode (network '%s')", m, n.Name)
	case m != ModeBridge && b.MACTableManager != "":
		return fail(CodeXML, "bridge macTableManager setting not allowed in %s mode (network '%s')", m, n.Name)
	case b.Delay != 0 || b.stpSaid || b.Zone != "":
		return fail(CodeXML, "bridge delay/stp/zone options only allowed in open, route, nat, and isolated mode, not in %s (network '%s')", m, n.Name)
	case b.Name != "" && (len(f.Devices) > 0 || f.PF != ""):
		return fail(CodeXML, "A network with forward mode='%s' can specify a bridge name or a forward dev, but not both (network '%s')", m, n.Name)
	}
	if n.MTU != 0 && !m.L3() {
		return fail(CodeXML, "mtu size only allowed in open, route, nat, and isolated mode, not in %s (network '%s')", m, n.Name)
	}
	return nil
}

// Print writes the definition as libvirt does. The form of a running network
// has the numbers of ports in it.
func (n *Network) Print(inactive bool) string {
	var p printer
	attrs := ""
	if len(n.Dnsmasq) > 0 {
		attrs = " xmlns:dnsmasq='" + dnsmasqSpace + "'"
	}
	if !inactive && n.Connections > 0 {
		attrs += some("connections", strconv.Itoa(n.Connections))
	}
	if n.IPv6 {
		attrs += " ipv6='yes'"
	}
	p.block("network", attrs+some("trustGuestRxFilters", n.TrustGuestRxFilters), func() {
		p.line("<name>%s</name>", escape(n.Name))
		p.line("<uuid>%s</uuid>", n.UUID)
		if n.Title != "" {
			p.line("<title>%s</title>", escape(n.Title))
		}
		if n.Description != "" {
			p.line("<description>%s</description>", escape(n.Description))
		}
		n.printMetadata(&p)
		n.Forward.print(&p, inactive)
		n.printBridge(&p)
		n.printRest(&p)
	})
	return p.b.String()
}

func (n *Network) printBridge(p *printer) {
	b := &n.Bridge
	if n.Forward.Mode.L3() {
		stp := "off"
		if b.STP {
			stp = "on"
		}
		p.line("<bridge%s%s stp='%s' delay='%d'%s/>", some("name", b.Name), some("zone", b.Zone), stp, int64(b.Delay), some("macTableManager", b.MACTableManager))
	} else if b.Name != "" || b.MACTableManager != "" {
		p.line("<bridge%s%s%s/>", some("name", b.Name), some("zone", b.Zone), some("macTableManager", b.MACTableManager))
	}
	if n.MTU != 0 {
		p.line("<mtu%s/>", some32("size", n.MTU))
	}
	if n.MAC != "" {
		p.line("<mac%s/>", some("address", n.MAC))
	}
	if d := &n.Domain; d.Name != nil {
		p.line("<domain%s%s%s/>", attr("name", d.Name), some("localOnly", d.LocalOnly), some("register", d.Register))
	}
}

func (n *Network) printRest(p *printer) {
	n.DNS.print(p)
	n.VLAN.print(p)
	n.Bandwidth.print(p)
	if n.Isolated != "" {
		p.line("<port%s/>", some("isolated", n.Isolated))
	}
	for i := range n.IPs {
		n.IPs[i].print(p)
	}
	for i := range n.Routes {
		n.Routes[i].print(p)
	}
	n.VirtualPort.print(p)
	for i := range n.PortGroups {
		n.PortGroups[i].print(p)
	}
	if len(n.Dnsmasq) > 0 {
		p.block("dnsmasq:options", "", func() {
			for _, o := range n.Dnsmasq {
				p.line("<dnsmasq:option%s/>", attr("value", &o))
			}
		})
	}
}

// newMAC makes an address as libvirt's, for a bridge that has none.
func newMAC() string {
	m := [6]byte{0x52, 0x54, 0}
	_, _ = rand.Read(m[3:])
	return formatMAC(m)
}

// The ports that NAT uses if nothing is said of them.
const (
	firstNATPort = 1024
	lastNATPort  = 65535
)

// Running returns the form in which the network runs: what libvirt fills in at
// its start is written down.
func (n *Network) Running() *Network {
	c := *n
	c.Forward.Devices = slices.Clone(n.Forward.Devices) // their ports are counted
	if t := &c.Forward.NAT; c.Forward.Mode == ModeNAT && t.PortStart == 0 && t.PortEnd == 0 {
		t.PortStart, t.PortEnd = firstNATPort, lastNATPort
	}
	return &c
}
