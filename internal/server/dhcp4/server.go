package dhcp4

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Server answers DHCPv4 on every network that it was told of. Its methods may
// be called from any goroutine.
type Server struct {
	cfg  Config
	open func(inNS func(func() error) error, recv receiver) (transport, error)

	mu     sync.Mutex
	nets   map[vnet.ID]*network
	spaces map[string]*space
	// early keeps what was said of networks that are not known yet.
	early  map[vnet.ID]*engine
	polled time.Time // when every link was last looked at
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

// network is one network's engine and where it speaks.
type network struct {
	svc   plan.Service
	eng   *engine
	index int       // of the link; 0: not there
	err   error     // why it is not listened on
	tried time.Time // when listening was last tried
}

// New makes a server that listens nowhere yet.
func New(cfg Config) *Server {
	s := newServer(cfg, open)
	go s.run()
	return s
}

func newServer(cfg Config, open func(func(func() error) error, receiver) (transport, error)) *Server {
	return &Server{
		cfg: cfg.withDefaults(), open: open,
		nets: make(map[vnet.ID]*network), spaces: make(map[string]*space), early: make(map[vnet.ID]*engine),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// now is the wall clock: promises to guests are kept by it.
func (s *Server) now() time.Time { return s.cfg.Now().Round(0) }

// SetNetwork serves the network as svc says. Saying the same twice changes
// nothing; a link that is not there yet is waited for.
func (s *Server) SetNetwork(svc plan.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	n := s.nets[svc.Network]
	if n != nil && (n.svc.NS != svc.NS || n.svc.Link != svc.Link) {
		s.detach(n)
		s.dropSpace(n.svc.NS, n)
		n.err = nil
	}
	if n == nil {
		n = &network{eng: s.engine(svc.Network)}
		delete(s.early, svc.Network)
		s.nets[svc.Network] = n
	}
	n.svc = svc
	n.eng.set(svc)
	s.attach(n, s.now())
	s.poke()
}

// engine returns the engine of a network, also of one that was not set yet.
func (s *Server) engine(id vnet.ID) *engine {
	if n := s.nets[id]; n != nil {
		return n.eng
	}
	if e := s.early[id]; e != nil {
		return e
	}
	e := newEngine(s.cfg.Host)
	s.early[id] = e
	return e
}

// RemoveNetwork stops serving the network. What is known of its ports stays
// until RemoveGuest, so that the network can be set again; without ports, its
// leases are forgotten.
func (s *Server) RemoveNetwork(id vnet.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nets[id]
	if n == nil {
		return
	}
	s.detach(n)
	delete(s.nets, id)
	s.dropSpace(n.svc.NS, n)
	n.eng.stop()
	if len(n.eng.guests) > 0 {
		s.early[id] = n.eng
	}
}

// SetGuest tells what is known of a port beforehand. Guests, reservations and
// leases may come before their network.
func (s *Server) SetGuest(g plan.Guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine(g.Network).setGuest(g)
}

// RemoveGuest forgets a port.
func (s *Server) RemoveGuest(network, port vnet.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nets[network] != nil || s.early[network] != nil {
		s.engine(network).removeGuest(port)
	}
	if e := s.early[network]; e != nil && len(e.guests) == 0 && (e.stopped || len(e.table.byAddress) == 0) {
		delete(s.early, network)
	}
}

// SetReservations replaces the reservations of a network; each must have its
// Address completed, and those of the other family are passed over.
func (s *Server) SetReservations(network vnet.ID, rs []vnet.Reservation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine(network).setReservations(rs)
}

// LoadLeases adds or replaces leases that are durable already: all of them at
// start, later those that others changed. Leases of the other family are
// passed over; one with Meta.Deleting set is forgotten.
func (s *Server) LoadLeases(ls []vnet.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, l := range ls {
		s.engine(l.Network).load(l, now)
	}
}

// Problems returns what keeps networks from being served. A link that is not
// there yet is none: that is the agent's to say.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[vnet.ID][]vnet.Problem)
	now := s.now()
	for id, n := range s.nets {
		err := n.err
		if sp := s.spaces[n.svc.NS]; sp != nil && sp.err != nil {
			err = sp.err
		}
		if err != nil {
			out[id] = append(out[id], problem(n.svc.Link, err))
		}
		if n.eng.nameless() {
			out[id] = append(out[id], vnet.Problem{
				Kind: vnet.ErrHost, Family: vnet.IPv4,
				Msg:  fmt.Sprintf("no DHCPv4 on %s: the host has no address in the network to serve from", n.svc.Link),
				Hint: "give the network a gateway address of its own, or set ipv4.guests=manual",
			})
		}
		for a, at := range n.eng.conflicts {
			if now.Sub(at) < quarantine {
				out[id] = append(out[id], vnet.Problem{
					Kind: vnet.ErrExists, Family: vnet.IPv4,
					Msg:  fmt.Sprintf("the guest that owns %v found it in use by somebody else", a),
					Hint: "look for a guest with this address set by hand",
				})
			}
		}
	}
	return out
}

// problem says why a link is not served.
func problem(link string, err error) vnet.Problem {
	p := vnet.Problem{
		Kind: vnet.ErrHost, Family: vnet.IPv4,
		Msg: fmt.Sprintf("no DHCPv4 on %s: %v", link, err),
	}
	var port *portError
	if errors.As(err, &port) {
		p.Kind = vnet.ErrInUse
		p.Hint = "stop that program or make it bind to its own interfaces (dnsmasq: bind-dynamic)"
	}
	return p
}

// Close stops at once. Guests keep what they have.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var errs []error
	for ns, sp := range s.spaces {
		if sp.t != nil {
			errs = append(errs, sp.t.Close())
		}
		delete(s.spaces, ns)
	}
	clear(s.nets)
	s.mu.Unlock()
	s.poke()
	<-s.done
	return errors.Join(errs...)
}

// poke makes run look again.
func (s *Server) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run keeps links and deadlines.
func (s *Server) run() {
	defer close(s.done)
	timer := time.NewTimer(pollLinks)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		}
		wait, ok := s.pass()
		if !ok {
			return
		}
		timer.Reset(wait)
	}
}

