package xml

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Mode is how a network reaches the outside. ModeNone is an isolated network.
type Mode string

// The modes.
const (
	ModeNone        Mode = ""
	ModeNAT         Mode = "nat"
	ModeRoute       Mode = "route"
	ModeOpen        Mode = "open"
	ModeBridge      Mode = "bridge"
	ModePrivate     Mode = "private"
	ModeVEPA        Mode = "vepa"
	ModePassthrough Mode = "passthrough"
	ModeHostdev     Mode = "hostdev"
)

// modes are those that may be written; "none" is the same as no <forward>.
var modes = []Mode{"none", ModeNAT, ModeRoute, ModeOpen, ModeBridge, ModePrivate, ModeVEPA, ModePassthrough, ModeHostdev}

// L3 reports whether the network has a bridge of its own, on which libvirt
// would do the routing.
func (m Mode) L3() bool {
	return m == ModeNone || m == ModeNAT || m == ModeRoute || m == ModeOpen
}

// String is the mode's word in errors.
func (m Mode) String() string {
	if m == ModeNone {
		return "none"
	}
	return string(m)
}

// Device is one of a pool: a link by name, or a function of a PCI device.
type Device struct {
	Name        string
	PCI         *PCI
	Connections int // ports that use it; printed of running networks only
}

// Driver is the host's driver of devices that are passed through.
type Driver struct{ Name, Model string }

// Forward is <forward>.
type Forward struct {
	Mode    Mode
	Managed bool
	Driver  Driver
	Devices []Device
	PF      string // the physical function whose virtual ones are the pool
	NAT     NAT
}

// NAT says what the addresses and ports of guests are changed into.
type NAT struct {
	IPv6               YesNo
	Start, End         netip.Addr // IPv4; zero: the host's address
	PortStart, PortEnd uint32     // both 0: not said
}

func (f *Forward) parse(network string, n *node) (err error) {
	f.Mode = ModeNAT
	if m := n.value("mode"); m != "" {
		if !slices.Contains(modes, Mode(m)) {
			return fail(CodeConfigUnsupported, "unknown forwarding type '%s'", m)
		}
		if f.Mode = Mode(m); m == "none" {
			f.Mode = ModeNone
		}
	}
	f.Managed = strings.EqualFold(n.value("managed"), "yes")
	if d := n.first("driver"); d != nil {
		if f.Driver.Name, err = d.wordProp("name", "kvm", "vfio", "xen"); err != nil {
			return err
		}
		f.Driver.Model = d.value("model")
	}
	switch nats := n.all("nat"); len(nats) {
	case 0:
	case 1:
		if err := f.parseNAT(network, nats[0]); err != nil {
			return err
		}
	default:
		return fail(CodeXML, "Only one <nat> element is allowed in <forward> of network %s", network)
	}
	return f.parseDevices(network, n)
}

// parseDevices reads what forms the pool: links, functions by address, or all
// of a physical one.
func (f *Forward) parseDevices(network string, n *node) error {
	dev := n.value("dev")
	links, addresses, pfs := n.all("interface"), n.all("address"), n.all("pf")
	switch {
	case dev != "" && (len(addresses) > 0 || len(pfs) > 0):
		return fail(CodeXML, "the <forward> 'dev' attribute cannot be used when <address> or <pf> sub-elements are present in network %s", network)
	case dev != "" || len(links) > 0:
		return f.parseLinks(network, dev, links)
	case len(addresses) > 0:
		return f.parseAddresses(network, addresses)
	case len(pfs) > 1:
		return fail(CodeXML, "Only one <pf> element is allowed in <forward> of network %s", network)
	case len(pfs) == 1:
		d := pfs[0].prop("dev")
		if d == nil {
			return fail(CodeXML, "Missing required dev attribute in <pf> element of network '%s'", network)
		}
		f.PF = *d
	}
	return nil
}

func (f *Forward) parseLinks(network, dev string, links []*node) error {
	if dev != "" {
		f.Devices = []Device{{Name: dev}}
	}
	for i, l := range links {
		d := l.prop("dev")
		switch {
		case d == nil:
			return fail(CodeXML, "Missing required dev attribute in <forward> <interface> element of network %s", network)
		case i == 0 && dev != "" && *d != dev:
			return fail(CodeXML, "<forward dev='%s'> must match first <interface dev='%s'/> in network %s", dev, *d, network)
		case i == 0 && dev != "":
			continue
		case slices.ContainsFunc(f.Devices, func(o Device) bool { return o.Name == *d }):
			return fail(CodeXML, "interface '%s' can only be listed once in network %s", *d, network)
		}
		f.Devices = append(f.Devices, Device{Name: *d})
	}
	return nil
}

