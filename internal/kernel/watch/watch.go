// Package watch finds out what a host is like, and says when that changes:
// links, addresses, routes, uplinks and resolvers, as plan.Facts; and when
// somebody changes what carries our mark, or other programs' packet filters.
//
// It listens to the kernel's own notifications and keeps links and addresses
// from them; routes are read again when one changes. When the kernel says that
// notifications were lost, everything is read again.
package watch

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
)

// How long changes are gathered before they are told.
const (
	// debounce lets one act of somebody else (a link with its addresses and
	// routes) arrive as one change.
	debounce = 60 * time.Millisecond
	// ownGrace is how long after an apply its notifications may arrive.
	ownGrace = 200 * time.Millisecond
	// ownSettle is when, after the last apply, what looked like drift during
	// it is looked at all the same.
	ownSettle = 500 * time.Millisecond
	// ownLongest bounds the wait where one apply follows the other.
	ownLongest = 5 * time.Second
	// poll is how often files are read that nothing announces.
	poll = 30 * time.Second
)

// Options are what a Watcher needs beyond the host's namespaces. The zero
// value is right for a real host.
type Options struct {
	// Features go into the facts as they are.
	Features map[string]bool
	// Resolv is the host's resolver file, Real the one that names the servers
	// behind a local stub. "" means the usual places.
	Resolv, Real string
	// Named says whether the plan names a namespace under /run/netns. When one
	// of those comes or goes, that is drift. nil: only those of our own.
	Named func(name string) bool
	// Log takes what is worth knowing; nil: nobody.
	Log *slog.Logger
}

// Change is what happened since the last one was received.
type Change struct {
	Facts    bool     // Facts returns something new
	Drift    bool     // something with our mark was changed, not by us as far as we know
	NFT      bool     // other programs' packet filter rules changed
	NewLinks []string // links that are not ours and were not there before
}

func (c Change) empty() bool { return !c.Facts && !c.Drift && !c.NFT && len(c.NewLinks) == 0 }

// Watcher watches one host.
type Watcher struct {
	spaces *netns.Set
	opt    Options
	out    chan Change
	wake   chan struct{}

	mu      sync.Mutex
	table   table
	facts   *plan.Facts
	routes  routes
	stale   bool      // routes must be read again
	touched time.Time // when facts may have begun to differ; zero: built since
	dated   bool      // links of ours changed since, which is no news
	pending Change    // to be told
	since   time.Time // when pending became non-empty
	own     int       // applies under way
	ownEnd  time.Time // when the last one ended
	suspect time.Time // first drift seen during an apply; zero: none
	spies   map[string]func()
}

// New reads the host's facts and returns a watcher, which begins with Run.
func New(spaces *netns.Set, opt Options) (*Watcher, error) {
	if opt.Resolv == "" {
		opt.Resolv = "/etc/resolv.conf"
	}
	if opt.Real == "" {
		opt.Real = "/run/systemd/resolve/resolv.conf"
	}
	if opt.Named == nil {
		opt.Named = func(name string) bool { return strings.HasPrefix(name, plan.NetnsPrefix) }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		spaces: spaces, opt: opt,
		out:  make(chan Change),
		wake: make(chan struct{}, 1),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.readAll(); err != nil {
		return nil, err
	}
	w.facts = w.build()
	w.facts.Revision = 1
	return w, nil
}

// Facts returns what is known now. The caller must not change it.
func (w *Watcher) Facts() *plan.Facts {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dated && w.touched.IsZero() { // else Run is about to
		w.renew()
	}
	return w.facts
}

// Changed tells what happens, while Run runs. What happens while nobody
// receives is gathered into one change.
func (w *Watcher) Changed() <-chan Change { return w.out }

// Own says that changes from now on, until done is called, are our own. What
// looks like drift meanwhile is told only after they have settled.
func (w *Watcher) Own() (done func()) {
	w.mu.Lock()
	w.own++
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.own--
		w.ownEnd = time.Now()
		w.poke()
	})
}

// Refresh reads everything again and returns the facts.
func (w *Watcher) Refresh() (*plan.Facts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.readAll(); err != nil {
		return w.facts, err
	}
	w.renew()
	return w.facts, nil
}

