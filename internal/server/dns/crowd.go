package dns

import (
	"net/netip"
	"slices"
	"strings"
)

// crowd is the names that guests chose, of which there may be a hundred
// thousand: in maps of names and addresses each would take six times as much.
// It never changes once it is sorted.
type crowd struct {
	labels []string // in order; names below the zone's domain
	// addresses are in order, those of the label i the addresses numbered
	// of[first[i]:first[i+1]].
	addresses []crowdAddress
	of        []uint32
	first     []uint32
}

// crowdAddress is an address of a guest, and which label it has.
type crowdAddress struct {
	bytes [16]byte
	label uint32
}

func (a *crowdAddress) addr() netip.Addr { return netip.AddrFrom16(a.bytes).Unmap() }

// gathering is a crowd in the making.
type gathering struct {
	numbers map[string]uint32
	crowd   crowd
}

func newGathering() *gathering { return &gathering{numbers: map[string]uint32{}} }

// add takes one more address of a label in.
func (g *gathering) add(label string, a netip.Addr) {
	n, known := g.numbers[label]
	if !known {
		n = uint32(len(g.crowd.labels))
		g.numbers[label] = n
		g.crowd.labels = append(g.crowd.labels, label)
	}
	g.crowd.addresses = append(g.crowd.addresses, crowdAddress{a.As16(), n})
}

// sorted is the crowd, in no more memory than it needs. Of the labels of one
// address the first to come is the first.
func (g *gathering) sorted() crowd {
	c := crowd{labels: slices.Sorted(slices.Values(g.crowd.labels)), addresses: slices.Clone(g.crowd.addresses)}
	place := make([]uint32, len(c.labels))
	for i, label := range c.labels {
		place[g.numbers[label]] = uint32(i)
	}
	slices.SortStableFunc(c.addresses, func(a, b crowdAddress) int { return a.addr().Compare(b.addr()) })
	c.first = make([]uint32, len(c.labels)+1)
	for i := range c.addresses {
		a := &c.addresses[i]
		a.label = place[a.label]
		c.first[a.label+1]++
	}
	for i := range c.labels {
		c.first[i+1] += c.first[i]
	}
	c.of = make([]uint32, len(c.addresses))
	next := slices.Clone(c.first)
	for i := range c.addresses {
		label := c.addresses[i].label
		c.of[next[label]] = uint32(i)
		next[label]++
	}
	return c
}

// name is what there is of a label, nil if there is nothing.
func (c *crowd) name(label string) *name {
	i, ok := slices.BinarySearch(c.labels, label)
	if !ok {
		return nil
	}
	n := &name{chosen: true}
	for _, k := range c.of[c.first[i]:c.first[i+1]] {
		n.add(c.addresses[k].addr())
	}
	return n
}

// has reports whether somebody chose the label.
func (c *crowd) has(label string) bool {
	_, ok := slices.BinarySearch(c.labels, label)
	return ok
}

// at is the number of the first address that is not before a.
func (c *crowd) at(a netip.Addr) int {
	i, _ := slices.BinarySearchFunc(c.addresses, a, func(x crowdAddress, a netip.Addr) int { return x.addr().Compare(a) })
	return i
}

// labelOf is the label of an address, "" if it has none.
func (c *crowd) labelOf(a netip.Addr) string {
	if i := c.at(a); i < len(c.addresses) && c.addresses[i].addr() == a {
		return c.labels[c.addresses[i].label]
	}
	return ""
}

// hasWithin reports whether an address of the prefix has a name.
func (c *crowd) hasWithin(p netip.Prefix) bool {
	i := c.at(p.Masked().Addr())
	return i < len(c.addresses) && p.Contains(c.addresses[i].addr())
}

// name is what the zone has at a canonical name at or below its domain, nil if
// there is nothing. What an operator has there stands before what a guest
// chose.
func (c *zone) name(full string) *name {
	n := c.names[full]
	if n == nil || n.empty() {
		if label, ok := c.labelIn(full); ok {
			if chosen := c.crowd.name(label); chosen != nil {
				return chosen
			}
		}
	}
	return n
}

// exists reports whether the zone has anything at a name.
func (c *zone) exists(full string) bool {
	label, ok := c.labelIn(full)
	return c.names[full] != nil || ok && c.crowd.has(label)
}

// labelIn is a name's label if that is right below the zone's domain.
func (c *zone) labelIn(full string) (string, bool) {
	label, rest, _ := strings.Cut(full, ".")
	return label, rest == c.domain
}

// pointer is the name of an address.
func (c *zone) pointer(a netip.Addr) (string, bool) {
	if full, ok := c.pointers[a]; ok {
		return full, true
	}
	if label := c.crowd.labelOf(a); label != "" {
		return label + "." + c.domain, true
	}
	return "", false
}
