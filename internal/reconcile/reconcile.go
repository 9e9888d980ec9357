// Package reconcile brings what is there to what is wanted, whatever the
// things are: it knows keys, values that can be compared, and targets that
// make, remove and report them.
//
// There are two ways. Reconcile takes a change of what is wanted and applies
// its difference to what was applied last, asking nobody what is there. Resync
// asks the targets, and applies the difference to that: at the start, after
// drift, and now and then. While not all that is wanted is known, it can leave
// alone what nobody wants.
//
// Things are made in ascending stages and removed in descending ones. What
// fails is tried again with growing pauses, stops nothing else, and is
// reported by key.
package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Target makes and removes things of some stages.
type Target[K comparable, V comparable] interface {
	// Apply removes del (as they were applied last), in that order, and makes
	// put, in that order; a changed value is in put only. It returns the
	// errors by key, nil or empty for none. It must be idempotent: what holds
	// already is not an error and changes nothing.
	Apply(ctx context.Context, put, del []V) map[K]error
	// Actual reports what is there and ours, and what of want holds: of want,
	// the value itself where nothing differs. It must not report what belongs
	// to others and is not in want. The error says that nothing is known.
	Actual(ctx context.Context, want map[K]V) (map[K]V, error)
}

// Layer is the target of one stage.
type Layer[K comparable, V comparable] struct {
	Stage  int
	Target Target[K, V]
	// Together: removals and additions go to the target in one call, when it
	// is the stage's turn to add, so that it can do both in one transaction.
	Together bool
}

// Result is what one run did.
type Result[K comparable] struct {
	Put, Deleted []K         // made or changed; removed
	Failed       map[K]error // what failed in this run
}

// Changed reports whether the run changed anything.
func (r Result[K]) Changed() bool { return len(r.Put)+len(r.Deleted) > 0 }

// The pauses between attempts: they double from the first to the last.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

// failure is a key that could not be brought to what is wanted.
type failure struct {
	err   error
	pause time.Duration
	due   time.Time
}

// Reconciler holds what is wanted and what was applied last. It is safe for
// concurrent use; runs wait for each other.
type Reconciler[K comparable, V comparable] struct {
	key    func(V) K
	stage  func(V) int
	layers []Layer[K, V] // ascending
	needs  func(V) []K   // nil: nothing needs anything
	gives  func(V) []K   // nil: everything gives only itself

	mu     sync.Mutex
	things map[K]thing[V] // what is wanted or was applied
	failed map[K]failure
	count  int // of what was ever asked for
}

// thing is what is known of one key. There may be very many: one map of them is
// half as large as one of what is wanted beside one of what was applied.
type thing[V comparable] struct {
	want, have    V
	wanted, there bool // else want and have say nothing
	unsure        bool // have says what was tried, or was there before
	// order is when the key was first wanted: within a stage, things are made in
	// the order in which they were asked for, and removed in the opposite. 0:
	// nobody asked.
	order int
}

// asWanted reports whether there is nothing to do.
func (x *thing[V]) asWanted() bool {
	return x.wanted == x.there && (!x.wanted || x.want == x.have && !x.unsure)
}

// set takes down what is known of a key, of which nothing is kept once it is
// neither wanted nor there.
func (r *Reconciler[K, V]) set(k K, x thing[V]) {
	if x.wanted || x.there {
		r.things[k] = x
		return
	}
	delete(r.things, k)
}

// New returns a reconciler that wants and has nothing. Every stage that a
// value names must have a layer.
func New[K comparable, V comparable](key func(V) K, stage func(V) int, layers ...Layer[K, V]) *Reconciler[K, V] {
	layers = slices.Clone(layers)
	slices.SortStableFunc(layers, func(a, b Layer[K, V]) int { return a.Stage - b.Stage })
	return &Reconciler[K, V]{
		key: key, stage: stage, layers: layers,
		things: map[K]thing[V]{}, failed: map[K]failure{},
	}
}

// Needs says which things a value stands on, so that it is made again when one
// of them is replaced: a bridge that is made anew has lost its ports. gives
// says by which keys, besides its own, a value is stood on (the other end of a
// pair); it may be nil. To be called before the first run.
func (r *Reconciler[K, V]) Needs(needs, gives func(V) []K) { r.needs, r.gives = needs, gives }

// Reconcile takes in what is newly or differently wanted and what is wanted
// no more, and applies the difference, together with what failed before and
// is due again.
func (r *Reconciler[K, V]) Reconcile(ctx context.Context, put []V, del []K) Result[K] {
	r.mu.Lock()
	defer r.mu.Unlock()
	touched := map[K]bool{}
	for _, k := range del {
		r.unask(k)
		touched[k] = true
	}
	for _, v := range put {
		k := r.key(v)
		r.ask(k, v)
		touched[k] = true
	}
	now := time.Now()
	for k, f := range r.failed {
		if !f.due.After(now) {
			touched[k] = true
		}
	}
	return r.run(ctx, touched)
}