func (f *Forward) parseAddresses(network string, addresses []*node) error {
	for _, a := range addresses {
		switch t := a.prop("type"); {
		case t == nil:
			return fail(CodeXML, "missing address type in network %s", network)
		case *t == "none" || *t == "netdev":
			return fail(CodeXML, "unsupported address type '%s' in network %s", *t, network)
		case *t != "pci":
			return fail(CodeConfigUnsupported, "unknown address type '%s' in network %s", *t, network)
		}
		pci, err := parsePCI(a)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(f.Devices, func(o Device) bool { return *o.PCI == pci }) {
			return fail(CodeXML, "PCI device '%s' can only be listed once in network %s", pci, network)
		}
		f.Devices = append(f.Devices, Device{PCI: &pci})
	}
	return nil
}

func (f *Forward) parseNAT(network string, n *node) (err error) {
	if f.Mode != ModeNAT {
		return fail(CodeXML, "The <nat> element can only be used when <forward> 'mode' is 'nat' in network %s", network)
	}
	if f.NAT.IPv6, err = n.yesNoProp("ipv6"); err != nil {
		return err
	}
	if err := f.NAT.parseAddress(network, n.all("address")); err != nil {
		return err
	}
	ports := n.all("port")
	switch {
	case len(ports) > 1:
		return fail(CodeXML, "Only one <port> element is allowed in <nat> in <forward> in network %s", network)
	case len(ports) == 0:
		return nil
	}
	for _, p := range []struct {
		name string
		to   *uint32
	}{{"start", &f.NAT.PortStart}, {"end", &f.NAT.PortEnd}} {
		v, ok := number(ports[0].value(p.name), 10, 16)
		if *p.to = uint32(v); !ok || p.name == "end" && f.NAT.PortEnd < f.NAT.PortStart {
			return fail(CodeXMLDetail, "Missing or invalid '%s' attribute in <port> in <nat> in <forward> in network %s", p.name, network)
		}
	}
	return nil
}

func (t *NAT) parseAddress(network string, addresses []*node) error {
	switch {
	case len(addresses) > 1:
		return fail(CodeXML, "Only one <address> element is allowed in <nat> in <forward> in network %s", network)
	case len(addresses) == 0:
		return nil
	}
	for _, name := range []string{"start", "end"} {
		if addresses[0].prop(name) == nil {
			return fail(CodeXML, "missing '%s' attribute in <address> element in <nat> in <forward> in network %s", name, network)
		}
	}
	for _, a := range []struct {
		name string
		to   *netip.Addr
	}{{"start", &t.Start}, {"end", &t.End}} {
		s := addresses[0].value(a.name)
		v, err := parseAddr(s)
		if err != nil || !v.Is4() {
			return fail(CodeXML, "Bad ipv4 %s address '%s' in <nat> in <forward> in network '%s'", a.name, s, network)
		}
		*a.to = v
	}
	return checkRange(t.Start, t.End, netip.Addr{}, 0)
}

// dev is the one link that traffic goes out by, "" if the pool is another.
func (f *Forward) dev() string {
	if f.PF == "" && len(f.Devices) > 0 {
		return f.Devices[0].Name
	}
	return ""
}

func (f *Forward) print(p *printer, inactive bool) {
	if f.Mode == ModeNone {
		return
	}
	attrs := some("dev", f.dev()) + some("mode", f.Mode)
	if f.Mode == ModeHostdev {
		managed := "no"
		if f.Managed {
			managed = "yes"
		}
		attrs += some("managed", managed)
	}
	if len(f.Devices) == 0 && f.PF == "" && f.NAT == (NAT{}) && f.Driver.Name == "" {
		p.line("<forward%s/>", attrs)
		return
	}
	p.block("forward", attrs, func() {
		if f.Driver != (Driver{}) {
			p.line("<driver%s%s/>", some("name", f.Driver.Name), some("model", f.Driver.Model))
		}
		f.NAT.print(p)
		if f.PF != "" {
			p.line("<pf%s/>", some("dev", f.PF))
			if inactive {
				return
			}
		}
		for _, d := range f.Devices {
			d.print(p, inactive)
		}
	})
}

func (d *Device) print(p *printer, inactive bool) {
	if d.PCI != nil {
		p.line("<address type='pci'%s/>", d.PCI.attrs())
		return
	}
	connections := ""
	if !inactive && d.Connections > 0 {
		connections = fmt.Sprintf(" connections='%d'", d.Connections)
	}
	p.line("<interface%s%s/>", attr("dev", &d.Name), connections)
}

func (t *NAT) print(p *printer) {
	switch {
	case *t == NAT{}:
		return
	case *t == NAT{IPv6: t.IPv6}:
		p.line("<nat%s/>", some("ipv6", t.IPv6))
		return
	}
	p.block("nat", some("ipv6", t.IPv6), func() {
		if t.Start.IsValid() {
			p.line("<address%s%s/>", addrAttr("start", t.Start), addrAttr("end", t.End))
		}
		if t.PortStart != 0 || t.PortEnd != 0 {
			p.line("<port start='%d'%s/>", t.PortStart, some32("end", t.PortEnd))
		}
	})
}
