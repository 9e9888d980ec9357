package xml

import (
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Wish is what our name space says of a network: what libvirt's elements have
// no word for. Empty: libvirt's elements decide.
type Wish struct {
	IPv4, IPv6 vnet.Egress
	Guests     vnet.Guests // of the primary IPv6 prefix
	Guard      bool        // there is a <guard>; kept, and so far without effect
}

// Wish reads our elements in <metadata>: <sextant:ipv4 mode='…'/>,
// <sextant:ipv6 mode='…' guests='…'/> and <sextant:guard …/>, each once, alone or
// in a <sextant:network>. What is not known is refused by name, for a mode that
// is silently ignored could open what was to be shut.
func (n *Network) Wish() (w Wish, err error) {
	if n.metadata == nil {
		return w, nil
	}
	var l []*node
	for _, c := range n.metadata.elements() {
		switch {
		case c.space != Space:
		case c.name == "network":
			l = append(l, c.elements()...)
		default:
			l = append(l, c)
		}
	}
	seen := map[string]bool{}
	for _, c := range l {
		if seen[c.name] {
			return w, fail(CodeXML, "Only one <sextant:%s> element is allowed in <metadata> of network '%s'", c.name, n.Name)
		}
		seen[c.name] = true
		if err := w.take(n.Name, c); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *Wish) take(network string, c *node) error {
	known := []string{"mode"}
	f := vnet.IPv4
	switch {
	case c.space != Space:
		return fail(CodeXML, "unexpected element <%s> in <sextant:network> of network '%s'", c.fullName(), network)
	case c.name == "guard":
		w.Guard = true
		return nil
	case c.name == "ipv6":
		f, known = vnet.IPv6, []string{"mode", "guests"}
	case c.name != "ipv4":
		return fail(CodeXML, "unexpected element <%s> in <metadata> of network '%s'", c.fullName(), network)
	}
	for _, a := range c.attrs {
		if !slices.Contains(known, a.fullName()) {
			return fail(CodeXML, "unexpected attribute '%s' in <sextant:%s> of network '%s'", a.fullName(), c.name, network)
		}
	}
	mode := vnet.Egress(c.value("mode"))
	if mode != "" && !slices.Contains(vnet.Modes(f), mode) {
		return fail(CodeConfigUnsupported, "unknown mode '%s' in <sextant:%s> of network '%s'", mode, c.name, network)
	}
	if f == vnet.IPv4 {
		w.IPv4 = mode
		return nil
	}
	w.IPv6, w.Guests = mode, vnet.Guests(c.value("guests"))
	switch w.Guests {
	case "", vnet.GuestsSLAAC, vnet.GuestsStateless, vnet.GuestsStateful, vnet.GuestsSLAACStateful, vnet.GuestsManual:
		return nil
	}
	return fail(CodeConfigUnsupported, "unknown guests '%s' in <sextant:ipv6> of network '%s'", w.Guests, network)
}
