package agent

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// claimBatch is how many claims go to the store at a time: what one of its
// transactions holds.
const claimBatch = 64

// claims carries leases from the servers to the store, in batches, and tells
// the servers when each is durable. Its methods may be called from any
// goroutine.
type claims struct {
	store Store
	host  string
	log   *slog.Logger
	now   func() time.Time
	index *index

	mu    sync.Mutex
	queue []claim
	// held are this host's leases as the store has them, said what it was told
	// of them since.
	held *pack.Set[pack.Lease]
	said map[leaseKey]said
	// foreign are addresses that other hosts' leases hold.
	foreign map[leaseKey]vnet.ID
	// batched are the addresses of the batch that is being taken.
	batched map[leaseKey]bool
	wake    chan struct{}
	owed    *owed
	strange map[vnet.ID]int // new leases that the store was asked for, by network
	// wants is told which network had many of those.
	wants func(vnet.ID)
	// lost is told of a lease that was given, or learnt, and that the store refused.
	lost func(vnet.Lease, error)
	// given and ended are told of addresses in the prefix of an uplink: leases
	// that were given without the store, and until when what was said of an
	// address that was given back is void.
	given func([]vnet.Lease)
	ended func(k leaseKey, until int64)
}

type leaseKey struct {
	network vnet.ID
	addr    netip.Addr
}

type claim struct {
	lease   vnet.Lease
	release bool
	done    func(error)
}

// newClaims takes up what a process before us owed the store, from the
// directory; an empty one: leases are given only with the store's word.
func newClaims(store Store, index *index, host, dir string, log *slog.Logger, now func() time.Time) *claims {
	c := &claims{
		store: store, index: index, host: host, log: log, now: now, held: pack.ByAddress(), said: map[leaseKey]said{}, foreign: map[leaseKey]vnet.ID{},
		batched: map[leaseKey]bool{}, wake: make(chan struct{}, 1), lost: func(vnet.Lease, error) {},
		strange: map[vnet.ID]int{}, wants: func(vnet.ID) {}, given: func([]vnet.Lease) {}, ended: func(leaseKey, int64) {},
	}
	c.owed = newOwed(c, dir)
	return c
}

// Commit asks that a lease become durable; done is called once, possibly nil.
func (c *claims) Commit(l vnet.Lease, done func(error)) {
	if done == nil {
		done = func(err error) {
			if err != nil {
				c.log.Warn("claim not kept", "address", l.Address, "error", err)
			}
		}
	}
	c.enqueue(claim{lease: l, done: done})
}

// Release gives an address back.
func (c *claims) Release(l vnet.Lease) { c.giveBack(l, func(error) {}) }

// giveBack is Release that tells when it is done.
func (c *claims) giveBack(l vnet.Lease, done func(error)) {
	k := leaseKey{l.Network, l.Address}
	untold := c.owed.end(k)
	if c.index.shared(k.network, k.addr) {
		c.ended(k, c.now().UnixNano())
	}
	if untold && c.retract(k) {
		done(nil)
		return
	}
	c.enqueue(claim{lease: l, release: true, done: done})
}

// retract forgets what was said of an address whose debt the store was never
// told, and reports whether it will hear nothing else of it, either.
func (c *claims) retract(k leaseKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := func(x claim) bool { return x.lease.Network == k.network && x.lease.Address == k.addr }
	if c.heldAt(k) != nil || c.batched[k] || slices.ContainsFunc(c.queue, waits) {
		return false
	}
	c.unsay(k)
	return true
}

func (c *claims) enqueue(x claim) {
	c.mu.Lock()
	c.queue = append(c.queue, x)
	c.mu.Unlock()
	poke(c.wake)
}

// learn remembers which object holds an address, from the store's updates. It
// reports whether that is news: not what we said ourselves, or have overtaken.
func (c *claims) learn(l *pack.Lease) bool {
	k := placeOf(l)
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.Host() != c.host {
		c.foreign[k] = l.ID()
		return true
	}
	old, ok := c.last(k)
	news := !ok || !l.IDIs(old.id()) || old.updated < l.Updated().UnixNano()
	c.hold(k, l)
	if s, ok := c.said[k]; ok && (news || s.updated <= l.Updated().UnixNano()) {
		c.unsay(k)
	}
	if news {
		c.owed.settle(k, l.Updated())
	}
	return news
}

