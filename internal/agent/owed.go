package agent

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// owed gives leases without asking the store: in the parts of the ranges that
// this host holds nobody else gives any, so all that is needed before a guest
// is answered is that its lease survives us. That is the journal's job, which
// makes all leases of a moment durable at once. What was given is then owed to
// the store, which follows at its own pace: while guests come in numbers, with
// a twenty-fifth of the time.
//
// It also carries leases that need no journal: of addresses that a guest has
// anyway, ports and reservations, which are written for people to read; and of
// addresses that guests chose themselves in the prefix of an uplink, which cannot
// wait for the store, and are lost only with their guest's silence.
type owed struct {
	c    *claims
	wake chan struct{}

	mu     sync.Mutex
	j      *journal // nil: leases are not given this way
	queue  []pledge
	spare  []pledge // room for the next queue
	debts  map[leaseKey]*debt
	due    []leaseKey // in the order in which they were given
	last   time.Time  // when a guest last came
	next   time.Time  // before which nothing is paid
	writes bool       // the journal is being written
}

// pledge is a lease that is to be made durable here.
type pledge struct {
	lease vnet.Lease
	entry []byte // of the lease, once it is in the journal
	ended bool
	done  func(error)
}

// debt is a lease that the store is owed. After a burst there are many, so it is
// kept as the journal has it.
type debt struct {
	entry     []byte
	updated   time.Time
	journaled bool
	learnt    bool // a guest was seen with the address
	sent      bool // the store may have heard of it
}

// lease is what is owed.
func (d *debt) lease() vnet.Lease {
	l, _ := givenIn(d.entry)
	return l
}

const (
	// payBatch is how many leases the store is told at a time.
	payBatch = 24
	// payBusy is how long after a guest came we are busy, payFactor how many
	// times as long as paying took we then wait.
	payBusy   = 200 * time.Millisecond
	payFactor = 24
	payAgain  = time.Second // after the store did not answer
	// keptPledges is for how many pledges room is kept.
	keptPledges = 512
)

// newOwed takes up what a process before us gave; without a directory it gives
// nothing.
func newOwed(c *claims, dir string) *owed {
	o := &owed{c: c, debts: map[leaseKey]*debt{}, wake: make(chan struct{}, 1)}
	if dir == "" {
		return o
	}
	j, given, err := openJournal(filepath.Join(dir, "agent-claims.journal"))
	if err != nil {
		c.log.Error("leases are given only with the store's word", "error", err)
		return o
	}
	o.j = j
	now := c.now()
	for k, l := range given {
		if expired(l.Expires, now) {
			continue
		}
		entry, err := appendGiven(nil, &l)
		if err != nil {
			continue // it was read from one
		}
		o.owe(k, &debt{entry: entry, updated: l.Updated, journaled: true})
		c.said[k] = saidBy(&l)
	}
	if n := len(o.due); n > 0 {
		c.log.Info("leases are owed to the store", "leases", n)
	}
	return o
}

// give makes a lease durable here, and reports false if that is not ours to do.
func (o *owed) give(l vnet.Lease, done func(error)) bool {
	k := leaseKey{l.Network, l.Address}
	if l.Length > 0 || !o.c.index.holds(l.Network, l.Address) || o.c.index.ownerOf(l.Network, l.Address) != "" || o.c.others(k) {
		return false
	}
	l = o.c.complete(l)
	if l.Subnet == "" {
		return false
	}
	o.c.keep(&l)
	return o.pledge(pledge{lease: l, done: done})
}

// pledge queues for the journal; it reports false if there is none.
func (o *owed) pledge(p pledge) bool {
	o.mu.Lock()
	if o.j == nil {
		o.mu.Unlock()
		return false
	}
	o.queue = append(o.queue, p)
	if !p.ended {
		o.last = time.Now()
	}
	o.mu.Unlock()
	poke(o.wake)
	return true
}

// poke wakes whoever waits for it; once is enough.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// note has the store told of a lease that needs no word of it, unless it knows
// as much already.
func (o *owed) note(l vnet.Lease) {
	if !o.c.toldOf(&l) {
		o.enter(o.c.complete(l), false)
	}
}

// enter has the store told of a complete lease until it answers.
func (o *owed) enter(l vnet.Lease, learnt bool) bool {
	entry, err := appendGiven(nil, &l)
	if err != nil {
		o.c.log.Warn("a lease is not told", "address", l.Address, "error", err)
		return false
	}
	o.c.keep(&l)
	o.mu.Lock()
	o.last = time.Now()
	o.owe(leaseKey{l.Network, l.Address}, &debt{entry: entry, updated: l.Updated, learnt: learnt})
	o.mu.Unlock()
	poke(o.c.wake)
	return true
}

// owe enters a debt; locked.
func (o *owed) owe(k leaseKey, d *debt) {
	if o.debts[k] == nil {
		o.due = append(o.due, k)
	}
	o.debts[k] = d
}

// end forgets a lease that was given back, also should we be started again. It
// reports whether the lease was owed and the store has heard nothing of it.
func (o *owed) end(k leaseKey) (untold bool) {
	o.mu.Lock()
	if d := o.debts[k]; d != nil && !d.sent {
		l := d.lease()
		untold = l.Created.Equal(l.Updated) // else it was claimed before
	}
	o.settled(k)
	o.mu.Unlock()
	if o.c.index.holds(k.network, k.addr) {
		o.pledge(pledge{lease: vnet.Lease{Network: k.network, Address: k.addr}, ended: true})
	}
	return untold
}

// settle drops the debt of an address of which the store knows something newer.
func (o *owed) settle(k leaseKey, updated time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.debts[k]; d != nil && updated.After(d.updated) {
		o.settled(k)
	}
}

