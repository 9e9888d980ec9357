package dhcp

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Probe asks whether somebody on the link has an address already; the engine,
// which is a Prober, waits for Probed.
type Probe struct {
	Token   uint64
	Address netip.Addr
}

// Prober is an Engine that has addresses looked for.
type Prober interface {
	// Probed is told whether somebody answered for the address.
	Probed(p Probe, taken bool, now time.Time) Effects
}

// Finder is a Transport that can look for an address.
type Finder interface {
	// Find asks on a link, as src, who has the address, and calls done exactly
	// once, from any goroutine, also before Find returns: with true as soon as
	// anybody answers, with false if nobody did in time. A transport that was
	// closed may call it no more.
	Find(index int, src vnet.MAC, a netip.Addr, done func(taken bool))
}

// find has an address looked for. Where that cannot be done nobody has it.
func (s *Server) find(n *listen.Network[Engine], p Probe) {
	s.nets.Lock()
	t, index, ok := s.nets.Out(n)
	src := n.Service().MAC
	s.nets.Unlock()
	f, can := Transport(t).(Finder)
	if !ok || !can {
		s.probed(n, p, false)
		return
	}
	f.Find(index, src, p.Address, func(taken bool) { s.probed(n, p, taken) })
}

// probed tells the engine how a probe went.
func (s *Server) probed(n *listen.Network[Engine], p Probe, taken bool) {
	s.nets.Lock()
	e, ok := n.Engine.(Prober)
	if !ok || !s.nets.Has(n) {
		s.nets.Unlock()
		return
	}
	if taken {
		s.cfg.Log.Info("address is in use by somebody who was not given it", "address", p.Address, "network", n.Service().Name)
	}
	out := e.Probed(p, taken, s.now())
	s.send(n, out.Send)
	after := s.carryOut(n, out)
	s.nets.Unlock()
	if after != nil {
		after()
	}
}
