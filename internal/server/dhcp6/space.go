package dhcp6

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollMissing is how often a link that is not there is looked for.
	pollMissing = 100 * time.Millisecond
	// pollLinks is how often every link's index is checked.
	pollLinks = time.Second
	// retryPort is how often a port that another program holds is tried.
	retryPort = 3 * time.Second
	// retryOpen is how often a namespace is tried whose sockets could not be
	// opened, most likely because it is not there yet.
	retryOpen = 500 * time.Millisecond
	// reopenAfter is how long all links of a namespace may be missing before
	// its sockets are made anew: the namespace itself may be a new one.
	reopenAfter = 3 * time.Second
)

// space is one namespace's sockets.
type space struct {
	ns      string
	t       transport // nil: err says why
	err     error
	opened  time.Time // when it was last tried
	seen    time.Time // when a link was last found
	byIndex map[int]*network
}

// attach finds the network's link and listens on it; it is called again and
// again, and notices links that went and came back.
func (s *Server) attach(n *network, now time.Time) {
	if !n.eng.active() || n.svc.Link == "" {
		s.detach(n)
		s.dropSpace(n.svc.NS, n)
		n.err = nil
		return
	}
	sp := s.space(n.svc.NS, now)
	if sp.t == nil {
		return
	}
	index, err := sp.t.Index(n.svc.Link)
	if err != nil {
		index = 0
		if !errors.Is(err, unix.ENODEV) {
			n.err = err
		}
	}
	if index != 0 {
		sp.seen = now
	}
	if index == n.index {
		return
	}
	s.detach(n)
	if index == 0 {
		s.cfg.Log.Debug("link is gone", "link", n.svc.Link, "ns", n.svc.NS)
		return
	}
	if n.err != nil && now.Sub(n.tried) < retryPort && !now.Before(n.tried) {
		return
	}
	n.tried = now
	if err := sp.t.Join(n.svc.Link, index); err != nil {
		if !errors.Is(err, unix.ENODEV) {
			if n.err == nil || n.err.Error() != err.Error() {
				s.cfg.Log.Warn("cannot listen", "link", n.svc.Link, "ns", n.svc.NS, "err", err)
			}
			n.err = err
		}
		return
	}
	n.index, n.err = index, nil
	sp.byIndex[index] = n
}

// detach forgets the network's link.
func (s *Server) detach(n *network) {
	if n.index == 0 {
		return
	}
	if sp := s.spaces[n.svc.NS]; sp != nil {
		if sp.t != nil {
			sp.t.Leave(n.index)
		}
		if sp.byIndex[n.index] == n {
			delete(sp.byIndex, n.index)
		}
	}
	n.index = 0
}

// space returns the namespace's sockets, opened if need be and anew if all its
// links have been missing.
func (s *Server) space(ns string, now time.Time) *space {
	sp := s.spaces[ns]
	if sp != nil {
		stale := ns != "" && sp.t != nil && len(sp.byIndex) == 0 && now.Sub(sp.seen) > reopenAfter
		broken := sp.t == nil && now.Sub(sp.opened) >= retryOpen
		if !stale && !broken && !now.Before(sp.opened) {
			return sp
		}
		if len(sp.byIndex) > 0 { // only the clock was set back
			sp.opened, sp.seen = now, now
			return sp
		}
		if sp.t != nil {
			_ = sp.t.Close()
		}
	}
	last := sp
	sp = &space{ns: ns, opened: now, seen: now, byIndex: make(map[int]*network)}
	recv := func(index int, from netip.Addr, b []byte) { s.received(sp, index, from, b) }
	sp.t, sp.err = s.open(func(f func() error) error { return s.cfg.InNS(ns, f) }, recv)
	if sp.err != nil {
		sp.t = nil
		if last == nil || last.err == nil || last.err.Error() != sp.err.Error() {
			s.cfg.Log.Warn("cannot listen", "ns", ns, "err", sp.err)
		}
	}
	s.spaces[ns] = sp
	return sp
}

// dropSpace closes the namespace's sockets if no active network but n uses
// them.
func (s *Server) dropSpace(ns string, n *network) {
	sp := s.spaces[ns]
	if sp == nil {
		return
	}
	for _, other := range s.nets {
		if other != n && other.svc.NS == ns && other.eng.active() {
			return
		}
	}
	if sp.t != nil {
		_ = sp.t.Close()
	}
	delete(s.spaces, ns)
}
