package plan

import (
	"fmt"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// An nptv6 network has a prefix of its own inside, which never changes, and
// outside one of the uplink's, whose addresses stand for those inside with the
// same interface identifier. The kernel does it with its connection tracking
// (NETMAP), so unlike RFC 6296 it keeps state and leaves checksums alone;
// section 3.6 of that RFC has the rest, with what is let in by the filter.

// outsideOf is what an inside prefix is translated to now: the beginning of
// the assignment in force, as long as the prefix itself; zero: nothing.
func outsideOf(inside netip.Prefix, held []*vnet.PrefixAssignment) netip.Prefix {
	for _, a := range held {
		if a.State == vnet.PrefixActive {
			if out, ok := standsFor(inside, a); ok {
				return out
			}
		}
	}
	return netip.Prefix{}
}

// standsFor is the part of an assignment that stands for the inside prefix.
func standsFor(inside netip.Prefix, a *vnet.PrefixAssignment) (netip.Prefix, bool) {
	if a.Rung != vnet.EgressNPTv6 || !a.Prefix.IsValid() || inside.Bits() < a.Prefix.Bits() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a.Prefix.Addr(), inside.Bits()).Masked(), true
}

// translates reports whether the network's IPv6 has a prefix outside.
func (p *networkPlan) translates() bool {
	if p.mode[vnet.IPv6] != vnet.EgressNPTv6 {
		return false
	}
	for _, sub := range p.s.SubnetsOf(p.n.ID) {
		if sub.Prefix.IsValid() && outsideOf(sub.Prefix, p.s.AssignmentsOf(sub.ID)).IsValid() {
			return true
		}
	}
	return false
}

// planNPTv6 translates the network's inside prefixes: what leaves gets the
// prefix outside, and what comes in for any that it still has finds the way.
// Of one that no uplink carries any more (Cut), TCP connections are reset and
// the rest is forgotten, so that its next packet leaves by the new prefix.
func (p *networkPlan) planNPTv6() {
	if p.mode[vnet.IPv6] != vnet.EgressNPTv6 {
		return
	}
	for _, sub := range p.svc.Subnets {
		if sub.Family != vnet.IPv6 || sub.Retired || sub.Delegate > 0 {
			continue
		}
		if sub.Outside.IsValid() {
			p.add(translateElement(p.ns, "outside6", sub.Prefix, sub.Outside))
			p.out.Why6 = joinWhy(p.out.Why6, fmt.Sprintf("%s is %s outside", sub.Prefix, sub.Outside))
		}
		for _, a := range p.s.AssignmentsOf(sub.ID) {
			out, ok := standsFor(sub.Prefix, a)
			switch {
			case !ok:
				continue
			case a.Cut:
				p.add(Element{p.ns, "inet", "ending", quote(p.link), "jump ending-outside"},
					Element{p.ns, "inet", "cut-outside6", out.String(), ""}, Forgotten{p.ns, out})
			default:
				p.add(translateElement(p.ns, "inside6", out, sub.Prefix))
			}
			p.routeOutside(out)
		}
	}
}

// routeOutside leads what comes for a prefix outside to where it is translated,
// and from there nowhere: what is not translated must not go back to where it
// came from (RFC 7084 WPD-5).
func (p *networkPlan) routeOutside(out netip.Prefix) {
	if p.ns != "" {
		p.add(HostRoute{NS: p.ns, Prefix: out, Unreachable: true, Owner: p.out.Owner})
		return
	}
	p.add(nowhere(p.s.Host, out))
}

// translateElement maps a prefix to another of the same length.
func translateElement(ns, set string, from, to netip.Prefix) Item {
	return Element{ns, "inet", set, from.Masked().String(), to.Masked().String()}
}

// filterMode is the mode by which a family is filtered: nptv6 without a prefix
// outside leads nowhere, and inside addresses must not leave. A router's guests
// reach the host, where the translator is, as those who leave do: hidden behind
// the router's address, to which the host knows the way.
func (p *networkPlan) filterMode(f vnet.Family) vnet.Egress {
	if f == vnet.IPv6 && p.besides() {
		return vnet.EgressLinkLocal // nothing of it is routed here
	}
	mode := p.mode[f]
	if mode == vnet.EgressNPTv6 && !p.translates() {
		mode = vnet.EgressULA
	}
	if mode == vnet.EgressULA && p.ns != "" && p.way64.own {
		mode = vnet.EgressNAT66
	}
	return mode
}

// routeInside leads the prefixes outside of a router's nptv6 networks into its
// namespace, where they are translated.
func routeInside(s *Snapshot, f *Facts, r *vnet.Router, nets []*vnet.Network, near string) []Item {
	if !s.Installation.ULA.IsValid() {
		return nil
	}
	var out []Item
	for _, n := range nets {
		if modesOf(f, n)[vnet.IPv6] != vnet.EgressNPTv6 {
			continue
		}
		for _, sub := range s.SubnetsOf(n.ID) {
			for _, a := range s.AssignmentsOf(sub.ID) {
				if p, ok := standsFor(sub.Prefix, a); ok && sub.Prefix.IsValid() {
					out = append(out, HostRoute{Prefix: p, Via: transit6(s.Installation.ULA, r.Number).router.Addr(), Link: near,
						Owner: vnet.Ref{Kind: vnet.KindRouter, ID: r.ID}})
				}
			}
		}
	}
	return out
}

// joinWhy puts two clauses together.
func joinWhy(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}
