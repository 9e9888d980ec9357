package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// lending is which addresses of uplinks' on-link prefixes guests have, and by
// whose word: a port's or a lease's. It holds nothing of networks without such
// a prefix, so that a hundred thousand leases of others cost nothing.
type lending struct {
	prefixes map[vnet.ID]map[vnet.ID]*vnet.PrefixAssignment // by network and ID
	of       map[vnet.ID]map[vnet.Ref][]netip.Addr          // by network
	at       map[netip.Addr][]vnet.Ref                      // mostly one
}

func newLending() lending {
	return lending{
		prefixes: map[vnet.ID]map[vnet.ID]*vnet.PrefixAssignment{},
		of:       map[vnet.ID]map[vnet.Ref][]netip.Addr{}, at: map[netip.Addr][]vnet.Ref{},
	}
}

// share takes in that a network has, or has no longer, a prefix.
func (s *Snapshot) share(a *vnet.PrefixAssignment, has bool) {
	if a.Rung != vnet.EgressProxied || a.Host != s.Host {
		return
	}
	all := s.lent.prefixes[a.Network]
	switch {
	case has && a.State != vnet.PrefixExpired:
		if all == nil {
			all = map[vnet.ID]*vnet.PrefixAssignment{}
			s.lent.prefixes[a.Network] = all
		}
		all[a.ID] = a
	case all != nil:
		if delete(all, a.ID); len(all) == 0 {
			delete(s.lent.prefixes, a.Network)
		}
	}
	s.lendAll(a.Network)
}

// Shares reports whether an address is in a prefix that the network has of an
// uplink: a guest that has it needs a route and leave of its own.
func (s *Snapshot) Shares(network vnet.ID, a netip.Addr) bool {
	for _, as := range s.lent.prefixes[network] {
		if as.Prefix.Contains(a) {
			return true
		}
	}
	return false
}

// lendAll looks anew through all that a network's guests have.
func (s *Snapshot) lendAll(network vnet.ID) {
	for r := range s.lent.of[network] {
		s.unlend(network, r)
	}
	if s.lent.prefixes[network] == nil {
		return
	}
	for _, p := range s.PortsOf(network) {
		s.lendPort(p)
	}
	if in := s.leases.of[network]; in != nil {
		for l := range in.All() {
			s.lendLease(l)
		}
	}
}

// lendPort takes in the addresses of a port that is here, or may come up here.
func (s *Snapshot) lendPort(p *vnet.Port) {
	if s.lent.prefixes[p.Network] == nil || p.Deleting != nil || p.Binding != nil && p.Binding.Host != s.Host {
		return
	}
	for _, g := range guestOf(s, p).Addresses {
		if s.Shares(p.Network, g.Address) {
			s.lendTo(p.Network, vnet.RefOf(p), g.Address)
		}
	}
}

// lendLease takes in a lease of this host.
func (s *Snapshot) lendLease(l *pack.Lease) {
	network := l.Network()
	if s.lent.prefixes[network] == nil || l.Length() > 0 || l.Declined() || l.Host() != s.Host || !s.Shares(network, l.Address()) {
		return
	}
	s.lendTo(network, vnet.Ref{Kind: vnet.KindLease, ID: l.ID()}, l.Address())
}

func (s *Snapshot) lendTo(network vnet.ID, owner vnet.Ref, a netip.Addr) {
	of := s.lent.of[network]
	if of == nil {
		of = map[vnet.Ref][]netip.Addr{}
		s.lent.of[network] = of
	}
	if !slices.Contains(of[owner], a) {
		of[owner] = append(of[owner], a)
		s.lent.at[a] = append(s.lent.at[a], owner)
	}
}

// unlend forgets what an owner has.
func (s *Snapshot) unlend(network vnet.ID, owner vnet.Ref) {
	of := s.lent.of[network]
	for _, a := range of[owner] {
		rest := slices.DeleteFunc(s.lent.at[a], func(r vnet.Ref) bool { return r == owner })
		if s.lent.at[a] = rest; len(rest) == 0 {
			delete(s.lent.at, a)
		}
	}
	if delete(of, owner); len(of) == 0 {
		delete(s.lent.of, network)
	}
}

