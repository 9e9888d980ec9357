package plan

import "github.com/sextant-net/sextant/internal/vnet"

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
	Leases       map[vnet.ID]*vnet.Lease
	Assignments  map[vnet.ID]*vnet.PrefixAssignment
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
		Leases:       map[vnet.ID]*vnet.Lease{},
		Assignments:  map[vnet.ID]*vnet.PrefixAssignment{},
	}
}

// Put takes a new or changed object in. The snapshot keeps it; the caller must
// not change it afterwards. Kinds that plans do not need are passed over.
func (s *Snapshot) Put(o vnet.Object) {
	id := o.GetMeta().ID
	switch o := o.(type) {
	case *vnet.Installation:
		s.Installation = *o
	case *vnet.Project:
		s.Projects[id] = o
	case *vnet.Network:
		s.Networks[id] = o
	case *vnet.Subnet:
		s.Subnets[id] = o
	case *vnet.Router:
		s.Routers[id] = o
	case *vnet.Port:
		s.Ports[id] = o
	case *vnet.Reservation:
		s.Reservations[id] = o
	case *vnet.Activation:
		s.Activations[id] = o
	case *vnet.Lease:
		s.Leases[id] = o
	case *vnet.PrefixAssignment:
		s.Assignments[id] = o
	}
}

// Delete forgets an object.
func (s *Snapshot) Delete(r vnet.Ref) {
	switch r.Kind {
	case vnet.KindProject:
		delete(s.Projects, r.ID)
	case vnet.KindNetwork:
		delete(s.Networks, r.ID)
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
	case vnet.KindLease:
		delete(s.Leases, r.ID)
	case vnet.KindAssignment:
		delete(s.Assignments, r.ID)
	}
}
