package xml

import (
	"net/netip"
	"strings"
)

// DNS is what a network's name server does.
type DNS struct {
	Enable            YesNo
	ForwardPlainNames YesNo
	Forwarders        []Forwarder
	TXTs              []TXT
	SRVs              []SRV
	Hosts             []DNSHost
}

// Forwarder is whom names are asked of, all or those of a domain. One without
// an address: nobody.
type Forwarder struct {
	Domain *string
	Addr   netip.Addr
}

// TXT is a text record.
type TXT struct {
	Name  string
	Value *string // nil only in an update that deletes
}

// SRV is a service record.
type SRV struct {
	Service, Protocol, Domain, Target *string
	Port, Priority, Weight            uint32
}

// DNSHost is an address and its names.
type DNSHost struct {
	IP    netip.Addr
	Names []string
}

func (d *DNS) parse(network string, n *node) (err error) {
	if d.Enable, err = n.yesNoProp("enable"); err != nil {
		return err
	}
	if d.ForwardPlainNames, err = n.yesNoProp("forwardPlainNames"); err != nil {
		return err
	}
	for _, c := range n.all("forwarder") {
		if err := d.parseForwarder(network, c); err != nil {
			return err
		}
	}
	for _, c := range n.all("host") {
		h, err := parseDNSHost(network, c, false)
		if err != nil {
			return err
		}
		d.Hosts = append(d.Hosts, h)
	}
	for _, c := range n.all("srv") {
		s, err := parseSRV(network, c, false)
		if err != nil {
			return err
		}
		d.SRVs = append(d.SRVs, s)
	}
	for _, c := range n.all("txt") {
		t, err := parseTXT(network, c, false)
		if err != nil {
			return err
		}
		d.TXTs = append(d.TXTs, t)
	}
	if d.Enable == "no" && !d.empty() {
		return fail(CodeXML, "Extra data in disabled network '%s'", network)
	}
	return nil
}

func (d *DNS) empty() bool {
	return len(d.Forwarders) == 0 && len(d.Hosts) == 0 && len(d.SRVs) == 0 && len(d.TXTs) == 0
}

func (d *DNS) parseForwarder(network string, n *node) (err error) {
	f := Forwarder{Domain: n.prop("domain")}
	addr := n.prop("addr")
	if addr != nil {
		if f.Addr, err = parseAddr(*addr); err != nil {
			return fail(CodeXML, "Invalid forwarder IP address '%s' in network '%s'", *addr, network)
		}
	}
	if addr == nil && f.Domain == nil {
		return fail(CodeXML, "Invalid forwarder element, must contain at least one of addr or domain")
	}
	d.Forwarders = append(d.Forwarders, f)
	return nil
}

// parseDNSHost reads <host> of <dns>; of one that is to be deleted parts may be
// missing.
func parseDNSHost(network string, n *node, partial bool) (h DNSHost, err error) {
	for _, c := range n.elements() {
		if c.name != "hostname" {
			continue
		}
		name := c.content()
		if name == "" {
			return h, fail(CodeXMLDetail, "Missing hostname in network '%s' DNS HOST record", network)
		}
		h.Names = append(h.Names, name)
	}
	if len(h.Names) == 0 && !partial {
		return h, fail(CodeXMLDetail, "Missing hostname in network '%s' DNS HOST record", network)
	}
	ip := n.prop("ip")
	switch {
	case ip != nil:
		if h.IP, err = parseAddr(*ip); err != nil {
			return h, fail(CodeXMLDetail, "Invalid IP address in network '%s' DNS HOST record", network)
		}
	case !partial:
		return h, fail(CodeXMLDetail, "Missing IP address in network '%s' DNS HOST record", network)
	case len(h.Names) == 0:
		return h, fail(CodeXMLDetail, "Missing ip and hostname in network '%s' DNS HOST record", network)
	}
	return h, nil
}

// What names of services and protocols may have in them, and how long the
// former may be.
const (
	alphanumeric  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	protocolChars = alphanumeric + "-+/"
	serviceChars  = alphanumeric + "_-+/*"
	mostService   = 512 - 30
)

