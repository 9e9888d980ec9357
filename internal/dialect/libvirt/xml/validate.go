package xml

import (
	"fmt"
	"strings"
)

// Host is what a definition is checked against.
type Host interface {
	// BridgeInUse reports whether another network than the named one has the
	// bridge.
	BridgeInUse(bridge, network string) bool
	// DeviceExists reports whether the host has a link of that name.
	DeviceExists(name string) bool
	// VirtualFunction reports whether the device in that directory of sysfs is
	// a virtual function.
	VirtualFunction(path string) bool
}

// mostBridges is the greatest number in a name that is chosen.
const mostBridges = 256

// Validate checks what the parser cannot, and fills in the bridge and its MAC
// (networkValidate in bridge_driver.c). Call it again after a change.
func (n *Network) Validate(host Host) error {
	if strings.Contains(n.Name, "\n") {
		return failFrom(DomainXML, CodeXMLDetail, "invalid char in name: \n")
	}
	if n.Forward.Mode.L3() {
		if err := n.chooseBridge(host); err != nil {
			return err
		}
		if n.MAC == "" {
			n.MAC = newMAC()
		}
	} else if err := n.checkUnsupported(); err != nil {
		return err
	}
	bandwidth := n.Forward.Mode.L3() || n.Forward.Mode == ModeBridge && n.Bridge.Name != ""
	if n.Bandwidth != nil && !bandwidth {
		return fail(CodeConfigUnsupported, "Unsupported network-wide <bandwidth> element in network %s with forward mode='%s'", n.Name, n.Forward.Mode)
	}
	if err := n.checkPool(host); err != nil {
		return err
	}
	if err := n.checkDHCP(); err != nil {
		return err
	}
	return n.checkPortGroups(bandwidth)
}

// chooseBridge gives the bridge a name, or checks the one that it has.
func (n *Network) chooseBridge(host Host) error {
	name := n.Bridge.Name
	if name != "" && !strings.Contains(name, "%d") {
		if host.BridgeInUse(name, n.Name) {
			return fail(CodeInternal, "bridge name '%s' already in use.", name)
		}
		return nil
	}
	if strings.Count(name, "%") != 1 {
		name = "virbr%d"
	}
	for i := range mostBridges + 1 {
		b := strings.Replace(name, "%d", fmt.Sprint(i), 1)
		if !host.BridgeInUse(b, n.Name) && !host.DeviceExists(b) {
			n.Bridge.Name = b
			return nil
		}
	}
	return fail(CodeInternal, "Bridge generation exceeded max id %d", mostBridges)
}

// checkUnsupported refuses what only a bridge of libvirt's own can have.
func (n *Network) checkUnsupported() error {
	what := ""
	switch {
	case n.MAC != "":
		what = "mac"
	case len(n.IPs) > 0:
		what = "ip"
	case len(n.DNS.TXTs) > 0 || len(n.DNS.Hosts) > 0 || len(n.DNS.SRVs) > 0:
		what = "dns"
	case n.Domain.Name != nil:
		what = "domain"
	default:
		return nil
	}
	return fail(CodeConfigUnsupported, "Unsupported <%s> element in network %s with forward mode='%s'", what, n.Name, n.Forward.Mode)
}

// checkPool checks the devices of <forward>.
func (n *Network) checkPool(host Host) error {
	links, addresses := 0, 0
	for _, d := range n.Forward.Devices {
		switch {
		case d.PCI == nil && n.Forward.Mode == ModeHostdev:
			return fail(CodeConfigUnsupported, "hostdev network '%s' lists '%s' in the device pool, but hostdev networks require all devices to be listed by PCI address, not network device name", n.Name, d.Name)
		case d.PCI == nil:
			links = 1
			continue
		case n.Forward.Mode != ModeHostdev:
			return fail(CodeConfigUnsupported, "network '%s' has forward mode '%s'  but lists a device by PCI address in the device pool. This is only supported for networks with forward mode 'hostdev'", n.Name, n.Forward.Mode)
		}
		addresses = 1
		if path := "/sys/bus/pci/devices/" + d.PCI.String(); !host.VirtualFunction(path) {
			return fail(CodeConfigUnsupported, "device '%s' in network '%s' is not an SR-IOV Virtual Function", path, n.Name)
		}
	}
	if n.Forward.PF != "" && links+addresses > 0 || links+addresses > 1 {
		return fail(CodeConfigUnsupported, "<address>, <interface>, and <pf> elements of <forward> in network %s are mutually exclusive", n.Name)
	}
	return nil
}

// checkDHCP allows DHCP on one address of each family.
func (n *Network) checkDHCP() error {
	seen := map[string]bool{}
	for i := range n.IPs {
		ip := &n.IPs[i]
		if !ip.serves() {
			continue
		}
		f := familyWord(ip.Address.Is4())
		if seen[f] {
			return fail(CodeConfigUnsupported, "Multiple %s dhcp sections found -- dhcp is supported only for a single %s address on each network", f, f)
		}
		seen[f] = true
	}
	return nil
}

func familyWord(four bool) string {
	if four {
		return "IPv4"
	}
	return "IPv6"
}

// checkPortGroups checks names, the default, and where there may be tags and
// limits.
func (n *Network) checkPortGroups(bandwidth bool) error {
	m := n.Forward.Mode
	// A bridge of the kernel's has been able to tag since libvirt 11.0.
	tags := m == ModeHostdev || m == ModePassthrough || m == ModeBridge && (n.VirtualPort == nil || n.VirtualPort.Type == "openvswitch")
	used, bad, byDefault := len(n.VLAN.Tags) > 0, false, ""
	for i, g := range n.PortGroups {
		if used || len(g.VLAN.Tags) > 0 {
			if g.VirtualPort != nil {
				bad = bad || m != ModeBridge || g.VirtualPort.Type != "openvswitch"
			} else {
				bad = bad || !tags
			}
		}
		if g.Default {
			if byDefault != "" {
				return fail(CodeConfigUnsupported, "network '%s' has multiple default <portgroup> elements (%s and %s), but only one default is allowed", n.Name, byDefault, g.Name)
			}
			byDefault = g.Name
		}
		for _, o := range n.PortGroups[i+1:] {
			if o.Name == g.Name {
				return fail(CodeConfigUnsupported, "multiple <portgroup> elements with the same name (%s) in network '%s'", g.Name, n.Name)
			}
		}
		if g.Bandwidth != nil && !bandwidth {
			return fail(CodeConfigUnsupported, "Unsupported <bandwidth> element in network '%s' in portgroup '%s' with forward mode='%s'", n.Name, g.Name, m)
		}
	}
	if bad || used && !tags && byDefault == "" {
		return fail(CodeConfigUnsupported, "<vlan> element specified for network %s, whose type doesn't support vlan configuration", n.Name)
	}
	return nil
}
