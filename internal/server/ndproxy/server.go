package ndproxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// perTurn is how many frames one link may have handled before the others' turn:
// a flood on one is not to silence the others.
const perTurn = 64

// Config is what a Server is made of. InNS is required.
type Config struct {
	InNS listen.InNS
	// Links, if set, says when links change: else they are looked at each second.
	Links *listen.Links
	Log   *slog.Logger // nil: discard
	// Event, if set, is told what happens to addresses, by the one reader: it
	// may call the Server, but for Close, and must not take long.
	Event func(Event)
	// Boot is the time since boot; nil: CLOCK_BOOTTIME.
	Boot func() time.Duration
}

// Server proxies neighbour discovery on every uplink that it was told of. Its
// methods may be called from any goroutine.
type Server struct {
	cfg  Config
	poll *poller
	done chan struct{}

	mu      sync.Mutex
	closed  bool
	uplinks map[string]*uplink
	ports   map[int]*port // by descriptor
	// guests are all that were told, also of networks that share no prefix now.
	guests map[netip.Addr]vnet.ID
	events []Event // not told yet
	// answers are calls that are due to those who had an address looked for.
	answers []func()
	out     batch // frames to send
	outTo   *port // by this one; nil: none

	changed atomic.Bool // links have, since they were last looked at
}

// uplink is an uplink's engine and where it speaks.
type uplink struct {
	wish    Uplink
	engine  *engine
	ports   []*port // by number of side
	members *members
	asked   asked
	all     bool // it hears all multicast
	full    bool // a group could not be joined
}

// New makes a server that listens nowhere yet.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Boot == nil {
		cfg.Boot = listen.BootTime
	}
	poll, err := newPoller()
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrHost, "proxy neighbour discovery: %w", err)
	}
	s := &Server{
		cfg: cfg, poll: poll, done: make(chan struct{}),
		uplinks: map[string]*uplink{}, ports: map[int]*port{}, guests: map[netip.Addr]vnet.ID{},
	}
	go s.run()
	return s, nil
}

// Set shares an uplink's prefixes as u says, and no others. Saying the same
// twice changes nothing; links that are not there yet are waited for. u is the
// Server's from then on.
func (s *Server) Set(u Uplink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	up := s.uplinks[u.Link]
	if up == nil {
		up = &uplink{engine: newEngine(), asked: asked{}}
		s.uplinks[u.Link] = up
	}
	now := s.cfg.Boot()
	up.wish = u
	s.do(up, up.engine.set(u, now))
	s.lay(up)
	for a, network := range s.guests {
		if _, ok := up.engine.byNetwork[network]; ok {
			s.do(up, up.engine.setGuest(a, network, now))
		}
	}
	for _, p := range up.ports {
		s.look(p, now)
	}
	s.flush()
	s.poke()
}

// lay gives every side of an uplink's engine its port.
func (s *Server) lay(up *uplink) {
	was := up.ports
	up.ports = nil
	for i, side := range up.engine.sides {
		p := &port{up: up, place: side.place}
		if n := slices.IndexFunc(was, func(o *port) bool { return o.place == side.place && (o.side == 0) == (i == 0) }); n >= 0 {
			p = was[n]
			was = slices.Delete(was, n, n+1)
		}
		if p.side, p.mac = i, side.mac.IsUnicast(); !p.mac {
			s.closePort(p)
		}
		up.ports = append(up.ports, p)
	}
	for _, p := range was {
		s.closePort(p)
	}
}

// Remove stops sharing an uplink's prefixes. The uplink's neighbours are told
// nothing: what they remember of guests ends by itself.
func (s *Server) Remove(link string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if up := s.uplinks[link]; up != nil {
		s.closeUplink(up)
		delete(s.uplinks, link)
		s.answerAll(up)
		s.poke()
	}
}

func (s *Server) closeUplink(up *uplink) {
	for _, p := range up.ports {
		s.closePort(p)
	}
	up.detached()
}

// SetGuest says that a guest of the network has the address: one that was
// learnt or given, and also the gateway's own in a shared prefix. An address
// is one network's; the last word counts.
func (s *Server) SetGuest(network vnet.ID, a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !a.Is6() {
		return
	}
	s.guests[a.WithZone("")] = network
	for _, up := range s.uplinks {
		s.do(up, up.engine.setGuest(a, network, s.cfg.Boot()))
	}
	s.flush()
	s.poke()
}

// RemoveGuest says that no guest of the network has the address any more.
func (s *Server) RemoveGuest(network vnet.ID, a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a = a.WithZone(""); s.guests[a] == network {
		delete(s.guests, a)
	}
	for _, up := range s.uplinks {
		s.do(up, up.engine.removeGuest(a, network, s.cfg.Boot()))
	}
	s.flush()
}

// Forget forgets what was heard of a neighbour on an uplink.
func (s *Server) Forget(link string, a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if up := s.uplinks[link]; up != nil {
		up.engine.forget(a.WithZone(""))
	}
}

// Problems returns what keeps networks from sharing their prefix. A link that
// is not there yet is none: that is the agent's to say.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[vnet.ID][]vnet.Problem)
	for _, up := range s.uplinks {
		for i, side := range up.engine.sides {
			if i == 0 {
				continue
			}
			for _, p := range []*port{up.ports[0], up.ports[i]} {
				if p.err != nil && (p.side != 0 || !errors.Is(p.err, errNoMAC)) { // on an uplink without MACs nobody asks
					out[side.network] = append(out[side.network], vnet.Problem{
						Kind: vnet.ErrHost, Family: vnet.IPv6,
						Msg: fmt.Sprintf("no neighbour discovery is proxied on %s: %v", p.link, p.err),
					})
				}
			}
		}
	}
	return out
}

