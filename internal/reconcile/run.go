package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// errNoLayer says that nothing can make a value.
var errNoLayer = errors.New("no layer for this stage")

// batch is what one layer has to do.
type batch[V any] struct{ put, del []V }

// run brings the touched keys to what is wanted.
func (r *Reconciler[K, V]) run(ctx context.Context, touched map[K]bool) Result[K] {
	res := Result[K]{Failed: map[K]error{}}
	r.touchDependents(touched)
	batches := r.batches(touched, &res)
	for n := len(r.layers) - 1; n >= 0; n-- {
		slices.Reverse(batches[n].del)
		if !r.layers[n].Together {
			r.apply(ctx, n, batch[V]{del: batches[n].del}, &res)
		}
	}
	for n := range r.layers {
		b := batch[V]{put: batches[n].put}
		if r.layers[n].Together {
			b.del = batches[n].del
		}
		r.apply(ctx, n, b, &res)
	}
	return res
}

// batches sorts the touched keys by what has to be done. A key that is as
// wanted is forgotten as a failure.
func (r *Reconciler[K, V]) batches(touched map[K]bool, res *Result[K]) []batch[V] {
	out := make([]batch[V], len(r.layers))
	for _, k := range r.inOrder(touched) {
		x := r.things[k]
		switch {
		case x.asWanted():
			delete(r.failed, k)
			continue
		case x.wanted:
			n := r.layer(x.want)
			if n < 0 {
				r.note(k, errNoLayer, res)
				continue
			}
			out[n].put = append(out[n].put, x.want)
			// A key that moved to another layer is removed from its old one.
			if !x.there {
				continue
			}
			if old := r.layer(x.have); old >= 0 && r.layers[old].Target != r.layers[n].Target {
				out[old].del = append(out[old].del, x.have)
			}
		default:
			if n := r.layer(x.have); n >= 0 {
				out[n].del = append(out[n].del, x.have)
			} else {
				r.forget(k)
			}
		}
	}
	return out
}

// touchDependents adds what stands on things that are about to be replaced. It
// has to look at all that is wanted, and so does nothing in the ordinary case.
func (r *Reconciler[K, V]) touchDependents(touched map[K]bool) {
	if r.needs == nil {
		return
	}
	replaced := map[K]bool{}
	for k := range touched {
		if x := r.things[k]; x.wanted && x.there && x.want != x.have {
			replaced[k] = true
			if r.gives != nil {
				for _, other := range r.gives(x.want) {
					replaced[other] = true
				}
			}
		}
	}
	if len(replaced) == 0 {
		return
	}
	for k, x := range r.things {
		if x.wanted && slices.ContainsFunc(r.needs(x.want), func(n K) bool { return replaced[n] }) {
			touched[k], x.unsure = true, true
			r.things[k] = x
		}
	}
}

// inOrder lists keys as they were asked for; what nobody asked for comes last.
func (r *Reconciler[K, V]) inOrder(keys map[K]bool) []K {
	out := slices.Collect(maps.Keys(keys))
	slices.SortFunc(out, func(a, b K) int {
		x, y := r.things[a].order, r.things[b].order
		if x == 0 || y == 0 {
			return y - x
		}
		return x - y
	})
	return out
}

// apply hands one layer its batch and takes the outcome down.
func (r *Reconciler[K, V]) apply(ctx context.Context, n int, b batch[V], res *Result[K]) {
	if len(b.put)+len(b.del) == 0 {
		return
	}
	errs := r.layers[n].Target.Apply(ctx, b.put, b.del)
	for _, v := range b.del {
		k := r.key(v)
		if err := errs[k]; err != nil {
			r.note(k, err, res)
			continue
		}
		r.forget(k)
		res.Deleted = append(res.Deleted, k)
		if !r.things[k].wanted {
			delete(r.failed, k)
		}
	}
	for _, v := range b.put {
		k := r.key(v)
		x := r.things[k]
		if err := errs[k]; err != nil {
			// What is there now is neither surely the old value nor the new:
			// to be made again, and to be removed if nobody wants it.
			if !x.there {
				x.have, x.there = v, true
			}
			x.unsure = true
			r.things[k] = x
			r.note(k, err, res)
			continue
		}
		x.have, x.there, x.unsure = v, true, false
		r.things[k] = x
		delete(r.failed, k)
		res.Put = append(res.Put, k)
	}
}

// forget notes that nothing is there of a key.
func (r *Reconciler[K, V]) forget(k K) {
	x := r.things[k]
	var none V
	x.have, x.there, x.unsure = none, false, false
	r.set(k, x)
}

// note takes a failure down and sets when to try again.
func (r *Reconciler[K, V]) note(k K, err error, res *Result[K]) {
	f := r.failed[k]
	f.err = err
	f.pause = min(max(2*f.pause, firstPause), lastPause)
	f.due = time.Now().Add(f.pause)
	r.failed[k] = f
	res.Failed[k] = err
}
