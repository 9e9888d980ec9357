package plan

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Router <-> host: a veth, whose host's end is RouterLinkName and whose far
// end is called routerUplink.
const routerUplink = "uplink"

// RouterLinkName is the host's end of the veth to a router's namespace.
func RouterLinkName(router vnet.ID) string { return "sxr" + ProjectTag(router) }

// transit is the pair of addresses between the host and a router.
type transit struct{ host, router netip.Prefix }

// transit4 gives the n-th router two addresses of 169.254.0.0/16 (RFC 3927),
// which no routed network may use and so nothing clashes with; the /24 of the
// metadata address 169.254.169.254 is left out.
func transit4(n int) (transit, error) {
	const pairs = 1 << 15
	i := uint32(n) * 2
	if i >= 169<<8 { // step over 169.254.169.0/24
		i += 256
	}
	if n <= 0 || int(i) >= 2*pairs-256 {
		return transit{}, vnet.Errorf(vnet.ErrExhausted, "router number %d has no transit addresses left", n)
	}
	addr := func(k uint32) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 169<<24|254<<16|k)
		return netip.AddrFrom4(b)
	}
	return transit{netip.PrefixFrom(addr(i), 31), netip.PrefixFrom(addr(i+1), 31)}, nil
}

// transit6 gives the n-th router two addresses of the last /64 of the
// installation's ULA /48. They are what masquerading in the router's namespace
// hides behind.
func transit6(ula netip.Prefix, n int) transit {
	b := ula.Masked().Addr().As16()
	b[6], b[7] = 0xff, 0xff
	at := func(k uint64) netip.Prefix {
		binary.BigEndian.PutUint64(b[8:], k)
		return netip.PrefixFrom(netip.AddrFrom16(b), 127)
	}
	return transit{at(uint64(n) * 2), at(uint64(n)*2 + 1)}
}

// Router returns the fragment of a router: its namespace and the way between
// it and the host. A router none of whose networks runs here has none.
func Router(s *Snapshot, f *Facts, id vnet.ID) *Fragment {
	out := &Fragment{Owner: vnet.Ref{Kind: vnet.KindRouter, ID: id}}
	r := s.Routers[id]
	if r == nil || r.Deleting != nil {
		return out
	}
	nets, projects := running(s, id)
	if len(nets) == 0 {
		return out
	}
	near := RouterLinkName(id)
	out.Items = append(out.Items,
		Netns{r.Netns, out.Owner},
		Veth{Name: near, Owner: out.Owner, MTU: f.UplinkMTU(), PeerNS: r.Netns, Peer: routerUplink, PeerUp: true},
		Up{"", near, out.Owner},
		chainsItem(r.Netns, projects),
		Sysctl{NS: r.Netns, Path: "net/ipv4/ip_forward", Value: "1", Ours: true})
	out.Items = append(out.Items, linkElements("", near, ProjectTag(r.Project))...)
	t4, err := transit4(r.Number)
	if err != nil {
		out.Problems = append(out.Problems, vnet.Problem{Kind: vnet.KindOf(err), Msg: err.Error()})
		return out
	}
	out.Items = append(out.Items, routerLink(out.Owner, near, r.Netns, vnet.IPv4, t4, false)...)
	if f.Has(vnet.FeatureIPv6) && s.Installation.ULA.IsValid() {
		out.Items = append(out.Items, Sysctl{NS: r.Netns, Path: "net/ipv6/conf/all/forwarding", Value: "1", Ours: true})
		out.Items = append(out.Items, routerLink(out.Owner, near, r.Netns, vnet.IPv6, transit6(s.Installation.ULA, r.Number), f.Has(vnet.FeatureForceForwarding))...)
	}
	for _, fam := range vnet.Families {
		out.Items = append(out.Items, pinRules(f, fam, near, out.Owner)...)
	}
	out.Items = append(out.Items, routerRoutes(s, r, nets, near)...)
	out.Items = append(out.Items, routeDelegated(s, f, r, nets, near)...)
	out.Items = append(out.Items, routeInside(s, f, r, nets, near)...)
	return out
}

// routerLink is one family of the way between host and router.
func routerLink(owner vnet.Ref, near, ns string, f vnet.Family, t transit, forceForwarding bool) []Item {
	sys := func(ns, link, key, value string) Item {
		return linkSysctl(ns, link, f, key, value)
	}
	out := []Item{
		Address{"", near, t.host, owner},
		Address{ns, routerUplink, t.router, owner},
		HostRoute{NS: ns, Prefix: defaultRoute(f), Via: t.host.Addr(), Link: routerUplink, Owner: owner},
		masqueradeElement("", t.router),
		sys("", near, "forwarding", "1"),
	}
	if f == vnet.IPv6 {
		if forceForwarding {
			out = append(out, sys("", near, "force_forwarding", "1"))
		}
		out = append(out, sys("", near, "accept_ra", "0"), sys("", near, "accept_dad", "0"), sys(ns, routerUplink, "accept_dad", "0"))
	}
	// The router's namespace holds the tenants' policy: the host lets its link
	// out everywhere but to other projects' networks, and in what is routed.
	v := verdicts{out: "jump out-transit", in: verdictYes, host: hostServe}
	return append(out, verdictElements("", near, f, v)...)
}

func defaultRoute(f vnet.Family) netip.Prefix {
	if f == vnet.IPv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// routerRoutes leads routed prefixes from the host into the namespace. What
// another router of this host routes already is passed over: two tenants may
// use the same prefixes, but only translated ones reach the outside.
func routerRoutes(s *Snapshot, r *vnet.Router, nets []*vnet.Network, near string) []Item {
	var out []Item
	owner := vnet.Ref{Kind: vnet.KindRouter, ID: r.ID}
	for _, n := range nets {
		for _, p := range prefixesOf(s, n) {
			f := vnet.FamilyOf(p.Addr())
			mode := n.Policy(f).Mode
			if mode != vnet.EgressRouted && mode != vnet.EgressOpen || routedBefore(s, r, p) {
				continue
			}
			via := transit6(s.Installation.ULA, r.Number).router.Addr()
			if f == vnet.IPv4 {
				t, err := transit4(r.Number)
				if err != nil {
					continue
				}
				via = t.router.Addr()
			}
			out = append(out, HostRoute{Prefix: p, Via: via, Link: near, Owner: owner})
		}
	}
	return out
}

// prefixesOf lists a network's prefixes that do not move, retired ones last.
func prefixesOf(s *Snapshot, n *vnet.Network) []netip.Prefix {
	var out []netip.Prefix
	for _, sub := range s.SubnetsOf(n.ID) {
		if sub.Prefix.IsValid() {
			out = append(out, sub.Prefix)
		}
	}
	for _, r := range n.Retired {
		if !slices.ContainsFunc(out, r.Prefix.Overlaps) && !s.inUse(n, r) {
			out = append(out, r.Prefix)
		}
	}
	return out
}

// routedBefore reports whether an older router, or the host itself, has a
// running network with a prefix that overlaps p.
func routedBefore(s *Snapshot, r *vnet.Router, p netip.Prefix) bool {
	for _, o := range s.Subnets {
		n := s.Networks[o.Network]
		if n == nil || n.Router == r.ID || !o.Prefix.IsValid() || !o.Prefix.Overlaps(p) || !s.Started(n.ID) {
			continue
		}
		other := s.Routers[n.Router]
		if other == nil || other.Number < r.Number {
			return true
		}
	}
	return false
}