// Close stops at once.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, up := range s.uplinks {
		s.closeUplink(up)
	}
	clear(s.uplinks)
	s.poke()
	s.mu.Unlock()
	<-s.done
	return s.poll.Close()
}

// poke makes run look again; called with the lock held, so that run does not
// overwrite it.
func (s *Server) poke() { _ = s.poll.in(0, s.cfg.Boot()) }

// run is the one reader of all links, until Close.
func (s *Server) run() {
	defer close(s.done)
	ready := make([]unix.EpollEvent, 16)
	in := new(batch)
	n := 0
	for {
		if !s.turn(ready[:n], in) {
			return
		}
		var err error
		if n, err = s.poll.wait(ready); err != nil && !errors.Is(err, unix.EINTR) {
			s.cfg.Log.Error("neighbour discovery is no longer proxied", "err", err)
			return
		}
	}
}

// turn handles what came in and what is due, and sets when it wants to be
// called again.
func (s *Server) turn(ready []unix.EpollEvent, in *batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	now := s.cfg.Boot()
	for _, ev := range ready {
		if p := s.ports[int(ev.Fd)]; p != nil {
			s.read(p, in, now)
		}
	}
	s.lookAll(now)
	for _, up := range s.uplinks {
		if at, ok := up.engine.deadline(); ok && at <= now {
			s.do(up, up.engine.tick(now))
		}
	}
	s.flush()
	s.tellEvents()
	if s.closed {
		return false
	}
	now = s.cfg.Boot()
	_ = s.poll.in(s.wait(now), now)
	return true
}

// wait is how long nothing is due. It is called last, with the lock held from
// then on: what others say afterwards pokes.
func (s *Server) wait(now time.Duration) time.Duration {
	wait := listen.CompareLinks
	for _, up := range s.uplinks {
		if at, ok := up.engine.deadline(); ok {
			wait = min(wait, at-now)
		}
		for _, p := range up.ports {
			wait = min(wait, p.looked+p.again()-now)
		}
	}
	return max(wait, time.Millisecond)
}

// tellEvents tells what happened, with the lock released meanwhile.
func (s *Server) tellEvents() {
	for len(s.events)+len(s.answers) > 0 {
		events, answers := s.events, s.answers
		s.events, s.answers = nil, nil
		s.mu.Unlock()
		for _, ev := range events {
			if s.cfg.Event != nil {
				s.cfg.Event(ev)
			}
		}
		for _, f := range answers {
			f()
		}
		s.mu.Lock()
	}
}

// lookAll looks for the links whose time has come.
func (s *Server) lookAll(now time.Duration) {
	all := s.changed.Swap(false)
	for _, up := range s.uplinks {
		for _, p := range up.ports {
			if all || now-p.looked >= p.again() {
				s.look(p, now)
			}
		}
	}
}

// look looks for a port's link.
func (s *Server) look(p *port, now time.Duration) {
	p.looked = now
	if !s.attach(p, now) || p.side != 0 {
		return
	}
	up := p.up
	up.members = newMembers(p.sock.index, func(f func() error) error { return s.cfg.InNS("", f) })
	for _, g := range up.engine.groups.list() {
		s.join(up, g)
	}
	s.do(up, up.engine.linked(now))
}

// read handles the frames of one port.
func (s *Server) read(p *port, in *batch, now time.Duration) {
	for range perTurn / mostFrames {
		n := in.receive(p.sock.fd)
		for i := range n {
			s.do(p.up, p.up.engine.heard(p.side, in.received(i), now))
		}
		if n < mostFrames {
			return
		}
	}
}

// do does what an engine wants done.
func (s *Server) do(up *uplink, o *output) {
	for _, f := range o.frames {
		if f.side < len(up.ports) && up.ports[f.side].linked {
			s.send(up.ports[f.side], o.data(f))
		}
	}
	for _, g := range o.leave {
		if up.members != nil {
			up.members.leave(g)
		}
	}
	for _, g := range o.join {
		s.join(up, g)
	}
	s.hearAll(up)
	s.events = append(s.events, o.events...)
	s.answer(up, o.found)
}

// send queues a frame until flush.
func (s *Server) send(p *port, frame []byte) {
	if s.outTo != p || s.out.full() {
		s.flush()
	}
	s.outTo = p
	s.out.add(frame)
}

// flush sends what is queued.
func (s *Server) flush() {
	if s.outTo == nil {
		return
	}
	if err := s.out.send(s.outTo.sock.fd); err != nil {
		s.cfg.Log.Debug("frame not sent", "link", s.outTo.link, "err", err)
	}
	s.outTo = nil
}

// join joins a group on an uplink. One that cannot be joined is heard with all
// multicast.
func (s *Server) join(up *uplink, group netip.Addr) {
	if up.members == nil {
		return
	}
	if err := up.members.join(group); err != nil && !up.full {
		up.full = true
		s.cfg.Log.Warn("cannot join a group; all multicast is heard", "link", up.wish.Link, "group", group, "err", err)
	}
}

// hearAll has an uplink hear all multicast if its engine wants it or groups
// could not be joined.
func (s *Server) hearAll(up *uplink) {
	want := up.engine.allMulti() || up.full
	if up.all == want || len(up.ports) == 0 || !up.ports[0].linked {
		return
	}
	up.all = want // not tried again at each frame
	if err := up.ports[0].sock.hearAll(want); err != nil {
		s.cfg.Log.Warn("cannot hear all multicast", "link", up.wish.Link, "err", err)
	}
}

// detached forgets what went with the uplink's socket.
func (up *uplink) detached() {
	if up.members != nil {
		_ = up.members.Close()
	}
	up.members, up.all, up.full = nil, false, false
}
