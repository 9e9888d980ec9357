package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

// name is what a zone knows of one owner name. A name without addresses is an
// empty non-terminal (RFC 8020): it exists because something below it does.
type name struct {
	v4, v6 []netip.Addr
}

func (n *name) add(a netip.Addr) {
	list := &n.v4
	if a.Is6() {
		list = &n.v6
	}
	if !slices.Contains(*list, a) {
		*list = append(*list, a)
	}
}

// zone is a Zone made ready for lookups. It never changes.
type zone struct {
	Zone
	domain string // canonical: lower case with the last dot; "" if there is none
	// names are the owner names below domain, canonical; outside are managed
	// names that lie elsewhere.
	names, outside map[string]*name
	// pointers are the names of addresses, for PTR.
	pointers map[netip.Addr]string
}

// blocked are labels that no guest may take: they mean something to every
// resolver, or make clients trust whoever has them.
var blocked = map[string]bool{
	nameserver: true, "localhost": true, "wpad": true, "isatap": true, "gateway": true,
	"_gateway": true, "ipv4only": true,
}

// nameserver is the label of the zone's own name server.
const nameserver = "ns"

// compile makes a Zone ready for lookups.
func compile(z Zone) *zone {
	c := &zone{
		Zone: z, domain: canonical(z.Domain),
		names: map[string]*name{}, outside: map[string]*name{}, pointers: map[netip.Addr]string{},
	}
	c.Records = nil // the maps below hold them
	c.Prefixes = nil
	for _, p := range z.Prefixes {
		if p = p.Masked(); p.IsValid() && !slices.Contains(c.Prefixes, p) {
			c.Prefixes = append(c.Prefixes, p)
		}
	}
	owners := map[string]owner{}
	for _, managed := range []bool{true, false} {
		for _, r := range z.Records {
			if r.Managed == managed {
				c.add(r, owners)
			}
		}
	}
	if c.domain != "" {
		c.addNameserver()
		c.addEmpty()
	}
	return c
}

// owner tells whose a name is.
type owner struct {
	port    vnet.ID
	mac     vnet.MAC
	managed bool
}

func (c *zone) add(r Record, owners map[string]owner) {
	if !r.Address.IsValid() {
		return
	}
	addr := r.Address.Unmap().WithZone("")
	full, inside, ok := c.fullName(r)
	if !ok {
		return
	}
	o := owner{port: r.Port, mac: r.MAC, managed: r.Managed}
	if o.port != "" {
		o.mac = vnet.MAC{}
	}
	if first, taken := owners[full]; !taken {
		owners[full] = o
	} else if first != o && !(first.managed && r.Managed) {
		return
	}
	in := c.outside
	if inside {
		in = c.names
	}
	if in[full] == nil {
		in[full] = &name{}
	}
	in[full].add(addr)
	if _, taken := c.pointers[addr]; !taken {
		c.pointers[addr] = full
	}
}

// fullName returns the record's canonical owner name, and whether it lies
// within the zone's domain.
func (c *zone) fullName(r Record) (full string, inside, ok bool) {
	label := strings.ToLower(strings.TrimSuffix(r.Name, "."))
	if !strings.Contains(label, ".") {
		if !validLabel(label) || (!r.Managed && blocked[label]) {
			return "", false, false
		}
		return label + "." + c.domain, true, true
	}
	if !r.Managed || len(label) > 253 {
		return "", false, false
	}
	for _, l := range strings.Split(label, ".") {
		if !validLabel(l) {
			return "", false, false
		}
	}
	full = label + "."
	inside = c.domain != "" && strings.HasSuffix(full, "."+c.domain)
	return full, inside, true
}

// addNameserver gives the zone's name server, unless an operator used the
// label otherwise, the gateway addresses.
func (c *zone) addNameserver() {
	full := nameserver + "." + c.domain
	if c.names[full] != nil {
		return
	}
	n := &name{}
	for _, a := range c.Listen {
		if !a.IsLinkLocalUnicast() {
			n.add(a.Unmap())
		}
	}
	c.names[full] = n
}

// addEmpty adds the names between a record and the zone's apex.
func (c *zone) addEmpty() {
	for full := range c.names {
		for {
			_, parent, _ := strings.Cut(full, ".")
			if len(parent) <= len(c.domain) || c.names[parent] != nil {
				break
			}
			c.names[parent] = &name{}
			full = parent
		}
	}
	c.names[c.domain] = &name{}
}

// validLabel reports whether s is a host name label (RFC 1123 section 2.1),
// lower case. The underscore is let through for operators' sake.
func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, r := range []byte(s) {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

// canonical returns the domain in lower case with the last dot, "" for none
// or one that is not made of host name labels.
func canonical(domain string) string {
	d := strings.ToLower(strings.TrimSuffix(domain, "."))
	if d == "" || len(d) > 253 {
		return ""
	}
	for _, l := range strings.Split(d, ".") {
		if !validLabel(l) {
			return ""
		}
	}
	return d + "."
}

// under reports whether the canonical name lies at or below the canonical
// domain.
func under(full, domain string) bool {
	return domain != "" && dns.IsSubDomain(domain, full)
}
