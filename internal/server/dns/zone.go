package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

// zone is a Zone made ready for lookups. It never changes.
type zone struct {
	Zone
	domain string // canonical: lower case with the last dot; "" if there is none
	// names are the owner names below domain, canonical; outside are names
	// that an operator has elsewhere.
	names, outside map[string]*name
	// pointers are the names of addresses, for PTR.
	pointers map[netip.Addr]string
	// crowd are the names that guests chose, and their addresses.
	crowd crowd
	// forward are the forwarders by canonical domain, "." for the rest; nil:
	// all is asked of the host's resolvers.
	forward map[string]*route
	// wild is whether a name outside of the domain begins with "*".
	wild bool

	sort   sync.Once
	sorted []netip.Addr // the keys of pointers, in order; see hasWithin
}

// blocked are labels that no guest may take: they mean something to every
// resolver, or make clients trust whoever has them.
var blocked = map[string]bool{
	nameserver: true, "localhost": true, "wpad": true, "isatap": true, "gateway": true,
	"_gateway": true, "ipv4only": true,
}

// nameserver is the label of the zone's own name server.
const nameserver = "ns"

// compile makes a Zone ready for lookups. Who comes first keeps the name: the
// operator's records, then ports, then names that guests chose.
func compile(z Zone) *zone {
	c := &zone{
		Zone: z, domain: canonical(z.Domain),
		names: map[string]*name{}, outside: map[string]*name{}, pointers: map[netip.Addr]string{},
		forward: forwards(z.Forwarders),
	}
	c.Records, c.Extra, c.Forwarders = nil, nil, nil // the maps hold them
	c.Prefixes = nil
	for _, p := range z.Prefixes {
		if p = p.Masked(); p.IsValid() && !slices.Contains(c.Prefixes, p) {
			c.Prefixes = append(c.Prefixes, p)
		}
	}
	for _, r := range z.Extra {
		c.addExtra(r)
	}
	for _, in := range []map[string]*name{c.names, c.outside} {
		for _, n := range in {
			n.level()
		}
	}
	w := &claimed{owners: map[string]owner{}, guests: newGathering(), sets: map[chosen]int{}}
	for _, r := range z.Records {
		if r.Managed {
			c.add(r, w)
		}
	}
	c.pointExtra(z.Extra)
	for _, r := range z.Records {
		if !r.Managed {
			c.add(r, w)
		}
	}
	c.crowd = w.guests.sorted()
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

// claimed are the names that are taken while a zone is compiled.
type claimed struct {
	owners map[string]owner
	guests *gathering
	sets   map[chosen]int // addresses of each
}

func (c *zone) add(r Record, w *claimed) {
	if !r.Address.IsValid() {
		return
	}
	addr := r.Address.Unmap().WithZone("")
	full, inside, ok := c.fullName(r)
	if !ok {
		return
	}
	in := c.outside
	if inside {
		in = c.names
	}
	n := in[full]
	if !r.Managed && (n != nil && len(n.rrs) > 0 || c.names["*."+c.domain] != nil) { // the operator's
		return
	}
	o := owner{port: r.Port, mac: r.MAC, managed: r.Managed}
	if o.port != "" {
		o.mac = vnet.MAC{}
	}
	if first, taken := w.owners[full]; !taken {
		w.owners[full] = o
	} else if first != o && !(first.managed && r.Managed) {
		return
	}
	if !r.Managed {
		w.choose(strings.ToLower(strings.TrimSuffix(r.Name, ".")), addr)
		return
	}
	if n == nil {
		n = &name{}
		in[full] = n
	}
	if !n.add(addr) {
		return
	}
	if _, taken := c.pointers[addr]; !taken {
		c.pointers[addr] = full
	}
}

// choose adds an address to a name that a guest chose, if there is room.
func (w *claimed) choose(label string, a netip.Addr) {
	k := chosen{label, a.Is4()}
	if w.sets[k]++; w.sets[k] <= maxSet {
		w.guests.add(label, a)
	}
}

// chosen is a name that a guest chose, and a family.
type chosen struct {
	label string
	v4    bool
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
	if c.names[c.domain] == nil {
		c.names[c.domain] = &name{}
	}
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
}

// hasWithin reports whether an address of the prefix has a name.
func (c *zone) hasWithin(p netip.Prefix) bool {
	if c.crowd.hasWithin(p) {
		return true
	}
	c.sort.Do(func() {
		c.sorted = make([]netip.Addr, 0, len(c.pointers))
		for a := range c.pointers {
			c.sorted = append(c.sorted, a)
		}
		slices.SortFunc(c.sorted, netip.Addr.Compare)
	})
	i, _ := slices.BinarySearchFunc(c.sorted, p.Masked().Addr(), netip.Addr.Compare)
	return i < len(c.sorted) && p.Contains(c.sorted[i])
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

// parent returns what is left of a canonical name without its first label; ""
// for the root.
func parent(full string) string {
	_, p, _ := strings.Cut(full, ".")
	if p == "" && full != "." && full != "" {
		return "."
	}
	return p
}
