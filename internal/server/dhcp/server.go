package dhcp

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Server answers on every network that it was told of. Its methods may be
// called from any goroutine.
type Server struct {
	cfg  Config
	nets *listen.Networks[Engine, Transport]
	// early keeps what was said of networks that are not known yet. The lock
	// is that of nets.
	early map[vnet.ID]Engine

	verdicts verdicts
}

// New makes a server that listens nowhere yet.
func New(cfg Config) *Server {
	s := newServer(cfg)
	go s.nets.Run()
	return s
}

func newServer(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults(), early: make(map[vnet.ID]Engine)}
	s.nets = listen.New(listen.Config[Engine, Transport]{
		What: s.cfg.Name, Family: s.cfg.Family, InNS: s.cfg.InNS, Log: s.cfg.Log, Unsent: slog.LevelWarn,
		Watch: s.cfg.Links.Watcher(), Open: s.cfg.Open, Neighbour: s.cfg.Neighbour, Station: s.cfg.Station,
		Known: func(n *listen.Network[Engine], p listen.Packet) bool {
			return n.Service().DHCP.Limit > lease.DefaultLimit || n.Engine.Leases().PortOf(p.MAC) != ""
		},
		Active: Engine.Active,
		Work: func(n *listen.Network[Engine]) time.Duration {
			now := s.now()
			t := n.Engine.Leases().Table()
			t.Expire(now)
			wait := s.work(n)
			if at := t.Next(); !at.IsZero() {
				// Many end together: all within a second are waited for.
				wait = sooner(wait, max(at.Sub(now), listen.PollLinks))
			}
			return wait
		},
		Heard: s.heard,
	})
	return s
}

// now is the wall clock: promises to guests are kept by it.
func (s *Server) now() time.Time { return s.cfg.Now().Round(0) }

// SetNetwork serves the network as svc says. Saying the same twice changes
// nothing; a link that is not there yet is waited for.
func (s *Server) SetNetwork(svc plan.Service) {
	s.nets.Lock()
	defer s.nets.Unlock()
	n := s.nets.Enter(svc, func() Engine {
		e := s.engine(svc.Network)
		delete(s.early, svc.Network)
		return e
	})
	if n == nil {
		return
	}
	n.Engine.Leases().Set(svc)
	s.nets.Attach(n)
}

// sooner returns the shorter of two waits, of which 0 has no end.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// engine returns the engine of a network, also of one that was not set yet.
func (s *Server) engine(id vnet.ID) Engine {
	if n := s.nets.Get(id); n != nil {
		return n.Engine
	}
	if e := s.early[id]; e != nil {
		return e
	}
	e := s.cfg.Engine()
	s.early[id] = e
	return e
}

// RemoveNetwork stops serving the network. What is known of its ports stays
// until RemoveGuest, so that the network can be set again; without ports, its
// leases are forgotten.
func (s *Server) RemoveNetwork(id vnet.ID) {
	s.nets.Lock()
	defer s.nets.Unlock()
	n := s.nets.Remove(id)
	if n == nil {
		return
	}
	n.Engine.Leases().Stop()
	n.Engine.Abandon()
	if n.Engine.Leases().Guests() > 0 {
		s.early[id] = n.Engine
	}
}

// SetGuest tells what is known of a port beforehand. Guests, reservations and
// leases may come before their network.
func (s *Server) SetGuest(g plan.Guest) {
	s.nets.Lock()
	defer s.nets.Unlock()
	s.engine(g.Network).Leases().SetGuest(g)
}

// RemoveGuest forgets a port.
func (s *Server) RemoveGuest(network, port vnet.ID) {
	s.nets.Lock()
	defer s.nets.Unlock()
	if n := s.nets.Get(network); n != nil {
		n.Engine.Leases().RemoveGuest(port)
	} else if e := s.early[network]; e != nil {
		e.Leases().RemoveGuest(port)
		if e.Leases().Unneeded() {
			delete(s.early, network)
		}
	}
}

// SetReservations replaces the reservations of a network; each must have its
// Address completed, and those of the other family are passed over.
func (s *Server) SetReservations(network vnet.ID, rs []vnet.Reservation) {
	s.nets.Lock()
	defer s.nets.Unlock()
	s.engine(network).Leases().SetReservations(rs)
}

