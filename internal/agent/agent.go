// Package agent is the host's loop: what the store wants and what the host has
// go in, a plan comes out, the kernel and the protocol servers are made to fit
// it, and what happened is reported.
//
// One goroutine (Run) owns all state; everything else, servers, watcher and
// store, speaks to it through channels. While the store is away the agent goes
// on from the snapshot that it keeps on disk.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/uplink"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Finder finds the facts of the host: a watch.Watcher.
type Finder interface {
	// Facts returns what is known now; nobody changes it.
	Facts() *plan.Facts
	// Changed tells what happened since the last time, debounced.
	Changed() <-chan watch.Change
	// Own says that changes until done are our own.
	Own() (done func())
}

// Config is what an Agent is made of.
type Config struct {
	Host     string
	Version  string
	Kernel   Kernel
	Finder   Finder
	Store    Store
	StateDir string // the snapshot is kept here
	InNS     func(ns string, f func() error) error
	DUID     []byte // of the DHCPv6 server
	// UplinkDUID is who asks providers for prefixes; nil: made once and kept in
	// StateDir.
	UplinkDUID  []byte
	UplinkClock uplink.Clock // nil: the system's
	Log         *slog.Logger
	Now         func() time.Time
	// Translator runs the host's NAT64 translator; nil: there is none.
	Translator Translator
	// Ears delivers what guests' ports say, in the host's namespace; nil: deaf.
	Ears *Ears
	// Sharer puts NICs into bridges; nil: none is shared.
	Sharer Sharer
	// Speaker takes leave of routers; nil: nobody does.
	Speaker Speaker
	// Features is what was probed of the kernel, for the host's facts.
	Features []vnet.Feature
	// Foreign looks for other programs' rules that would stop guests' traffic
	// over the links; nil: nobody looks.
	Foreign func(ctx context.Context, links []string) []vnet.Problem
}

// Agent is the host's loop.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	snap   *plan.Snapshot
	facts  *plan.Facts
	rungs  map[vnet.ID]plan.Rung
	union  *union
	srv    *servers
	claim  *claims
	index  *index
	rep    *reporter
	keep   *keeper
	ears   *hearing
	past   *past
	up     *uplinks
	prox   *proxying
	ways64 ways64

	calls   chan func() // run in the loop
	dirty   map[vnet.Ref]bool
	changed map[vnet.Ref]bool // objects to report of
	zones   map[vnet.ID]bool  // networks whose names changed; true: reservations, too
	late    *late             // names that wait
	holding map[vnet.ID]bool  // networks for which the store is asked for ranges
	failed  map[plan.Key]error
	orders  map[vnet.ID]*vnet.LeaseOrder // not done yet
	climb   bool                         // the ladder must be asked again
	climbAt time.Time                    // when time alone makes it necessary; zero: never
	alarm   *time.Timer                  // for climbAt
	wishes  bool                         // what is wished of uplinks changed
	settled bool                         // the store or the kept snapshot has spoken
	spoken  bool                         // the store has
	full    bool                         // everything must be compared with the kernel
	resting bool                         // after cleanup, until the next start
	foreign []vnet.Problem               // what other programs' rules would do to guests

	share     sharing
	wires     map[vnet.ID]joined         // networks whose IPv6 is on an outside bridge
	ctx       context.Context            // Run's, for what happens on a packet
	inside    []string                   // routers' namespaces that are watched
	odd       map[int]time.Time          // when links of others may be adopted, by index
	refused   map[scoped]bool            // prefixes that the store did not give, until the next decision
	troubles  map[vnet.ID][]vnet.Problem // what the servers last said
	expireAt  time.Time                  // when leases are looked through again
	tentative map[leaseKey]*tentative    // leases that are in the snapshot before the store said so
	lookAt    time.Time                  // when foreign rules are looked at again
}

// resyncEvery is how often everything is compared without cause.
const resyncEvery = 5 * time.Minute

// passApart is how long after the begin of a pass the next one begins at the
// earliest. Who waits for a network is slower than that and loses nothing;
// ports that come by the hundred per second share passes and reports.
const passApart = 10 * time.Millisecond

