package ndproxy

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// findLife is how long somebody has to say that an address is its own before
	// it is given to a guest. It is less than RETRANS_TIMER, since a guest waits
	// for it and does duplicate address detection of its own.
	findLife = 300 * time.Millisecond
	// maxFinds bounds the addresses that are looked for at the same time; what
	// comes beyond it is given as if nobody had it.
	maxFinds = 64
)

// finding is an address that is looked for before a guest gets it.
type finding struct {
	side int // of the guest's network
	end  time.Duration
}

// answered says who has an address that was looked for; zero: nobody.
type answered struct {
	addr netip.Addr
	by   vnet.MAC
}

// find looks for whoever has an address that a network is about to give. It
// returns who is known to, or that it has to be awaited. What the network does
// not share, or its guest has already, is not looked for.
func (e *engine) find(a netip.Addr, network vnet.ID, now time.Duration) (o *output, by vnet.MAC, wait bool) {
	o = e.begin(now)
	n, ok := e.byNetwork[network]
	p := e.sharedOf(a, n)
	if !ok || p == nil {
		return o, by, false
	}
	if g := e.guests[a]; g != nil && g.side == n {
		return o, by, false
	} else if g != nil {
		return o, e.sides[g.side].mac, false
	}
	if e.own[a] {
		return o, e.sides[0].mac, false
	}
	if by, ok = e.outside.get(0, a, now); ok {
		return o, by, false
	}
	if _, asked := e.finds[a]; asked {
		return o, by, true
	}
	if len(e.finds) >= maxFinds || !e.carry(a, n, p, true, nil) {
		return o, by, false
	}
	e.finds[a] = finding{n, now + findLife}
	return o, by, true
}

// has ends looking for an address: somebody on another side has it, or wants it
// at the same time.
func (e *engine) has(on int, a netip.Addr, mac vnet.MAC) {
	if f, ok := e.finds[a]; ok && f.side != on {
		delete(e.finds, a)
		e.out.found = append(e.out.found, answered{a, mac})
	}
}

// giveUp ends looking for what nobody has until a moment.
func (e *engine) giveUp(until time.Duration) {
	for a, f := range e.finds {
		if f.end <= until {
			delete(e.finds, a)
			e.out.found = append(e.out.found, answered{addr: a})
		}
	}
}

// asked are those who wait to hear who has an address.
type asked map[netip.Addr][]func(by vnet.MAC)

// Find asks outside, and in other networks, who has an address that a network
// is about to give a guest, and calls done with the MAC of whoever does, zero
// if nobody answers soon: once, maybe before it returns, maybe in another
// goroutine, and never after Close.
func (s *Server) Find(network vnet.ID, a netip.Addr, done func(by vnet.MAC)) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	for _, up := range s.uplinks {
		o, by, wait := up.engine.find(a, network, s.cfg.Boot())
		s.do(up, o)
		if wait {
			up.asked[a] = append(up.asked[a], done)
			s.flush()
			s.poke()
			s.mu.Unlock()
			return
		}
		if !by.IsZero() {
			s.mu.Unlock()
			done(by)
			return
		}
	}
	s.mu.Unlock()
	done(vnet.MAC{})
}

// answer has those called soon who wait for an answer.
func (s *Server) answer(up *uplink, all []answered) {
	for _, x := range all {
		for _, done := range up.asked[x.addr] {
			s.answers = append(s.answers, func() { done(x.by) })
		}
		delete(up.asked, x.addr)
	}
}

// answerAll answers for an uplink that ends: nobody is found there any more.
func (s *Server) answerAll(up *uplink) {
	for a := range up.asked {
		s.answer(up, []answered{{addr: a}})
	}
}
