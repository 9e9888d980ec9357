package listen

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// retryPort is how often a port that another program holds is tried: to
	// name that program means reading through all processes.
	retryPort = 3 * time.Second
	// retryOpen is how often a namespace is tried whose sockets could not be
	// opened, most likely because it is not there yet.
	retryOpen = 500 * time.Millisecond
	// reopenAfter is how long all links of a namespace may be missing before
	// its sockets are made anew: the namespace itself may be a new one.
	reopenAfter = 3 * time.Second
)

// space is one namespace's sockets.
type space[E any, T Transport] struct {
	ns      string
	t       T
	open    bool          // whether there is t; if not, err says why
	err     error         // of opening
	opened  time.Duration // when it was last tried
	seen    time.Duration // when a link was last found
	byIndex map[int]*Network[E]
	speaks  bool        // since the lock was taken
	unwatch func()      // nil: links are not watched
	changed atomic.Bool // links have, since they were last looked at
}

// close closes the namespace's sockets.
func (sp *space[E, T]) close() error {
	if sp.unwatch != nil {
		sp.unwatch()
	}
	if !sp.open {
		return nil
	}
	return sp.t.Close()
}

// attach finds the network's link and listens on it; it is called again and
// again, and notices links that went and came back.
func (s *Networks[E, T]) attach(n *Network[E], now time.Duration) {
	if !s.cfg.Active(n.Engine) || n.svc.Link == "" {
		s.detach(n)
		s.dropSpace(n.svc.NS, n)
		n.Err = nil
		return
	}
	sp := s.space(n.svc.NS, now)
	if !sp.open {
		return
	}
	index, err := sp.t.Index(n.svc.Link)
	switch {
	case err == nil:
		sp.seen = now
	case errors.Is(err, unix.ENODEV):
		index, n.Err = 0, nil
	default:
		index, n.Err = 0, err
	}
	if index == n.index {
		return
	}
	s.detach(n)
	if index == 0 {
		s.cfg.Log.Debug("link is gone", "link", n.svc.Link, "ns", n.svc.NS)
		return
	}
	s.join(sp, n, index, now)
}

// join listens on the network's link, which has a new index.
func (s *Networks[E, T]) join(sp *space[E, T], n *Network[E], index int, now time.Duration) {
	var taken *PortError
	if errors.As(n.Err, &taken) && now-n.tried < retryPort {
		return
	}
	n.tried = now
	err := sp.t.Join(n.svc.Link, index)
	if errors.Is(err, unix.ENODEV) { // gone again
		return
	}
	if err != nil {
		if n.Err == nil || n.Err.Error() != err.Error() {
			s.cfg.Log.Warn("cannot listen", "link", n.svc.Link, "ns", n.svc.NS, "err", err)
		}
		n.Err = err
		return
	}
	n.index, n.Err = index, nil
	sp.byIndex[index] = n
	if s.cfg.Linked != nil {
		s.cfg.Linked(n, true)
	}
}

// detach forgets the network's link.
func (s *Networks[E, T]) detach(n *Network[E]) {
	if n.index == 0 {
		return
	}
	if sp := s.spaces[n.svc.NS]; sp != nil {
		if sp.open {
			sp.t.Leave(n.index)
		}
		if sp.byIndex[n.index] == n {
			delete(sp.byIndex, n.index)
		}
	}
	n.index = 0
	if s.cfg.Linked != nil {
		s.cfg.Linked(n, false)
	}
}

// space returns the namespace's sockets, opened if need be and anew if all its
// links have been missing.
func (s *Networks[E, T]) space(ns string, now time.Duration) *space[E, T] {
	last := s.spaces[ns]
	if last != nil {
		stale := ns != "" && last.open && len(last.byIndex) == 0 && now-last.seen > reopenAfter
		broken := !last.open && now-last.opened >= retryOpen
		if !stale && !broken {
			return last
		}
		_ = last.close()
	}
	sp := &space[E, T]{ns: ns, opened: now, seen: now, byIndex: make(map[int]*Network[E])}
	inNS := func(f func() error) error { return s.cfg.InNS(ns, f) }
	sp.t, sp.err = s.cfg.Open(inNS, func(ps ...Packet) { s.received(sp, ps...) })
	sp.open = sp.err == nil
	if sp.open && s.cfg.Watch != nil {
		s.watch(sp, inNS)
	}
	if sp.err != nil && (last == nil || last.err == nil || last.err.Error() != sp.err.Error()) {
		s.cfg.Log.Warn("cannot listen", "ns", ns, "err", sp.err)
	}
	s.spaces[ns] = sp
	return sp
}

// watch has Run look when links of the namespace change. Where that cannot be
// had it looks all the time.
func (s *Networks[E, T]) watch(sp *space[E, T], inNS func(func() error) error) {
	stop, err := s.cfg.Watch(inNS, func() {
		sp.changed.Store(true)
		s.Poke()
	})
	if err != nil {
		s.cfg.Log.Warn("cannot watch links", "ns", sp.ns, "err", err)
		return
	}
	sp.unwatch = stop
}

// dropSpace closes the namespace's sockets if no active network but n uses
// them.
func (s *Networks[E, T]) dropSpace(ns string, n *Network[E]) {
	sp := s.spaces[ns]
	if sp == nil {
		return
	}
	for _, other := range s.nets {
		if other != n && other.svc.NS == ns && s.cfg.Active(other.Engine) {
			return
		}
	}
	_ = sp.close()
	delete(s.spaces, ns)
}
