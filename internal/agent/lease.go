package agent

import (
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// putLease takes a lease that came or changed into the snapshot.
func (a *Agent) putLease(l *pack.Lease) {
	if a.outdated(l) {
		a.learn(l)
		return
	}
	if was := a.snap.Lease(l.ID()); was != nil {
		a.touchLease(was)
		if w := was.Whole(); !w.SameGuest(l.Whole()) {
			a.past.ended(w, l.Updated())
		}
	}
	a.snap.PutLease(l)
	a.touchLease(l)
	a.learn(l)
	a.ears.lease(l)
}

// learn tells claims and servers of a lease that the store has. What we gave
// ourselves is no news to the servers: they only share the lease from then on.
func (a *Agent) learn(l *pack.Lease) {
	if a.claim.learn(l) {
		a.srv.lease(l)
	} else {
		a.srv.share(l)
	}
}

// removeLease takes a lease out of the snapshot that the store has no more.
func (a *Agent) removeLease(id vnet.ID) {
	l := a.snap.Lease(id)
	if l == nil || a.lapsed(l) {
		return
	}
	a.touchLease(l)
	a.snap.Delete(vnet.Ref{Kind: vnet.KindLease, ID: id})
	if !expired(l.Expires(), a.cfg.Now()) {
		a.srv.leaseGone(l)
	}
	a.claim.forget(l)
	a.ears.released(l)
	a.past.ended(l.Whole(), l.Expires())
}

// touchLease marks what depends on a lease: the names of its network, and the
// route of a delegated prefix, or of an address in the prefix of an uplink.
func (a *Agent) touchLease(l *pack.Lease) {
	for _, r := range a.snap.AffectedByLease(l) {
		a.dirty[r] = true
	}
	a.renamed(l.Network())
}
