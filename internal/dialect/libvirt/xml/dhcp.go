package xml

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// DHCP is what is given to guests around an address.
type DHCP struct {
	Ranges     []Range
	Hosts      []DHCPHost
	BootFile   *string
	BootServer netip.Addr
}

// Range is an inclusive range of addresses.
type Range struct {
	Start, End netip.Addr
	Lease      *Lease
}

// DHCPHost is an address for one guest.
type DHCPHost struct {
	MAC, ID, Name *string // as written
	IP            netip.Addr
	Lease         *Lease
}

// Lease is how long addresses are given for; Expiry 0 is for ever.
type Lease struct {
	Expiry uint64
	Unit   string // seconds, minutes, hours
}

// serves reports whether there is anything to be given: only that counts as a
// <dhcp> element.
func (d *DHCP) serves() bool { return len(d.Ranges) > 0 || len(d.Hosts) > 0 }

func (d *DHCP) parse(network string, ip *IP, n *node) (err error) {
	for _, c := range n.elements() {
		if c.name == "range" {
			r, err := parseRange(network, ip, c)
			if err != nil {
				return err
			}
			d.Ranges = append(d.Ranges, r)
		}
	}
	var bootp *node
	for _, c := range n.elements() {
		switch {
		case c.name == "host":
			h, err := parseDHCPHost(network, ip, c, false)
			if err != nil {
				return err
			}
			d.Hosts = append(d.Hosts, h)
		case c.name == "bootp" && bootp == nil:
			bootp = c
		}
	}
	if bootp == nil || !ip.Address.Is4() {
		return nil
	}
	if d.BootFile = bootp.prop("file"); d.BootFile == nil {
		return failFrom(DomainXML, CodeXML, "Missing required attribute 'file' in element 'bootp'")
	}
	if s := bootp.prop("server"); s != nil {
		d.BootServer, err = parseAddr(*s)
	}
	return err
}

func parseRange(network string, ip *IP, n *node) (r Range, err error) {
	for _, a := range []struct {
		name string
		to   *netip.Addr
	}{{"start", &r.Start}, {"end", &r.End}} {
		s := n.prop(a.name)
		if s == nil {
			return r, fail(CodeXML, "Missing '%s' attribute in dhcp range for network '%s'", a.name, network)
		}
		if *a.to, err = parseAddr(*s); err != nil {
			return r, err
		}
	}
	if err := checkRange(r.Start, r.End, ip.Address, ip.Bits()); err != nil {
		return r, err
	}
	r.Lease, err = parseLease(n)
	return r, err
}

// parseLease reads the <lease> in n, if there is one with a time.
func parseLease(n *node) (*Lease, error) {
	for _, c := range n.elements() {
		if c.name != "lease" {
			continue
		}
		v, there, err := c.ulonglongProp("expiry")
		if err != nil || !there {
			return nil, err
		}
		unit, err := c.wordProp("unit", "seconds", "minutes", "hours")
		if err != nil {
			return nil, err
		}
		if unit == "" {
			unit = "minutes"
		}
		if v > 0 && (unit == "seconds" && v < 120 || unit == "minutes" && v < 2) {
			return nil, fail(CodeConfigUnsupported, "The minimum lease time should be greater than 2 minutes")
		}
		return &Lease{v, unit}, nil
	}
	return nil, nil
}

// parseDHCPHost reads <host> of <dhcp>; of one that is to be deleted parts may
// be missing.
func parseDHCPHost(network string, ip *IP, n *node, partial bool) (h DHCPHost, err error) {
	h.MAC, h.ID, h.Name = n.prop("mac"), n.prop("id"), n.prop("name")
	if h.MAC != nil {
		mac, ok := parseMAC(*h.MAC)
		switch {
		case ip.Address.Is6():
			return h, fail(CodeXML, "Invalid to specify MAC address '%s' in network '%s' IPv6 static host definition", *h.MAC, network)
		case !ok:
			return h, fail(CodeXML, "Cannot parse MAC address '%s' in network '%s'", *h.MAC, network)
		case mac[0]&1 != 0:
			return h, fail(CodeXML, "expected unicast mac address, found multicast '%s' in network '%s'", *h.MAC, network)
		}
	}
	if h.ID != nil {
		if rest := strings.TrimLeft(*h.ID, "0123456789abcdefABCDEF:"); rest != "" {
			return h, fail(CodeXML, "Invalid character '%c' in id '%s' of network '%s'", rest[0], *h.ID, network)
		}
	}
	if h.Name != nil && (*h.Name == "" || !strings.Contains(alphanumeric, (*h.Name)[:1])) {
		return h, fail(CodeXML, "Cannot use host name '%s' in network '%s'", *h.Name, network)
	}
	addr := n.prop("ip")
	if addr != nil {
		if h.IP, err = parseAddr(*addr); err != nil {
			return h, fail(CodeXML, "Invalid IP address in static host definition for network '%s'", network)
		}
	}
	if err := h.checkParts(network, vnet.FamilyOf(ip.Address), partial); err != nil {
		return h, err
	}
	h.Lease, err = parseLease(n)
	return h, err
}

// checkParts checks that enough is said.
func (h *DHCPHost) checkParts(network string, f vnet.Family, partial bool) error {
	switch {
	case partial && h.MAC == nil && h.Name == nil && !h.IP.IsValid():
		return fail(CodeXML, "At least one of name, mac, or ip attribute must be specified for static host definition in network '%s' ", network)
	case partial:
		return nil
	case f == vnet.IPv6 && h.ID == nil && h.Name == nil:
		return fail(CodeXML, "Static host definition in IPv6 network '%s' must have id or name attribute", network)
	case f == vnet.IPv4 && h.MAC == nil && h.Name == nil:
		return fail(CodeXML, "Static host definition in IPv4 network '%s' must have mac or name attribute", network)
	case !h.IP.IsValid():
		return fail(CodeXML, "Missing IP address in static host definition for network '%s'", network)
	}
	return nil
}

func (d *DHCP) print(p *printer) {
	if !d.serves() {
		return
	}
	p.block("dhcp", "", func() {
		for _, r := range d.Ranges {
			r.Lease.printIn(p, "range", addrAttr("start", r.Start)+addrAttr("end", r.End))
		}
		for _, h := range d.Hosts {
			h.Lease.printIn(p, "host", attr("mac", h.MAC)+attr("id", h.ID)+attr("name", h.Name)+addrAttr("ip", h.IP))
		}
		if d.BootFile != nil {
			p.line("<bootp%s%s/>", attr("file", d.BootFile), addrAttr("server", d.BootServer))
		}
	})
}

// printIn writes an element with the lease in it.
func (l *Lease) printIn(p *printer, name, attrs string) {
	if l == nil {
		p.line("<%s%s/>", name, attrs)
		return
	}
	p.block(name, attrs, func() {
		unit := ""
		if l.Expiry != 0 {
			unit = some("unit", l.Unit)
		}
		p.line("<lease%s%s/>", some("expiry", fmt.Sprint(l.Expiry)), unit)
	})
}
