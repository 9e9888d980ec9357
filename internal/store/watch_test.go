package store

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// told is what a follower knows.
type told struct {
	t       *testing.T
	ch      <-chan vnet.Update
	objects map[vnet.Ref]vnet.Object
	resets  int
	rev     int64
}

func follow(t *testing.T, s *Store, host string) *told {
	t.Helper()
	ch, err := s.Follow(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	return &told{t: t, ch: ch, objects: map[vnet.Ref]vnet.Object{}}
}

// until takes updates until the follower is at the revision.
func (f *told) until(rev int64) {
	f.t.Helper()
	limit := time.After(20 * time.Second)
	for f.rev < rev {
		select {
		case u, ok := <-f.ch:
			if !ok {
				f.t.Fatal("closed")
			}
			f.take(u)
		case <-limit:
			f.t.Fatalf("at revision %d, want %d", f.rev, rev)
		}
	}
}

func (f *told) take(u vnet.Update) {
	if u.Reset {
		f.resets++
		clear(f.objects)
	} else if u.Revision <= f.rev {
		f.t.Errorf("revision %d after %d", u.Revision, f.rev)
	}
	f.rev = u.Revision
	for _, o := range u.Put {
		if o.GetMeta().Revision == 0 || o.GetMeta().Revision > u.Revision {
			f.t.Errorf("%s has revision %d in an update to %d", vnet.RefOf(o), o.GetMeta().Revision, u.Revision)
		}
		f.objects[vnet.RefOf(o)] = o
	}
	for _, r := range u.Delete {
		delete(f.objects, r)
	}
}

func TestFollow(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		act := func(host string) *vnet.Activation {
			return &vnet.Activation{Meta: meta("", ""), Network: w.net.ID, Host: host, Started: true}
		}
		mine, others := act("h1"), act("h2")
		up := func(host string) *vnet.UplinkPolicy {
			return &vnet.UplinkPolicy{Meta: meta("eth0", ""), Host: host, Shared: true}
		}
		myUp, otherUp := up("h1"), up("h2")
		mustCommit(t, s, mine, others, myUp, otherUp)
		f := follow(t, s, "h1")
		p := w.port("vm1", 10)
		rev := mustCommit(t, s, p)
		f.until(rev)
		if f.resets != 1 {
			t.Errorf("%d resets", f.resets)
		}
		for _, o := range []vnet.Object{w.project, w.net, w.v4, w.v6, mine, myUp, p} {
			if f.objects[vnet.RefOf(o)] == nil {
				t.Errorf("not told of %s", vnet.RefOf(o))
			}
		}
		if f.objects[vnet.RefOf(others)] != nil {
			t.Error("told of another host's activation")
		}
		if f.objects[vnet.RefOf(otherUp)] != nil {
			t.Error("told of another host's uplink")
		}
		if err := s.Observe(ctx, []vnet.Object{&vnet.Host{Meta: vnet.Meta{ID: "h1"}}, &vnet.Event{Time: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		rev, err := s.Commit(ctx, del(p))
		if err != nil {
			t.Fatal(err)
		}
		f.until(rev)
		if f.objects[vnet.RefOf(p)] != nil || len(f.objects) != 7 {
			t.Errorf("left: %v", f.objects)
		}
	})
}

// The store goes away and comes back, empty the second time: those who follow
// it over the socket learn all that they missed.
func TestFollowAcrossRestarts(t *testing.T) {
	dir := shortDir(t)
	sock := filepath.Join(dir, "agents.sock")
	start := func(sub string) *Embedded {
		e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: filepath.Join(dir, sub), Socket: sock})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	s, err := Open(t.Context(), Config{Endpoints: []string{"unix://" + sock}, Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := follow(t, s, "h1") // nobody is there yet
	e := start("a")
	w := newWorld(t, e.Store)
	rev := mustCommit(t, e.Store, w.port("vm1", 1))
	f.until(rev)

	closing := time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(closing); d > 2*time.Second {
		t.Errorf("closing took %v while somebody follows", d)
	}
	if _, err := s.Get(shortly(t), vnet.RefOf(w.net)); !vnet.Is(err, vnet.ErrUnavailable) {
		t.Errorf("the store is away: %v", err)
	}
	e = start("a")
	w.s = e.Store
	late := w.port("vm2", 2)
	rev = mustCommit(t, e.Store, late)
	f.until(rev)
	if f.objects[vnet.RefOf(late)] == nil {
		t.Error("missed what happened after the restart")
	}
	if f.resets != 1 {
		t.Errorf("%d resets; the changes were to be had", f.resets)
	}

	// Compacted away meanwhile.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = start("b")
	defer func() { _ = e.Close() }()
	w2 := newWorld(t, e.Store)
	for f.objects[vnet.RefOf(w2.net)] == nil {
		select {
		case u := <-f.ch:
			f.rev = 0
			f.take(u)
		case <-time.After(20 * time.Second):
			t.Fatal("not told of the new store")
		}
	}
	if f.objects[vnet.RefOf(late)] != nil {
		t.Error("still believes in the old store")
	}
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestFollowAfterCompaction(t *testing.T) {
	s := startEmbedded(t).Store
	w := newWorld(t, s)
	var rev int64
	for i := range 50 {
		rev = mustCommit(t, s, w.port(fmt.Sprint("p", i), uint64(i+1)))
	}
	if _, err := s.etcd.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	ch, err := s.Watch(t.Context(), vnet.Query{Kind: vnet.KindPort}, rev-20)
	if err != nil {
		t.Fatal(err)
	}
	if u := <-ch; !u.Reset || len(u.Put) != 50 {
		t.Errorf("got %d objects, reset %v", len(u.Put), u.Reset)
	}
}

func TestWatchOne(t *testing.T) {
	s := startEmbedded(t).Store
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t, s)
	ref := vnet.RefOf(w.net)
	st := func(applied int64) *vnet.Status {
		return &vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(ref, "h")}, Target: ref, Host: "h", Applied: applied}
	}
	ch, err := s.Watch(ctx, vnet.Query{Kind: vnet.KindStatus, ID: vnet.StatusID(ref, "h")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if u := <-ch; !u.Reset || len(u.Put) != 0 {
		t.Errorf("%+v", u)
	}
	mustCommit(t, s, w.port("x", 1))
	if err := s.Observe(ctx, []vnet.Object{st(7)}); err != nil {
		t.Fatal(err)
	}
	if u := <-ch; len(u.Put) != 1 || u.Put[0].(*vnet.Status).Applied != 7 {
		t.Errorf("%+v", u)
	}
	cancel()
	for range ch {
	}
}