func parseSRV(network string, n *node, partial bool) (s SRV, err error) {
	s.Service, s.Protocol = n.prop("service"), n.prop("protocol")
	switch {
	case s.Service == nil && !partial:
		return s, fail(CodeXMLDetail, "missing required service attribute in DNS SRV record of network '%s'", network)
	case s.Service != nil && len(*s.Service) > mostService:
		return s, fail(CodeXMLDetail, "service attribute '%s' in network '%s' is too long, limit is %d bytes", *s.Service, network, mostService)
	case s.Service != nil && strings.Trim(*s.Service, serviceChars) != "":
		return s, fail(CodeXMLDetail, "invalid character in service attribute '%s' in DNS SRV record of network '%s'", *s.Service, network)
	case s.Protocol == nil && !partial:
		return s, fail(CodeXMLDetail, "missing required protocol attribute in DNS SRV record '%s' of network '%s'", orNull(s.Service), network)
	case s.Protocol != nil && strings.Trim(*s.Protocol, protocolChars) != "":
		return s, fail(CodeXMLDetail, "invalid character in protocol attribute '%s' in DNS SRV record of network '%s'", *s.Protocol, network)
	}
	s.Domain, s.Target = n.prop("domain"), n.prop("target")
	for _, a := range []struct {
		name, invalid string
		least         uint32
		to            *uint32
	}{{"port", "invalid", 1, &s.Port}, {"priority", "Invalid", 0, &s.Priority}, {"weight", "invalid", 0, &s.Weight}} {
		text := n.value(a.name)
		if text == "" {
			continue
		}
		v, ok := number(text, 10, 32)
		if ok && s.Target == nil {
			return s, fail(CodeXMLDetail, "DNS SRV %s attribute not permitted without target for service '%s' in network '%s'", a.name, orNull(s.Service), network)
		}
		if *a.to = uint32(v); !ok || *a.to < a.least || *a.to > 65535 {
			return s, fail(CodeXMLDetail, "%s DNS SRV %s attribute for service '%s' in network '%s'", a.invalid, a.name, orNull(s.Service), network)
		}
	}
	return s, nil
}

// orNull is what C prints for a string that is not there.
func orNull(s *string) string {
	if s == nil {
		return "(null)"
	}
	return *s
}

func parseTXT(network string, n *node, partial bool) (t TXT, err error) {
	name := n.prop("name")
	if name == nil {
		return t, fail(CodeXMLDetail, "missing required name attribute in DNS TXT record of network %s", network)
	}
	t.Name, t.Value = *name, n.prop("value")
	if strings.ContainsAny(t.Name, " ,") {
		return t, fail(CodeXMLDetail, "prohibited character in DNS TXT record name '%s' of network %s", t.Name, network)
	}
	if t.Value == nil && !partial {
		return t, fail(CodeXMLDetail, "missing required value attribute in DNS TXT record named '%s' of network %s", t.Name, network)
	}
	return t, nil
}

func (d *DNS) print(p *printer) {
	attrs := some("enable", d.Enable) + some("forwardPlainNames", d.ForwardPlainNames)
	if d.empty() {
		if attrs != "" {
			p.line("<dns%s/>", attrs)
		}
		return
	}
	p.block("dns", attrs, func() {
		for _, f := range d.Forwarders {
			p.line("<forwarder%s%s/>", attr("domain", f.Domain), addrAttr("addr", f.Addr))
		}
		for _, t := range d.TXTs {
			p.line("<txt%s%s/>", attr("name", &t.Name), attr("value", t.Value))
		}
		for _, s := range d.SRVs {
			p.line("<srv%s%s%s%s%s%s%s/>", attr("service", s.Service), attr("protocol", s.Protocol), attr("domain", s.Domain),
				attr("target", s.Target), some32("port", s.Port), some32("priority", s.Priority), some32("weight", s.Weight))
		}
		for _, h := range d.Hosts {
			p.block("host", addrAttr("ip", h.IP), func() {
				for _, name := range h.Names {
					p.line("<hostname>%s</hostname>", escape(name))
				}
			})
		}
	})
}
