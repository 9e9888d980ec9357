package xml

import "strings"

// VLAN is the tags of a network, a group of ports or a port; none: no tagging.
type VLAN struct {
	Tags  []uint32
	Trunk bool
	// NativeMode is "tagged" or "untagged" for the tag Native, "" for no such.
	NativeMode string
	Native     uint32
}

func parseVLAN(n *node) (v VLAN, err error) {
	if n == nil {
		return v, nil
	}
	tags := n.all("tag")
	if len(tags) == 0 {
		return v, failFrom(DomainNone, CodeXML, "missing tag id - each <vlan> must have at least one <tag id='n'/> subelement")
	}
	for _, t := range tags {
		id, there, err := t.uintProp("id", 10)
		switch {
		case err != nil:
			return v, err
		case !there:
			return v, failFrom(DomainXML, CodeXML, "Missing required attribute 'id' in element 'tag'")
		case id > 4095:
			return v, failFrom(DomainNone, CodeXML, "vlan tag id %d too large (maximum 4095)", id)
		}
		mode, err := t.wordProp("nativeMode", "tagged", "untagged")
		if err != nil {
			return v, err
		}
		if mode != "" {
			if v.NativeMode != "" {
				return v, failFrom(DomainNone, CodeXML, "duplicate native vlan setting")
			}
			v.NativeMode, v.Native = mode, id
		}
		v.Tags = append(v.Tags, id)
	}
	return v, v.parseTrunk(n.value("trunk"))
}

func (v *VLAN) parseTrunk(trunk string) error {
	v.Trunk = len(v.Tags) > 1
	if trunk == "" {
		return nil
	}
	v.Trunk = strings.EqualFold(trunk, "yes")
	switch {
	case v.Trunk:
	case len(v.Tags) > 1:
		return failFrom(DomainNone, CodeXML, "invalid \"trunk='%s'\" in <vlan> - trunk='yes' is required for more than one vlan tag", trunk)
	case v.NativeMode != "":
		return failFrom(DomainNone, CodeXML, "invalid configuration in <vlan> - \"trunk='no'\" is not allowed with a native vlan id")
	case !strings.EqualFold(trunk, "no"):
		return failFrom(DomainNone, CodeXML, "invalid \"trunk='%s'\" in <vlan> - must be yes or no", trunk)
	}
	return nil
}

func (v *VLAN) print(p *printer) {
	if len(v.Tags) == 0 {
		return
	}
	trunk := ""
	if v.Trunk {
		trunk = " trunk='yes'"
	}
	p.block("vlan", trunk, func() {
		for _, t := range v.Tags {
			mode := ""
			if v.Native == t {
				mode = some("nativeMode", v.NativeMode)
			}
			p.line("<tag id='%d'%s/>", t, mode)
		}
	})
}
