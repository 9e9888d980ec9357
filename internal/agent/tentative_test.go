package agent

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// lender is an agent whose loop the test plays, with a network n that shares
// 2001:db8::/64 with an uplink.
type lender struct {
	*Agent
	t     *testing.T
	store *slowStore
}

// sharing is what the store says of the network.
func sharingNetwork(more ...vnet.Object) vnet.Update {
	return vnet.Update{Reset: true, Revision: 1, Put: append([]vnet.Object{
		&vnet.Installation{ULA: netip.MustParsePrefix("fd12::/48")}, &vnet.Project{Meta: vnet.Meta{ID: "p1", Name: "default"}},
		&vnet.Network{Meta: vnet.Meta{ID: "n", Name: "n", Project: "p1"}, Bridge: "sx-n", Number: 1, MAC: vnet.MAC{0x52, 0x54, 5: 1},
			IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNone}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressProxied}},
		&vnet.Activation{Meta: vnet.Meta{ID: "act"}, Network: "n", Host: "h1", Started: true},
		&vnet.Subnet{Meta: vnet.Meta{ID: "s"}, Network: "n", Family: vnet.IPv6, Source: vnet.SourceProxied, Guests: vnet.GuestsSLAACStateful, Primary: true},
		&vnet.PrefixAssignment{Meta: vnet.Meta{ID: "as"}, Network: "n", Subnet: "s", Host: "h1", Family: vnet.IPv6,
			Prefix: netip.MustParsePrefix("2001:db8::/64"), Rung: vnet.EgressProxied, Uplink: "eth0", State: vnet.PrefixActive},
	}, more...)}
}