// mayHave reports whether an address is the network's: two networks may share a
// prefix, and ports of both may be wished to have one address, or guests that
// nobody asked may use it. Ports come before leases, and who was first before
// the others.
func (s *Snapshot) mayHave(network vnet.ID, a netip.Addr) bool {
	at := s.lent.at[a]
	if len(at) < 2 {
		return true
	}
	var best vnet.Ref
	for _, r := range at {
		if s.runs(s.NetworkOf(r)) && (best.ID == "" || s.compareHolders(r, best) < 0) {
			best = r
		}
	}
	return s.NetworkOf(best) == network
}

// HoldersOf lists who has, or claims, an address in the prefix of an uplink.
func (s *Snapshot) HoldersOf(a netip.Addr) []vnet.Ref { return slices.Clone(s.lent.at[a]) }

// runs reports whether a network is here, and here to stay.
func (s *Snapshot) runs(network vnet.ID) bool {
	n := s.Networks[network]
	return n != nil && n.Deleting == nil && s.Started(network)
}

// NetworkOf is the network of a port or a lease, "" if it is not there.
func (s *Snapshot) NetworkOf(r vnet.Ref) vnet.ID {
	if p := s.Ports[r.ID]; r.Kind == vnet.KindPort && p != nil {
		return p.Network
	}
	if l := s.Lease(r.ID); r.Kind == vnet.KindLease && l != nil {
		return l.Network()
	}
	return ""
}

func (s *Snapshot) compareHolders(a, b vnet.Ref) int {
	switch {
	case a.Kind != b.Kind && a.Kind == vnet.KindPort:
		return -1
	case a.Kind != b.Kind:
		return 1
	case a.Kind == vnet.KindPort:
		p, q := s.Ports[a.ID], s.Ports[b.ID]
		return cmp.Or(p.Created.Compare(q.Created), cmp.Compare(a.ID, b.ID))
	}
	return pack.Compare(s.Lease(a.ID), s.Lease(b.ID))
}

// besides lists who of other networks has an address that the owner has, too.
func (s *Snapshot) besides(network vnet.ID, owner vnet.Ref) []vnet.Ref {
	var out []vnet.Ref
	for _, a := range s.lent.of[network][owner] {
		if at := s.lent.at[a]; len(at) > 1 {
			for _, r := range at {
				if r != owner && s.NetworkOf(r) != network {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

// LeasesPlanned lists the leases of a network that have fragments, in no order:
// prefixes, and addresses in the prefix of an uplink.
func (s *Snapshot) LeasesPlanned(network vnet.ID) []vnet.Ref {
	out := s.DelegatedOf(network)
	for r := range s.lent.of[network] {
		if r.Kind == vnet.KindLease {
			out = append(out, r)
		}
	}
	return out
}

// AffectedByLease is Affected for a lease: nothing for nearly all.
func (s *Snapshot) AffectedByLease(l *pack.Lease) []vnet.Ref {
	network := l.Network()
	if l.Length() == 0 && s.lent.of[network] == nil {
		return nil
	}
	return s.affectedByLease(network, vnet.Ref{Kind: vnet.KindLease, ID: l.ID()}, l.Length() > 0)
}

func (s *Snapshot) affectedByLease(network vnet.ID, lease vnet.Ref, prefix bool) []vnet.Ref {
	if _, lent := s.lent.of[network][lease]; !lent && !prefix {
		return nil
	}
	return append([]vnet.Ref{lease}, s.besides(network, lease)...)
}

// lendingBeside lists everybody of other networks who has an address of one of
// the network's guests.
func (s *Snapshot) lendingBeside(network vnet.ID) []vnet.Ref {
	var out []vnet.Ref
	for r := range s.lent.of[network] {
		out = append(out, s.besides(network, r)...)
	}
	return out
}