// settled drops a debt; locked.
func (o *owed) settled(k leaseKey) {
	if delete(o.debts, k); len(o.debts) == 0 {
		o.debts = map[leaseKey]*debt{} // a map never shrinks, and after a burst this one is large
	}
}

// of lists what was given in a network and the store may not know.
func (o *owed) of(network vnet.ID) []vnet.Lease {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []vnet.Lease
	for k, d := range o.debts {
		if k.network == network && d.journaled {
			out = append(out, d.lease())
		}
	}
	return out
}

// run writes the journal until ctx ends. While one write is on its way the next
// one gathers; the servers answer beside it.
func (o *owed) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		for batch := o.take(); len(batch) > 0; batch = o.take() {
			o.write(batch)
		}
	}
}

func (o *owed) take() []pledge {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writes = len(o.queue) > 0; !o.writes {
		return nil
	}
	batch := o.queue
	o.queue, o.spare = o.spare, nil
	return batch
}

// write makes a batch durable. If the disk fails, the store is asked from then
// on.
func (o *owed) write(batch []pledge) {
	err := o.keep(batch)
	if err != nil {
		o.c.log.Error("the journal of claims failed; leases are given only with the store's word from now on", "error", err)
		o.mu.Lock()
		o.j = nil
		o.mu.Unlock()
		for _, p := range batch {
			if !p.ended {
				o.c.Commit(p.lease, p.done)
			}
		}
		return
	}
	var shared []vnet.Lease
	o.mu.Lock()
	for i := range batch {
		if p := &batch[i]; !p.ended {
			o.owe(leaseKey{p.lease.Network, p.lease.Address}, &debt{entry: p.entry, updated: p.lease.Updated, journaled: true})
			if o.c.index.shared(p.lease.Network, p.lease.Address) {
				shared = append(shared, p.lease)
			}
		}
	}
	o.mu.Unlock()
	if len(shared) > 0 {
		o.c.given(shared)
	}
	for i := range batch {
		if p := &batch[i]; !p.ended {
			p.done(nil)
		}
	}
	clear(batch)
	o.mu.Lock()
	if cap(batch) <= keptPledges {
		o.spare = batch[:0]
	}
	o.mu.Unlock()
	poke(o.c.wake)
}

// keep writes the batch to the file, beginning the file anew if it has grown
// too long. Only the goroutine of run calls it.
func (o *owed) keep(batch []pledge) error {
	if o.j.full {
		if err := o.j.rewrite(o.journaled()); err != nil {
			return err
		}
	}
	for i := range batch {
		p := &batch[i]
		err := error(nil)
		if p.ended {
			err = o.j.forget(ending{p.lease.Network, p.lease.Address})
		} else {
			p.entry, err = o.j.give(&p.lease)
		}
		if err != nil {
			return err
		}
	}
	return o.j.write()
}

// journaled are the entries of what is owed.
func (o *owed) journaled() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([][]byte, 0, len(o.debts))
	for _, d := range o.debts {
		if d.journaled {
			out = append(out, d.entry)
		}
	}
	return out
}

// pay tells the store some of what it is owed, if it is time, and returns when
// it wants to be called again; 0: when there is something new.
func (o *owed) pay(ctx context.Context) time.Duration {
	o.mu.Lock()
	if wait := time.Until(o.next); wait > 0 && len(o.due) > 0 {
		o.mu.Unlock()
		return wait
	}
	batch := o.batch()
	o.mu.Unlock()
	if len(batch) == 0 {
		return 0
	}
	put := make([]vnet.Object, len(batch))
	for i, d := range batch {
		l := d.lease()
		o.c.known(&l)
		put[i] = &l
	}
	begun := time.Now()
	errs := o.c.store.Claim(ctx, put, nil)
	took := time.Since(begun)
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, d := range batch {
		o.paid(put[i].(*vnet.Lease), d, errs[i])
	}
	o.next = time.Time{}
	if time.Since(o.last) < payBusy {
		o.next = time.Now().Add(payFactor * took)
	}
	for _, err := range errs {
		if err != nil && !final(err) {
			o.next = time.Now().Add(payAgain)
		}
	}
	if len(o.debts) == 0 && len(o.queue) == 0 && !o.writes && o.j != nil {
		if err := o.j.rewind(); err != nil {
			o.c.log.Warn("the journal of claims is not shortened", "error", err)
		}
	}
	return max(time.Microsecond, time.Until(o.next))
}

// batch takes the oldest debts off the queue; locked.
func (o *owed) batch() []*debt {
	var out []*debt
	n := 0
	for ; n < len(o.due) && len(out) < payBatch; n++ {
		if d := o.debts[o.due[n]]; d != nil {
			d.sent = true
			out = append(out, d)
		}
	}
	if o.due = o.due[n:]; len(o.due) == 0 {
		o.due = nil
	}
	return out
}

// paid notes the store's answer about a debt; locked.
func (o *owed) paid(l *vnet.Lease, d *debt, err error) {
	k := leaseKey{l.Network, l.Address}
	now := o.debts[k]
	switch {
	case now == nil: // given back meanwhile
	case err != nil && !final(err), now != d:
		o.due = append(o.due, k) // again, or newer
	default:
		o.settled(k)
		if err != nil && (d.journaled || d.learnt) {
			go o.c.lost(*l, err)
		}
	}
}

// final reports whether an error of a claim will not go away.
func final(err error) bool {
	switch vnet.KindOf(err) {
	case vnet.ErrExists, vnet.ErrNotFound, vnet.ErrInvalid:
		return true
	}
	return false
}
