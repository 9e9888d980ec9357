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
	for l := range a.snap.Leases() {
		if !expired(l.Expires(), now) || l.Host() != a.cfg.Host || a.claim.overtaken(l) {
			continue
		}
		a.claim.Release(*l.Whole())
		for _, r := range a.snap.AffectedByLease(l) {
			a.dirty[r] = true // its route goes, also while the store is away
		}
	}
	a.retire(now)
}

// fragment is the plan of one owner at this moment.
func (a *Agent) fragment(r vnet.Ref) *plan.Fragment {
	if r.Kind == vnet.KindLease {
		if l := a.snap.Lease(r.ID); l != nil && expired(l.Expires(), a.cfg.Now()) {
			return &plan.Fragment{Owner: r}
		}
	}
	return plan.FragmentOf(a.snap, a.facts, r)
}

// expired reports whether a lease's time is over; zero: never.
func expired(expires, now time.Time) bool {
	return !expires.IsZero() && expires.Before(now)
}
