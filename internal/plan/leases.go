package plan

import (
	"iter"
	"slices"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// leases are a snapshot's leases, by ID and by network. There may be very many.
type leases struct {
	byID *pack.Set[pack.Lease]
	of   map[vnet.ID]*pack.Set[pack.Lease]
}

func newLeases() leases {
	return leases{byID: pack.ByID(), of: map[vnet.ID]*pack.Set[pack.Lease]{}}
}

// Lease returns a lease, nil if it is not there.
func (s *Snapshot) Lease(id vnet.ID) *pack.Lease {
	return s.leases.byID.Find(pack.HashID(id), func(p *pack.Lease) bool { return p.IDIs(id) })
}

// PutLease is Put of a lease that is packed already.
func (s *Snapshot) PutLease(p *pack.Lease) {
	s.deleteLease(p.ID())
	s.leases.byID.Add(p)
	network := p.Network()
	in := s.leases.of[network]
	if in == nil {
		in = pack.ByID()
		s.leases.of[network] = in
	}
	in.Add(p)
	s.lendLease(p)
	if p.Length() > 0 {
		if s.delegated[network] == nil {
			s.delegated[network] = map[vnet.ID]struct{}{}
		}
		s.delegated[network][p.ID()] = struct{}{}
	}
}

func (s *Snapshot) deleteLease(id vnet.ID) {
	p := s.Lease(id)
	if p == nil {
		return
	}
	network := p.Network()
	if s.lent.of[network] != nil {
		s.unlend(network, vnet.Ref{Kind: vnet.KindLease, ID: id})
	}
	s.leases.byID.Remove(p)
	if in := s.leases.of[network]; in.Remove(p) && in.Len() == 0 {
		delete(s.leases.of, network)
	}
	if p.Length() > 0 {
		if delete(s.delegated[network], id); len(s.delegated[network]) == 0 {
			delete(s.delegated, network)
		}
	}
}

// Leases returns all leases, in no order.
func (s *Snapshot) Leases() iter.Seq[*pack.Lease] { return s.leases.byID.All() }

// LeaseCount is how many leases there are.
func (s *Snapshot) LeaseCount() int { return s.leases.byID.Len() }

// LeasesOf returns a network's leases, oldest first.
func (s *Snapshot) LeasesOf(network vnet.ID) []*pack.Lease {
	in := s.leases.of[network]
	if in == nil {
		return nil
	}
	return slices.SortedFunc(in.All(), pack.Compare)
}
