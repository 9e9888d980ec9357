package xml

import "strings"

// PortGroup is what ports of that group have in common.
type PortGroup struct {
	Name                string
	Default             bool
	TrustGuestRxFilters YesNo
	VLAN                VLAN
	VirtualPort         *VirtualPort
	Bandwidth           *Bandwidth
}

func parsePortGroup(n *node) (g PortGroup, err error) {
	if g.Name = n.value("name"); g.Name == "" {
		return g, fail(CodeXML, "Missing required name attribute in portgroup")
	}
	g.Default = strings.EqualFold(n.value("default"), "yes")
	if g.TrustGuestRxFilters, err = n.yesNoProp("trustGuestRxFilters"); err != nil {
		return g, err
	}
	if g.VirtualPort, err = parseVirtualPort(n.first("virtualport"), false); err != nil {
		return g, err
	}
	if g.Bandwidth, err = parseBandwidth(n.first("bandwidth"), false); err != nil {
		return g, err
	}
	g.VLAN, err = parseVLAN(n.first("vlan"))
	return g, err
}

func (g *PortGroup) print(p *printer) {
	attrs := some("name", g.Name)
	if g.Default {
		attrs += " default='yes'"
	}
	p.block("portgroup", attrs+some("trustGuestRxFilters", g.TrustGuestRxFilters), func() {
		g.VLAN.print(p)
		g.VirtualPort.print(p)
		g.Bandwidth.print(p)
	})
}
