package agent

import (
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// pastEvery is how often what ended is written, pastMost how many guests' ends
// wait for that: of a flood of strangers, not all need be remembered.
const (
	pastEvery = 5 * time.Second
	pastMost  = 1024
)

// past gathers what guests had until now. What they have, the leases say, so
// that giving an address costs no second write. It belongs to the loop.
type past struct {
	host    string
	now     func() time.Time
	waiting map[vnet.ID]*vnet.LeaseHistory
	lost    int // stays of strangers that there was no room for
	next    time.Time
}

func newPast(host string, now func() time.Time) *past {
	return &past{host: host, now: now, waiting: map[vnet.ID]*vnet.LeaseHistory{}}
}

// ended notes that a lease of this host ended at the time, or now if that is
// sooner; zero: now.
func (p *past) ended(l *vnet.Lease, at time.Time) {
	if l.Host != p.host {
		return
	}
	now := p.now()
	if at.IsZero() || at.After(now) {
		at = now
	}
	h := vnet.HistoryOf(l, at.Round(0).UTC())
	if h == nil {
		return
	}
	switch old := p.waiting[h.ID]; {
	case old != nil:
		h.Merge(old)
	case len(p.waiting) >= pastMost && h.Port == "":
		p.lost++
		return
	}
	p.waiting[h.ID] = h
}

// tellPast hands what ended to the reporter.
func (a *Agent) tellPast(now time.Time) {
	p := a.past
	if len(p.waiting) == 0 || now.Before(p.next) {
		return
	}
	p.next = now.Add(pastEvery)
	for _, h := range p.waiting {
		if a.snap.Networks[h.Network] != nil { // else its history is gone with it
			a.rep.history(h)
		}
	}
	if p.lost > 0 {
		a.log.Info("more guests came and went than can be remembered", "forgotten", p.lost)
	}
	p.waiting, p.lost = map[vnet.ID]*vnet.LeaseHistory{}, 0
}

// history reports what a guest had; the store adds it to what it knows.
func (r *reporter) history(h *vnet.LeaseHistory) {
	r.mu.Lock()
	if old, ok := r.queue[h.ID].(*vnet.LeaseHistory); ok {
		h.Merge(old)
	}
	r.queue[h.ID] = h
	r.mu.Unlock()
	poke(r.wake)
}
