package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// viewKey names a set of networks whose guests see each other's names.
type viewKey struct {
	ns      string
	project vnet.ID
}

// view is the networks of one project in one namespace, indexed so that a
// query costs the same with one network and with a thousand.
type view struct {
	domains  map[string][]*zone       // by domain
	outside  map[string][]*zone       // by name outside of the domains
	prefixes map[netip.Prefix][]*zone // by masked prefix
	lens4    [33]int                  // how many prefixes have this length
	lens6    [129]int
	zones    int
	wild     int // how many of them have wildcards outside of their domains
}

func newView() *view {
	return &view{domains: map[string][]*zone{}, outside: map[string][]*zone{}, prefixes: map[netip.Prefix][]*zone{}}
}

func (v *view) insert(z *zone) {
	v.zones++
	if z.domain != "" {
		v.domains[z.domain] = append(v.domains[z.domain], z)
	}
	for full := range z.outside {
		v.outside[full] = append(v.outside[full], z)
	}
	if z.wild {
		v.wild++
	}
	for _, p := range z.Prefixes {
		v.prefixes[p] = append(v.prefixes[p], z)
		*v.len(p)++
	}
}

func (v *view) remove(z *zone) {
	v.zones--
	without(v.domains, z.domain, z)
	for full := range z.outside {
		without(v.outside, full, z)
	}
	if z.wild {
		v.wild--
	}
	for _, p := range z.Prefixes {
		without(v.prefixes, p, z)
		*v.len(p)--
	}
}

// without takes one z out of m[k].
func without[K comparable](m map[K][]*zone, k K, z *zone) {
	list := m[k]
	i := slices.Index(list, z)
	switch {
	case i < 0:
	case len(list) == 1:
		delete(m, k)
	default:
		m[k] = slices.Delete(slices.Clone(list), i, i+1)
	}
}

func (v *view) len(p netip.Prefix) *int {
	if p.Addr().Is4() {
		return &v.lens4[p.Bits()]
	}
	return &v.lens6[p.Bits()]
}

// within returns the longest prefix of the view's networks that holds p, and
// those networks.
func (v *view) within(p netip.Prefix) (netip.Prefix, []*zone) {
	lens := v.lens6[:]
	if p.Addr().Is4() {
		lens = v.lens4[:]
	}
	for bits := p.Bits(); bits >= 0; bits-- {
		if lens[bits] == 0 {
			continue
		}
		q, err := p.Addr().Prefix(bits)
		if err != nil {
			continue
		}
		if zones := v.prefixes[q]; len(zones) > 0 {
			return q, zones
		}
	}
	return netip.Prefix{}, nil
}

// domainOf returns the longest domain of the view at or above the canonical
// name, and its networks, first's in front.
func (v *view) domainOf(full string, first *zone) (string, []*zone) {
	for d := full; d != ""; {
		if zones := v.domains[d]; len(zones) > 0 {
			if i := slices.Index(zones, first); i > 0 {
				zones = slices.Clone(zones)
				zones[0], zones[i] = zones[i], zones[0]
			}
			return d, zones
		}
		_, parent, ok := strings.Cut(d, ".")
		if !ok || parent == "" {
			return "", nil
		}
		d = parent
	}
	return "", nil
}
