package attach

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Shared is a NIC that is in a bridge of ours, or was to be.
type Shared struct {
	NIC    string
	Bridge string // "" if it is not shared now
	Until  time.Time
	// Lapsed: the time to confirm is over, by whichever clock says so first.
	Lapsed bool
	// Loose: the NIC is not in its bridge.
	Loose bool
	// Ended says that the attempt that was to be confirmed until Until is over,
	// and Why.
	Ended bool
	Why   string
}

// Shared lists what the record says, by NIC.
func (h *Host) Shared() []Shared {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Shared
	for _, nic := range slices.Sorted(maps.Keys(h.rec.NICs)) {
		e := h.rec.NICs[nic]
		s := Shared{NIC: nic, Bridge: e.Bridge, Until: e.Until, Lapsed: h.lapsed(e), Ended: e.Phase == phaseOver, Why: e.Why}
		if s.Ended {
			s.Bridge = ""
		} else {
			s.Loose = h.loose(nic, e)
		}
		out = append(out, s)
	}
	return out
}

// loose reports whether a NIC that was unplugged is back and not in its bridge.
func (h *Host) loose(nic string, e *entry) bool {
	c, err := h.spaces.Conn("")
	if err != nil || e.Phase != phaseShared {
		return false
	}
	d, found, err := ask(c, nic, 0)
	return err == nil && found && d.master == 0
}

// Want is what is wished of a NIC.
type Want struct {
	Shared bool
	Until  time.Time // to be confirmed until then; zero: confirmed
	Why    string    // it is not shared, for people
}

// Holds reports whether the NIC is as wished.
func (s Shared) Holds(w Want) bool {
	if !w.Shared {
		return s.Bridge == "" && (!s.Ended || s.Until.Equal(w.Until))
	}
	return s.Bridge != "" && !s.Loose && (s.Until.IsZero() || s.Until.Equal(w.Until))
}

// Set makes the NIC as it is wished.
func (h *Host) Set(ctx context.Context, nic string, w Want) error {
	s := Shared{NIC: nic}
	for _, o := range h.Shared() {
		if o.NIC == nic {
			s = o
		}
	}
	switch {
	case !w.Shared && s.Bridge != "":
		return h.Unshare(nic, w.Why)
	case !w.Shared:
		return h.Forget(nic)
	case s.Bridge == "":
		return h.Share(ctx, nic, w.Until)
	case s.Loose:
		return h.Mend(nic)
	}
	return h.keepUntil(nic, w.Until)
}

func (h *Host) lapsed(e *entry) bool {
	return !e.Until.IsZero() && (!h.opt.Now().Before(e.Until) || e.Clock > 0 && h.opt.SinceBoot() >= e.Clock)
}

// keepUntil gives a shared NIC another deadline, none if it is confirmed.
func (h *Host) keepUntil(nic string, until time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.rec.NICs[nic]
	if e == nil || e.Phase != phaseShared || e.Until.Equal(until) {
		return nil
	}
	old := *e
	e.Until, e.Clock = until, h.clockAt(until)
	if err := h.rec.save(h.dir); err != nil {
		*e = old
		return err
	}
	return nil
}

// clockAt is a deadline by the time since the host was started.
func (h *Host) clockAt(until time.Time) time.Duration {
	if until.IsZero() {
		return 0
	}
	return h.opt.SinceBoot() + until.Sub(h.opt.Now())
}

// Forget drops what is remembered of an attempt that is over.
func (h *Host) Forget(nic string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.rec.NICs[nic]; e == nil || e.Phase != phaseOver {
		return nil
	}
	delete(h.rec.NICs, nic)
	return h.rec.save(h.dir)
}