func newLender(t *testing.T, dir string) *lender {
	w := &lender{t: t, store: &slowStore{FakeStore: NewFakeStore(), away: true}}
	var err error
	w.Agent, err = New(Config{
		Host: "h1", Kernel: obedient{}, Finder: &quiet{}, Store: w.store, DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, StateDir: dir,
		InNS: func(string, func() error) error { return errors.New("no sockets here") },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.index.setNetwork("n", []plan.Subnet{{ID: "s", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("2001:db8::/64"), OffLink: true}})
	w.take(sharingNetwork())
	t.Cleanup(func() {
		if err := errors.Join(w.srv.close()...); err != nil {
			t.Error(err)
		}
	})
	return w
}

// seen is an address that a guest was seen with.
func seen(a string) vnet.Lease {
	return vnet.Lease{Network: "n", Subnet: "s", Address: netip.MustParseAddr(a), Family: vnet.IPv6, How: vnet.HowSLAAC, MAC: vnet.MAC{2, 5: 1}}
}

// pay tells the store once what it is owed; the loop works what follows, if
// something does.
func (w *lender) pay(follows bool) {
	w.t.Helper()
	w.claim.owed.next = time.Time{}
	w.claim.owed.pay(context.Background())
	if follows {
		w.called()
	}
}

// called works the next call into the loop.
func (w *lender) called() {
	w.t.Helper()
	select {
	case f := <-w.calls:
		f()
	case <-time.After(10 * time.Second):
		w.t.Fatal("nothing follows")
	}
}

// has is the lease that the snapshot has of an address, nil if none.
func (w *lender) has(a string) *pack.Lease {
	w.t.Helper()
	refs := w.snap.HoldersOf(netip.MustParseAddr(a))
	if len(refs) == 0 {
		return nil
	}
	if len(refs) > 1 {
		w.t.Fatalf("%s has %v", a, refs)
	}
	return w.snap.Lease(refs[0].ID)
}

const one = "2001:db8::5:6:7:8"

func TestLearntIsTentative(t *testing.T) {
	for name, then := range map[string]func(w *lender, id vnet.ID) (stays bool){
		"the store is away": func(w *lender, _ vnet.ID) bool {
			w.pay(false)
			return true
		},
		"the store has it": func(w *lender, id vnet.ID) bool {
			w.store.set(false)
			w.pay(false)
			got := w.store.got()
			if len(got) != 1 || got[0].ID != id {
				w.t.Fatalf("claimed: %+v", got)
			}
			w.take(vnet.Update{Revision: 2, Put: []vnet.Object{&got[0]}})
			if len(w.tentative) != 0 {
				w.t.Errorf("tentative: %v", w.tentative)
			}
			w.take(sharingNetwork(&got[0]))
			return true
		},
		"the store has it no more": func(w *lender, id vnet.ID) bool {
			w.store.set(false)
			w.pay(false)
			w.take(vnet.Update{Revision: 2, Put: []vnet.Object{&w.store.got()[0]}})
			w.take(vnet.Update{Revision: 3, Delete: []vnet.Ref{{Kind: vnet.KindLease, ID: id}}})
			return false
		},
		"the store refuses": func(w *lender, _ vnet.ID) bool {
			w.store.set(false)
			w.store.refuse = vnet.Errorf(vnet.ErrExists, "port vm1 has it")
			w.pay(true)
			if h := w.claim.holder("n", netip.MustParseAddr(one)); h != "" {
				w.t.Errorf("held as %s", h)
			}
			return false
		},
		"it is given back": func(w *lender, _ vnet.ID) bool {
			w.claim.Release(seen(one))
			w.called()
			w.store.set(false)
			w.pay(false)
			if got := w.store.got(); len(got) > 0 || len(w.claim.queue) > 0 || w.claim.holder("n", netip.MustParseAddr(one)) != "" {
				w.t.Errorf("the store is told %+v, %+v", got, w.claim.queue)
			}
			return false
		},
		"it is given back when the store may know": func(w *lender, id vnet.ID) bool {
			w.pay(false)
			w.claim.Release(seen(one))
			w.called()
			if q := w.claim.queue; len(q) != 1 || !q[0].release || w.claim.holder("n", netip.MustParseAddr(one)) != id {
				w.t.Errorf("queue: %+v", q)
			}
			return false
		},
		"the store speaks without it": func(w *lender, _ vnet.ID) bool {
			w.take(sharingNetwork())
			return true
		},
		"the answer comes before the store's word": func(w *lender, _ vnet.ID) bool {
			w.store.set(false)
			w.pay(false)
			w.take(sharingNetwork())
			w.tendTentative(time.Now())
			w.tendTentative(time.Now().Add(wordWait / 2))
			return true
		},
		"the store never says so": func(w *lender, _ vnet.ID) bool {
			w.store.set(false)
			w.pay(false)
			w.tendTentative(time.Now())
			w.tendTentative(time.Now().Add(2 * wordWait))
			return false
		},
		"another host has it": func(w *lender, _ vnet.ID) bool {
			l := seen(one)
			l.ID, l.Host, l.Updated = "theirs", "h2", time.Now()
			w.take(sharingNetwork(&l))
			return false
		},
		"the prefix goes": func(w *lender, _ vnet.ID) bool {
			w.take(vnet.Update{Revision: 2, Delete: []vnet.Ref{{Kind: vnet.KindAssignment, ID: "as"}}})
			w.take(vnet.Update{Reset: true, Revision: 3})
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLender(t, "")
			w.claimLearnt(seen(one))
			l := w.has(one)
			if l == nil || !w.dirty[vnet.Ref{Kind: vnet.KindLease, ID: l.ID()}] {
				t.Fatal("a guest has no route until the store answers")
			}
			clear(w.dirty)
			if stays := then(w, l.ID()); stays != (w.has(one) != nil) {
				t.Errorf("in the snapshot: %v, want %v", !stays, stays)
			} else if !stays && (len(w.tentative) > 0 || !w.dirty[vnet.Ref{Kind: vnet.KindLease, ID: l.ID()}]) {
				t.Errorf("tentative: %v, to plan: %v", w.tentative, w.dirty)
			}
		})
	}
}

// TestNotTentative: what somebody else has waits for the store, and so does what
// needs no route of its own.
func TestNotTentative(t *testing.T) {
	for name, tc := range map[string]struct {
		addr   string
		before func(*lender)
		owed   bool
	}{
		"another host's": {one, func(w *lender) {
			l := seen(one)
			l.ID, l.Host = "theirs", "h2"
			w.take(vnet.Update{Revision: 2, Put: []vnet.Object{&l}})
		}, true},
		"a port's": {one, func(w *lender) {
			w.index.setGuest("vm1", &plan.Guest{Port: "vm1", Network: "n", Addresses: []plan.GuestAddress{{Address: netip.MustParseAddr(one)}}})
		}, true},
		"in no shared prefix": {"2001:db8:0:1::5", func(*lender) {}, false},
		"in the journal": {one, func(w *lender) {
			l := w.claim.complete(seen(one))
			l.How = vnet.HowDHCPv6
			w.claim.owed.owe(leaseKey{"n", l.Address}, &debt{updated: l.Updated, journaled: true})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLender(t, "")
			tc.before(w)
			w.claimLearnt(seen(tc.addr))
			if len(w.tentative) > 0 || w.has(tc.addr) != nil {
				t.Errorf("it is in the snapshot: %v", w.tentative)
			}
			if owed := len(w.claim.owed.debts) == 1; owed != tc.owed || owed == (len(w.claim.queue) == 1) {
				t.Errorf("owed: %v, claimed: %v", w.claim.owed.debts, w.claim.queue)
			}
		})
	}
}

// TestOursFromBefore: started from less than the store knows, we find a guest
// anew; its lease stays the one that the store has.
func TestOursFromBefore(t *testing.T) {
	w := newLender(t, "")
	w.claimLearnt(seen(one))
	l := seen(one)
	l.ID, l.Host, l.Created, l.Updated = "before", "h1", time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
	w.take(sharingNetwork(&l))
	if got := w.has(one); got == nil || got.ID() != "before" || len(w.tentative) > 0 {
		t.Errorf("%+v, tentative: %v", got, w.tentative)
	}
	w.store.set(false)
	w.pay(false)
	if got := w.store.got(); len(got) != 1 || got[0].ID != "before" {
		t.Errorf("claimed: %+v", got)
	}
}

// TestJournaledIsTentative: what DHCPv6 gave without the store is in the
// snapshot, also that of a process that comes after; a renewal of which the
// store does not know is not undone by what it says of the time before.
func TestJournaledIsTentative(t *testing.T) {
	dir := t.TempDir()
	w := newLender(t, dir)
	give := func(w *lender, expires time.Time) vnet.Lease {
		l := seen(one)
		l.How, l.DUID, l.Expires = vnet.HowDHCPv6, "00:03:00:01:02:00:00:00:00:01", expires
		l = w.claim.complete(l)
		w.claim.keep(&l)
		w.claim.owed.write([]pledge{{lease: l, done: func(err error) {
			if err != nil {
				t.Error(err)
			}
		}}})
		w.called()
		return l
	}
	now := time.Now().Round(0)
	first := give(w, now.Add(time.Hour))
	if l := w.has(one); l == nil || l.ID() != first.ID {
		t.Fatalf("%+v", l)
	}
	w.take(vnet.Update{Revision: 2, Put: []vnet.Object{&first}})
	second := give(w, now.Add(2*time.Hour))
	for _, u := range []vnet.Update{{Revision: 3, Put: []vnet.Object{&first}}, {Revision: 4, Delete: []vnet.Ref{vnet.RefOf(&first)}}, sharingNetwork(&first), sharingNetwork()} {
		w.take(u)
		if l := w.has(one); l == nil || !l.Expires().Equal(second.Expires) {
			t.Errorf("after %+v: %+v", u, l)
		}
	}
	next := newLender(t, dir)
	if l := next.has(one); l == nil || l.ID() != first.ID || !l.Expires().Equal(second.Expires) {
		t.Errorf("after a restart: %+v", l)
	}
	next.store.set(false)
	next.store.refuse = vnet.Errorf(vnet.ErrExists, "port vm1 has it")
	next.pay(true)
	if l := next.has(one); l != nil {
		t.Errorf("refused: %+v", l)
	}
}

// TestLearntIsKept: what was learnt while the store is away is found in the kept
// snapshot, and is owed again.
func TestLearntIsKept(t *testing.T) {
	dir := t.TempDir()
	w := newLender(t, dir)
	w.claimLearnt(seen(one))
	id := w.has(one).ID()
	if err := w.keep.write(keepOf(w.snap, w.tentative), func() {}); err != nil {
		t.Fatal(err)
	}
	next := newLender(t, dir)
	old, untold := next.keep.load("h1")
	if old == nil || old.LeaseCount() != 0 || len(untold) != 1 {
		t.Fatalf("%+v, %+v", old, untold)
	}
	next.claim.owed.resume(untold)
	next.reset(old)
	if l := next.has(one); l == nil || l.ID() != id {
		t.Errorf("%+v", l)
	}
	next.store.set(false)
	next.pay(false)
	if got := next.store.got(); len(got) != 1 || got[0].ID != id || !got[0].Updated.Equal(untold[0].Updated) {
		t.Errorf("claimed: %+v", got)
	}
}

// TestPrunesOnceSpoken: the store's first word has everything compared.
func TestPrunesOnceSpoken(t *testing.T) {
	w := newLender(t, "")
	if !w.spoken || !w.full {
		t.Errorf("spoken %v, full %v", w.spoken, w.full)
	}
	w.full = false
	if w.take(sharingNetwork()); w.full {
		t.Error("everything is compared each time that the store comes back")
	}
}
