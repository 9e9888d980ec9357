package listen

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// pollMissing is how often a link that is not there is looked for where
	// links are not watched.
	pollMissing = 100 * time.Millisecond
	// PollLinks is the longest that a link which was replaced under its name is
	// not followed, and that what is due comes late: how often every link's index
	// is checked where links are not watched, and the longest that Run sleeps
	// while there is something to do, or after a suspend that it is not told of.
	PollLinks = time.Second
	// CompareLinks is how often links are checked though they are watched, and
	// the longest that Run sleeps.
	CompareLinks = 10 * time.Second
	// hearIn is how long the packet of a guest that was not heard yet waits for
	// that, which goes another way; maxLate is how many may wait. After one that
	// waited in vain none on its network waits for vainFor: where many guests
	// speak at once behind one port, not all are heard.
	hearIn  = 30 * time.Millisecond
	maxLate = 256
	vainFor = 10 * time.Second
)

// Sender is the guest that a frame came from, as seen behind the guard.
type Sender struct {
	MAC  vnet.MAC // source of the frame; zero: not seen
	Port vnet.ID  // where it came in; "": no port, or not seen
}

// Packet is a message as it arrived.
type Packet struct {
	Index    int        // of the link
	From     netip.Addr // without zone
	FromPort uint16     // UDP port of the sender; 0: the transport does not say
	To       netip.Addr // destination; invalid: the transport does not say
	Sender              // as Config.Neighbour saw it, else zero
	Heard    bool       // whether guests of the link are seen behind the guard
	Seen     bool       // whether this one was
	HopLimit int        // 0: the transport does not say
	Data     []byte     // the reader's: not to be kept
}

// Transport is the sockets of one namespace.
type Transport interface {
	// Index returns the index of a link, or an error of unix.ENODEV.
	Index(link string) (int, error)
	// Join makes messages on the link arrive; joining twice is no error. A
	// *PortError says who is in the way.
	Join(link string, index int) error
	// Leave undoes Join, also for a link that is gone.
	Leave(index int)
	Close() error
}

// InNS runs f in the named network namespace ("" is the host's own) and
// returns f's error; sockets that f opens stay there.
type InNS func(ns string, f func() error) error

// Config says what is listened for. What is called "locked" below is called
// with the networks locked, and may not lock them.
type Config[E any, T Transport] struct {
	// What names what guests do not get while we cannot listen: "no What on
	// br0: …".
	What   string
	Family vnet.Family
	InNS   InNS
	Log    *slog.Logger
	Unsent slog.Level // of what could not be sent, by a Speaker
	// Boot is the time since boot; nil: CLOCK_BOOTTIME.
	Boot func() time.Duration
	// Watch, if set, has changed called when links changed in the namespace that
	// inNS runs functions in, until stop is called: Links.Watch. It may not call
	// changed itself.
	Watch func(inNS func(func() error) error, changed func()) (stop func(), err error)
	// Open opens the sockets of the namespace that inNS runs functions in, and
	// tells recv what arrives until they are closed. What it is told at a time
	// is in the order of arrival.
	Open func(inNS func(func() error) error, recv func(...Packet)) (T, error)
	// Neighbour, if set, says which guest used an address on a link last, and
	// whether guests of the link are heard at all.
	Neighbour func(link string, ip netip.Addr) (Sender, bool)
	// Station, if set, says so of the MAC of a frame, for transports that tell
	// it and clients that have no address yet.
	Station func(link string, mac vnet.MAC) (Sender, bool)
	// Known, if set, says that it does not matter who sent a packet, or is
	// known without: it need not wait for its guest to be heard; locked.
	Known func(*Network[E], Packet) bool

	// Active reports whether there is anything to listen for; locked.
	Active func(E) bool
	// Linked, if set, is told when the link came or went; locked.
	Linked func(n *Network[E], up bool)
	// Work does what is due and returns in how long it wants to be called
	// again, 0: no matter when; locked.
	Work func(*Network[E]) time.Duration
	// Heard handles a packet; locked. What it returns, if anything, is called
	// after unlocking.
	Heard func(*Network[E], Packet) (after func())
}

// Network is one network's engine and where it listens. It is used while its
// Networks are locked.
type Network[E any] struct {
	Engine E
	// Err is why it is not listened on, or not spoken on; nil while the link
	// is not there.
	Err error

	svc   plan.Service
	index int           // of the link; 0: not there
	tried time.Duration // when a port that others hold was last tried
	vain  time.Duration // when a packet last waited in vain for its guest to be heard; 0: never
}

// Service is the wish of the network, only to be read.
func (n *Network[E]) Service() *plan.Service { return &n.svc }

