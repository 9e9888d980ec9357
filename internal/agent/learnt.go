package agent

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// isLearnt reports whether a lease is of an address that a guest was seen with.
func isLearnt(how vnet.How) bool { return how == vnet.HowSLAAC || how == vnet.HowFixed }

// claimLearnt claims an address that a guest was seen with. One that is nobody's
// yet in the prefix of an uplink is the guest's at once, and owed to the store;
// of others nothing depends on the claim but what people read.
func (a *Agent) claimLearnt(l vnet.Lease) {
	if !a.snap.Shares(l.Network, l.Address) {
		a.claim.Commit(l, func(err error) {
			if err != nil {
				a.do(func() { a.unlearn(&l, err) })
			}
		})
		return
	}
	if claimed, ok := a.claim.owed.learnt(l); ok {
		a.lend(&claimed)
	}
}

// unlearn takes in that the store does not let a guest have what it was seen
// with.
func (a *Agent) unlearn(l *vnet.Lease, err error) {
	a.log.Info("learnt address not kept", "address", l.Address, "error", err)
	if l.ID != "" { // else it was not lent
		a.retract(leaseKey{l.Network, l.Address}, l.ID)
		a.claim.forget(pack.Of(l))
	}
	a.ears.engine.Refused(l.Network, l.Address)
}

// learnt has the store asked for an address that a guest was seen with. It
// returns the claim, and false if the guest has the address by a lease.
func (o *owed) learnt(l vnet.Lease) (claim vnet.Lease, ok bool) {
	o.mu.Lock()
	d := o.debts[leaseKey{l.Network, l.Address}]
	o.mu.Unlock()
	if d != nil && d.journaled {
		return l, false
	}
	l = o.c.complete(l)
	return l, o.enter(l, true)
}

// resume takes up what a process before us had learnt and the store was not
// told. What was given is in the journal.
func (o *owed) resume(all []vnet.Lease) {
	for _, l := range all {
		if isLearnt(l.How) && o.c.holder(l.Network, l.Address) == "" {
			o.enter(l, true)
		}
	}
}

// owes reports whether the store is owed what was said of an address at a time,
// or later.
func (o *owed) owes(k leaseKey, updated time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.debts[k]
	return d != nil && !d.updated.Before(updated)
}

// within lists what is owed of some addresses.
func (o *owed) within(of func(network vnet.ID, a netip.Addr) bool) []vnet.Lease {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []vnet.Lease
	for k, d := range o.debts {
		if (d.journaled || d.learnt) && of(k.network, k.addr) {
			out = append(out, d.lease())
		}
	}
	return out
}
