// Package dhcp4 answers DHCP for every network of a host.
package dhcp4

import (
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Server answers DHCP on every network that it was told of.
type Server struct{ cfg Config }

// New makes a server that listens nowhere yet.
func New(cfg Config) *Server { return &Server{cfg: cfg.withDefaults()} }

// SetNetwork serves the network as svc says. Saying the same twice changes
// nothing; a link that is not there yet is waited for.
func (s *Server) SetNetwork(svc plan.Service) {}

// RemoveNetwork stops serving the network and forgets its guests and leases.
func (s *Server) RemoveNetwork(id vnet.ID) {}

// SetGuest tells what is known of a port beforehand.
func (s *Server) SetGuest(g plan.Guest) {}

// RemoveGuest forgets a port.
func (s *Server) RemoveGuest(network, port vnet.ID) {}

// SetReservations replaces the reservations of a network; each must have its
// Address completed.
func (s *Server) SetReservations(network vnet.ID, rs []vnet.Reservation) {}

// LoadLeases adds or replaces leases that are durable already: all of them at
// start, later those that others changed. A lease with Meta.Deleting set is
// forgotten.
func (s *Server) LoadLeases(ls []vnet.Lease) {}

// Problems returns what keeps each network from being served.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem { return nil }

// Close stops at once. Guests keep what they have.
func (s *Server) Close() error { return nil }
