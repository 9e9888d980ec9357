package plan

import (
	"cmp"
	"slices"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Snapshot is what the store holds that concerns one host, at one revision.
type Snapshot struct {
	Revision     int64
	Host         string
	Installation vnet.Installation
	Projects     map[vnet.ID]*vnet.Project
	Networks     map[vnet.ID]*vnet.Network
	Subnets      map[vnet.ID]*vnet.Subnet
	Routers      map[vnet.ID]*vnet.Router
	Ports        map[vnet.ID]*vnet.Port
	Reservations map[vnet.ID]*vnet.Reservation
	Activations  map[vnet.ID]*vnet.Activation
	Assignments  map[vnet.ID]*vnet.PrefixAssignment
	Uplinks      map[vnet.ID]*vnet.UplinkPolicy // of every host

	leases leases
	lent   lending
	// members lists what belongs to an object: a network's subnets and ports,
	// a subnet's assignments, a router's networks.
	members map[member]map[vnet.ID]struct{}
	// delegated lists the leases of prefixes by network, retiring the networks
	// with retired prefixes.
	delegated map[vnet.ID]map[vnet.ID]struct{}
	retiring  map[vnet.ID]struct{}
}

// member is one owner's members of one kind.
type member struct {
	owner vnet.ID
	kind  vnet.Kind
}

// NewSnapshot returns an empty snapshot for the host.
func NewSnapshot(host string) *Snapshot {
	return &Snapshot{
		Host:         host,
		Projects:     map[vnet.ID]*vnet.Project{},
		Networks:     map[vnet.ID]*vnet.Network{},
		Subnets:      map[vnet.ID]*vnet.Subnet{},
		Routers:      map[vnet.ID]*vnet.Router{},
		Ports:        map[vnet.ID]*vnet.Port{},
		Reservations: map[vnet.ID]*vnet.Reservation{},
		Activations:  map[vnet.ID]*vnet.Activation{},
		leases:       newLeases(),
		lent:         newLending(),
		Assignments:  map[vnet.ID]*vnet.PrefixAssignment{},
		Uplinks:      map[vnet.ID]*vnet.UplinkPolicy{},
		members:      map[member]map[vnet.ID]struct{}{},
		delegated:    map[vnet.ID]map[vnet.ID]struct{}{},
		retiring:     map[vnet.ID]struct{}{},
	}
}

// Put takes a new or changed object in. The snapshot keeps it; the caller must
// not change it afterwards. Kinds that plans do not need are passed over.
func (s *Snapshot) Put(o vnet.Object) {
	if l, ok := o.(*vnet.Lease); ok {
		s.PutLease(pack.Of(l))
		return
	}
	id := o.GetMeta().ID
	s.Delete(vnet.RefOf(o))
	if owner := ownerOf(o); owner != "" {
		m := member{owner, o.Kind()}
		if s.members[m] == nil {
			s.members[m] = map[vnet.ID]struct{}{}
		}
		s.members[m][id] = struct{}{}
	}
	switch o := o.(type) {
	case *vnet.Installation:
		s.Installation = *o
	case *vnet.Project:
		s.Projects[id] = o
	case *vnet.Network:
		s.Networks[id] = o
		if len(o.Retired) > 0 {
			s.retiring[id] = struct{}{}
		}
	case *vnet.Subnet:
		s.Subnets[id] = o
		s.lendAll(o.Network)
	case *vnet.Router:
		s.Routers[id] = o
	case *vnet.Port:
		s.Ports[id] = o
		s.lendPort(o)
	case *vnet.Reservation:
		s.Reservations[id] = o
	case *vnet.Activation:
		s.Activations[id] = o
	case *vnet.PrefixAssignment:
		s.Assignments[id] = o
		s.share(o, true)
	case *vnet.UplinkPolicy:
		s.Uplinks[id] = o
	}
}

// Delete forgets an object.
func (s *Snapshot) Delete(r vnet.Ref) {
	if r.Kind == vnet.KindLease {
		s.deleteLease(r.ID)
		return
	}
	o := s.Get(r)
	if o != nil {
		m := member{ownerOf(o), r.Kind}
		delete(s.members[m], r.ID)
		if len(s.members[m]) == 0 {
			delete(s.members, m)
		}
	}
	switch o := o.(type) {
	case *vnet.Port:
		s.unlend(o.Network, r)
	case *vnet.PrefixAssignment:
		s.share(o, false)
	}
	switch r.Kind {
	case vnet.KindProject:
		delete(s.Projects, r.ID)
	case vnet.KindNetwork:
		delete(s.Networks, r.ID)
		delete(s.retiring, r.ID)
	case vnet.KindSubnet:
		delete(s.Subnets, r.ID)
	case vnet.KindRouter:
		delete(s.Routers, r.ID)
	case vnet.KindPort:
		delete(s.Ports, r.ID)
	case vnet.KindReservation:
		delete(s.Reservations, r.ID)
	case vnet.KindActivation:
		delete(s.Activations, r.ID)
	case vnet.KindAssignment:
		delete(s.Assignments, r.ID)
	case vnet.KindUplink:
		delete(s.Uplinks, r.ID)
	}
}

// Get returns an object of the snapshot, nil if it is not there.
func (s *Snapshot) Get(r vnet.Ref) vnet.Object {
	switch r.Kind {
	case vnet.KindProject:
		return found(s.Projects, r.ID)
	case vnet.KindNetwork:
		return found(s.Networks, r.ID)
	case vnet.KindSubnet:
		return found(s.Subnets, r.ID)
	case vnet.KindRouter:
		return found(s.Routers, r.ID)
	case vnet.KindPort:
		return found(s.Ports, r.ID)
	case vnet.KindReservation:
		return found(s.Reservations, r.ID)
	case vnet.KindActivation:
		return found(s.Activations, r.ID)
	case vnet.KindLease:
		if p := s.Lease(r.ID); p != nil {
			return p.Whole()
		}
	case vnet.KindAssignment:
		return found(s.Assignments, r.ID)
	case vnet.KindUplink:
		return found(s.Uplinks, r.ID)
	}
	return nil
}

// found keeps a missing object from becoming an interface that is not nil.
func found[T any, P interface {
	*T
	vnet.Object
}](m map[vnet.ID]P, id vnet.ID) vnet.Object {
	if o, ok := m[id]; ok {
		return o
	}
	return nil
}

// ownerOf is the object whose fragment o is a part of.
func ownerOf(o vnet.Object) vnet.ID {
	switch o := o.(type) {
	case *vnet.Subnet:
		return o.Network
	case *vnet.Port:
		return o.Network
	case *vnet.Reservation:
		return o.Network
	case *vnet.Activation:
		return o.Network
	case *vnet.PrefixAssignment:
		return o.Subnet
	case *vnet.Network:
		return o.Router
	}
	return ""
}

func membersOf[T any, P interface {
	*T
	vnet.Object
}](s *Snapshot, owner vnet.ID, kind vnet.Kind, all map[vnet.ID]P) []P {
	ids := s.members[member{owner, kind}]
	if len(ids) == 0 {
		return nil
	}
	out := make([]P, 0, len(ids))
	for id := range ids {
		out = append(out, all[id])
	}
	slices.SortFunc(out, func(a, b P) int {
		ma, mb := a.GetMeta(), b.GetMeta()
		return cmp.Or(ma.Created.Compare(mb.Created), cmp.Compare(ma.ID, mb.ID))
	})
	return out
}

// SubnetsOf returns a network's subnets, oldest first.
func (s *Snapshot) SubnetsOf(network vnet.ID) []*vnet.Subnet {
	return membersOf(s, network, vnet.KindSubnet, s.Subnets)
}

// PortsOf returns a network's ports, oldest first.
func (s *Snapshot) PortsOf(network vnet.ID) []*vnet.Port {
	return membersOf(s, network, vnet.KindPort, s.Ports)
}

// ReservationsOf returns a network's reservations, oldest first.
func (s *Snapshot) ReservationsOf(network vnet.ID) []*vnet.Reservation {
	return membersOf(s, network, vnet.KindReservation, s.Reservations)
}

// DelegatedOf lists the leases of a network that are prefixes, in no order.
func (s *Snapshot) DelegatedOf(network vnet.ID) []vnet.Ref {
	var out []vnet.Ref
	for id := range s.delegated[network] {
		out = append(out, vnet.Ref{Kind: vnet.KindLease, ID: id})
	}
	return out
}

// NetworksOf returns the networks whose gateways live in a router, oldest
// first.
func (s *Snapshot) NetworksOf(router vnet.ID) []*vnet.Network {
	return membersOf(s, router, vnet.KindNetwork, s.Networks)
}

// AssignmentsOf returns this host's prefix assignments of a subnet that have
// not expired, oldest first.
func (s *Snapshot) AssignmentsOf(subnet vnet.ID) []*vnet.PrefixAssignment {
	all := membersOf(s, subnet, vnet.KindAssignment, s.Assignments)
	return slices.DeleteFunc(all, func(a *vnet.PrefixAssignment) bool {
		return a.Host != s.Host || a.State == vnet.PrefixExpired
	})
}

// Started reports whether a network is to run on this host.
func (s *Snapshot) Started(network vnet.ID) bool {
	for _, a := range membersOf(s, network, vnet.KindActivation, s.Activations) {
		if a.Host == s.Host && a.Started {
			return true
		}
	}
	return false
}

// Objects lists everything in the snapshot but its leases.
func (s *Snapshot) Objects() []vnet.Object {
	inst := s.Installation
	out := []vnet.Object{&inst}
	out = appendAll(out, s.Projects)
	out = appendAll(out, s.Networks)
	out = appendAll(out, s.Subnets)
	out = appendAll(out, s.Routers)
	out = appendAll(out, s.Ports)
	out = appendAll(out, s.Reservations)
	out = appendAll(out, s.Activations)
	out = appendAll(out, s.Uplinks)
	return appendAll(out, s.Assignments)
}

func appendAll[T any, P interface {
	*T
	vnet.Object
}](out []vnet.Object, m map[vnet.ID]P) []vnet.Object {
	for _, o := range m {
		out = append(out, o)
	}
	return out
}
