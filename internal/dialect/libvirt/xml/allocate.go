package xml

import (
	"slices"

	"github.com/google/uuid"
)

// Allocate completes a port of a running network: what its group and the
// network say of ports, and what the client is to plug the guest into. It counts
// the port. Devices of a physical function must be in the pool already
// (networkAllocatePort in bridge_driver.c).
func (n *Network) Allocate(p *Port) error {
	if p.Plug.Type != "" {
		return fail(CodeInvalidArg, "Port reclaim not requested but plug type is not none")
	}
	if err := n.inherit(p); err != nil {
		return err
	}
	dev, err := n.plug(p)
	if err != nil {
		return err
	}
	if err := n.checkFloor(p); err != nil {
		return err
	}
	if err := p.VirtualPort.complete(); err != nil {
		return err
	}
	n.count(dev)
	return nil
}

// Reclaim counts a port that a client still has, as after a restart
// (networkNotifyPort).
func (n *Network) Reclaim(p *Port) error {
	var dev *Device
	switch p.Plug.Type {
	case "":
		return fail(CodeInvalidArg, "Port reclaim requested but plug type is none")
	case "network", "bridge":
		if n.Bridge.Name == "" {
			return fail(CodeInternal, "Unexpectedly got a network port without a network bridge")
		}
	default:
		dev = n.deviceOf(p)
		switch {
		case dev == nil && p.Plug.Type == "direct":
			return fail(CodeInternal, "network '%s' doesn't have dev='%s' in use by network port '%s'", n.Name, p.Plug.Dev, p.UUID)
		case dev == nil:
			return fail(CodeInternal, "network '%s' doesn't have PCI device %s in use by network port", n.Name, p.Plug.PCI)
		case dev.Connections > 0 && p.Plug.Type == "direct" && n.exclusive(p):
			return fail(CodeInternal, "network '%s' claims dev='%s' is already in use by a different port", n.Name, p.Plug.Dev)
		case dev.Connections > 0 && n.Forward.Mode == ModeHostdev:
			a := dev.PCI
			return fail(CodeInternal, "network '%s' claims the PCI device at domain=%d bus=%d slot=%d function=%d is already in use by a different network port",
				n.Name, a.Domain, a.Bus, a.Slot, a.Function)
		}
	}
	n.count(dev)
	return nil
}

// Release forgets a port.
func (n *Network) Release(p *Port) {
	n.Connections--
	if d := n.deviceOf(p); d != nil {
		d.Connections--
	}
}

func (n *Network) count(d *Device) {
	n.Connections++
	if d != nil {
		d.Connections++
	}
}

// deviceOf is the device of the pool that the port has, nil if it has none.
func (n *Network) deviceOf(p *Port) *Device {
	for i := range n.Forward.Devices {
		d := &n.Forward.Devices[i]
		switch {
		case p.Plug.Type == "direct" && d.PCI == nil && d.Name == p.Plug.Dev,
			p.Plug.Type == "hostdev-pci" && d.PCI != nil && *d.PCI == p.Plug.PCI:
			return d
		}
	}
	return nil
}

// inherit takes from the group, else from the network, what the port does not
// say itself.
func (n *Network) inherit(p *Port) error {
	g := &PortGroup{}
	if i := slices.IndexFunc(n.PortGroups, func(g PortGroup) bool {
		return p.Group == g.Name || p.Group == "" && g.Default
	}); i >= 0 {
		g = &n.PortGroups[i]
	}
	if p.Bandwidth == nil && g.Bandwidth != nil {
		b := *g.Bandwidth
		p.Bandwidth = &b
	}
	for _, v := range []VLAN{g.VLAN, n.VLAN} {
		if len(p.VLAN.Tags) == 0 {
			p.VLAN = v
		}
	}
	for _, t := range []YesNo{g.TrustGuestRxFilters, n.TrustGuestRxFilters} {
		if p.TrustGuestRxFilters == "" {
			p.TrustGuestRxFilters = t
		}
	}
	if p.Isolated == "" {
		p.Isolated = n.Isolated
	}
	v, err := merge(p.VirtualPort, n.VirtualPort, g.VirtualPort)
	if v != nil {
		p.VirtualPort = v
	}
	return err
}

// plug says what the guest is plugged into, and which device of the pool that
// is.
func (n *Network) plug(p *Port) (*Device, error) {
	kind, which := "", ""
	if p.VirtualPort != nil {
		kind = p.VirtualPort.Type
	}
	m := n.Forward.Mode
	bridged := m == ModeBridge && n.Bridge.Name != ""
	switch {
	case m.L3() && p.VirtualPort != nil:
		which = "uses IP forwarding"
	case bridged && p.VirtualPort != nil && kind != "openvswitch":
		which = "uses a bridge device"
	case !m.L3() && !bridged && p.VirtualPort != nil && kind != "802.1Qbg" && kind != "802.1Qbh":
		which = "uses a macvtap device"
		if m == ModeHostdev {
			which = "uses an SR-IOV Virtual Function via PCI passthrough"
		}
	}
	if which != "" {
		if kind == "" {
			kind = "none"
		}
		return nil, fail(CodeConfigUnsupported, "<virtualport type='%s'> not supported for network '%s' which %s", kind, n.Name, which)
	}
	if m.L3() || bridged {
		p.Plug = Plug{Type: "network", Bridge: n.Bridge.Name, MACTableManager: n.Bridge.MACTableManager}
		if bridged {
			p.Plug.Type = "bridge"
		}
		return nil, nil
	}
	return n.plugDevice(p)
}

