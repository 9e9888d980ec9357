package listen

import (
	"slices"
	"time"
)

// heard is a packet that is being handled.
type heard[E any] struct {
	Packet
	n       *Network[E] // nil: of none, or it waits
	link    string
	may     bool // wait for its guest to be heard
	unheard bool
}

// received handles packets that came together.
func (s *Networks[E, T]) received(sp *space[E, T], packets ...Packet) {
	s.handle(sp, packets, false)
}

// wait has a packet handled a little later; false if too many wait.
func (s *Networks[E, T]) wait(sp *space[E, T], p Packet) bool {
	if s.late.Add(1) > maxLate {
		s.late.Add(-1)
		return false
	}
	p.Data = slices.Clone(p.Data)
	time.AfterFunc(hearIn, func() {
		s.late.Add(-1)
		s.handle(sp, []Packet{p}, true)
	})
	return true
}

// handle handles packets one after the other; late says that they have waited.
// The lock is taken for all of them at once, and the answers go out together.
func (s *Networks[E, T]) handle(sp *space[E, T], packets []Packet, late bool) {
	var room [mostIn]heard[E]
	all := room[:0]
	s.Lock()
	for _, p := range packets {
		if n := s.listener(sp, p.Index); n != nil {
			all = append(all, heard[E]{Packet: p, n: n, link: n.svc.Link})
		}
	}
	if s.cfg.Neighbour != nil || s.cfg.Station != nil {
		for i := range all {
			all[i].may = !late && s.mayWait(all[i].n, all[i].Packet)
		}
		s.Unlock()
		// The hooks may ask the agent, which may be asking us: no lock is held.
		for i := range all {
			h := &all[i]
			s.whose(h.link, &h.Packet)
			if h.unheard = h.Heard && !h.Seen; h.unheard && h.may && s.wait(sp, h.Packet) {
				h.n = nil
			}
		}
		s.Lock()
		for i := range all {
			s.stillHeard(sp, &all[i], late)
		}
	}
	if len(all) > 0 {
		s.Soon()
	}
	var afters []func()
	for i := range all {
		if h := &all[i]; h.n != nil {
			if after := s.cfg.Heard(h.n, h.Packet); after != nil {
				afters = append(afters, after)
			}
		}
	}
	s.Unlock()
	for _, after := range afters {
		after()
	}
}

// stillHeard looks whether a packet's network is still listened on, after the
// lock was not held.
func (s *Networks[E, T]) stillHeard(sp *space[E, T], h *heard[E], late bool) {
	if h.n == nil {
		return
	}
	if h.n = s.listener(sp, h.Index); h.n != nil && h.n.svc.Link != h.link {
		h.n = nil
	}
	if h.n != nil && h.unheard && late {
		h.n.vain = s.cfg.Boot()
	}
}

// mayWait reports whether it is worth while for a packet to wait for its guest
// to be heard.
func (s *Networks[E, T]) mayWait(n *Network[E], p Packet) bool {
	if n.vain != 0 && s.cfg.Boot()-n.vain < vainFor {
		return false
	}
	return s.cfg.Known == nil || !s.cfg.Known(n, p)
}

// whose fills in who sent a packet, as far as that was seen. The MAC that a
// transport tells stays where nothing was.
func (s *Networks[E, T]) whose(link string, p *Packet) {
	var who Sender
	if s.cfg.Station == nil {
		who, p.Heard = s.cfg.Neighbour(link, p.From)
	} else {
		who, p.Heard = s.cfg.Station(link, p.MAC)
	}
	if p.Seen = who != (Sender{}); p.Seen || s.cfg.Station == nil {
		p.Sender = who
	}
}

// listener returns the network that a socket's packet is for, or nil.
func (s *Networks[E, T]) listener(sp *space[E, T], index int) *Network[E] {
	if s.closed || s.spaces[sp.ns] != sp {
		return nil
	}
	return sp.byIndex[index]
}
