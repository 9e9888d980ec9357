package ladder

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// inTime returns assignments with their deadlines moved with a wall clock that
// was set. Since stays: it orders them.
func inTime(held []vnet.PrefixAssignment, set time.Duration) []vnet.PrefixAssignment {
	if set == 0 {
		return held
	}
	held = slices.Clone(held)
	for i := range held {
		for _, t := range []*time.Time{&held[i].PreferredUntil, &held[i].ValidUntil} {
			if !t.IsZero() {
				*t = t.Add(set)
			}
		}
	}
	return held
}

// claimMoved has what stays be written with its moved deadlines.
func (d *decider) claimMoved() {
	if d.in.ClockSet == 0 {
		return
	}
	for _, h := range d.out.Held {
		claimed := slices.ContainsFunc(d.out.Claim, func(c vnet.PrefixAssignment) bool { return c.ID == h.ID })
		if h.ID != "" && !claimed && !(h.PreferredUntil.IsZero() && h.ValidUntil.IsZero()) {
			d.out.Claim = append(d.out.Claim, h)
		}
	}
}
