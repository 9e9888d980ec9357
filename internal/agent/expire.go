package agent

import (
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// expireEvery is how often leases are looked through for ended ones.
const expireEvery = 10 * time.Second

// expire gives back this host's leases whose time is over. The servers go by
// the time themselves, and remember whose an address was.
func (a *Agent) expire(now time.Time) {
	if now.Before(a.expireAt) {
		return
	}
	a.expireAt = now.Add(expireEvery)
	for _, l := range a.snap.Leases {
		if l.Host != a.cfg.Host || !expired(l, now) || a.claim.overtaken(l) {
			continue
		}
		a.claim.Release(*l)
		if l.Length > 0 {
			a.dirty[vnet.RefOf(l)] = true // its route goes, also while the store is away
		}
	}
	a.retire(now)
}

// fragment is the plan of one owner at this moment.
func (a *Agent) fragment(r vnet.Ref) *plan.Fragment {
	if l := a.snap.Leases[r.ID]; r.Kind == vnet.KindLease && l != nil && expired(l, a.cfg.Now()) {
		return &plan.Fragment{Owner: r}
	}
	return plan.FragmentOf(a.snap, a.facts, r)
}

// expired reports whether a lease's time is over.
func expired(l *vnet.Lease, now time.Time) bool {
	return !l.Expires.IsZero() && l.Expires.Before(now)
}