// New makes an agent; Run starts it.
func New(cfg Config) (*Agent, error) {
	if cfg.Host == "" || cfg.Kernel == nil || cfg.Finder == nil || cfg.Store == nil || cfg.InNS == nil {
		return nil, errors.New("agent: Host, Kernel, Finder, Store and InNS are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.UplinkClock == nil {
		cfg.UplinkClock = uplink.SystemClock
	}
	a := &Agent{
		cfg: cfg, log: cfg.Log, snap: plan.NewSnapshot(cfg.Host), facts: &plan.Facts{}, union: newUnion(), index: newIndex(),
		rungs: map[vnet.ID]plan.Rung{}, calls: make(chan func(), 256), dirty: map[vnet.Ref]bool{},
		changed: map[vnet.Ref]bool{}, zones: map[vnet.ID]bool{}, late: newLate(), holding: map[vnet.ID]bool{}, failed: map[plan.Key]error{},
		refused: map[scoped]bool{}, odd: map[int]time.Time{}, orders: map[vnet.ID]*vnet.LeaseOrder{}, ctx: context.Background(),
		share: sharing{failed: map[string]tried{}}, wires: map[vnet.ID]joined{}, tentative: map[leaseKey]*tentative{},
	}
	a.claim = newClaims(cfg.Store, a.index, cfg.Host, cfg.StateDir, cfg.Log, cfg.Now)
	a.claim.lost, a.claim.given, a.claim.ended = a.lost, a.given, a.ended
	a.claim.wants = func(network vnet.ID) { go a.do(func() { a.hold(network) }) }
	a.rep = newReporter(cfg.Store, cfg.Log)
	a.keep = newKeeper(cfg.StateDir, cfg.Log)
	a.past = newPast(cfg.Host, cfg.Now)
	a.up = newUplinks(&a.cfg)
	a.prox = newProxying()
	a.ears = newHearing(a, cfg.Ears)
	a.srv = newServers(serverConfig{
		InNS: cfg.InNS, Claims: a.claim, Host: cfg.Host, DUID: cfg.DUID, StateDir: cfg.StateDir, Log: cfg.Log, Now: cfg.Now,
		Neighbour: a.ears.near.lookup,
		Station:   a.ears.near.station,
	})
	return a, nil
}

// Names reports whether plans name a namespace under /run/netns: one of a
// router, or of a guest, which may come later than its port. It may be called
// from any goroutine.
func (a *Agent) Names(ns string) bool {
	return strings.HasPrefix(ns, plan.NetnsPrefix) || a.index.names(ns)
}

// Run works until ctx ends. Guests keep their traffic afterwards: nothing in
// the kernel is taken down.
func (a *Agent) Run(ctx context.Context) error {
	updates, err := a.cfg.Store.Follow(ctx, a.cfg.Host)
	if err != nil {
		return fmt.Errorf("agent: follow the store: %w", err)
	}
	a.ctx = ctx
	in := newIntake()
	defer in.stop()
	go in.run(updates)
	a.recoverShares()
	a.takeFacts()
	if old, untold := a.keep.load(a.cfg.Host); old != nil {
		a.log.Info("starting from the kept snapshot", "revision", old.Revision)
		a.claim.owed.resume(untold)
		a.reset(old)
	}
	go a.claim.run(ctx)
	go a.rep.run(ctx)
	go a.keep.run(ctx)
	defer background(ctx, a.srv.accepts.run)()
	defer background(ctx, func(ctx context.Context) { _ = a.up.links.Run(ctx) })() // which returns why ctx ended
	resync := time.NewTicker(resyncEvery)
	defer resync.Stop()
	check := time.NewTicker(2 * time.Second)
	defer check.Stop()
	begun := time.Time{} // the last pass
	wait := time.NewTimer(time.Hour)
	defer wait.Stop()
	a.full = true
	for {
		if left := passApart - time.Since(begun); a.due() && left > 0 {
			wait.Reset(left)
		} else if a.due() {
			begun = time.Now()
			full := a.full
			a.full = false
			a.work(ctx, full)
		}
		select {
		case <-ctx.Done():
			a.ears.deafen()
			return errors.Join(a.srv.close()...)
		case <-in.wake: // taken below
		case <-wait.C:
		case f := <-a.cfg.Finder.Changed():
			a.full = a.find(f) || a.full
		case c := <-a.up.links.Changed():
			a.takeUplinks(c)
		case h := <-a.ears.heard():
			a.ears.take(h)
		case f := <-a.calls:
			f()
		case <-resync.C:
			a.full = true
		case <-check.C:
			a.check(ctx)
		}
		if err := a.drain(ctx, in); err != nil {
			return err
		}
		a.obey()
	}
}

// background has run run until ctx ends or stop is called, which waits for it.
func background(ctx context.Context, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	return func() { cancel(); <-done }
}

// due reports whether there is something for a pass to do.
func (a *Agent) due() bool {
	return a.full || a.climb || a.wishes || len(a.dirty)+len(a.changed)+len(a.zones) > 0
}

// drain takes what else is waiting, so that a burst is worked in one pass.
func (a *Agent) drain(ctx context.Context, in *intake) error {
	updates, ok := in.take()
	if !ok && ctx.Err() == nil {
		return errors.New("agent: the store's updates ended")
	}
	for _, u := range updates {
		a.take(u)
	}
	for range cap(a.calls) {
		select {
		case f := <-a.calls:
			f()
		default:
			return nil
		}
	}
	return nil
}

// do runs f in the loop, soon.
func (a *Agent) do(f func()) { a.calls <- f }

// take works an update of the store into the snapshot.
func (a *Agent) take(u vnet.Update) {
	if u.Reset {
		s := plan.NewSnapshot(a.cfg.Host)
		clear(a.orders)
		for _, o := range u.Put {
			if x, ok := o.(*vnet.LeaseOrder); ok {
				a.order(x)
			}
			s.Put(o)
		}
		s.Revision = u.Revision
		a.reset(s)
		a.full, a.spoken = a.full || !a.spoken, true
		return
	}
	for _, o := range u.Put {
		a.put(o)
	}
	for _, r := range u.Delete {
		a.remove(r)
	}
	a.snap.Revision = max(a.snap.Revision, u.Revision)
	a.keep.set(a.snap)
}

// reset replaces the whole snapshot. What is in both stays as it is: the plan
// says so.
func (a *Agent) reset(s *plan.Snapshot) {
	for _, r := range plan.Owners(a.snap) {
		a.dirty[r] = true
	}
	for l := range a.snap.Leases() {
		now := s.Lease(l.ID())
		if now == nil && (a.isTentative(l) || a.lapsed(l)) {
			continue // the store does not know of it yet
		}
		if now == nil {
			a.srv.leaseGone(l)
			a.claim.forget(l)
			a.past.ended(l.Whole(), l.Expires())
		} else if !now.Whole().SameGuest(l.Whole()) {
			a.past.ended(l.Whole(), now.Updated())
		}
	}
	for id := range a.snap.Subnets { // those that are gone meanwhile
		a.changed[vnet.Ref{Kind: vnet.KindSubnet, ID: id}] = true
	}
	for id := range a.snap.Reservations {
		a.changed[vnet.Ref{Kind: vnet.KindReservation, ID: id}] = true
	}
	before := a.snap
	a.snap = s
	for _, n := range s.Retiring() {
		s.Put(unretired(n, a.cfg.Now()))
	}
	for _, r := range plan.Owners(s) {
		a.dirty[r], a.changed[r] = true, true
	}
	for l := range s.Leases() {
		a.learn(l)
	}
	a.lendAgain(before)
	for id := range s.Networks {
		a.zones[id] = true
	}
	for id := range s.Subnets {
		a.changed[vnet.Ref{Kind: vnet.KindSubnet, ID: id}] = true
	}
	a.ears.reset()
	a.climb, a.settled, a.wishes = true, true, true
	a.keep.set(s)
}

func (a *Agent) put(o vnet.Object) {
	switch x := o.(type) {
	case *vnet.LeaseOrder:
		a.order(x)
		return
	case *vnet.Network:
		o = unretired(x, a.cfg.Now())
	case *vnet.Lease:
		a.putLease(pack.Of(x))
		return
	}
	ref := vnet.RefOf(o)
	old := a.snap.Get(ref)
	if old != nil && echo(old, o) {
		a.snap.Put(o)
		return
	}
	if old != nil {
		a.touch(old)
	}
	a.snap.Put(o)
	a.touch(o)
	a.changed[ref] = true
}

// echo reports whether the store only tells us what we claimed ourselves: the
// same prefix assignment with its revision.
func echo(old, now vnet.Object) bool {
	a, ok := old.(*vnet.PrefixAssignment)
	if !ok || a.Revision != vnet.AnyRevision {
		return false
	}
	b, ok := now.(*vnet.PrefixAssignment)
	if !ok {
		return false
	}
	x, y := *a, *b
	x.Meta, y.Meta = vnet.Meta{}, vnet.Meta{}
	return reflect.DeepEqual(x, y) // the store gives times back without a location
}

func (a *Agent) remove(r vnet.Ref) {
	if r.Kind == vnet.KindOrder {
		delete(a.orders, r.ID)
		return
	}
	if r.Kind == vnet.KindLease {
		a.removeLease(r.ID)
		return
	}
	old := a.snap.Get(r)
	if old == nil {
		return
	}
	a.touch(old)
	a.snap.Delete(r)
	a.changed[r] = true
}

// touch marks what depends on an object.
func (a *Agent) touch(o vnet.Object) {
	for _, r := range plan.Affected(a.snap, o) {
		a.dirty[r] = true
	}
	switch o := o.(type) {
	case *vnet.Port:
		a.zones[o.Network] = true
	case *vnet.Reservation:
		a.zones[o.Network] = true
	case *vnet.Network, *vnet.Subnet, *vnet.Activation, *vnet.PrefixAssignment, *vnet.Installation:
		a.climb = true
	case *vnet.UplinkPolicy:
		a.wishes = true
	}
}