// hold remembers what the store says of an address of ours; nil: nothing.
func (c *claims) hold(k leaseKey, l *pack.Lease) {
	old := c.heldAt(k)
	switch {
	case old != nil && l != nil:
		c.held.Replace(old, l)
	case old != nil:
		c.held.Remove(old)
	case l != nil:
		c.held.Add(l)
	}
}

func (c *claims) heldAt(k leaseKey) *pack.Lease {
	return c.held.Find(pack.HashAt(k.network, k.addr), func(l *pack.Lease) bool { return l.IsAt(k.network, k.addr) })
}

// unsay forgets what the store was told of an address: it says so itself.
func (c *claims) unsay(k leaseKey) {
	if delete(c.said, k); len(c.said) == 0 {
		c.said = map[leaseKey]said{} // a map never shrinks, and after a burst this one is large
	}
}

// last is what was last said of an address of ours, by us or by the store.
func (c *claims) last(k leaseKey) (told, bool) {
	if s, ok := c.said[k]; ok {
		return told{said: s}, true
	}
	l := c.heldAt(k)
	if l == nil {
		return told{}, false
	}
	t := told{held: l, said: said{updated: l.Updated().UnixNano()}}
	if e := l.Expires(); !e.IsZero() {
		t.expires = e.UnixNano()
	}
	return t, true
}

func placeOf(l *pack.Lease) leaseKey { return leaseKey{l.Network(), l.Address()} }

// lapsed notes that the store has a lease of ours no more, of which it is about
// to be told anew.
func (c *claims) lapsed(l *pack.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.heldAt(placeOf(l)); old != nil && l.IDIs(old.ID()) {
		c.held.Remove(old)
	}
}

// known gives a lease the ID by which the store has it already: we may have
// started from less than the store knows.
func (c *claims) known(l *vnet.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.heldAt(leaseKey{l.Network, l.Address}); old != nil && !old.IDIs(l.ID) && old.Whole().SameGuest(l) {
		l.ID = old.ID()
	}
}

func (c *claims) forget(l *pack.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := placeOf(l)
	if s, ok := c.said[k]; ok && l.IDIs(s.as) {
		c.unsay(k)
	}
	if old := c.heldAt(k); old != nil && l.IDIs(old.ID()) {
		c.held.Remove(old)
	}
	if id, ok := c.foreign[k]; ok && l.IDIs(id) {
		delete(c.foreign, k)
	}
}

// holder returns the object that holds an address of the network, "" if none
// does.
func (c *claims) holder(network vnet.ID, a netip.Addr) vnet.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, _ := c.last(leaseKey{network, a})
	return t.id()
}

// saidOf is what we said of an address and the store did not say itself yet.
func (c *claims) saidOf(network vnet.ID, a netip.Addr) said {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said[leaseKey{network, a}]
}

// others reports whether another host's lease holds an address.
func (c *claims) others(k leaseKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.foreign[k] != ""
}

// overtaken reports whether a lease of ours, as the store has it, was given
// anew since.
func (c *claims) overtaken(l *pack.Lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.last(placeOf(l))
	return ok && t.updated > l.Updated().UnixNano()
}

// keep remembers a lease of ours.
func (c *claims) keep(l *vnet.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[leaseKey{l.Network, l.Address}] = saidBy(l)
}

// toldOf reports whether what was last said of a lease is good enough: it names
// the same guest, and more than three quarters of its time are left. Guests
// renew when half is left.
func (c *claims) toldOf(l *vnet.Lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.last(leaseKey{l.Network, l.Address})
	if !ok || !old.names(l) || (old.expires == 0) != l.Expires.IsZero() {
		return false
	}
	now := c.now().UnixNano()
	return old.expires == 0 || old.expires-now > (l.Expires.UnixNano()-now)/4*3
}

