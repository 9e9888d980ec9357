package dhcp

import (
	"sync"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// verdict is how a claim went.
type verdict struct {
	n   *listen.Network[Engine]
	c   *Claim
	err error
}

// verdicts are those of which the engines are to be told. Many come at once,
// from somebody who has more to do than to wait for us.
type verdicts struct {
	mu      sync.Mutex
	queue   []verdict
	telling bool // somebody is
}

// committed has the client answered whose claim was made. It does not block.
func (s *Server) committed(v verdict) {
	s.verdicts.mu.Lock()
	defer s.verdicts.mu.Unlock()
	s.verdicts.queue = append(s.verdicts.queue, v)
	if !s.verdicts.telling {
		s.verdicts.telling = true
		go s.tellVerdicts()
	}
}

// tellVerdicts tells the engines what they wait for, in the order in which it
// came, until there is nothing more.
func (s *Server) tellVerdicts() {
	var spare []verdict
	for {
		s.verdicts.mu.Lock()
		all := s.verdicts.queue
		s.verdicts.queue, s.verdicts.telling = spare, len(all) > 0
		s.verdicts.mu.Unlock()
		if len(all) == 0 {
			return
		}
		s.tell(all)
		clear(all)
		spare = all[:0]
	}
}

// tell takes the lock once for all, so that the answers go out together.
func (s *Server) tell(all []verdict) {
	var afters []func()
	s.nets.Lock()
	for _, v := range all {
		if !s.nets.Has(v.n) {
			continue
		}
		if v.err != nil {
			s.cfg.Log.Warn("lease not claimed", "address", v.c.Lease.Address, "network", v.n.Service().Name, "err", v.err)
		}
		out := v.n.Engine.Committed(*v.c, v.err, s.now())
		s.send(v.n, out.Send)
		if after := s.carryOut(v.n, out); after != nil {
			afters = append(afters, after)
		}
	}
	s.nets.Unlock()
	for _, after := range afters {
		after()
	}
}
