package plan

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// A network of mode auto keeps its unique local prefix on every rung, and has
// prefixes of the uplink beside it in the same subnet. So a host part, a port's
// or a reservation's or a range's, is completed in each of them.

// moves reports whether uplinks give the network prefixes, or may.
func moves(s *Snapshot, n *vnet.Network) bool {
	return n.IPv6.Mode == vnet.EgressAuto || slices.ContainsFunc(s.SubnetsOf(n.ID), func(sub *vnet.Subnet) bool { return sub.Family == vnet.IPv6 && sub.Source.Moves() })
}

// masquerades reports whether what leaves from a subnet is to be hidden behind
// the host's address: on nat, and from the unique local prefix of mode auto
// whatever the rung, so that what was begun with it goes on.
func (p *networkPlan) masquerades(sub Subnet) bool {
	switch p.filterMode(sub.Family) {
	case vnet.EgressNAT, vnet.EgressNAT66:
		return true
	case vnet.EgressDelegated, vnet.EgressProxied:
		own := p.s.Subnets[sub.ID]
		return p.n.IPv6.Mode == vnet.EgressAuto && own != nil && own.Prefix == sub.Prefix && !own.Source.Moves() && p.f.Uplink6 != ""
	}
	return false
}

// planCut ends what guests began with prefixes that no uplink carries any more:
// their next packet to the outside is answered (RFC 7084 L-14). Among
// themselves they go on.
func (p *networkPlan) planCut() {
	for _, sub := range p.svc.Subnets {
		if sub.Cut && sub.Family == vnet.IPv6 && p.mode[vnet.IPv6] != vnet.EgressOpen {
			p.add(Element{p.ns, "inet", "ending", quote(p.link), "jump ending-outside"},
				Element{p.ns, "inet", "cut6", quote(p.link) + " . " + sub.Prefix.Masked().String(), ""})
		}
	}
}

// unreachable are the routes of what was delegated to this host as a whole: what
// no network has must not go back to where it came from (RFC 7084 WPD-5).
func unreachable(s *Snapshot, f *Facts) []Item {
	var out []Item
	for _, p := range f.Aggregates {
		out = append(out, nowhere(s.Host, p))
	}
	return out
}

// nowhereMetric is of routes that lead nowhere. A DHCPv6 client of the host
// that holds the same prefix has one to it, too (systemd-networkd, dhcpcd),
// with the kernel's 1024: both can be there, and whatever the host itself says
// of the prefix counts before ours.
const nowhereMetric = 8383

// nowhere is what the host does with those packets to an outside prefix that
// nothing more special leads to a guest.
func nowhere(host string, p netip.Prefix) HostRoute {
	return HostRoute{Prefix: p, Unreachable: true, Metric: nowhereMetric, Owner: HostOwner(host)}
}

// routeDelegated leads the prefixes of uplinks that a router's networks have
// into its namespace.
func routeDelegated(s *Snapshot, f *Facts, r *vnet.Router, nets []*vnet.Network, near string) []Item {
	if !s.Installation.ULA.IsValid() || !f.Has(vnet.FeatureIPv6) {
		return nil
	}
	var out []Item
	for _, n := range nets {
		for _, sub := range s.SubnetsOf(n.ID) {
			for _, a := range s.AssignmentsOf(sub.ID) {
				if a.Rung == vnet.EgressDelegated && a.Prefix.Addr().Is6() {
					out = append(out, HostRoute{Prefix: a.Prefix, Via: transit6(s.Installation.ULA, r.Number).router.Addr(), Link: near,
						Owner: vnet.Ref{Kind: vnet.KindRouter, ID: r.ID}})
				}
			}
		}
	}
	return out
}

// rangesIn are a subnet's ranges in another of its prefixes, as far as they fit.
func rangesIn(sub *vnet.Subnet, p netip.Prefix) []vnet.Range {
	if !sub.Prefix.IsValid() || p == sub.Prefix || !p.Addr().Is6() {
		return sub.Ranges
	}
	var out []vnet.Range
	for _, r := range sub.Ranges {
		first, ok1 := moved(r.First, p)
		last, ok2 := moved(r.Last, p)
		if ok1 && ok2 {
			out = append(out, vnet.Range{First: first, Last: last})
		}
	}
	return out
}

// moved is an address with the same interface identifier in another prefix;
// false if the prefix is too long for it.
func moved(a netip.Addr, p netip.Prefix) (netip.Addr, bool) { return fits(p, vnet.InterfaceID(a)) }

// fits puts a host part below a prefix, unless it is too large.
func fits(p netip.Prefix, host uint64) (netip.Addr, bool) {
	if n := p.Addr().BitLen() - p.Bits(); n < 64 && host>>n != 0 {
		return netip.Addr{}, false
	}
	return join(p, host), true
}

// beside are a fixed host part's addresses in the prefixes that uplinks give a
// subnet which has one of its own.
func beside(s *Snapshot, sub *vnet.Subnet, host uint64) []GuestAddress {
	var out []GuestAddress
	for _, a := range s.AssignmentsOf(sub.ID) {
		if a.Rung == vnet.EgressNPTv6 || a.Family != sub.Family {
			continue // it stands for the other one outside
		}
		if at, ok := fits(a.Prefix, host); ok {
			out = append(out, GuestAddress{Subnet: sub.ID, Address: at, Deprecated: a.State == vnet.PrefixDeprecated})
		}
	}
	return out
}
