package plan

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// A proxied subnet lives in the on-link prefix of an uplink, beside the host
// and whoever else is there, and maybe beside other networks of this host. So
// nothing of the prefix is ours as a whole: there is no gateway address in it,
// no route for it to the gateway link, which would hide the uplink's own, and
// no leave to send from all of it. Each address that a guest has brings its own
// route and its own leave: what was given by DHCPv6, learnt, or is a port's.

// offLink makes of a subnet one whose prefix is on an uplink's link.
func (p *networkPlan) offLink(b Subnet) Subnet {
	b.OffLink, b.Gateway = true, netip.Addr{}
	for _, a := range p.f.Links[b.Uplink].Addresses {
		if b.Prefix.Contains(a.Addr()) {
			b.Reserved = append(b.Reserved, a.Addr())
		}
	}
	if b.Prefix.Bits() != 64 && b.Guests != vnet.GuestsManual {
		b.Guests = vnet.GuestsStateful // RFC 4862 section 5.5.3 d: interface identifiers have 64 bits
	}
	b.Ranges = slices.DeleteFunc(slices.Clone(b.Ranges), func(r vnet.Range) bool {
		return !b.Prefix.Contains(r.First) || !b.Prefix.Contains(r.Last)
	})
	return b
}

// nameService returns the gateway's link-local address if guests would know no
// resolver of ours by IPv6 otherwise: all their prefixes are an uplink's.
func (p *networkPlan) nameService() (netip.Addr, bool) {
	six := slices.ContainsFunc(p.svc.DNS.Servers, func(a netip.Addr) bool { return a.Is6() })
	shared := slices.ContainsFunc(p.svc.Subnets, func(s Subnet) bool { return s.OffLink && !s.Deprecated })
	return ipam.LinkLocal(p.n.MAC), shared && !six
}

// lend plans for the guests' addresses that an owner of the network brings: a
// route to the gateway link, through the router if the link is in a namespace,
// and leave to send from there.
func (p *networkPlan) lend(owner vnet.Ref) {
	if p.bridged() || !p.f.Has(vnet.FeatureIPv6) || p.mode[vnet.IPv6] == vnet.EgressNone || p.mode[vnet.IPv6] == vnet.EgressLinkLocal {
		return
	}
	network := vnet.RefOf(p.n)
	for _, a := range p.s.lent.of[p.n.ID][owner] {
		if !p.s.mayHave(p.n.ID, a) {
			continue
		}
		p.out.Proxied = append(p.out.Proxied, a)
		if p.f.Contested[a] {
			continue // the host's packets would go to the guest rather than to who had it first
		}
		one := netip.PrefixFrom(a, a.BitLen())
		p.add(HostRoute{NS: p.ns, Prefix: one, Link: p.link, Owner: network})
		if p.ns != "" && p.s.Installation.ULA.IsValid() {
			via := transit6(p.s.Installation.ULA, p.s.Routers[p.n.Router].Number).router.Addr()
			p.add(HostRoute{Prefix: one, Via: via, Link: RouterLinkName(p.n.Router), Owner: network})
		}
		if p.mode[vnet.IPv6] != vnet.EgressOpen {
			p.add(proxiedElement(p.ns, p.link, a))
		}
	}
}

// proxiedElement lets a gateway link's guests send from one address.
func proxiedElement(ns, link string, a netip.Addr) Item {
	return Element{ns, "inet", "proxied6", quote(link) + " . " + a.String(), ""}
}

// sharedElement has guests of a gateway link asked that send from a prefix of
// an uplink's: see RefusedLog.
func sharedElement(ns, link string, p netip.Prefix) Item {
	return Element{ns, "inet", "shared6", quote(link) + " . " + p.Masked().String(), ""}
}