// Want replaces all that is wanted, without applying anything: Resync does.
func (r *Reconciler[K, V]) Want(all []V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, x := range r.things {
		x.wanted = false
		r.things[k] = x
	}
	for _, v := range all {
		r.ask(r.key(v), v)
	}
	for k, x := range r.things {
		if !x.wanted {
			r.unask(k)
		}
	}
}

// ask notes that a value is wanted.
func (r *Reconciler[K, V]) ask(k K, v V) {
	x := r.things[k]
	if x.order == 0 {
		r.count++
		x.order = r.count
	}
	x.want, x.wanted = v, true
	r.things[k] = x
}

// unask notes that a key is wanted no more.
func (r *Reconciler[K, V]) unask(k K) {
	x := r.things[k]
	var none V
	x.want, x.wanted = none, false
	r.set(k, x)
}

// Retry tries again what failed and is due.
func (r *Reconciler[K, V]) Retry(ctx context.Context) Result[K] { return r.Reconcile(ctx, nil, nil) }

// Resync asks every target what is there and applies the difference to what is
// wanted. With prune, what is ours and not wanted is removed; without, it stays
// until it is wanted, or a Resync prunes: for who does not know yet all that is
// wanted. A target that cannot say is taken to hold what was applied last; the
// error names its reason.
func (r *Reconciler[K, V]) Resync(ctx context.Context, prune bool) (Result[K], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	actual := map[K]V{}
	var deaf []Target[K, V]
	var errs []error
	for _, t := range r.targets() {
		got, err := t.Actual(ctx, r.wantOf(t))
		if err != nil {
			errs, deaf = append(errs, err), append(deaf, t)
			continue
		}
		maps.Copy(actual, got)
	}
	r.find(actual, deaf)
	touched := map[K]bool{}
	for k, x := range r.things {
		if !x.asWanted() && (x.wanted || prune) {
			touched[k] = true
		}
	}
	for k := range r.failed {
		touched[k] = true
	}
	return r.run(ctx, touched), errors.Join(errs...)
}

// find takes down what is there; of targets that cannot say, what was applied
// last stays.
func (r *Reconciler[K, V]) find(actual map[K]V, deaf []Target[K, V]) {
	var none V
	for k, x := range r.things {
		if !x.there || slices.Contains(deaf, r.targetOf(x.have)) {
			continue
		}
		if _, there := actual[k]; !there {
			x.have, x.there, x.unsure = none, false, false
			r.set(k, x)
		}
	}
	for k, v := range actual {
		x := r.things[k]
		if x.have, x.there, x.unsure = v, true, false; x.wanted && v == x.want {
			x.have = x.want // one copy instead of two: there may be very many
		}
		r.things[k] = x
	}
}

// Errors returns what is not as wanted, by key.
func (r *Reconciler[K, V]) Errors() map[K]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[K]error, len(r.failed))
	for k, f := range r.failed {
		out[k] = f.err
	}
	return out
}

// Next returns when Retry has something to do; false if nothing failed.
func (r *Reconciler[K, V]) Next() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	for _, f := range r.failed {
		if next.IsZero() || f.due.Before(next) {
			next = f.due
		}
	}
	return next, !next.IsZero()
}

// Applied returns what was applied last, a copy.
func (r *Reconciler[K, V]) Applied() map[K]V {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[K]V{}
	for k, x := range r.things {
		if x.there {
			out[k] = x.have
		}
	}
	return out
}

// targets lists each target once.
func (r *Reconciler[K, V]) targets() []Target[K, V] {
	var out []Target[K, V]
	for _, l := range r.layers {
		if !slices.Contains(out, l.Target) {
			out = append(out, l.Target)
		}
	}
	return out
}

// layer returns the index of the value's layer, -1 if it has none.
func (r *Reconciler[K, V]) layer(v V) int {
	s := r.stage(v)
	return slices.IndexFunc(r.layers, func(l Layer[K, V]) bool { return l.Stage == s })
}

func (r *Reconciler[K, V]) targetOf(v V) Target[K, V] {
	if n := r.layer(v); n >= 0 {
		return r.layers[n].Target
	}
	return nil
}

func (r *Reconciler[K, V]) wantOf(t Target[K, V]) map[K]V {
	out := map[K]V{}
	for k, x := range r.things {
		if x.wanted && r.targetOf(x.want) == t {
			out[k] = x.want
		}
	}
	return out
}
