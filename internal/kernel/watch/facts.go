package watch

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// readAll reads links, addresses and routes; the caller holds mu.
func (w *Watcher) readAll() error {
	c, err := w.spaces.Conn("")
	if err != nil {
		return err
	}
	t, err := readTable(c)
	if err != nil {
		return err
	}
	w.table = t
	return w.readRoutes()
}

// build makes facts of what is known; the caller holds mu.
func (w *Watcher) build() *plan.Facts {
	f := &plan.Facts{
		Features: maps.Clone(w.opt.Features),
		Links:    make(map[string]plan.Link, len(w.table.links)),
		Routes:   w.routes.all,
		Uplinks:  map[string]vnet.Uplink{},
	}
	for index := range w.table.links {
		l := w.table.link(index)
		f.Links[l.Name] = l
	}
	best4, best6 := hop{metric: -1}, hop{metric: -1}
	for _, h := range w.routes.defaults {
		s, ok := w.table.links[h.index]
		if !ok || s.ours() || !s.Up {
			continue
		}
		u, known := f.Uplinks[s.Name]
		if !known {
			u = w.uplink(s, f.Links[s.Name])
		}
		metric, best := &u.Metric4, &best4
		first := !u.V4
		if h.v6 {
			metric, best, first = &u.Metric6, &best6, !u.V6
		}
		if first || h.metric < *metric {
			*metric = h.metric
		}
		// Provisionally "has one"; only the best keeps it.
		if h.v6 {
			u.V6 = true
		} else {
			u.V4 = true
		}
		f.Uplinks[s.Name] = u
		if best.metric < 0 || h.before(*best) < 0 {
			*best = h
		}
	}
	f.Defaults, f.Delegated = w.defaults(), w.routes.held
	if best4.metric >= 0 {
		f.Uplink4 = w.table.links[best4.index].Name
	}
	if best6.metric >= 0 {
		f.Uplink6 = w.table.links[best6.index].Name
	}
	for name, u := range f.Uplinks {
		u.V4, u.V6 = name == f.Uplink4, name == f.Uplink6
		f.Uplinks[name] = u
	}
	f.Resolvers = w.resolvers(f)
	return f
}

// defaults lists the default routes over links that are up and not ours, the
// preferred ones of each family first.
func (w *Watcher) defaults() []plan.DefaultRoute {
	var out []plan.DefaultRoute
	hops := slices.Clone(w.routes.defaults)
	slices.SortStableFunc(hops, func(a, b hop) int {
		return cmp.Or(a.before(b), strings.Compare(w.table.links[a.index].Name, w.table.links[b.index].Name), a.via.Compare(b.via))
	})
	for _, h := range hops {
		if s, ok := w.table.links[h.index]; ok && !s.ours() && s.Up {
			d := plan.DefaultRoute{Hop: plan.Hop{Link: s.Name, Via: h.via}, Family: vnet.IPv4, Metric: h.metric}
			if h.v6 {
				d.Family = vnet.IPv6
			}
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b plan.DefaultRoute) int { return int(a.Family - b.Family) })
	return out
}

// uplink describes a link that has a default route.
func (w *Watcher) uplink(s seen, l plan.Link) vnet.Uplink {
	u := vnet.Uplink{Name: s.Name, MTU: s.MTU, Type: kindOf(s)}
	for _, p := range l.Addresses {
		if a := p.Addr(); !a.IsLinkLocalUnicast() && !a.IsLoopback() {
			u.Addresses = append(u.Addresses, p)
		}
	}
	// The router may have said less than the link can (RFC 4861 section 4.6.4).
	_ = w.spaces.Do("", func() error {
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + s.Name + "/mtu")
		if err != nil {
			return err
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n >= 1280 && n < u.MTU {
			u.MTU = n
		}
		return nil
	})
	return u
}

const kindBridge = "bridge"

// kindOf says what kind of link it is, as vnet.Uplink names kinds.
func kindOf(s seen) string {
	switch s.Type {
	case kindBridge, "vlan":
		return s.Type
	case "tun", "wireguard", "gre", "gretap", "ip6gre", "ip6gretap", "sit", "ipip", "ip6tnl", "vti", "vti6", "xfrm", "vxlan", "geneve", "erspan", "ip6erspan":
		return "tunnel"
	case "ppp":
		return "point-to-point"
	}
	if s.flags&unix.IFF_POINTOPOINT != 0 {
		return "point-to-point"
	}
	for _, dir := range []string{"phy80211", "wireless"} {
		if _, err := os.Stat(filepath.Join("/sys/class/net", s.Name, dir)); err == nil {
			return "wifi"
		}
	}
	return "ethernet"
}

// same reports whether two facts lead to the same plan, as far as we can
// tell: links of ours that come and go are no news, but the carrier of a port
// is.
func same(a, b *plan.Facts) bool {
	if a.Uplink4 != b.Uplink4 || a.Uplink6 != b.Uplink6 ||
		!reflect.DeepEqual(a.Uplinks, b.Uplinks) || !slices.Equal(a.Defaults, b.Defaults) || !slices.Equal(a.Delegated, b.Delegated) || !reflect.DeepEqual(a.Routes, b.Routes) ||
		!reflect.DeepEqual(a.Resolvers, b.Resolvers) || !reflect.DeepEqual(a.Features, b.Features) {
		return false
	}
	for name, l := range a.Links {
		other, ok := b.Links[name]
		if isOurs(l) {
			if ok && l.Type != kindBridge && other.Carrier != l.Carrier {
				return false
			}
			continue
		}
		if !ok || !reflect.DeepEqual(l, other) {
			return false
		}
	}
	for name, l := range b.Links {
		if _, ok := a.Links[name]; !ok && !isOurs(l) {
			return false
		}
	}
	return true
}

func isOurs(l plan.Link) bool { return strings.HasPrefix(l.Alias, plan.AliasPrefix) }
