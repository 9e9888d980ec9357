package xml

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// ipAt finds the <ip> that an update of DHCP is for: the one with the index, or
// for -1 the one with DHCP. With DHCP in both families, or in none, the family
// of what is added decides, where libvirt takes the first one and refuses the
// other family.
func (n *Network) ipAt(index int, f vnet.Family) (*IP, error) {
	if index >= 0 {
		if index < len(n.IPs) {
			return &n.IPs[index], nil
		}
		return nil, fail(CodeOperationInvalid, "couldn't update dhcp host entry - no <ip> element found at index %d in network '%s'", index, n.Name)
	}
	for _, fits := range []func(*IP) bool{
		func(ip *IP) bool { return ip.serves() && vnet.FamilyOf(ip.Address) == f },
		func(ip *IP) bool { return vnet.FamilyOf(ip.Address) == f },
		func(ip *IP) bool { return ip.serves() },
		func(ip *IP) bool { return ip.Address.Is4() },
		func(*IP) bool { return true },
	} {
		if i := slices.IndexFunc(n.IPs, func(ip IP) bool { return fits(&ip) }); i >= 0 {
			return &n.IPs[i], nil
		}
	}
	return nil, fail(CodeOperationInvalid, "couldn't update dhcp host entry - no <ip> element found in network '%s'", n.Name)
}

// familyAt is the family that an element speaks of: that of an attribute's
// address, else IPv4 for a MAC, IPv6 for a DUID, and 0 if nothing tells.
func familyAt(root *node, name string) vnet.Family {
	a, err := parseAddr(root.value(name))
	switch {
	case err == nil:
		return vnet.FamilyOf(a)
	case root.prop("mac") != nil:
		return vnet.IPv4
	case root.prop("id") != nil:
		return vnet.IPv6
	}
	return 0
}

// checkOnlyDHCP allows DHCP on one address of each family.
func (n *Network) checkOnlyDHCP(ip *IP) error {
	for i := range n.IPs {
		o := &n.IPs[i]
		if o != ip && o.Address.Is4() == ip.Address.Is4() && o.serves() {
			return fail(CodeOperationInvalid, "dhcp is supported only for a single %s address on each network", familyWord(ip.Address.Is4()))
		}
	}
	return nil
}

func (n *Network) updateDHCPHost(u Update, root *node) error {
	if err := n.checkElement(root, "host"); err != nil {
		return err
	}
	ip, err := n.ipAt(u.Index, familyAt(root, "ip"))
	if err != nil {
		return err
	}
	partial := u.Command == CommandDelete
	h, err := parseDHCPHost(n.Name, ip, root, partial)
	if err != nil {
		return err
	}
	if !partial && ip.Address.Is4() != h.IP.Is4() {
		return fail(CodeOperationInvalid, "the address family of a host entry IP must match the address family of the dhcp element's parent")
	}
	switch u.Command {
	case CommandModify:
		return n.modifyDHCPHost(ip, h)
	case CommandAddFirst, CommandAddLast:
		return n.addDHCPHost(ip, u.Command, h)
	case CommandDelete:
		i := slices.IndexFunc(ip.Hosts, h.covers)
		if i < 0 {
			return fail(CodeOperationInvalid, "couldn't locate a matching dhcp host entry in network '%s'", n.Name)
		}
		ip.Hosts = slices.Delete(ip.Hosts, i, i+1)
		return nil
	}
	return unknown(u.Command)
}

func (n *Network) modifyDHCPHost(ip *IP, h DHCPHost) error {
	i := slices.IndexFunc(ip.Hosts, h.meets)
	if i < 0 {
		mac, name, addr := h.words()
		return fail(CodeOperationInvalid, "couldn't locate an existing dhcp host entry with \"mac='%s'\" \"name='%s'\" \"ip='%s'\" in network '%s'", mac, name, addr, n.Name)
	}
	ip.Hosts[i] = h
	return nil
}

func (n *Network) addDHCPHost(ip *IP, c Command, h DHCPHost) error {
	if err := n.checkOnlyDHCP(ip); err != nil {
		return err
	}
	if slices.ContainsFunc(ip.Hosts, h.meets) {
		mac, name, addr := h.words()
		return fail(CodeOperationInvalid, "there is an existing dhcp host entry in network '%s' that matches \"<host mac='%s' name='%s' ip='%s'/>\"", n.Name, mac, name, addr)
	}
	ip.Hosts = insert(ip.Hosts, c, h)
	return nil
}

// words are what errors say of h.
func (h *DHCPHost) words() (mac, name, addr string) {
	mac = "unknown"
	if h.MAC != nil {
		mac = *h.MAC
	}
	return mac, orNull(h.Name), formatAddr(h.IP)
}

// meets reports whether o has something in common with h.
func (h DHCPHost) meets(o DHCPHost) bool {
	return h.MAC != nil && o.MAC != nil && sameMAC(*h.MAC, *o.MAC) ||
		h.Name != nil && o.Name != nil && *h.Name == *o.Name ||
		h.IP.IsValid() && h.IP == o.IP
}

// covers reports whether o has all that h says.
func (h DHCPHost) covers(o DHCPHost) bool {
	return (h.MAC == nil || o.MAC == nil || sameMAC(*h.MAC, *o.MAC)) &&
		(h.Name == nil || o.Name != nil && *h.Name == *o.Name) &&
		(!h.IP.IsValid() || h.IP == o.IP)
}

func (n *Network) updateDHCPRange(u Update, root *node) error {
	if err := n.checkElement(root, "range"); err != nil {
		return err
	}
	ip, err := n.ipAt(u.Index, familyAt(root, "start"))
	if err != nil {
		return err
	}
	if u.Command == CommandModify {
		return fail(CodeOperationUnsupported, "dhcp ranges cannot be modified, only added or deleted")
	}
	r, err := parseRange(n.Name, ip, root)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ip.Ranges, func(o Range) bool { return o.Start == r.Start && o.End == r.End })
	switch {
	case u.Command.adds():
		if err := n.checkOnlyDHCP(ip); err != nil {
			return err
		}
		if i >= 0 {
			return fail(CodeOperationInvalid, "there is an existing dhcp range entry in network '%s' that matches \"<range start='%s' end='%s'/>\"", n.Name, formatAddr(r.Start), formatAddr(r.End))
		}
		ip.Ranges = insert(ip.Ranges, u.Command, r)
	case u.Command != CommandDelete:
		return unknown(u.Command)
	case i < 0:
		return fail(CodeOperationInvalid, "couldn't locate a matching dhcp range entry in network '%s'", n.Name)
	default:
		ip.Ranges = slices.Delete(ip.Ranges, i, i+1)
	}
	return nil
}

// sameAddr is libvirt's comparison: what is absent equals nothing.
func sameAddr(a, b netip.Addr) bool { return a.IsValid() && a == b }