// exclusive reports whether a device of the pool serves one port only.
func (n *Network) exclusive(p *Port) bool {
	return n.Forward.Mode == ModePassthrough || n.Forward.Mode == ModeHostdev ||
		n.Forward.Mode == ModePrivate && p.VirtualPort != nil && p.VirtualPort.Type == "802.1Qbh"
}

// plugDevice chooses the device of the pool that has the fewest ports, none if
// it is to be alone.
func (n *Network) plugDevice(p *Port) (*Device, error) {
	f := &n.Forward
	if f.Mode != ModeHostdev && len(f.Devices) == 0 && f.PF == "" {
		return nil, fail(CodeInternal, "network '%s' uses a direct mode, but has no forward dev and no interface pool", n.Name)
	}
	var dev *Device
	for i := range f.Devices {
		if d := &f.Devices[i]; dev == nil || d.Connections < dev.Connections {
			dev = d
		}
	}
	if dev == nil || n.exclusive(p) && dev.Connections > 0 {
		return nil, fail(CodeInternal, "network '%s' requires exclusive access to interfaces, but none are available", n.Name)
	}
	if f.Mode == ModeHostdev {
		p.Plug = Plug{Type: "hostdev-pci", Managed: "no", Driver: f.Driver, PCI: *dev.PCI}
		if f.Managed {
			p.Plug.Managed = "yes"
		}
	} else {
		p.Plug = Plug{Type: "direct", Dev: dev.Name, Mode: string(f.Mode)}
	}
	return dev, nil
}

// checkFloor refuses a guaranteed rate where the network has none to share. The
// sum over all ports is for the caller, who knows them.
func (n *Network) checkFloor(p *Port) error {
	if p.Bandwidth == nil || p.Bandwidth.Inbound == nil || p.Bandwidth.Inbound.Floor == 0 {
		return nil
	}
	if !n.Forward.Mode.L3() {
		return fail(CodeOperationUnsupported, "Invalid use of 'floor' on interface with MAC address %s - 'floor' is only supported for interface type 'network' with forward type 'nat', 'route', 'open' or none", p.MAC)
	}
	if n.Bandwidth == nil || n.Bandwidth.Inbound == nil {
		return fail(CodeOperationUnsupported, "Invalid use of 'floor' on interface with MAC address %s - network '%s' has no inbound QoS set", p.MAC, n.Name)
	}
	return nil
}

// merge is the profile of all three; they may not contradict each other
// (virNetDevVPortProfileMerge3). nil: none of them has a type.
func merge(l ...*VirtualPort) (*VirtualPort, error) {
	l = slices.DeleteFunc(l, func(v *VirtualPort) bool { return v == nil })
	if !slices.ContainsFunc(l, func(v *VirtualPort) bool { return v.Type != "" }) {
		return nil, nil
	}
	var out VirtualPort
	for _, v := range l {
		if v.Type != "" && out.Type != "" && v.Type != out.Type {
			return nil, failFrom(DomainNet, CodeXML, "attempt to merge virtualports with mismatched types (%s and %s)", out.Type, v.Type)
		}
		if v.Type != "" {
			out.Type = v.Type
		}
		if err := out.mergeParameters(v); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

func (v *VirtualPort) mergeParameters(o *VirtualPort) error {
	is := func(types ...string) bool { return v.Type == "" || slices.Contains(types, v.Type) }
	for _, p := range []struct {
		name string
		to   **uint32
		from *uint32
	}{{"managerids", &v.Manager, o.Manager}, {"typeids", &v.TypeID, o.TypeID}, {"typeidversions", &v.TypeIDVersion, o.TypeIDVersion}} {
		if p.from == nil || !is("802.1Qbg") {
			continue
		}
		if *p.to != nil && **p.to != *p.from {
			return failFrom(DomainNet, CodeXML, "attempt to merge virtualports with mismatched %s (%d and %d)", p.name, **p.to, *p.from)
		}
		*p.to = p.from
	}
	for _, p := range []struct {
		name  string
		to    *string
		from  string
		types []string
	}{
		{"instanceids", &v.InstanceID, o.InstanceID, []string{"802.1Qbg"}},
		{"interfaceids", &v.InterfaceID, o.InterfaceID, []string{"openvswitch", "midonet"}},
		{"profileids", &v.Profile, o.Profile, []string{"openvswitch", "802.1Qbh"}},
	} {
		if p.from == "" || !is(p.types...) {
			continue
		}
		if *p.to != "" && *p.to != p.from {
			return failFrom(DomainNet, CodeXML, "attempt to merge virtualports with mismatched %s ('%s' and '%s')", p.name, *p.to, p.from)
		}
		*p.to = p.from
	}
	return nil
}

// complete checks that a profile has all its type needs, and makes the IDs that
// may be made (virNetDevVPortProfileCheckComplete).
func (v *VirtualPort) complete() error {
	if v == nil {
		return nil
	}
	missing := ""
	switch v.Type {
	case "802.1Qbg":
		switch {
		case v.Manager == nil:
			missing = "managerid"
		case v.TypeID == nil:
			missing = "typeid"
		case v.TypeIDVersion == nil:
			missing = "typeidversion"
		case v.InstanceID == "":
			v.InstanceID = uuid.NewString()
		}
	case "802.1Qbh":
		if v.Profile == "" {
			missing = "profileid"
		}
	case "openvswitch":
		if v.InterfaceID == "" {
			v.InterfaceID = uuid.NewString()
		}
	case "midonet":
		if v.InterfaceID == "" {
			missing = "interfaceid"
		}
	}
	if missing != "" {
		return failFrom(DomainNet, CodeXML, "missing %s in <virtualport type='%s'>", missing, v.Type)
	}
	return nil
}