// Networks are all networks of a protocol. Lock them around everything but
// Run and Close.
type Networks[E any, T Transport] struct {
	sync.Mutex
	cfg    Config[E, T]
	nets   map[vnet.ID]*Network[E]
	spaces map[string]*space[E, T]
	polled time.Duration // when every link was last looked at
	// speaking are the namespaces in which something was sent since the lock was
	// taken.
	speaking []*space[E, T]
	closed   bool
	busy     bool // something happened since Run looked
	asleep   bool // Run may sleep longer than PollLinks
	clock    bool // of the kernel, by which Run may sleep
	wake     chan struct{}
	done     chan struct{}
	late     atomic.Int32 // packets that wait
}

// New returns no networks. Until Run runs, nothing is retried.
func New[E any, T Transport](cfg Config[E, T]) *Networks[E, T] {
	s := &Networks[E, T]{
		cfg: cfg, nets: make(map[vnet.ID]*Network[E]), spaces: make(map[string]*space[E, T]),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if cfg.Boot == nil {
		s.cfg.Boot, s.clock = BootTime, true
	}
	return s
}

// Enter returns the network that svc is about, with an engine that fresh made
// if it is new. It returns nil after Close. Attach is to follow.
func (s *Networks[E, T]) Enter(svc plan.Service, fresh func() E) *Network[E] {
	if s.closed {
		return nil
	}
	n := s.nets[svc.Network]
	if n != nil && (n.svc.NS != svc.NS || n.svc.Link != svc.Link) {
		s.detach(n)
		s.dropSpace(n.svc.NS, n)
		n.Err = nil
	}
	if n == nil {
		n = &Network[E]{Engine: fresh()}
		s.nets[svc.Network] = n
	}
	n.svc = svc
	return n
}

// Attach listens on the network's link, or waits for it.
func (s *Networks[E, T]) Attach(n *Network[E]) {
	s.attach(n, s.cfg.Boot())
	s.Poke()
}

// Remove stops listening for a network, and returns it, or nil.
func (s *Networks[E, T]) Remove(id vnet.ID) *Network[E] {
	n := s.nets[id]
	if n == nil {
		return nil
	}
	s.detach(n)
	delete(s.nets, id)
	s.dropSpace(n.svc.NS, n)
	return n
}

// Get returns a network, or nil.
func (s *Networks[E, T]) Get(id vnet.ID) *Network[E] { return s.nets[id] }

// All returns the networks.
func (s *Networks[E, T]) All() iter.Seq2[vnet.ID, *Network[E]] { return maps.All(s.nets) }

// Has reports whether the network has neither been removed nor made anew.
func (s *Networks[E, T]) Has(n *Network[E]) bool { return s.nets[n.svc.Network] == n }

// Namespaces returns in how many namespaces something is listened for.
func (s *Networks[E, T]) Namespaces() int { return len(s.spaces) }

// Out returns what to send with, and the index of the network's link; false if
// it is not there.
func (s *Networks[E, T]) Out(n *Network[E]) (t T, index int, ok bool) {
	sp := s.spaces[n.svc.NS]
	if sp == nil || !sp.open || n.index == 0 {
		return t, 0, false
	}
	s.speaks(sp)
	return sp.t, n.index, true
}

// Problem returns what keeps an active network from being served. A link that
// is not there yet is none: that is the agent's to say.
func (s *Networks[E, T]) Problem(n *Network[E]) (vnet.Problem, bool) {
	err := n.Err
	if sp := s.spaces[n.svc.NS]; sp != nil && sp.err != nil {
		err = sp.err
	}
	if err == nil || !s.cfg.Active(n.Engine) {
		return vnet.Problem{}, false
	}
	p := vnet.Problem{
		Kind: vnet.ErrHost, Family: s.cfg.Family,
		Msg: fmt.Sprintf("no %s on %s: %v", s.cfg.What, n.svc.Link, err),
	}
	var port *PortError
	if errors.As(err, &port) {
		p.Kind = vnet.ErrInUse
		p.Hint = "stop that program or make it bind to its own interfaces (dnsmasq: bind-dynamic)"
	}
	return p, true
}

// Close stops at once and says nothing to guests. Run must have been called.
func (s *Networks[E, T]) Close() error {
	s.Lock()
	if s.closed {
		s.Unlock()
		return nil
	}
	s.closed = true
	var errs []error
	for ns, sp := range s.spaces {
		errs = append(errs, sp.close())
		delete(s.spaces, ns)
	}
	clear(s.nets)
	s.Unlock()
	s.Poke()
	<-s.done
	return errors.Join(errs...)
}
