package ndproxy

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

const (
	// reopenAfter is how long a link may be missing before its namespace is
	// entered anew: it may be another one of that name.
	reopenAfter = 3 * time.Second
	// lookMissing is how often a link that is not there is looked for where
	// links are not watched.
	lookMissing = 100 * time.Millisecond
	// retryOpen is how often a namespace is tried that cannot be entered, most
	// likely because it is not there yet.
	retryOpen = 500 * time.Millisecond
)

var errNoMAC = errors.New("it has no MAC, and so no neighbours whose discovery could be proxied")

// port is one side of an uplink, and its socket.
type port struct {
	up   *uplink
	side int
	place
	mac bool // it has one

	sock   *packetSocket
	linked bool          // sock hears its link
	opened time.Duration // when that was last tried
	looked time.Duration // when the link was last looked for
	seen   time.Duration // when the link was last found
	err    error         // why nothing is heard there; nil while the link is not there

	unwatch func() // nil: its links are not watched
}

// again returns in how long the port's link is to be looked for again.
func (p *port) again() time.Duration {
	switch {
	case !p.mac:
		return listen.CompareLinks
	case p.sock == nil || p.unwatch == nil && !p.linked:
		return lookMissing
	case p.unwatch == nil || !p.linked && p.ns != "": // it may be another namespace
		return listen.PollLinks
	}
	return listen.CompareLinks
}

// attach finds the port's link and listens on it; it is called again and again,
// and notices links that went and came back. It reports whether the link is a
// new one.
func (s *Server) attach(p *port, now time.Duration) (fresh bool) {
	if !p.mac {
		p.err = errNoMAC
		return false
	}
	if p.sock != nil && !p.linked && p.ns != "" && now-p.seen > reopenAfter {
		s.closePort(p)
	}
	if p.sock == nil && !s.openPort(p, now) {
		return false
	}
	index, err := p.sock.find(p.link)
	if index != 0 {
		p.seen = now
	}
	if p.linked && index == p.sock.index {
		return false
	}
	p.err = err
	if p.linked { // a socket that has lost its link is made anew
		s.closePort(p)
		return s.attach(p, now)
	}
	if index == 0 {
		return false
	}
	return s.listen(p, index)
}

// listen hears a link that was found. It reports whether it could.
func (s *Server) listen(p *port, index int) bool {
	err := p.sock.bind(index)
	if err == nil {
		err = s.poll.add(p.sock.fd)
	}
	switch {
	case errors.Is(err, unix.ENODEV): // gone again
		return false
	case err != nil:
		p.err = err
		s.cfg.Log.Warn("cannot hear neighbour discovery", "link", p.link, "ns", p.ns, "err", err)
		s.closePort(p)
		return false
	}
	p.linked, p.err = true, nil
	s.ports[p.sock.fd] = p
	if p.side != 0 {
		// Guests' questions go to groups that this side does not know of.
		_ = p.sock.hearAll(true)
	}
	return true
}

// openPort opens the port's socket in its namespace.
func (s *Server) openPort(p *port, now time.Duration) bool {
	if p.err != nil && now-p.opened < retryOpen {
		return false
	}
	p.opened, p.seen = now, now
	inNS := func(f func() error) error { return s.cfg.InNS(p.ns, f) }
	err := inNS(func() (err error) { p.sock, err = openPacket(); return err })
	if err == nil && s.cfg.Links != nil {
		s.watch(p, inNS)
	}
	if err != nil && (p.err == nil || p.err.Error() != err.Error()) {
		s.cfg.Log.Warn("cannot hear neighbour discovery", "link", p.link, "ns", p.ns, "err", err)
	}
	p.err = err
	return err == nil
}

// watch has the server look when links of the port's namespace change. Where
// that cannot be had it looks all the time.
func (s *Server) watch(p *port, inNS func(func() error) error) {
	stop, err := s.cfg.Links.Watch(inNS, func() {
		if s.changed.Swap(true) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.poke()
		}
	})
	if err != nil {
		s.cfg.Log.Warn("cannot watch links", "link", p.link, "ns", p.ns, "err", err)
		return
	}
	p.unwatch = stop
}

// closePort closes the port's socket.
func (s *Server) closePort(p *port) {
	if p.sock == nil {
		return
	}
	if s.outTo == p {
		s.flush()
	}
	delete(s.ports, p.sock.fd)
	_ = p.sock.Close()
	if p.unwatch != nil {
		p.unwatch()
	}
	p.sock, p.linked, p.unwatch = nil, false, nil
	if p.side == 0 {
		p.up.detached()
	}
}
