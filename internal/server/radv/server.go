package radv

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// pollMissing is how often a link that is not there is looked for.
	pollMissing = 100 * time.Millisecond
	// pollLinks is how often every link's index is checked, and the longest
	// that the server sleeps: timers are due at most so late after a suspend.
	pollLinks = time.Second
	// retryOpen is how often a namespace is tried whose socket could not be
	// opened, most likely because it is not there yet.
	retryOpen = 500 * time.Millisecond
	// reopenAfter is how long all links of a namespace may be missing before
	// its socket is made anew: the namespace itself may be a new one.
	reopenAfter = 3 * time.Second
)

// Server advertises on every network that it was told of. Its methods may be
// called from any goroutine.
type Server struct {
	cfg  Config
	open func(inNS func(func() error) error, recv receiver) (transport, error)
	boot func() time.Duration

	mu     sync.Mutex
	nets   map[vnet.ID]*network
	spaces map[string]*space
	polled time.Duration // when every link was last looked at
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

// network is one network's engine and where it speaks.
type network struct {
	id    vnet.ID
	svc   plan.Service
	eng   *engine
	index int   // of the link; 0: not there
	err   error // why the last message could not be sent, or the link not joined
}

// space is one namespace's socket.
type space struct {
	ns      string
	t       transport // nil: err says why
	err     error
	opened  time.Duration // when it was last tried
	seen    time.Duration // when a link was last found
	byIndex map[int]*network
}

// New makes a server that listens nowhere yet.
func New(cfg Config) *Server {
	s := newServer(cfg, open, bootTime)
	go s.run()
	return s
}

func newServer(cfg Config, open func(func(func() error) error, receiver) (transport, error), boot func() time.Duration) *Server {
	return &Server{
		cfg: cfg.withDefaults(), open: open, boot: boot,
		nets: make(map[vnet.ID]*network), spaces: make(map[string]*space),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// bootTime is CLOCK_BOOTTIME.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func (s *Server) now() Instant { return Instant{Wall: s.cfg.Now().Round(0), Boot: s.boot()} }

// SetNetwork advertises as svc says. Saying the same twice changes nothing; a
// link that is not there yet is waited for.
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
	}
	if n == nil {
		n = &network{id: svc.Network, eng: newEngine(s.cfg.Rand)}
		s.nets[svc.Network] = n
	}
	n.svc = svc
	now := s.now()
	s.send(n, n.eng.set(svc, now), now)
	s.attach(n, now)
	s.work(n, now)
	s.poke()
}

// RemoveNetwork stops advertising without a word. Call Withdraw before it if
// the network is to stop for its guests.
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
}

// Withdraw tells the guests of a network that stops that this router and its
// prefixes are no longer to be used, and advertises nothing more until the
// next SetNetwork. Call it while the link is still there.
func (s *Server) Withdraw(id vnet.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nets[id]; n != nil {
		now := s.now()
		s.send(n, n.eng.withdraw(now), now)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[vnet.ID][]vnet.Problem)
	for id, n := range s.nets {
		if !n.svc.RA.Send {
			continue
		}
		err := n.err
		if sp := s.spaces[n.svc.NS]; sp != nil && sp.err != nil {
			err = sp.err
		}
		if err != nil {
			out[id] = []vnet.Problem{{
				Kind: vnet.ErrHost, Family: vnet.IPv6,
				Msg: fmt.Sprintf("no router advertisements on %s: %v", n.svc.Link, err),
			}}
		}
	}
	return out
}

// Close stops at once and says nothing to guests, so that they keep their
// routes while the daemon is away.
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

// run keeps timers and links.
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

// pass looks at timers and at the links that are missing, now and then at all
// of them, and says how long to sleep.
func (s *Server) pass() (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false
	}
	now := s.now()
	wait = pollLinks
	all := now.Boot-s.polled >= pollLinks
	if all {
		s.polled = now.Boot
	}
	for _, n := range s.nets {
		if all || n.index == 0 {
			s.attach(n, now)
		}
		s.work(n, now)
		if n.index == 0 && n.svc.RA.Send {
			wait = min(wait, pollMissing)
		}
		if at, ok := n.eng.deadline(); ok {
			wait = min(wait, max(at-now.Boot, time.Millisecond))
		}
	}
	return wait, true
}

// work sends what is due on a network.
func (s *Server) work(n *network, now Instant) { s.send(n, n.eng.tick(now), now) }

// send sends messages on the network's link.
func (s *Server) send(n *network, out []message, now Instant) {
	sp := s.spaces[n.svc.NS]
	if len(out) == 0 || sp == nil || sp.t == nil || n.index == 0 {
		return
	}
	for _, m := range out {
		err := sp.t.Send(n.index, m.to, m.data)
		if m.to.IsMulticast() {
			if err == nil {
				n.eng.worked()
			} else {
				n.eng.failed(now)
				s.cfg.Log.Debug("router advertisement not sent", "link", n.svc.Link, "err", err)
			}
			if notYet(err) {
				err = nil
			}
			n.err = err
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

// received handles one solicitation.
func (s *Server) received(sp *space, index int, from netip.Addr, hopLimit int, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := sp.byIndex[index]
	if n == nil || s.closed || s.spaces[sp.ns] != sp {
		return
	}
	now := s.now()
	out, err := n.eng.solicit(b, from, hopLimit, now)
	if err != nil {
		s.cfg.Log.Debug("router solicitation ignored", "link", n.svc.Link, "from", from, "err", err)
		return
	}
	s.send(n, out, now)
	if at, ok := n.eng.deadline(); ok && at < now.Boot+pollLinks {
		s.poke()
	}
}
