package plan

import (
	"slices"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Lease returns the fragment of a delegated prefix that this host has given, or
// of an address in the prefix of an uplink: the route to the guest that has it,
// and leave for the guest to send from it. Leases of other addresses have none.
func Lease(s *Snapshot, f *Facts, id vnet.ID) *Fragment {
	out := &Fragment{Owner: vnet.Ref{Kind: vnet.KindLease, ID: id}}
	packed := s.Lease(id)
	if packed == nil {
		return out
	}
	l := packed.Whole()
	if l.Declined || l.Host != s.Host || l.Length > 0 && !l.Via.Is6() || !s.Started(l.Network) {
		return out
	}
	n := s.Networks[l.Network]
	if n == nil || n.Deleting != nil {
		return out
	}
	p := &networkPlan{s: s, f: f, n: n, out: out, bridge: n.Bridge, mode: modesOf(f, n)}
	if p.bridged() || !f.Has(vnet.FeatureIPv6) || !p.placeGateway() {
		return out
	}
	if l.Length == 0 {
		p.lend(out.Owner)
		return out
	}
	// Where the prefix was cut from is no longer ours, others may have it.
	from := slices.IndexFunc(p.served(), func(sub Subnet) bool { return sub.Delegate > 0 && ipam.Contains(sub.Prefix, l.Prefix()) })
	if from < 0 {
		return out
	}
	p.add(HostRoute{NS: p.ns, Prefix: l.Prefix(), Via: l.Via.WithZone(""), Link: p.link, Owner: out.Owner})
	if p.mode[vnet.IPv6] != vnet.EgressOpen {
		p.add(sourceElement(p.ns, p.link, l.Prefix()))
	}
	return out
}
