package radv

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// attach finds the network's link and joins its solicitations; it is called
// again and again, and notices links that went and came back.
func (s *Server) attach(n *network, now Instant) {
	if !n.svc.RA.Send || n.svc.Link == "" {
		s.detach(n)
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
		sp.seen = now.Boot
	}
	if index == n.index {
		return
	}
	s.detach(n)
	if index == 0 {
		s.cfg.Log.Debug("link is gone", "link", n.svc.Link, "ns", n.svc.NS)
		return
	}
	if err := sp.t.Join(index); err != nil {
		if !errors.Is(err, unix.ENODEV) {
			n.err = err
		}
		return
	}
	n.index, n.err = index, nil
	sp.byIndex[index] = n
	n.eng.setLink(true, now)
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
	n.eng.setLink(false, s.now())
}

// space returns the namespace's socket, opened if need be and anew if all its
// links have been missing.
func (s *Server) space(ns string, now Instant) *space {
	sp := s.spaces[ns]
	if sp != nil {
		stale := ns != "" && sp.t != nil && len(sp.byIndex) == 0 && now.Boot-sp.seen > reopenAfter
		broken := sp.t == nil && now.Boot-sp.opened >= retryOpen
		if !stale && !broken {
			return sp
		}
		if sp.t != nil {
			_ = sp.t.Close()
		}
	}
	sp = &space{ns: ns, opened: now.Boot, seen: now.Boot, byIndex: make(map[int]*network)}
	recv := func(index int, from netip.Addr, hopLimit int, b []byte) {
		s.received(sp, index, from, hopLimit, b)
	}
	sp.t, sp.err = s.open(func(f func() error) error { return s.cfg.InNS(ns, f) }, recv)
	if sp.err != nil {
		sp.t = nil
	}
	s.spaces[ns] = sp
	return sp
}

// dropSpace closes the namespace's socket if no network but n uses it.
func (s *Server) dropSpace(ns string, n *network) {
	sp := s.spaces[ns]
	if sp == nil {
		return
	}
	for _, other := range s.nets {
		if other != n && other.svc.NS == ns {
			return
		}
	}
	if sp.t != nil {
		_ = sp.t.Close()
	}
	delete(s.spaces, ns)
}
