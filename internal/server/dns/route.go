package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// upstream is a server that is asked, and the namespace to ask it from.
type upstream struct {
	netip.AddrPort
	ns string
}

// route says whom a name is asked of.
type route struct {
	// key tells answers of one set of servers from those of another: networks
	// with different forwarders share no cache. "" is the host's resolvers.
	key     string
	servers []upstream
	// nobody: the answer is that there is no such name, below apex.
	nobody bool
	apex   string
}

// forwards sorts forwarders by their domain; nil if there are none.
func forwards(list []vnet.Forwarder) map[string]*route {
	if len(list) == 0 {
		return nil
	}
	out := map[string]*route{}
	for _, f := range list {
		domain := "."
		if f.Domain != "" {
			if domain = canonical(f.Domain); domain == "" {
				continue
			}
		}
		r := out[domain]
		if r == nil {
			r = &route{nobody: true, apex: domain}
			out[domain] = r
		}
		if servers := usable([]netip.AddrPort{f.Server}); len(servers) > 0 && !slices.Contains(r.servers, servers[0]) {
			r.nobody = false
			r.servers = append(r.servers, servers[0])
		}
	}
	for _, r := range out {
		var keys []string
		for _, s := range r.servers {
			keys = append(keys, s.String())
		}
		r.key = strings.Join(keys, " ")
	}
	return out
}

// usable returns the servers that can be asked, each once, in order.
func usable(servers []netip.AddrPort) []upstream {
	var list []upstream
	for _, s := range servers {
		s = netip.AddrPortFrom(s.Addr().Unmap(), s.Port())
		if s.Port() == 0 {
			s = netip.AddrPortFrom(s.Addr(), port)
		}
		a := s.Addr()
		if u := (upstream{AddrPort: s}); a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// forwarder returns the route of the longest domain at or above the name that
// the operator named, and that domain; nil if it is not named.
func (c *zone) forwarder(full string) (string, *route) {
	if c.forward == nil {
		return "", nil
	}
	for d := full; d != "" && d != "."; d = parent(d) {
		if r := c.forward[d]; r != nil {
			return d, r
		}
	}
	return "", nil
}

// hasForwarder reports whether the operator named whom to ask for the name by
// a domain at or below apex, so that not even a domain of ours keeps it.
func (c *zone) hasForwarder(full, apex string) bool {
	d, r := c.forwarder(full)
	return r != nil && under(d, apex)
}

// route decides whom a name is asked of that is none of ours.
func (e *engine) route(z *zone, full string) route {
	if _, r := z.forwarder(full); r != nil {
		return e.located(z, *r)
	}
	if apex := ownDomain(full, never); apex != "" {
		return route{nobody: true, apex: apex}
	}
	r := route{servers: e.upstreams}
	if f := z.forward["."]; f != nil {
		r = e.located(z, *f)
	}
	apex := ownDomain(full, locals)
	if apex == "" {
		apex = privateReverse(full)
	}
	if apex != "" && len(r.servers) > 0 {
		near := slices.DeleteFunc(slices.Clone(r.servers), func(u upstream) bool { return isPublic(u.Addr()) })
		if len(near) == 0 {
			return route{nobody: true, apex: apex}
		}
		if len(near) != len(r.servers) {
			r.key += " near"
		}
		r.servers = near
	}
	return r
}

// located has servers that are guests of a router's networks asked from the
// router's namespace: nobody else may reach them.
func (e *engine) located(z *zone, r route) route {
	if z.NS == "" {
		return r
	}
	v := e.views[viewKey{z.NS, z.Project}]
	r.servers = slices.Clone(r.servers)
	for i, s := range r.servers {
		a := s.Addr()
		if _, zones := v.within(netip.PrefixFrom(a, a.BitLen())); len(zones) > 0 {
			r.servers[i].ns = z.NS
		}
	}
	// The same address is somebody else in another namespace.
	r.key = z.NS + " " + string(z.Project) + " " + r.key
	return r
}

// never are domains that no resolver is asked about, unless the operator
// named one for them: RFC 6761 section 6.4, RFC 6762 section 22.1, RFC 7686,
// RFC 9476. Multicast DNS is not ours to speak.
var never = []string{"invalid.", "local.", "onion.", "alt."}

// locals are domains that mean something inside of a site only: a resolver
// of the site is asked about them, a public one is not. RFC 6761 section 6.2
// (test), RFC 8375 (home.arpa). "internal" is not here: sites whose resolvers
// have public addresses use it, and no RFC sets it aside.
var locals = []string{"test.", "home.arpa."}

// ownDomain returns which of the domains the name is at or below.
func ownDomain(full string, domains []string) string {
	for _, d := range domains {
		if full == d || strings.HasSuffix(full, "."+d) {
			return d
		}
	}
	return ""
}

// notPublic are prefixes whose reverse zones the public DNS does not have: RFC
// 6303 section 4, RFC 7793.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/128"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fd00::/8"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("2001:db8::/32"),
}

// privateReverse returns the apex of the zone of notPublic that the name lies
// in, "" if it lies in none.
func privateReverse(full string) string {
	p, ok := ipam.ParseReverse(full)
	if !ok {
		return ""
	}
	for _, n := range notPublic {
		if n.Addr().Is4() == p.Addr().Is4() && n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return reverseName(reverseApex(p.Addr(), n))
		}
	}
	return ""
}

// shared is the address space between providers and their customers (RFC
// 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// isPublic reports whether a resolver with this address is one of the public
// Internet, rather than of the site or the provider.
func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}