// run sends what is queued until ctx ends, and between what others wait for,
// what the store is owed. While one batch is on its way the next one gathers,
// so that the store's speed sets the size of the batches.
func (c *claims) run(ctx context.Context) {
	go c.owed.run(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		for batch := c.take(); len(batch) > 0; batch = c.take() {
			c.send(ctx, batch)
		}
		if wait := c.owed.pay(ctx); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// take takes the next batch off the queue. An address is in it once: what the
// store is told at the same time it may do in any order.
func (c *claims) take() []claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.queue), claimBatch)
	clear(c.batched)
	for i := range c.queue[:n] {
		k := leaseKey{c.queue[i].lease.Network, c.queue[i].lease.Address}
		if c.batched[k] {
			n = i
			break
		}
		c.batched[k] = true
	}
	batch := c.queue[:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return batch
}

func (c *claims) send(ctx context.Context, batch []claim) {
	var put []vnet.Object
	var release []vnet.Ref
	var putDone, releaseDone []int
	var before []said
	for i := range batch {
		if !batch[i].release {
			l := c.complete(batch[i].lease)
			put = append(put, &l)
			putDone = append(putDone, i)
			continue
		}
		id := c.holder(batch[i].lease.Network, batch[i].lease.Address)
		if id == "" { // it ended meanwhile
			batch[i].done(nil)
			continue
		}
		release = append(release, vnet.Ref{Kind: vnet.KindLease, ID: id})
		releaseDone = append(releaseDone, i)
		before = append(before, c.saidOf(batch[i].lease.Network, batch[i].lease.Address))
	}
	if len(put)+len(release) == 0 {
		return
	}
	errs := c.store.Claim(ctx, put, release)
	c.mu.Lock()
	for k, o := range put {
		if l := o.(*vnet.Lease); errs[k] == nil {
			// Unless the store has said so itself meanwhile.
			k := leaseKey{l.Network, l.Address}
			if held := c.heldAt(k); held == nil || held.Updated().Before(l.Updated) {
				c.said[k] = saidBy(l)
			}
			c.owed.settle(k, l.Updated)
		}
	}
	for k, i := range releaseDone { // what was said has ended, unless it was said anew
		if l := &batch[i].lease; before[k].as != "" && c.said[leaseKey{l.Network, l.Address}] == before[k] {
			c.unsay(leaseKey{l.Network, l.Address})
		}
	}
	c.mu.Unlock()
	for k, i := range putDone {
		batch[i].done(errs[k])
	}
	for k, i := range releaseDone {
		err := errs[len(put)+k]
		if err != nil && !vnet.Is(err, vnet.ErrNotFound) {
			c.log.Warn("release not done", "lease", release[k].ID, "error", err)
		}
		batch[i].done(err)
	}
}

// complete gives a lease its object's ID, its host, and the host part under
// which its address is unique in its subnet. An address that the port owns
// anyway is held by the port.
func (c *claims) complete(l vnet.Lease) vnet.Lease {
	c.mu.Lock()
	t, _ := c.last(leaseKey{l.Network, l.Address})
	c.mu.Unlock()
	l.ID = t.id()
	now := c.now()
	if l.ID == "" {
		l.ID = vnet.ID(uuid.NewString())
		l.Created = now
	}
	l.Host = c.host
	l.Updated = now
	l.Revision = vnet.AnyRevision
	if l.Address.Is4() {
		l.Family = vnet.IPv4
	} else {
		l.Family = vnet.IPv6
	}
	sub, ok := c.index.subnetOf(l.Network, l.Address)
	// Nor has a subnet that is gone, or one that gives prefixes, addresses to
	// tell apart.
	nowhere := !ok || sub.Retired || sub.Delegate > 0 && l.Length == 0
	if owner := c.index.ownerOf(l.Network, l.Address); nowhere || owner != "" {
		l.Subnet, l.HostPart = "", 0
		return l
	}
	l.Subnet = sub.ID
	if l.Address.Is4() {
		l.HostPart = hostPart4(sub.Prefix, l.Address)
	}
	return l
}

func hostPart4(p netip.Prefix, a netip.Addr) uint64 {
	b, m := a.As4(), p.Masked().Addr().As4()
	return uint64(binary.BigEndian.Uint32(b[:]) ^ binary.BigEndian.Uint32(m[:]))
}
