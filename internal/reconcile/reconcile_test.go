package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/reconcile"
)

type layer = reconcile.Layer[string, thing]

func three(k *kernel) *reconcile.Reconciler[string, thing] {
	return reconcile.New(key, stage, layer{Stage: 0, Target: k}, layer{Stage: 2, Target: k}, layer{Stage: 1, Target: k})
}

var ctx = context.Background()

func TestOrder(t *testing.T) {
	k := newKernel()
	r := three(k)
	all := []thing{{2, "c", 1, "b"}, {1, "b", 1, "a"}, {0, "a", 1, ""}}
	if res := r.Reconcile(ctx, all, nil); len(res.Failed) != 0 || len(res.Put) != 3 {
		t.Fatalf("%+v", res)
	}
	if res := r.Reconcile(ctx, all, nil); res.Changed() {
		t.Errorf("again: %+v", res)
	}
	r.Reconcile(ctx, nil, []string{"a", "b", "c"})
	if want := []string{"+a", "+b", "+c", "-c", "-b", "-a"}; !slices.Equal(k.log, want) {
		t.Errorf("%v, want %v", k.log, want)
	}
}

// TestTogether: a layer that does all in one call gets it after the removals
// of the stages above it and before the additions of those.
func TestTogether(t *testing.T) {
	k, nft := newKernel(), newKernel()
	r := reconcile.New(key, stage, layer{Stage: 0, Target: k}, layer{Stage: 1, Target: nft, Together: true}, layer{Stage: 2, Target: k})
	r.Reconcile(ctx, []thing{{0, "a", 1, ""}, {1, "old", 1, ""}, {2, "c", 1, ""}}, nil)
	k.log, nft.log = nil, nil
	r.Reconcile(ctx, []thing{{1, "new", 1, ""}}, []string{"old", "c"})
	if want := []string{"-old", "+new"}; !slices.Equal(nft.log, want) {
		t.Errorf("nft: %v, want %v", nft.log, want)
	}
	if want := []string{"-c"}; !slices.Equal(k.log, want) {
		t.Errorf("links: %v, want %v", k.log, want)
	}
}

func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKernel()
		r := three(k)
		k.broken["a"] = true
		res := r.Reconcile(ctx, []thing{{0, "a", 1, ""}, {1, "b", 1, "a"}, {1, "free", 1, ""}}, nil)
		if len(res.Failed) != 2 || !errors.Is(res.Failed["a"], errBroken) || k.things["free"].name == "" {
			t.Fatalf("%+v", res)
		}
		next, ok := r.Next()
		if !ok || time.Until(next) != 500*time.Millisecond {
			t.Errorf("next attempt in %v", time.Until(next))
		}
		// Not before it is due, and then with longer pauses.
		if res := r.Retry(ctx); len(res.Failed) != 0 {
			t.Errorf("tried too early: %+v", res)
		}
		var pauses []time.Duration
		for range 8 {
			next, _ := r.Next()
			pauses = append(pauses, time.Until(next))
			time.Sleep(time.Until(next))
			r.Retry(ctx)
		}
		if want := 30 * time.Second; pauses[7] != want || pauses[1] != time.Second {
			t.Errorf("pauses %v", pauses)
		}
		// Mended: both come, in one run.
		delete(k.broken, "a")
		next, _ = r.Next()
		time.Sleep(time.Until(next))
		if res := r.Retry(ctx); len(res.Put) != 2 || len(r.Errors()) != 0 {
			t.Errorf("%+v %v", res, r.Errors())
		}
		if _, ok := r.Next(); ok {
			t.Error("still something to retry")
		}
	})
}

// TestFailedThenUnwanted: what failed half-way is removed when nobody wants it.
func TestFailedThenUnwanted(t *testing.T) {
	k := newKernel()
	r := three(k)
	r.Reconcile(ctx, []thing{{0, "a", 1, ""}}, nil)
	k.broken["a"] = true
	r.Reconcile(ctx, []thing{{0, "a", 2, ""}}, nil)
	delete(k.broken, "a")
	r.Reconcile(ctx, nil, []string{"a"})
	if len(k.things) != 0 || len(r.Errors()) != 0 {
		t.Errorf("left: %v %v", k.things, r.Errors())
	}
	// And what failed and is wanted as before is made again.
	r.Reconcile(ctx, []thing{{0, "a", 1, ""}}, nil)
	k.broken["a"] = true
	r.Reconcile(ctx, []thing{{0, "a", 2, ""}}, nil)
	delete(k.broken, "a")
	if r.Reconcile(ctx, []thing{{0, "a", 1, ""}}, nil); len(r.Errors()) != 0 {
		t.Errorf("%v", r.Errors())
	}
}

