package xml

import "slices"

// Command is what an update does (virNetworkUpdateCommand).
type Command uint32

// The commands.
const (
	CommandModify   Command = 1
	CommandDelete   Command = 2
	CommandAddLast  Command = 3
	CommandAddFirst Command = 4
)

func (c Command) adds() bool { return c == CommandAddLast || c == CommandAddFirst }

// Section is the part of a definition that is changed (virNetworkUpdateSection).
type Section uint32

// The sections.
const (
	SectionBridge           Section = 1
	SectionDomain           Section = 2
	SectionIP               Section = 3
	SectionDHCPHost         Section = 4
	SectionDHCPRange        Section = 5
	SectionForward          Section = 6
	SectionForwardInterface Section = 7
	SectionForwardPF        Section = 8
	SectionPortGroup        Section = 9
	SectionDNSHost          Section = 10
	SectionDNSTXT           Section = 11
	SectionDNSSRV           Section = 12
)

// Update is one change: Index says which <ip>, -1 the one that fits.
type Update struct {
	Command Command
	Section Section
	Index   int
	XML     string
}

// sections are those that can be changed, and how.
var sections = map[Section]func(*Network, Update, *node) error{
	SectionDHCPHost:         (*Network).updateDHCPHost,
	SectionDHCPRange:        (*Network).updateDHCPRange,
	SectionForwardInterface: (*Network).updateForwardInterface,
	SectionPortGroup:        (*Network).updatePortGroup,
	SectionDNSHost:          (*Network).updateDNSHost,
	SectionDNSTXT:           (*Network).updateDNSTXT,
	SectionDNSSRV:           (*Network).updateDNSSRV,
}

// fixed are the sections that libvirt knows and never changes.
var fixed = map[Section]string{
	SectionBridge: "bridge", SectionDomain: "domain", SectionIP: "ip", SectionForward: "forward", SectionForwardPF: "forward pf",
}

// Updated returns n after the change; n stays as it is. Inactive says that n is
// the definition, not what runs. As in libvirt the result is printed and read
// once more, so that nothing gets in that no definition could have.
func (n *Network) Updated(u Update, inactive bool) (*Network, error) {
	c, err := n.reread(inactive)
	if err != nil {
		return nil, err
	}
	root, err := read(u.XML, "")
	if err != nil {
		return nil, err
	}
	change, ok := sections[u.Section]
	switch {
	case ok:
		err = change(c, u, root)
	case fixed[u.Section] != "":
		err = fail(CodeOperationUnsupported, "can't update '%s' section of network '%s'", fixed[u.Section], n.Name)
	default:
		err = fail(CodeOperationUnsupported, "can't update unrecognized section of network")
	}
	if err != nil {
		return nil, err
	}
	if _, err := c.reread(inactive); err != nil {
		return nil, err
	}
	return c, nil
}

// reread returns what reading the printed form gives, with the numbers of
// ports, which are printed and never read.
func (n *Network) reread(inactive bool) (*Network, error) {
	c, err := Parse(n.Print(inactive))
	if err != nil || inactive {
		return c, err
	}
	c.Connections = n.Connections
	for i := range min(len(c.Forward.Devices), len(n.Forward.Devices)) {
		c.Forward.Devices[i].Connections = n.Forward.Devices[i].Connections
	}
	return c, nil
}

// checkElement checks that the element is the section's.
func (n *Network) checkElement(root *node, name string) error {
	if root.name != name {
		return fail(CodeXML, "unexpected element <%s>, expecting <%s>, while updating network '%s'", root.name, name, n.Name)
	}
	return nil
}

// insert puts v in front of the list or at its end.
func insert[T any](l []T, c Command, v T) []T {
	if c == CommandAddFirst {
		return slices.Insert(l, 0, v)
	}
	return append(l, v)
}

func unknown(c Command) error {
	return fail(CodeOperationUnsupported, "unrecognized network update command code %d", c)
}

func (n *Network) updateForwardInterface(u Update, root *node) error {
	if err := n.checkElement(root, "interface"); err != nil {
		return err
	}
	if u.Command == CommandModify {
		return fail(CodeOperationUnsupported, "forward interface entries cannot be modified, only added or deleted")
	}
	dev := root.prop("dev")
	if dev == nil {
		return fail(CodeXML, "missing dev attribute in <interface> element")
	}
	l := &n.Forward.Devices
	i := slices.IndexFunc(*l, func(d Device) bool { return d.PCI == nil && d.Name == *dev })
	switch {
	case u.Command.adds() && i >= 0:
		return fail(CodeOperationInvalid, "there is an existing interface entry in network '%s' that matches \"<interface dev='%s'>\"", n.Name, *dev)
	case u.Command.adds():
		*l = insert(*l, u.Command, Device{Name: *dev})
	case u.Command != CommandDelete:
		return unknown(u.Command)
	case i < 0:
		return fail(CodeOperationInvalid, "couldn't find an interface entry in network '%s' matching <interface dev='%s'>", n.Name, *dev)
	case (*l)[i].Connections > 0:
		return fail(CodeOperationInvalid, "unable to delete interface '%s' in network '%s'. It is currently being used  by %d domains.", *dev, n.Name, (*l)[i].Connections)
	default:
		*l = slices.Delete(*l, i, i+1)
	}
	return nil
}

func (n *Network) updatePortGroup(u Update, root *node) error {
	if err := n.checkElement(root, "portgroup"); err != nil {
		return err
	}
	g, err := parsePortGroup(root)
	if err != nil {
		return err
	}
	name, byDefault := -1, -1
	for i, o := range n.PortGroups {
		if o.Name == g.Name {
			name = i
		}
		if o.Default {
			byDefault = i
		}
	}
	switch {
	case name < 0 && (u.Command == CommandModify || u.Command == CommandDelete):
		return fail(CodeOperationInvalid, "couldn't find a portgroup entry in network '%s' matching <portgroup name='%s'>", n.Name, g.Name)
	case name >= 0 && u.Command.adds():
		return fail(CodeOperationInvalid, "there is an existing portgroup entry in network '%s' that matches \"<portgroup name='%s'>\"", n.Name, g.Name)
	case u.Command != CommandDelete && g.Default && byDefault >= 0 && byDefault != name:
		return fail(CodeOperationInvalid, "a different portgroup entry in network '%s' is already set as the default. Only one default is allowed.", n.Name)
	case u.Command == CommandModify:
		n.PortGroups[name] = g
	case u.Command.adds():
		n.PortGroups = insert(n.PortGroups, u.Command, g)
	case u.Command == CommandDelete:
		n.PortGroups = slices.Delete(n.PortGroups, name, name+1)
	default:
		return unknown(u.Command)
	}
	return nil
}
