package listen

import "time"

// Poke makes Run look again: a network wants to work earlier than it said.
func (s *Networks[E, T]) Poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Soon makes Run look again within PollLinks: what happened may have made
// something due. Locked.
func (s *Networks[E, T]) Soon() {
	s.busy = true
	if s.asleep {
		s.asleep = false
		s.Poke()
	}
}

// Run keeps links and what is due, until Close.
func (s *Networks[E, T]) Run() {
	defer close(s.done)
	timer := time.NewTimer(PollLinks)
	defer timer.Stop()
	var alarm *Alarm
	var rings <-chan struct{}
	if s.clock {
		if a, err := NewAlarm(); err == nil {
			alarm, rings = a, a.C()
			defer a.Close()
		}
	}
	for {
		select {
		case <-timer.C:
		case <-rings:
		case <-s.wake:
		}
		wait, ok := s.pass()
		if !ok {
			return
		}
		if alarm == nil || alarm.Set(wait) != nil {
			timer.Reset(min(wait, PollLinks))
		}
	}
}

// pass looks at what is due and at the links that are missing or may have
// changed, now and then at all of them, and says how long to sleep.
func (s *Networks[E, T]) pass() (wait time.Duration, ok bool) {
	s.Lock()
	defer s.Unlock()
	if s.closed {
		return 0, false
	}
	now := s.cfg.Boot()
	wait = CompareLinks
	if s.busy || !s.watched() {
		wait = PollLinks
	}
	s.busy, s.asleep = false, wait > PollLinks
	all := now-s.polled >= wait
	if all {
		s.polled = now
	}
	changed := s.changed()
	for _, n := range s.nets {
		if all || n.index == 0 || changed[n.svc.NS] {
			s.attach(n, now)
		}
		wait = min(wait, s.again(n))
		if due := s.cfg.Work(n); due > 0 {
			wait = min(wait, due)
		}
	}
	return wait, true
}

// watched reports whether it is told when links change, wherever sockets are
// open.
func (s *Networks[E, T]) watched() bool {
	for _, sp := range s.spaces {
		if sp.open && sp.unwatch == nil {
			return false
		}
	}
	return true
}

// changed returns the namespaces whose links changed since it was last called.
func (s *Networks[E, T]) changed() map[string]bool {
	var names map[string]bool
	for ns, sp := range s.spaces {
		if sp.changed.Swap(false) {
			if names == nil {
				names = map[string]bool{}
			}
			names[ns] = true
		}
	}
	return names
}

// again returns in how long a network's link is to be looked for again, if all
// is as it is now.
func (s *Networks[E, T]) again(n *Network[E]) time.Duration {
	sp := s.spaces[n.svc.NS]
	switch {
	case n.index != 0 || !s.cfg.Active(n.Engine):
		return CompareLinks
	case n.Err != nil: // somebody holds the port
		return PollLinks
	case sp == nil || !sp.open || sp.unwatch == nil:
		return pollMissing
	case n.svc.NS != "" && len(sp.byIndex) == 0: // it may be another namespace
		return PollLinks
	}
	return CompareLinks
}
