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
	// Probed is told who answered for the address; zero: nobody.
	Probed(p Probe, by vnet.MAC, now time.Time) Effects
}

// Finder is a Transport that can look for an address.
type Finder interface {
	// Find asks on a link, as src, who has the address, and calls done exactly
	// once, from any goroutine, also before Find returns: with the MAC of the
	// first who answers, as soon as it does, or zero if nobody did in time. A
	// transport that was closed may call it no more.
	Find(index int, src vnet.MAC, a netip.Addr, done func(by vnet.MAC))
}

// find has an address looked for. Where that cannot be done nobody has it.
func (s *Server) find(n *listen.Network[Engine], p Probe) {
	s.nets.Lock()
	t, index, ok := s.nets.Out(n)
	src := n.Service().MAC
	s.nets.Unlock()
	f, can := Transport(t).(Finder)
	if !ok || !can {
		s.probed(n, p, vnet.MAC{})
		return
	}
	f.Find(index, src, p.Address, func(by vnet.MAC) { s.probed(n, p, by) })
}

// probed tells the engine how a probe went.
func (s *Server) probed(n *listen.Network[Engine], p Probe, by vnet.MAC) {
	s.nets.Lock()
	e, ok := n.Engine.(Prober)
	if !ok || !s.nets.Has(n) {
		s.nets.Unlock()
		return
	}
	if !by.IsZero() {
		s.cfg.Log.Info("an address of a range is in use already", "address", p.Address, "mac", by, "network", n.Service().Name)
	}
	out := e.Probed(p, by, s.now())
	s.send(n, out.Send)
	after := s.carryOut(n, out)
	s.nets.Unlock()
	if after != nil {
		after()
	}
}
