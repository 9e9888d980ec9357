package listen

import (
	"context"
	"net/netip"
)

// Speaker is a Transport that only queues what is to be sent. It goes out when
// the networks are unlocked: the others need not wait for the kernel meanwhile.
type Speaker interface {
	// Spoken appends the outboxes in which messages were queued since the last
	// call; locked. A Speaker sends what is queued before it closes a socket.
	Spoken(to []*Outbox) []*Outbox
}

// speaks notes that something may be sent in a namespace.
func (s *Networks[E, T]) speaks(sp *space[E, T]) {
	if !sp.speaks {
		sp.speaks = true
		s.speaking = append(s.speaking, sp)
	}
}

// Unlock lets go, and sends what was queued meanwhile.
func (s *Networks[E, T]) Unlock() {
	type full struct {
		sp  *space[E, T]
		box *Outbox
	}
	var some [4]full
	all := some[:0]
	for i, sp := range s.speaking {
		if t, ok := any(sp.t).(Speaker); ok {
			var room [4]*Outbox
			for _, box := range t.Spoken(room[:0]) {
				all = append(all, full{sp, box})
			}
		}
		sp.speaks, s.speaking[i] = false, nil
	}
	s.speaking = s.speaking[:0]
	s.Mutex.Unlock()
	for _, f := range all {
		f.box.Flush(func(index int, to netip.Addr, err error) { s.unsent(f.sp, index, to, err) })
	}
}

// unsent tells what could not be sent.
func (s *Networks[E, T]) unsent(sp *space[E, T], index int, to netip.Addr, err error) {
	s.Lock()
	link := ""
	if n := sp.byIndex[index]; n != nil {
		link = n.svc.Link
	}
	s.Unlock()
	s.cfg.Log.Log(context.Background(), s.cfg.Unsent, s.cfg.What+" not sent", "link", link, "ns", sp.ns, "to", to, "err", err)
}
