package radv

import (
	"errors"
	"hash/maphash"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Server advertises on every network that it was told of. Its methods may be
// called from any goroutine.
type Server struct {
	cfg   Config
	boot  func() time.Duration
	nets  *listen.Networks[*engine, transport]
	ports ports
	// guests are the known ones, also of networks that others advertise on;
	// nets' lock guards them.
	guests map[vnet.ID]*roster
	homes  map[vnet.ID]vnet.ID // network of each port
	limit  *limiter
}

// network is one network's engine and where it speaks.
type network = listen.Network[*engine]

// New makes a server that listens nowhere yet.
func New(cfg Config) *Server {
	s := newServer(cfg, open, newPacketSocket(cfg.InNS), nil)
	go s.nets.Run()
	return s
}

// newServer makes a server that does nothing before its networks run; without
// boot it goes by the kernel's clock.
func newServer(cfg Config, open opener, out ports, boot func() time.Duration) *Server {
	s := &Server{
		cfg: cfg.withDefaults(), boot: boot, ports: out, limit: newLimiter(),
		guests: map[vnet.ID]*roster{}, homes: map[vnet.ID]vnet.ID{},
	}
	if boot == nil {
		s.boot = listen.BootTime
	}
	s.nets = listen.New(listen.Config[*engine, transport]{
		What: "router advertisements", Family: vnet.IPv6, InNS: s.cfg.InNS, Log: s.cfg.Log, Unsent: slog.LevelDebug, Boot: boot, Watch: cfg.Links.Watcher(), Open: open,
		Neighbour: s.cfg.Neighbour,
		// Where all guests are told the same it does not matter who asks.
		Known:  func(n *network, _ listen.Packet) bool { return n.Engine.guests.deviants == 0 },
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
	n := s.nets.Enter(svc, func() *engine { return newEngine(s.cfg.Rand, s.limit, s.roster(svc.Network)) })
	if n == nil {
		return
	}
	now := s.now()
	s.send(n, n.Engine.set(svc, now), now) // a farewell goes out while the link is listened on
	s.nets.Attach(n)
	s.work(n)
}

// roster is a network's guests; called with the lock held.
func (s *Server) roster(id vnet.ID) *roster {
	if s.guests[id] == nil {
		s.guests[id] = newRoster()
	}
	return s.guests[id]
}

// RemoveNetwork stops advertising without a word. Call Withdraw before it if
// the network is to stop for its guests.
func (s *Server) RemoveNetwork(id vnet.ID) {
	s.nets.Lock()
	defer s.nets.Unlock()
	s.nets.Remove(id)
	if g := s.guests[id]; g != nil && len(g.ports) == 0 {
		delete(s.guests, id)
	}
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

// SetGuest says what is known of a port: by which device it is reached, and
// whether it takes its default route and resolvers from this network.
func (s *Server) SetGuest(g plan.Guest) {
	s.nets.Lock()
	defer s.nets.Unlock()
	if home, ok := s.homes[g.Port]; ok && home != g.Network {
		s.forget(home, g.Port)
	}
	s.homes[g.Port] = g.Network
	n := s.nets.Get(g.Network)
	if n == nil {
		s.roster(g.Network).set(g)
		return
	}
	if n.Engine.setGuest(g, s.now()) {
		s.nets.Poke()
	}
}

// RemoveGuest forgets a port of a network.
func (s *Server) RemoveGuest(network, port vnet.ID) {
	s.nets.Lock()
	defer s.nets.Unlock()
	s.forget(network, port)
}

// forget is called with the lock held.
func (s *Server) forget(network, port vnet.ID) {
	delete(s.homes, port)
	g := s.guests[network]
	if g == nil {
		return
	}
	g.remove(port)
	if len(g.ports) == 0 && s.nets.Get(network) == nil {
		delete(s.guests, network)
	}
}

// Withheld takes a router advertisement that the rules did not let through to a
// port whose default network is another one: packet begins with the IPv6
// header, router is the MAC it came from, zero if the kernel did not say. Where
// somebody else advertises, it is sent again on the port's device without its
// default route and resolvers; where we do, the port was told already. It
// reports whether the packet was sent.
func (s *Server) Withheld(network, port vnet.ID, router vnet.MAC, packet []byte) bool {
	s.nets.Lock()
	defer s.nets.Unlock()
	r := s.guests[network]
	if r == nil || r.ports[port] == nil {
		return false
	}
	g := r.ports[port]
	if n := s.nets.Get(network); g.DefaultRoute || g.Device == "" || n != nil && n.Engine.active() {
		return false
	}
	icmp, from, to, err := asideOf(packet)
	if err != nil {
		s.cfg.Log.Debug("outside router's advertisement dropped", "device", g.Device, "from", from, "err", err)
		return false
	}
	if router.IsZero() {
		router, _ = linkOf(icmp)
	}
	if !router.IsUnicast() || !s.limit.allow(maphash.String(s.limit.seed, string(port)), s.boot()) {
		return false
	}
	if err := s.ports.SendOn(g.Device, frame(g.MAC, router, from, to, icmp)); err != nil {
		s.cfg.Log.Debug("outside router's advertisement not sent", "device", g.Device, "err", err)
		return false
	}
	return true
}

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
func (s *Server) Close() error { return errors.Join(s.nets.Close(), s.ports.Close()) }

// work sends what is due on a network and says in how long the next is.
func (s *Server) work(n *network) time.Duration {
	now := s.now()
	s.send(n, n.Engine.tick(now), now)
	if at, ok := n.Engine.deadline(); ok {
		return max(at-now.Boot, time.Millisecond)
	}
	return 0
}

// send sends messages on the network's link, frames on their devices.
func (s *Server) send(n *network, out []message, now Instant) {
	t, index, ok := s.nets.Out(n)
	if !ok {
		return
	}
	for _, m := range out {
		if m.device != "" {
			if err := s.ports.SendOn(m.device, m.data); err != nil { // a port that goes
				s.cfg.Log.Debug("router advertisement not sent", "device", m.device, "err", err)
			}
			continue
		}
		err := t.Send(index, m.to, m.data)
		if !m.to.IsMulticast() {
			continue
		}
		if err == nil {
			n.Engine.worked()
			n.Err = nil
			continue
		}
		n.Engine.failed(now)
		s.cfg.Log.Debug("router advertisement not sent", "link", n.Service().Link, "err", err)
		if n.Err = err; notYet(err) {
			n.Err = nil
		}
		return
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

// heard handles one solicitation, or another router's advertisement.
func (s *Server) heard(n *network, p listen.Packet) func() {
	now := s.now()
	if isAdvertisement(p.Data) {
		if what := n.Engine.overhear(p.Data, solicitation{from: p.From, hopLimit: p.HopLimit}, now); what != "" {
			s.cfg.Log.Warn("another router contradicts ours", "link", n.Service().Link, "router", p.From, "mac", p.MAC, "says", what)
		}
		return nil
	}
	out, err := n.Engine.solicit(p.Data, solicitation{p.From, p.HopLimit, p.MAC, p.Port}, now)
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