// Load is LoadLeases of one.
func (s *Server) Load(l *pack.Lease) {
	s.nets.Lock()
	defer s.nets.Unlock()
	s.engine(l.Network()).Leases().Load(l, s.now())
	s.nets.Soon()
}

// Share has what is known of a lease that we gave be kept as l, if that says
// the same: l is there anyway.
func (s *Server) Share(l *pack.Lease) {
	s.nets.Lock()
	defer s.nets.Unlock()
	if n := s.nets.Get(l.Network()); n != nil {
		n.Engine.Leases().Share(l)
	}
}

// LoadLeases adds or replaces leases that are durable already: all of them at
// start, later those that others changed. Leases of the other family are
// passed over; one with Meta.Deleting set is forgotten.
func (s *Server) LoadLeases(ls []*pack.Lease) {
	s.nets.Lock()
	defer s.nets.Unlock()
	now := s.now()
	// In the order in which they end: those that have ended are given to others
	// in that order.
	for _, l := range slices.SortedStableFunc(slices.Values(ls), func(a, b *pack.Lease) int { return a.Expires().Compare(b.Expires()) }) {
		s.engine(l.Network()).Leases().Load(l, now)
	}
	s.nets.Soon()
}

// Problems returns what keeps networks from being served. A link that is not
// there yet is none: that is the agent's to say.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem {
	s.nets.Lock()
	defer s.nets.Unlock()
	out := make(map[vnet.ID][]vnet.Problem)
	now := s.now()
	for id, n := range s.nets.All() {
		if p, ok := s.nets.Problem(n); ok {
			out[id] = append(out[id], p)
		}
		if n.Engine.Leases().ServesAny() && !n.Engine.Active() {
			out[id] = append(out[id], vnet.Problem{
				Kind: vnet.ErrHost, Family: s.cfg.Family,
				Msg:  fmt.Sprintf("no %s on %s: the host has no address in the network to serve from", s.cfg.Name, n.Service().Link),
				Hint: fmt.Sprintf("give the network a gateway address of its own, or set %v.guests=manual", s.cfg.Family),
			})
		}
		for a := range n.Engine.Leases().Conflicts(now) {
			out[id] = append(out[id], vnet.Problem{
				Kind: vnet.ErrExists, Family: s.cfg.Family,
				Msg:  fmt.Sprintf("the guest that owns %v found it in use by somebody else", a),
				Hint: "look for a guest with this address set by hand",
			})
		}
	}
	return out
}

// Close stops at once. Guests keep what they have.
func (s *Server) Close() error { return s.nets.Close() }

// heard handles one message.
func (s *Server) heard(n *listen.Network[Engine], p listen.Packet) func() {
	out, err := n.Engine.Receive(p, s.now())
	if err != nil {
		s.cfg.Log.Debug(s.cfg.Name+" message ignored", "link", n.Service().Link, "from", p.From, "err", err)
	}
	s.send(n, out.Send)
	return s.carryOut(n, out)
}

// work lets an engine speak by itself.
func (s *Server) work(n *listen.Network[Engine]) time.Duration {
	w, ok := n.Engine.(Worker)
	if _, _, up := s.nets.Out(n); !ok || !up {
		return 0
	}
	out, next := w.Work(s.now())
	s.send(n, out)
	return next
}

// send sends replies on the network's link.
func (s *Server) send(n *listen.Network[Engine], out []Reply) {
	t, index, ok := s.nets.Out(n)
	if !ok {
		return
	}
	for _, r := range out {
		if err := t.Send(index, n.Service().MAC, r); err != nil {
			s.cfg.Log.Warn(s.cfg.Name+" reply not sent", "link", n.Service().Link, "to", r.To, "err", err)
		}
	}
}

// carryOut returns what does that of the effects which needs others, without
// the lock, since claims may be answered before Commit returns; nil if nothing
// does.
func (s *Server) carryOut(n *listen.Network[Engine], out Effects) func() {
	if len(out.Granted)+len(out.Release)+len(out.Claim)+len(out.Probe) == 0 {
		return nil
	}
	return func() {
		for _, l := range out.Granted {
			s.cfg.Granted(l)
		}
		for _, l := range out.Release {
			s.cfg.Claims.Release(l)
		}
		for i := range out.Claim {
			c := &out.Claim[i]
			s.cfg.Claims.Commit(c.Lease, func(err error) { s.committed(verdict{n, c, err}) })
		}
		for _, p := range out.Probe {
			s.find(n, p)
		}
	}
}
