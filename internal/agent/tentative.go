package agent

import (
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// tentative is what is remembered of a lease that is in the snapshot before the
// store has said so. A guest's address in the prefix of an uplink leads nowhere
// without a route of its own, and guests are served while the store is away. So
// such a lease of this host is taken in when it is learnt, or in the journal; it
// is owed to the store until that answers. The store's word of it ends that: the
// lease is one like all others then.
//
// Leases of other addresses are never tentative.
type tentative struct {
	id vnet.ID
	// known says that the store has the lease, as it was before.
	known bool
	// answered is since when nothing is owed; zero: it is.
	answered time.Time
}

// wordWait is how long after the store's answer its word of a tentative lease is
// waited for: what it was told goes round by way of its updates.
const wordWait = 30 * time.Second

// given takes leases in that were given without asking the store. It is called
// from any goroutine.
func (a *Agent) given(all []vnet.Lease) {
	go a.do(func() {
		for i := range all {
			a.lend(&all[i])
		}
	})
}

// ended takes in that an address was given back at a time, in nanoseconds since
// 1970: a lease that the store never had, it will not say has gone. It is called
// from any goroutine.
func (a *Agent) ended(k leaseKey, at int64) {
	go a.do(func() {
		t := a.tentative[k]
		if t == nil {
			return
		}
		if l := a.snap.Lease(t.id); l != nil && l.Updated().UnixNano() <= at {
			a.retract(k, t.id)
		}
	})
}

// lend puts a lease that the store is owed into the snapshot, if its guest needs
// a route for it. Where somebody else has the address, the store decides.
func (a *Agent) lend(l *vnet.Lease) {
	k := leaseKey{l.Network, l.Address}
	was := a.snap.Lease(l.ID)
	switch {
	case l.Length > 0 || !a.snap.Shares(l.Network, l.Address), // needs none
		!a.claim.owed.owes(k, l.Updated),               // it was answered, or given back
		was != nil && !was.Updated().Before(l.Updated), // the store says so already
		a.claim.others(k) || a.claim.holder(k.network, k.addr) != l.ID,
		a.index.ownerOf(k.network, k.addr) != "":
		return
	}
	t := a.tentative[k]
	if t != nil && t.id != l.ID {
		a.retract(k, t.id)
		t = nil
	}
	if t == nil {
		t = &tentative{id: l.ID, known: was != nil}
		a.tentative[k] = t
	}
	t.answered = time.Time{}
	if was != nil {
		a.touchLease(was)
	}
	p := pack.Of(l)
	a.snap.PutLease(p)
	a.touchLease(p)
	a.ears.lease(p)
	a.keep.set(a.snap)
}

// retract ends that a lease is tentative, and takes it out of the snapshot if
// the store never had it.
func (a *Agent) retract(k leaseKey, id vnet.ID) {
	t := a.tentative[k]
	if t == nil || t.id != id {
		return
	}
	delete(a.tentative, k)
	l := a.snap.Lease(id)
	if l == nil || t.known {
		return
	}
	a.touchLease(l)
	a.snap.Delete(vnet.Ref{Kind: vnet.KindLease, ID: id})
	a.ears.released(l)
	a.keep.set(a.snap)
}

// isTentative reports whether the store never said anything of a lease of the
// snapshot.
func (a *Agent) isTentative(l *pack.Lease) bool {
	if len(a.tentative) == 0 {
		return false
	}
	t := a.tentative[placeOf(l)]
	return t != nil && !t.known && l.IDIs(t.id)
}

// outdated takes in that the store says something of a lease. It reports whether
// it speaks of the time before what it is owed, which then goes on.
func (a *Agent) outdated(l *pack.Lease) bool {
	if len(a.tentative) == 0 {
		return false
	}
	k := placeOf(l)
	t := a.tentative[k]
	switch {
	case t == nil:
		return false
	case !l.IDIs(t.id): // somebody else's, or ours from before
		a.retract(k, t.id)
		return false
	}
	t.known = true
	if now := a.snap.Lease(t.id); now != nil && l.Updated().Before(now.Updated()) {
		return true
	}
	delete(a.tentative, k)
	return false
}

// lapsed takes in that the store has a lease no more. It reports whether the
// guest has it anew, of which the store is about to be told.
func (a *Agent) lapsed(l *pack.Lease) bool {
	if len(a.tentative) == 0 {
		return false
	}
	k := placeOf(l)
	t := a.tentative[k]
	if t == nil || !l.IDIs(t.id) {
		return false
	}
	if !a.claim.owed.owes(k, l.Updated()) {
		delete(a.tentative, k)
		return false
	}
	t.known = false
	a.claim.lapsed(l)
	return true
}

// lendAgain puts into a new snapshot what it does not have of the one before, or
// has older, because the store was not told, or did not say so yet: at the start
// what the journal says was given.
func (a *Agent) lendAgain(before *plan.Snapshot) {
	was := a.tentative
	a.tentative = map[leaseKey]*tentative{}
	for _, l := range a.claim.owed.within(a.snap.Shares) {
		a.lend(&l)
	}
	for k, t := range was {
		l := before.Lease(t.id)
		if l == nil || a.tentative[k] != nil || a.snap.Lease(t.id) != nil || t.known || !a.snap.Shares(k.network, k.addr) ||
			a.claim.holder(k.network, k.addr) != t.id || a.claim.others(k) {
			continue
		}
		a.tentative[k] = t
		a.snap.PutLease(l)
		a.touchLease(l)
	}
}

// tendTentative lets go of leases of which the store said nothing although it was
// told of them: they were taken back in the meantime.
func (a *Agent) tendTentative(now time.Time) {
	for k, t := range a.tentative {
		l := a.snap.Lease(t.id)
		switch {
		case l != nil && a.claim.owed.owes(k, l.Updated()):
			t.answered = time.Time{}
		case t.answered.IsZero():
			t.answered = now
		case l == nil || now.Sub(t.answered) > wordWait:
			a.retract(k, t.id)
			if l != nil && !t.known {
				a.claim.forget(l)
				a.ears.engine.Refused(k.network, k.addr)
			}
		}
	}
}
