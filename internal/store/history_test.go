package store

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// stayed is a history of one stay that ended at the time.
func (w *world) stayed(mac byte, addr string, from, until time.Time) *vnet.LeaseHistory {
	l := &vnet.Lease{Network: w.net.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, mac}, Address: netip.MustParseAddr(addr)}
	l.Created = from
	return vnet.HistoryOf(l, until)
}

// TestHistory: what is observed is added to what is there, agents are not told
// of it, and it goes with its network.
func TestHistory(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		f := follow(t, s, "h")
		now := time.Now().UTC().Truncate(time.Second)
		for i := range 3 {
			from := now.Add(time.Duration(i-10) * time.Hour)
			if err := s.Observe(ctx, []vnet.Object{w.stayed(1, fmt.Sprintf("10.0.0.%d", 20+i), from, from.Add(time.Minute)), w.stayed(2, "10.0.0.9", from, from.Add(time.Minute))}); err != nil {
				t.Fatal(err)
			}
		}
		o, err := s.Get(ctx, vnet.RefOf(w.stayed(1, "10.0.0.20", now, now)))
		if err != nil {
			t.Fatal(err)
		}
		if h := o.(*vnet.LeaseHistory); len(h.Stays) != 3 || h.Stays[2].Address.String() != "10.0.0.22" {
			t.Errorf("history %+v", h)
		}
		first, err := s.List(ctx, vnet.Query{Kind: vnet.KindHistory, Network: w.net.ID, Limit: 1})
		if err != nil || len(first.Items) != 1 || first.Next == "" {
			t.Fatalf("first page %+v %v", first, err)
		}
		all, err := s.List(ctx, vnet.Query{Kind: vnet.KindHistory, Limit: 5, After: first.Next})
		if err != nil || len(all.Items) != 1 {
			t.Fatalf("the other pages %+v %v", all, err)
		}
		rev := mustCommit(t, s, w.port("vm1", 10))
		f.until(rev)
		for r := range f.objects {
			if r.Kind == vnet.KindHistory {
				t.Errorf("an agent is told of %v", r)
			}
		}
		p, err := s.List(ctx, vnet.Query{Kind: vnet.KindPort, Network: w.net.ID})
		if err != nil {
			t.Fatal(err)
		}
		c := del(p.Items[0])
		for _, o := range []vnet.Object{w.v4, w.v6, w.net} {
			c.Delete = append(c.Delete, del(o).Delete...)
		}
		if _, err := s.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
		if l, err := s.List(ctx, vnet.Query{Kind: vnet.KindHistory}); err != nil || len(l.Items) != 0 {
			t.Errorf("it outlives its network: %+v %v", l, err)
		}
	})
}

// TestHistoriesAreBounded: old ones go, then strangers' before ports'.
func TestHistoriesAreBounded(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	w := newWorld(t, s)
	now := time.Now().UTC()
	var put []vnet.Object
	for i := range byte(10) {
		until := now.Add(-time.Duration(i) * time.Hour)
		put = append(put, w.stayed(i, "10.0.0.20", until.Add(-time.Minute), until))
	}
	put = append(put, w.stayed(99, "10.0.0.20", now, now.Add(-vnet.HistoryAge-time.Hour)))
	port := vnet.HistoryOf(&vnet.Lease{Network: w.net.ID, Port: "p", Address: netip.MustParseAddr("10.0.0.7")}, now.Add(-100*time.Hour))
	if err := s.Observe(ctx, append(put, port)); err != nil {
		t.Fatal(err)
	}
	if err := s.collectHistories(ctx, now, 4); err != nil {
		t.Fatal(err)
	}
	l, err := s.List(ctx, vnet.Query{Kind: vnet.KindHistory})
	if err != nil {
		t.Fatal(err)
	}
	got := map[vnet.ID]bool{}
	for _, o := range l.Items {
		got[o.GetMeta().ID] = true
	}
	if len(got) != 4 || !got[port.ID] || !got[put[0].GetMeta().ID] || !got[put[1].GetMeta().ID] || !got[put[2].GetMeta().ID] {
		t.Errorf("kept %v", got)
	}
}

// TestOrders: the agent is told of an order, its network must be there, and one
// that nobody came for goes.
func TestOrders(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		f := follow(t, s, "h")
		now := time.Now().UTC()
		order := func(until time.Time) *vnet.LeaseOrder {
			return &vnet.LeaseOrder{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Host: "h", Action: vnet.OrderRelease, Until: until}
		}
		lost := order(now)
		lost.Network = newID()
		_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{lost}})
		wantKind(t, err, vnet.ErrNotFound)
		done, void, fresh := order(now.Add(time.Hour)), order(now.Add(-time.Hour)), order(now.Add(time.Hour))
		f.until(mustCommit(t, s, done, void, fresh))
		if f.objects[vnet.RefOf(done)] == nil {
			t.Error("the agent is not told")
		}
		if err := errors.Join(s.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(done)})...); err != nil {
			t.Fatal(err)
		}
		if err := s.Collect(ctx, now); err != nil {
			t.Fatal(err)
		}
		l, err := s.List(ctx, vnet.Query{Kind: vnet.KindOrder})
		if err != nil || len(l.Items) != 1 || vnet.RefOf(l.Items[0]) != vnet.RefOf(fresh) {
			t.Errorf("left: %+v %v", l, err)
		}
	})
}

// TestSinceWhen: a renewal keeps since when the guest has the address, another
// guest begins anew. A lease is found by its address.
func TestSinceWhen(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	w := newWorld(t, s)
	now := time.Now().UTC().Truncate(time.Second)
	l := &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Host: "h", MAC: vnet.MAC{2, 0, 0, 0, 0, 1}, Address: netip.MustParseAddr("10.0.0.20")}
	for i, tc := range []struct {
		mac  byte
		want time.Time
	}{{1, now}, {1, now}, {2, now.Add(2 * time.Hour)}, {2, now.Add(2 * time.Hour)}} {
		c := *l
		c.MAC[5], c.Updated = tc.mac, now.Add(time.Duration(i)*time.Hour)
		if err := errors.Join(s.Claim(ctx, []vnet.Object{&c}, nil)...); err != nil {
			t.Fatal(err)
		}
		found, err := s.List(ctx, vnet.Query{Kind: vnet.KindLease, Network: w.net.ID, Name: "10.0.0.20"})
		if err != nil || len(found.Items) != 1 {
			t.Fatalf("%+v %v", found, err)
		}
		if got := found.Items[0].GetMeta().Created; !got.Equal(tc.want) {
			t.Errorf("claim %d: since %v, want %v", i, got, tc.want)
		}
	}
	if l, err := s.List(ctx, vnet.Query{Kind: vnet.KindLease, Network: w.net.ID, Name: "10.0.0.21"}); err != nil || len(l.Items) != 0 {
		t.Errorf("found %+v %v", l, err)
	}
}
