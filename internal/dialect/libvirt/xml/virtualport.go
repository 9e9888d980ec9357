package xml

import (
	"fmt"
	"slices"
	"strings"
)

// VirtualPort is the profile by which a port joins a switch that is not ours.
// Parameters that are absent are nil or empty.
type VirtualPort struct {
	Type                             string // "", 802.1Qbg, 802.1Qbh, openvswitch, midonet
	Manager, TypeID, TypeIDVersion   *uint32
	InstanceID, InterfaceID, Profile string
}

// mostProfile is the longest name of a profile (LIBVIRT_IFLA_VF_PORT_PROFILE_MAX
// less the end of the string).
const mostProfile = 39

func parseVirtualPort(n *node, needType bool) (*VirtualPort, error) {
	if n == nil {
		return nil, nil
	}
	var v VirtualPort
	if t := n.prop("type"); t != nil {
		if !slices.Contains([]string{"802.1Qbg", "802.1Qbh", "openvswitch", "midonet"}, *t) {
			return nil, failFrom(DomainNone, CodeConfigUnsupported, "unknown virtualport type %s", *t)
		}
		v.Type = *t
	}
	if v.Type == "" && needType {
		return nil, failFrom(DomainNone, CodeXML, "missing required virtualport type")
	}
	for _, c := range n.elements() {
		if c.name == "parameters" {
			if err := v.parseParameters(c); err != nil {
				return nil, err
			}
			break
		}
	}
	if extra := v.extra(); extra != "" {
		return nil, failFrom(DomainNet, CodeXML, "extra %s unsupported in <virtualport type='%s'>", extra, v.Type)
	}
	return &v, nil
}

func (v *VirtualPort) parseParameters(n *node) error {
	for _, a := range []struct {
		name, out string
		most      uint32
		to        **uint32
	}{
		{"managerid", "value of managerid out of range", 0xff, &v.Manager},
		{"typeid", "value for typeid out of range", 0xffffff, &v.TypeID},
		{"typeidversion", "value of typeidversion out of range", 0xff, &v.TypeIDVersion},
	} {
		s := n.prop(a.name)
		if s == nil {
			continue
		}
		u, ok := wrapped(*s, 0)
		if !ok {
			return failFrom(DomainNone, CodeXML, "cannot parse value of %s parameter", a.name)
		}
		if u > a.most {
			return failFrom(DomainNone, CodeXML, "%s", a.out)
		}
		*a.to = &u
	}
	var ok bool
	if s := n.prop("instanceid"); s != nil {
		if v.InstanceID, ok = parseUUID(*s); !ok {
			return failFrom(DomainNone, CodeXML, "cannot parse instanceid parameter as a uuid")
		}
	}
	if s := n.prop("profileid"); s != nil {
		if len(*s) > mostProfile {
			return failFrom(DomainNone, CodeXML, "profileid parameter too long")
		}
		v.Profile = *s
	}
	if s := n.prop("interfaceid"); s != nil {
		if v.InterfaceID, ok = parseUUID(*s); !ok {
			return failFrom(DomainNone, CodeXML, "cannot parse interfaceid parameter as a uuid")
		}
	}
	return nil
}

// parameters lists the parameters in the order in which they are printed.
func (v *VirtualPort) parameters() (names []string, values map[string]string) {
	values = map[string]string{}
	set := func(name, value string) {
		if value != "" {
			names, values[name] = append(names, name), value
		}
	}
	num := func(name string, n *uint32) {
		if n != nil {
			set(name, fmt.Sprint(*n))
		}
	}
	num("managerid", v.Manager)
	num("typeid", v.TypeID)
	num("typeidversion", v.TypeIDVersion)
	set("instanceid", v.InstanceID)
	set("interfaceid", v.InterfaceID)
	set("profileid", v.Profile)
	return names, values
}

// extra names a parameter that the type does not have
// (virNetDevVPortProfileCheckNoExtras).
func (v *VirtualPort) extra() string {
	var order []string
	switch v.Type {
	case "802.1Qbg":
		order = []string{"profileid", "interfaceid"}
	case "802.1Qbh":
		order = []string{"managerid", "typeid", "typeidversion", "instanceid", "interfaceid"}
	case "openvswitch":
		order = []string{"managerid", "typeid", "typeidversion", "instanceid"}
	}
	_, values := v.parameters()
	for _, name := range order {
		if values[name] != "" {
			return name
		}
	}
	return ""
}

func (v *VirtualPort) print(p *printer) {
	if v == nil {
		return
	}
	names, values := v.parameters()
	if len(names) == 0 {
		if v.Type != "" {
			p.line("<virtualport type='%s'/>", v.Type)
		}
		return
	}
	p.block("virtualport", some("type", v.Type), func() {
		var b strings.Builder
		for _, name := range names {
			if v.Type == "midonet" && name != "interfaceid" {
				continue
			}
			b.WriteString(some(name, values[name]))
		}
		p.line("<parameters%s/>", b.String())
	})
}
