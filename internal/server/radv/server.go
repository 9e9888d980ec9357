package radv

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Server advertises on every network that it was told of. Its methods may be
// called from any goroutine.
type Server struct {
	cfg  Config
	boot func() time.Duration
	nets *listen.Networks[*engine, transport]
}

// network is one network's engine and where it speaks.
type network = listen.Network[*engine]

// New makes a server that listens nowhere yet.
func New(cfg Config) *Server {
	s := newServer(cfg, open, listen.BootTime)
	go s.nets.Run()
	return s
}

func newServer(cfg Config, open opener, boot func() time.Duration) *Server {
	s := &Server{cfg: cfg.withDefaults(), boot: boot}
	s.nets = listen.New(listen.Config[*engine, transport]{
		What: "router advertisements", Family: vnet.IPv6, InNS: s.cfg.InNS, Log: s.cfg.Log, Boot: boot, Open: open,
		Active: (*engine).active,
		Linked: func(n *network, up bool) { n.Engine.setLink(up, s.now()) },
		Work:   s.work,
		Heard:  s.heard,
	})
	return s
}

func (s *Server) now() Instant { return Instant{Wall: s.cfg.Now().Round(0), Boot: s.boot()} }

// SetNetwork advertises as svc says. Saying the same twice changes nothing; a
// link that is not there yet is waited for.
func (s *Server) SetNetwork(svc plan.Service) {
	s.nets.Lock()
	defer s.nets.Unlock()
	n := s.nets.Enter(svc, func() *engine { return newEngine(s.cfg.Rand) })
	if n == nil {
		return
	}
	now := s.now()
	s.send(n, n.Engine.set(svc, now), now) // a farewell goes out while the link is listened on
	s.nets.Attach(n)
	s.work(n)
}

// RemoveNetwork stops advertising without a word. Call Withdraw before it if
// the network is to stop for its guests.
func (s *Server) RemoveNetwork(id vnet.ID) {
	s.nets.Lock()
	defer s.nets.Unlock()
	s.nets.Remove(id)
}

// Withdraw tells the guests of a network that stops that this router and its
// prefixes are no longer to be used, and advertises nothing more until the
// next SetNetwork. Call it while the link is still there.
func (s *Server) Withdraw(id vnet.ID) {
	s.nets.Lock()
	defer s.nets.Unlock()
	if n := s.nets.Get(id); n != nil {
		now := s.now()
		s.send(n, n.Engine.withdraw(now), now)
	}
}

// SetGuest is here for the shape that all address servers share: nothing that
// is advertised depends on a port yet.
func (s *Server) SetGuest(plan.Guest) {}

// RemoveGuest is SetGuest's counterpart.
func (s *Server) RemoveGuest(_, _ vnet.ID) {}

// Problems returns what keeps networks from being advertised. A link that is
// not there yet is none: that is the agent's to say.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem {
	s.nets.Lock()
	defer s.nets.Unlock()
	out := make(map[vnet.ID][]vnet.Problem)
	for id, n := range s.nets.All() {
		if p, ok := s.nets.Problem(n); ok {
			out[id] = []vnet.Problem{p}
		}
	}
	return out
}

// Close stops at once and says nothing to guests, so that they keep their
// routes while the daemon is away.
func (s *Server) Close() error { return s.nets.Close() }

// work sends what is due on a network and says in how long the next is.
func (s *Server) work(n *network) time.Duration {
	now := s.now()
	s.send(n, n.Engine.tick(now), now)
	if at, ok := n.Engine.deadline(); ok {
		return max(at-now.Boot, time.Millisecond)
	}
	return 0
}

// send sends messages on the network's link.
func (s *Server) send(n *network, out []message, now Instant) {
	t, index, ok := s.nets.Out(n)
	if !ok {
		return
	}
	for _, m := range out {
		err := t.Send(index, m.to, m.data)
		if m.to.IsMulticast() {
			if err == nil {
				n.Engine.worked()
			} else {
				n.Engine.failed(now)
				s.cfg.Log.Debug("router advertisement not sent", "link", n.Service().Link, "err", err)
			}
			if notYet(err) {
				err = nil
			}
			n.Err = err
		}
	}
}

// notYet reports whether a message could not be sent because the link is not
// ready: a bridge without ports has no carrier, and no address until it has.
func notYet(err error) bool {
	for _, e := range []error{unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.ENETDOWN, unix.ENODEV, unix.ENXIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// heard handles one solicitation.
func (s *Server) heard(n *network, p listen.Packet) func() {
	now := s.now()
	out, err := n.Engine.solicit(p.Data, p.From, p.HopLimit, now)
	if err != nil {
		s.cfg.Log.Debug("router solicitation ignored", "link", n.Service().Link, "from", p.From, "err", err)
		return nil
	}
	s.send(n, out, now)
	if at, ok := n.Engine.deadline(); ok && at < now.Boot+listen.PollLinks {
		s.nets.Poke()
	}
	return nil
}
