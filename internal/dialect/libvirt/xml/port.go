package xml

// Port is a guest's NIC on a network: <networkport>.
type Port struct {
	UUID                 string
	OwnerName, OwnerUUID string
	Group                string
	MAC                  string
	VirtualPort          *VirtualPort
	Bandwidth            *Bandwidth
	VLAN                 VLAN
	Isolated             YesNo
	TrustGuestRxFilters  YesNo
	Plug                 Plug
}

// Plug says what the client is to plug the guest into.
type Plug struct {
	Type            string // "" (not plugged), network, bridge, direct, hostdev-pci
	Bridge          string
	MACTableManager string
	Dev             string // direct
	Mode            string // direct: vepa, private, bridge, passthrough
	Managed         YesNo  // hostdev-pci
	Driver          Driver
	PCI             PCI
}

// ParsePort reads a port.
func ParsePort(text string) (*Port, error) {
	root, err := read(text, "networkport")
	if err != nil {
		return nil, err
	}
	var p Port
	for _, step := range []func(*node) error{p.parseOwner, p.parseMAC, p.parseSettings, p.parsePlug} {
		if err := step(root); err != nil {
			return nil, err
		}
	}
	return &p, nil
}

func (p *Port) parseOwner(root *node) error {
	id := func(text, missing string) (string, error) {
		if text == "" {
			return "", fail(CodeInternal, "%s", missing)
		}
		v, ok := parseUUID(text)
		if !ok {
			return "", fail(CodeInternal, "Unable to parse UUID '%s'", text)
		}
		return v, nil
	}
	var err error
	if p.UUID, err = id(root.first("uuid").content(), "network port has no uuid"); err != nil {
		return err
	}
	for _, o := range root.all("owner") {
		if p.OwnerName = o.first("name").content(); p.OwnerName != "" {
			break
		}
	}
	if p.OwnerName == "" {
		return fail(CodeInternal, "network port has no owner name")
	}
	if p.OwnerUUID, err = id(root.first("owner").first("uuid").content(), "network port has no owner UUID"); err != nil {
		return err
	}
	p.Group = root.first("group").content()
	p.VirtualPort, err = parseVirtualPort(root.first("virtualport"), false)
	return err
}

func (p *Port) parseMAC(root *node) error {
	s := root.first("mac").value("address")
	if s == "" {
		return fail(CodeInternal, "network port has no mac")
	}
	mac, ok := parseMAC(s)
	if !ok {
		return fail(CodeInternal, "Unable to parse MAC '%s'", s)
	}
	p.MAC = formatMAC(mac)
	return nil
}

func (p *Port) parseSettings(root *node) (err error) {
	if p.Bandwidth, err = parseBandwidth(root.first("bandwidth"), true); err != nil {
		return err
	}
	if p.VLAN, err = parseVLAN(root.first("vlan")); err != nil {
		return err
	}
	if p.Isolated, err = root.first("port").yesNoProp("isolated"); err != nil {
		return err
	}
	p.TrustGuestRxFilters, err = root.first("rxfilters").yesNoProp("trustGuest")
	return err
}

func (p *Port) parsePlug(root *node) (err error) {
	n, g := root.first("plug"), &p.Plug
	if g.Type, err = n.wordProp("type", "none", "network", "bridge", "direct", "hostdev-pci"); err != nil {
		return err
	}
	need := func(name, missing string) (string, error) {
		if s := n.prop(name); s != nil {
			return *s, nil
		}
		return "", fail(CodeXML, "%s", missing)
	}
	switch g.Type {
	case "none":
		g.Type = ""
	case "network", "bridge":
		if g.Bridge, err = need("bridge", "Missing network port bridge name"); err != nil {
			return err
		}
		if s := n.prop("macTableManager"); s != nil {
			if g.MACTableManager = *s; *s != "kernel" && *s != "libvirt" {
				return fail(CodeXML, "Invalid macTableManager setting '%s' in network port", *s)
			}
		}
	case "direct":
		if g.Dev, err = need("dev", "Missing network port link device name"); err != nil {
			return err
		}
		g.Mode = "vepa"
		if s := n.prop("mode"); s != nil {
			switch *s {
			case "vepa", "private", "bridge", "passthrough":
				g.Mode = *s
			default:
				return fail(CodeXML, "Invalid mode setting '%s' in network port", *s)
			}
		}
	case "hostdev-pci":
		return g.parseHostdev(n)
	}
	return nil
}

func (g *Plug) parseHostdev(n *node) (err error) {
	if g.Managed, err = n.yesNoProp("managed"); err != nil {
		return err
	}
	if d := n.first("driver"); d != nil {
		if g.Driver.Name, err = d.wordProp("name", "kvm", "vfio", "xen"); err != nil {
			return err
		}
		g.Driver.Model = d.value("model")
	}
	a := n.first("address")
	if a == nil {
		return fail(CodeXML, "Missing network port PCI address")
	}
	g.PCI, err = parsePCI(a)
	return err
}

// Print writes the port as libvirt does.
func (p *Port) Print() string {
	var b printer
	b.block("networkport", "", func() {
		b.line("<uuid>%s</uuid>", p.UUID)
		b.block("owner", "", func() {
			b.line("<name>%s</name>", escape(p.OwnerName))
			b.line("<uuid>%s</uuid>", p.OwnerUUID)
		})
		if p.Group != "" {
			b.line("<group>%s</group>", escape(p.Group))
		}
		b.line("<mac%s/>", some("address", p.MAC))
		p.VirtualPort.print(&b)
		p.Bandwidth.print(&b)
		p.VLAN.print(&b)
		if p.Isolated != "" {
			b.line("<port%s/>", some("isolated", p.Isolated))
		}
		if p.TrustGuestRxFilters != "" {
			b.line("<rxfilters%s/>", some("trustGuest", p.TrustGuestRxFilters))
		}
		p.Plug.print(&b)
	})
	return b.b.String()
}

func (g *Plug) print(b *printer) {
	switch g.Type {
	case "network", "bridge":
		b.line("<plug%s%s%s/>", some("type", g.Type), attr("bridge", &g.Bridge), some("macTableManager", g.MACTableManager))
	case "direct":
		b.line("<plug%s%s%s/>", some("type", g.Type), attr("dev", &g.Dev), some("mode", g.Mode))
	case "hostdev-pci":
		b.block("plug", some("type", g.Type)+some("managed", g.Managed), func() {
			if g.Driver != (Driver{}) {
				b.line("<driver%s%s/>", some("name", g.Driver.Name), some("model", g.Driver.Model))
			}
			b.line("<address%s/>", g.PCI.attrs())
		})
	}
}
