package dns

import (
	"slices"
	"strings"
)

// inDomain answers a name at or below a domain of ours. Networks may share a
// domain; the first that knows the name answers, and names that guests chose
// give way to what an operator has in any of them. What no network has a
// record for is unknown: it may still exist for those below it.
func inDomain(zones []*zone, full, owner string, qtype uint16, domain string) *outcome {
	exists, wild := false, false
	var chosen *zone
	var guests *name
	for _, z := range zones {
		wild = wild || z.names["*."+domain] != nil
		n := z.name(full)
		switch {
		case n == nil:
			continue
		case n.chosen && chosen == nil:
			chosen, guests = z, n
		case !n.chosen && !n.empty():
			return found(n, full, owner, qtype, domain, z)
		}
		exists = exists || !n.chosen
	}
	if chosen != nil && !wild {
		return found(guests, full, owner, qtype, domain, chosen)
	}
	if exists {
		o := found(&name{}, full, owner, qtype, domain, zones[0])
		o.unknown = len(o.answer) == 0
		return o
	}
	if o := wildcard(zones, full, owner, qtype, domain); o != nil {
		return o
	}
	o := nothing(full, domain, zones[0])
	o.unknown = true
	return o
}

// wildcard answers a name that does not exist from the wildcard of its closest
// encloser, the longest name above it that does (RFC 4592 section 3.3).
func wildcard(zones []*zone, full, owner string, qtype uint16, domain string) *outcome {
	for d := parent(full); d != "" && len(d) >= len(domain); d = parent(d) {
		if !slices.ContainsFunc(zones, func(z *zone) bool { return z.exists(d) }) {
			continue
		}
		for _, z := range zones {
			if n := z.names["*."+d]; n != nil && !n.empty() {
				return found(n, full, owner, qtype, domain, z)
			}
		}
		return nil
	}
	return nil
}

// single answers a name of one label from z's own domain, as if that had been
// added, or returns nil if it is not there.
func (v *view) single(z *zone, label, full, owner string, qtype uint16) *outcome {
	name, domain, zones := label+"."+z.domain, "", []*zone{z}
	if z.domain != "" {
		domain, zones = v.domainOf(name, z)
	}
	o := inDomain(zones, name, owner, qtype, domain)
	if o.unknown {
		return nil
	}
	if len(o.answer) == 0 {
		return noData(full, full, z)
	}
	o.last = full
	return o
}

// elsewhere answers a name that an operator has outside of his networks'
// domains, or returns nil. Of several networks first's counts before others'.
// We are not authoritative for what is around it, so that a wildcard stands
// for everything below it that has no record.
func (v *view) elsewhere(first *zone, full, owner string, qtype uint16) *outcome {
	if o := v.outsideAt(first, full, full, owner, qtype); o != nil {
		return o
	}
	if v.wild == 0 {
		return nil
	}
	for d := parent(full); d != ""; d = parent(d) {
		if o := v.outsideAt(first, "*."+strings.TrimPrefix(d, "."), full, owner, qtype); o != nil {
			return o
		}
	}
	return nil
}

// outsideAt answers full from the records at the name at.
func (v *view) outsideAt(first *zone, at, full, owner string, qtype uint16) *outcome {
	zones := v.outside[at]
	if len(zones) == 0 {
		return nil
	}
	z := zones[0]
	if slices.Contains(zones, first) {
		z = first
	}
	return found(z.outside[at], full, owner, qtype, full, z)
}