// TestNeeds: what stands on a thing that changes is made again after it.
func TestNeeds(t *testing.T) {
	k := newKernel()
	r := three(k)
	r.Needs(func(v thing) []string { return []string{v.on} }, nil)
	r.Reconcile(ctx, []thing{{0, "a", 1, ""}, {1, "b", 1, "a"}, {1, "free", 1, ""}}, nil)
	res := r.Reconcile(ctx, []thing{{0, "a", 2, ""}}, nil)
	if want := []string{"a", "b"}; !slices.Equal(res.Put, want) {
		t.Errorf("%v, want %v", res.Put, want)
	}
	if res := r.Reconcile(ctx, []thing{{0, "a", 2, ""}}, nil); res.Changed() {
		t.Errorf("again: %+v", res)
	}
}

func TestResyncDeaf(t *testing.T) {
	k, deaf := newKernel(), newKernel()
	r := reconcile.New(key, stage, layer{Stage: 0, Target: k}, layer{Stage: 1, Target: deaf})
	r.Want([]thing{{0, "a", 1, ""}, {1, "b", 1, ""}})
	deaf.deaf = true
	if _, err := r.Resync(ctx, true); !errors.Is(err, errBroken) {
		t.Errorf("err = %v", err)
	}
	if len(k.things) != 1 || len(deaf.things) != 1 {
		t.Errorf("%v %v", k.things, deaf.things)
	}
	calls := deaf.calls
	if _, err := r.Resync(ctx, true); err == nil || deaf.calls != calls {
		t.Errorf("%v, %d calls", err, deaf.calls-calls)
	}
}

func TestNoLayer(t *testing.T) {
	r := three(newKernel())
	if res := r.Reconcile(ctx, []thing{{7, "a", 1, ""}}, nil); res.Failed["a"] == nil {
		t.Errorf("%+v", res)
	}
}

// TestProperties runs random changes, drift and failures against the fake
// kernel: once nothing is broken, a resync leaves exactly what is wanted, and
// one more changes nothing.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := newKernel()
		r := three(k)
		want, drifted := map[string]thing{}, map[string]bool{}
		names := []string{"a", "b", "c", "d", "e", "f"}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				var put []thing
				var del []string
				for n, name := range names {
					switch rapid.IntRange(0, 3).Draw(t, "what") {
					case 0:
						v := thing{stage: n % 3, name: name, content: rapid.IntRange(1, 3).Draw(t, "content")}
						put, want[name] = append(put, v), v
					case 1:
						del = append(del, name)
						delete(want, name)
					}
				}
				res := r.Reconcile(ctx, put, del)
				for name := range res.Failed {
					if !k.broken[name] {
						t.Fatalf("%s failed and is not broken", name)
					}
				}
				for _, v := range put {
					// What drifted unseen is the next resync's.
					if !k.broken[v.name] && !drifted[v.name] && k.things[v.name] != v {
						t.Fatalf("%v was not made", v)
					}
				}
			},
			"break": func(t *rapid.T) { k.broken[rapid.SampledFrom(names).Draw(t, "name")] = true },
			"mend":  func(*rapid.T) { clear(k.broken) },
			"drift": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				delete(k.things, name)
				drifted[name] = true
			},
			"leftover": func(t *rapid.T) {
				k.things["leftover"] = thing{stage: 1, name: "leftover", content: 9}
			},
			"": func(t *rapid.T) {
				if len(k.broken) > 0 {
					return
				}
				clear(drifted)
				if _, err := r.Resync(ctx, true); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, k.things, cmp.AllowUnexported(thing{})); d != "" {
					t.Fatalf("after resync (-want +got):\n%s", d)
				}
				calls := k.calls
				res, _ := r.Resync(ctx, true)
				if res.Changed() || k.calls != calls || len(r.Errors()) != 0 {
					t.Fatalf("a second resync: %+v, %d calls, %v", res, k.calls-calls, r.Errors())
				}
			},
		})
	})
}

// TestResyncSpares: who does not know yet all that is wanted makes and mends, and
// leaves the rest alone until somebody wants it or says that nobody does.
func TestResyncSpares(t *testing.T) {
	k := newKernel()
	for _, v := range []thing{{0, "a", 1, ""}, {1, "b", 7, "a"}, {1, "later", 1, "a"}, {1, "never", 1, "a"}} {
		k.things[v.name] = v
	}
	r := three(k)
	r.Want([]thing{{0, "a", 1, ""}, {1, "b", 1, "a"}, {2, "c", 1, "b"}})
	res, err := r.Resync(ctx, false)
	if want := []string{"b", "c"}; err != nil || !slices.Equal(res.Put, want) || len(res.Deleted) > 0 {
		t.Errorf("made %v, removed %v, %v; want %v made", res.Put, res.Deleted, err, want)
	}
	if res := r.Reconcile(ctx, []thing{{1, "later", 1, "a"}}, nil); res.Changed() || k.things["never"].name == "" {
		t.Errorf("what was there is wanted: %+v", res)
	}
	res, err = r.Resync(ctx, true)
	if want := []string{"never"}; err != nil || !slices.Equal(res.Deleted, want) || len(res.Put) > 0 {
		t.Errorf("removed %v, made %v, %v; want %v removed", res.Deleted, res.Put, err, want)
	}
}
