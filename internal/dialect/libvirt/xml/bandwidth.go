package xml

import "fmt"

// Rate is what may pass in one direction, in kibibytes and, Burst, kibibytes at
// once.
type Rate struct{ Average, Peak, Burst, Floor uint64 }

// Bandwidth limits a network, a group of ports or a port; directions are as
// the guest sees them. nil: no limit.
type Bandwidth struct {
	Inbound, Outbound *Rate
	Class             uint32 // of a port: the number of its queue, 0 for none
}

// parseBandwidth reads <bandwidth>. A port may have a class and a floor, a
// network and a group may not.
func parseBandwidth(n *node, port bool) (*Bandwidth, error) {
	if n == nil {
		return nil, nil
	}
	var b Bandwidth
	class, there, err := n.uintProp("classID", 10)
	if err != nil {
		return nil, err
	}
	if there && !port {
		return nil, failFrom(DomainNone, CodeXMLDetail, "classID attribute not supported on <bandwidth> in this usage context")
	}
	b.Class = class
	for _, c := range n.elements() {
		switch {
		case c.name == "inbound" && b.Inbound == nil:
			b.Inbound, err = parseRate(c, port)
		case c.name == "outbound" && b.Outbound == nil:
			b.Outbound, err = parseRate(c, false)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.Inbound == nil && b.Outbound == nil {
		return nil, nil
	}
	return &b, nil
}

func parseRate(n *node, floor bool) (*Rate, error) {
	var r Rate
	there := map[string]bool{}
	for _, a := range []struct {
		name string
		to   *uint64
	}{{"average", &r.Average}, {"peak", &r.Peak}, {"burst", &r.Burst}, {"floor", &r.Floor}} {
		v, ok, err := n.ulonglongProp(a.name)
		if err != nil {
			return nil, err
		}
		*a.to, there[a.name] = v, ok
	}
	switch {
	case !there["average"] && !there["floor"]:
		return nil, failFrom(DomainNone, CodeXMLDetail, "Missing mandatory average or floor attributes")
	case (there["peak"] || there["burst"]) && !there["average"]:
		return nil, failFrom(DomainNone, CodeConfigUnsupported, "'peak' and 'burst' require 'average' attribute")
	case there["floor"] && !floor:
		return nil, failFrom(DomainNone, CodeConfigUnsupported, "floor attribute is not supported for this config")
	}
	return &r, nil
}

func (b *Bandwidth) print(p *printer) {
	if b == nil {
		return
	}
	p.block("bandwidth", some32("classID", b.Class), func() {
		b.Inbound.print(p, "inbound")
		b.Outbound.print(p, "outbound")
	})
}

func (r *Rate) print(p *printer, name string) {
	if r == nil || r.Average == 0 && r.Floor == 0 {
		return
	}
	text := ""
	for _, a := range []struct {
		name string
		v    uint64
	}{{"average", r.Average}, {"peak", r.Peak}, {"floor", r.Floor}, {"burst", r.Burst}} {
		if a.v != 0 {
			text += fmt.Sprintf(" %s='%d'", a.name, a.v)
		}
	}
	p.line("<%s%s/>", name, text)
}
