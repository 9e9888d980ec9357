package pd

import (
	"net/netip"
	"slices"
	"time"
)

// Instant is one moment on both clocks.
type Instant struct {
	Wall time.Time
	Boot time.Duration // since boot, sleep included
}

// leastJump is by how much the clocks may differ before one was set.
const leastJump = 2 * time.Second

// Follow brings the instant up to a later one, and returns by how much the wall
// clock was set meanwhile; 0: not that one could say so. Many small steps are a
// jump, too.
func (i *Instant) Follow(now Instant) (jump time.Duration) {
	passed := now.Boot - i.Boot
	if jump = now.Wall.Sub(i.Wall) - passed; jump.Abs() < leastJump {
		*i = Instant{i.Wall.Add(passed), now.Boot}
		return 0
	}
	*i = now
	return jump
}

// Held is what a provider has delegated.
type Held struct {
	Server   []byte // the delegating router's DUID
	Prefixes []Prefix
	// Renew and Rebind are T1 and T2, wall-clock; zero: never.
	Renew, Rebind time.Time
}

// Prefix is one delegated prefix.
type Prefix struct {
	Prefix netip.Prefix // masked, /64 or shorter
	// Exclude is the part that the provider uses on the link to us (RFC 6603);
	// zero: none.
	Exclude netip.Prefix
	// Preferred and Valid are wall-clock deadlines; zero: never.
	Preferred, Valid time.Time
}

// clone returns a copy that shares nothing.
func (h *Held) clone() *Held {
	if h == nil {
		return nil
	}
	c := *h
	c.Server, c.Prefixes = slices.Clone(h.Server), slices.Clone(h.Prefixes)
	return &c
}

// Shifted returns a copy whose moments are moved with a wall clock that somebody
// set.
func (h *Held) Shifted(by time.Duration) *Held {
	c := h.clone()
	if c == nil {
		return nil
	}
	moments := []*time.Time{&c.Renew, &c.Rebind}
	for i := range c.Prefixes {
		moments = append(moments, &c.Prefixes[i].Preferred, &c.Prefixes[i].Valid)
	}
	for _, m := range moments {
		if !m.IsZero() {
			*m = m.Add(by)
		}
	}
	return c
}

// valid drops the prefixes whose time is over, and reports whether any is left.
func (h *Held) valid(now time.Time) bool {
	h.Prefixes = slices.DeleteFunc(h.Prefixes, func(p Prefix) bool { return !p.Valid.IsZero() && !now.Before(p.Valid) })
	return len(h.Prefixes) > 0
}

// next is the first deadline of a prefix; ok is false for none.
func (h *Held) next() (at time.Time, ok bool) {
	for _, p := range h.Prefixes {
		if !p.Valid.IsZero() && (!ok || p.Valid.Before(at)) {
			at, ok = p.Valid, true
		}
	}
	return at, ok
}