// Run watches until the context ends and returns its error, or why it cannot
// watch.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	if err := w.listen(ctx, &group, ""); err != nil {
		return err
	}
	w.watchFiles(ctx, &group)
	// What changed between New and the first notification.
	w.lost("")
	tick := time.NewTicker(poll)
	defer tick.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, change, ready := w.due(time.Now())
		out := w.out
		if !ready {
			out = nil
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case out <- change:
			w.told(change)
		case <-w.wake:
		case <-timer.C:
		case <-tick.C:
			w.mu.Lock()
			w.renew()
			w.mu.Unlock()
		}
	}
}

// due returns what can be told now, or how long to wait before asking again.
func (w *Watcher) due(now time.Time) (wait time.Duration, c Change, ready bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait = time.Hour
	if !w.suspect.IsZero() {
		settled := w.ownEnd.Add(ownSettle)
		if limit := w.suspect.Add(ownLongest); limit.Before(settled) || w.own > 0 {
			settled = limit
		}
		if left := settled.Sub(now); left > 0 {
			wait = left
		} else {
			w.suspect = time.Time{}
			w.add(Change{Drift: true})
		}
	}
	if !w.touched.IsZero() {
		if left := w.touched.Add(debounce).Sub(now); left > 0 && len(w.pending.NewLinks) == 0 {
			return min(wait, left), Change{}, false
		}
		w.renew()
	}
	if w.pending.empty() {
		return wait, Change{}, false
	}
	if left := w.since.Add(debounce).Sub(now); left > 0 && !w.pending.Facts && len(w.pending.NewLinks) == 0 {
		return min(wait, left), Change{}, false
	}
	return wait, w.pending, true
}

// told takes back what was received: more may have come meanwhile.
func (w *Watcher) told(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pending
	p.Facts, p.Drift, p.NFT = p.Facts && !c.Facts, p.Drift && !c.Drift, p.NFT && !c.NFT
	p.NewLinks = p.NewLinks[min(len(c.NewLinks), len(p.NewLinks)):]
	if len(p.NewLinks) == 0 {
		p.NewLinks = nil
	}
}

// add notes a change to tell; the caller holds mu.
func (w *Watcher) add(c Change) {
	if w.pending.empty() {
		w.since = time.Now()
	}
	p := &w.pending
	p.Facts, p.Drift, p.NFT = p.Facts || c.Facts, p.Drift || c.Drift, p.NFT || c.NFT
	p.NewLinks = append(p.NewLinks, c.NewLinks...)
	w.poke()
}

// touch notes that facts may differ; the caller holds mu.
func (w *Watcher) touch() {
	if w.touched.IsZero() {
		w.touched = time.Now()
		w.poke()
	}
}

// drift notes that something of ours changed; the caller holds mu.
func (w *Watcher) drift() {
	now := time.Now()
	if w.own == 0 && now.Sub(w.ownEnd) > ownGrace {
		w.add(Change{Drift: true})
		return
	}
	if w.suspect.IsZero() {
		w.suspect = now
		w.poke()
	}
}

// poke wakes Run up.
func (w *Watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// renew builds the facts anew and notes whether they differ; the caller holds
// mu.
func (w *Watcher) renew() {
	w.touched, w.dated = time.Time{}, false
	if w.stale {
		if err := w.readRoutes(); err != nil {
			w.opt.Log.Warn("read routes", "err", err)
		}
	}
	f := w.build()
	if same(f, w.facts) {
		f.Revision = w.facts.Revision
		w.facts = f // links of ours may differ
		return
	}
	f.Revision = w.facts.Revision + 1
	w.facts = f
	w.add(Change{Facts: true})
}

// lost reads everything again, since notifications were lost or not yet
// listened to.
func (w *Watcher) lost(ns string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ns == "" {
		before := maps.Clone(w.table.links)
		if err := w.readAll(); err != nil {
			w.opt.Log.Warn("read the host's links again", "err", err)
			return
		}
		for index, l := range w.table.links {
			if _, known := before[index]; !known && !l.ours() {
				w.add(Change{NewLinks: []string{l.Name}})
			}
		}
		w.renew()
	}
	w.drift()
	w.add(Change{NFT: true})
}