// pass looks at deadlines and at the links that are missing, now and then at
// all of them, and says how long to sleep.
func (s *Server) pass() (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false
	}
	now := s.now()
	wait = pollLinks
	all := now.Sub(s.polled) >= pollLinks || now.Before(s.polled)
	if all {
		s.polled = now
	}
	for _, n := range s.nets {
		n.eng.table.expire(now)
		if all || n.index == 0 {
			s.attach(n, now)
		}
		if n.index == 0 && n.err == nil && n.eng.active() {
			wait = pollMissing
		}
	}
	return wait, true
}

// received handles one message.
func (s *Server) received(sp *space, index int, from netip.Addr, b []byte) {
	s.mu.Lock()
	n := sp.byIndex[index]
	if n == nil || s.closed || s.spaces[sp.ns] != sp {
		s.mu.Unlock()
		return
	}
	out, err := n.eng.receive(b, s.now())
	if err != nil {
		s.cfg.Log.Debug("DHCPv4 message ignored", "link", n.svc.Link, "from", from, "err", err)
	}
	s.send(n, out.send)
	s.mu.Unlock()
	s.carryOut(n, out)
}

// send sends replies on the network's link.
func (s *Server) send(n *network, out []reply) {
	sp := s.spaces[n.svc.NS]
	if len(out) == 0 || sp == nil || sp.t == nil || n.index == 0 {
		return
	}
	for _, r := range out {
		if err := sp.t.Send(n.index, n.svc.MAC, r); err != nil {
			s.cfg.Log.Warn("DHCPv4 reply not sent", "link", n.svc.Link, "to", r.to, "err", err)
		}
	}
}

// carryOut does what of the effects needs others; the lock is not held, since
// claims may be answered before Commit returns.
func (s *Server) carryOut(n *network, out effects) {
	for _, l := range out.granted {
		s.cfg.Granted(l)
	}
	for _, l := range out.release {
		s.cfg.Claims.Release(l)
	}
	for _, c := range out.commit {
		s.cfg.Claims.Commit(c.lease, func(err error) { s.committed(n, c, err) })
	}
}

// committed answers the client whose claim was made.
func (s *Server) committed(n *network, c commit, err error) {
	s.mu.Lock()
	if s.closed || s.nets[n.svc.Network] != n {
		s.mu.Unlock()
		return
	}
	if err != nil {
		s.cfg.Log.Warn("lease not claimed", "address", c.lease.Address, "network", n.svc.Name, "err", err)
	}
	out := n.eng.committed(c.token, err, s.now())
	s.send(n, out.send)
	s.mu.Unlock()
	s.carryOut(n, out)
}
