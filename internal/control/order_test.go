package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// agentOf obeys the orders for h1: it does what it can of releases, and says of
// every lease in 192.0.2.0/24 that it cannot be.
func (r *rig) agentOf(ctx context.Context) {
	updates, err := r.store.Watch(ctx, vnet.Query{Kind: vnet.KindOrder}, 0)
	if err != nil {
		r.t.Error(err)
	}
	for u := range updates {
		for _, x := range u.Put {
			o := x.(*vnet.LeaseOrder)
			st := &vnet.Status{Target: vnet.RefOf(o), Host: o.Host, Applied: u.Revision, State: vnet.StateRunning}
			st.ID, st.Updated = vnet.StatusID(st.Target, st.Host), time.Now()
			gone := []vnet.Ref{vnet.RefOf(o)}
			for _, l := range o.Leases {
				if netip.MustParsePrefix("192.0.2.0/24").Contains(l.Address) {
					st.Problems = append(st.Problems, vnet.Problem{Kind: vnet.ErrConflict, Field: l.Text(), Msg: "it is in use"})
				}
				if l.Lease != "" {
					gone = append(gone, vnet.Ref{Kind: vnet.KindLease, ID: l.Lease})
				}
			}
			if err := r.store.Observe(ctx, []vnet.Object{st}); err != nil && ctx.Err() == nil {
				r.t.Error(err)
			}
			if err := errors.Join(r.store.Claim(ctx, nil, gone)...); err != nil && ctx.Err() == nil {
				r.t.Error(err)
			}
		}
	}
}

func (r *rig) lease(n *vnet.Network, addr string, mac byte) *vnet.Lease {
	r.t.Helper()
	l := &vnet.Lease{Network: n.ID, Host: "h1", MAC: vnet.MAC{2, 0, 0, 0, 0, mac}, Address: netip.MustParseAddr(addr), How: vnet.HowDHCPv4}
	l.ID, l.Project, l.Created = r.newID(), n.Project, time.Now().UTC().Truncate(time.Second)
	if err := r.store.Claim(r.t.Context(), []vnet.Object{l}, nil)[0]; err != nil {
		r.t.Fatal(err)
	}
	return l
}

func TestOrders(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	other := r.network(fixed4("lab", "10.2.0.1/24"))
	r.lease(n, "10.1.0.7", 1)
	r.lease(n, "10.9.0.9", 2)
	r.lease(other, "10.9.0.9", 3)

	// Nobody answers: what was ordered is taken back.
	o, err := r.ReleaseLease(ctx, admin, Selector{Name: "10.1.0.7"})
	if err != nil || o.Host != "h1" || len(o.Leases) != 1 || o.Leases[0].Lease == "" || o.Until.Sub(o.Created) != orderTime {
		t.Fatalf("%+v %v", o, err)
	}
	soon, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	_, err = r.Ordered(soon, o)
	stop()
	wantKind(t, err, vnet.ErrUnavailable, "nothing was done")
	if l, err := r.store.List(ctx, vnet.Query{Kind: vnet.KindOrder}); err != nil || len(l.Items) != 0 {
		t.Errorf("orders left: %+v %v", l, err)
	}

	go r.agentOf(ctx)
	if o, err = r.ReleaseLease(ctx, admin, Selector{Name: "10.1.0.7"}); err != nil {
		t.Fatal(err)
	}
	res, err := r.Ordered(ctx, o)
	if err != nil || res.Done != 1 || len(res.Problems) != 0 || res.Host != "h1" {
		t.Errorf("%+v %v", res, err)
	}
	_, err = r.ReleaseLease(ctx, admin, Selector{Name: "10.9.0.9"})
	wantKind(t, err, vnet.ErrInvalid, "several networks")
	_, err = r.ReleaseLease(ctx, admin, Selector{Name: "10.7.0.9"})
	wantKind(t, err, vnet.ErrNotFound)
	_, err = r.ReleaseLease(ctx, Identity{User: "eve"}, Selector{Name: "10.9.0.9", Network: "web"})
	wantKind(t, err, vnet.ErrNotFound)
	if o, err = r.ReleaseLease(ctx, admin, Selector{Name: "10.9.0.9", Network: "lab"}); err != nil || o.Leases[0].MAC[5] != 3 {
		t.Errorf("%+v %v", o, err)
	}

	records := []vnet.LeaseRecord{{Address: netip.MustParseAddr("10.1.0.20"), MAC: vnet.MAC{2}}, {Address: netip.MustParseAddr("192.0.2.9"), MAC: vnet.MAC{2, 1}}}
	if o, err = r.ImportLeases(ctx, admin, "", "web", records); err != nil {
		t.Fatal(err)
	}
	res, err = r.Ordered(ctx, o)
	if err != nil || res.Done != 1 || len(res.Problems) != 1 || res.Problems[0].Field != "192.0.2.9" {
		t.Errorf("%+v %v", res, err)
	}
	for _, tc := range []struct {
		network string
		records []vnet.LeaseRecord
		kind    vnet.ErrKind
		words   string
	}{
		{"", records, vnet.ErrInvalid, "network is missing"},
		{"web", nil, vnet.ErrInvalid, "there are none"},
		{"web", make([]vnet.LeaseRecord, vnet.OrderMost+1), vnet.ErrInvalid, "at most"},
		{"nowhere", records, vnet.ErrNotFound, "nowhere"},
	} {
		_, err := r.ImportLeases(ctx, admin, "", tc.network, tc.records)
		wantKind(t, err, tc.kind, tc.words)
	}
	if _, err := r.Stop(ctx, admin, sel(vnet.KindNetwork, "web")); err != nil {
		t.Fatal(err)
	}
	_, err = r.ImportLeases(ctx, admin, "", "web", records)
	wantKind(t, err, vnet.ErrConflict, "does not run")
}

type askerFunc func(q Question) (json.RawMessage, error)

func (f askerFunc) Ask(_ context.Context, q Question) (json.RawMessage, error) { return f(q) }

// TestTryImport asks and orders nothing.
func TestTryImport(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.network(fixed4("web", "10.1.0.1/24"))
	r.asker = askerFunc(func(q Question) (json.RawMessage, error) {
		var o vnet.LeaseOrder
		if err := json.Unmarshal(q.Args, &o); err != nil || q.Verb != "import" || q.Host != "h1" || len(o.Leases) != 1 {
			t.Errorf("asked %+v %v", q, err)
		}
		return json.RawMessage(`{"done":0,"problems":[{"kind":"conflict","field":"10.1.0.20","message":"no"}]}`), nil
	})
	res, err := r.TryImport(ctx, admin, "", "web", []vnet.LeaseRecord{{Address: netip.MustParseAddr("10.1.0.20")}})
	if err != nil || res.Done != 0 || len(res.Problems) != 1 || res.Host != "h1" {
		t.Errorf("%+v %v", res, err)
	}
	if l, err := r.store.List(ctx, vnet.Query{Kind: vnet.KindOrder}); err != nil || len(l.Items) != 0 {
		t.Errorf("it ordered: %+v %v", l, err)
	}
}

func TestWatchLeases(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, other := r.network(fixed4("web", "10.1.0.1/24")), r.network(fixed4("lab", "10.2.0.1/24"))
	r.lease(n, "10.1.0.6", 1)
	one, err := r.WatchLeases(ctx, admin, Query{Network: "web"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.WatchLeases(ctx, admin, Query{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := r.WatchLeases(ctx, Identity{User: "eve"}, Query{AllProjects: true}, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.lease(other, "10.2.0.7", 2)
	l := r.lease(n, "10.1.0.7", 3)
	if err := r.store.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(l)})[0]; err != nil {
		t.Fatal(err)
	}
	if x := <-all; x.Ended || x.Lease.Address.String() != "10.2.0.7" {
		t.Errorf("all: %+v", x)
	}
	for _, ch := range []<-chan LeaseChange{all, one} {
		if x := <-ch; x.Ended || x.Lease.Address != l.Address || x.Lease.Revision == 0 {
			t.Errorf("%+v", x)
		}
		if x := <-ch; !x.Ended || x.Lease.ID != l.ID || x.Lease.Address.IsValid() {
			t.Errorf("%+v", x)
		}
	}
	if x := <-nobody; !x.Ended || x.Lease.Address.IsValid() {
		t.Errorf("a stranger sees %+v", x)
	}
	cancel()
	for range all {
	}
}

func TestHistory(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n, other := r.network(fixed4("web", "10.1.0.1/24")), r.network(fixed4("lab", "10.2.0.1/24"))
	p := r.port(portOn(n, "vm1"))
	now := time.Now().UTC().Truncate(time.Second)
	was := func(n *vnet.Network, port vnet.ID, mac byte, addr string, hours int) vnet.Object {
		l := &vnet.Lease{Network: n.ID, Port: port, MAC: vnet.MAC{2, 0, 0, 0, 0, mac}, Address: netip.MustParseAddr(addr)}
		l.Project, l.Created = n.Project, now.Add(-time.Duration(hours)*time.Hour)
		return vnet.HistoryOf(l, l.Created.Add(30*time.Minute))
	}
	put := []vnet.Object{was(n, p.ID, 1, "10.1.0.7", 9), was(n, p.ID, 1, "10.1.0.8", 8), was(n, "", 2, "10.1.0.7", 7), was(other, "", 2, "10.2.0.7", 6)}
	for _, o := range put {
		if err := r.store.Observe(ctx, []vnet.Object{o}); err != nil {
			t.Fatal(err)
		}
	}
	r.lease(n, "10.1.0.7", 3)
	for _, tc := range []struct {
		network, of string
		want        []string
	}{
		{"web", "", []string{"10.1.0.7 1", "10.1.0.7 2", "10.1.0.7 3 now", "10.1.0.8 1"}},
		{"", "10.1.0.7", []string{"10.1.0.7 1", "10.1.0.7 2", "10.1.0.7 3 now"}},
		{"web", "vm1", []string{"10.1.0.7 1", "10.1.0.8 1"}},
		{"", "vm1", []string{"10.1.0.7 1", "10.1.0.8 1"}},
		{"", "02:00:00:00:00:02", []string{"10.1.0.7 2", "10.2.0.7 2"}},
		{"", "10.9.9.9", nil},
	} {
		var got []string
		q := HistoryQuery{Network: tc.network, Of: tc.of}
		for pages := 0; ; pages++ {
			page, err := r.History(ctx, admin, q)
			if err != nil || pages > 10 {
				t.Fatal(err, pages)
			}
			for _, e := range page.Items {
				s := e.Address.String() + " " + string('0'+rune(e.MAC[5]))
				if e.Until.IsZero() {
					s += " now"
				}
				got = append(got, s)
			}
			if q.After = page.Next; q.After == "" {
				break
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s %s: %q, want %q", tc.network, tc.of, got, tc.want)
		}
	}
	_, err := r.History(ctx, admin, HistoryQuery{Of: "vm9"})
	wantKind(t, err, vnet.ErrNotFound, "vm9")
	_, err = r.History(ctx, Identity{User: "eve"}, HistoryQuery{})
	wantKind(t, err, vnet.ErrNotFound)
	_, err = r.History(ctx, admin, HistoryQuery{After: "x"})
	wantKind(t, err, vnet.ErrInvalid, "no place")
}

// TestHistoryPages: every entry comes once, whatever the pages.
func TestHistoryPages(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	nets := []*vnet.Network{r.network(fixed4("a", "10.1.0.1/24")), r.network(fixed4("b", "10.2.0.1/16")), r.network(fixed4("c", "10.3.0.1/24"))}
	var put []vnet.Object
	for i := range 450 {
		n := nets[i%3]
		l := &vnet.Lease{Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Address: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})}
		l.Project, l.Created = n.Project, time.Now()
		put = append(put, vnet.HistoryOf(l, time.Now()))
	}
	if err := r.store.Observe(ctx, put); err != nil {
		t.Fatal(err)
	}
	var claims []vnet.Object
	for i := range 450 {
		l := &vnet.Lease{Network: nets[1].ID, Host: "h1", MAC: vnet.MAC{4, 0, 0, 0, byte(i >> 8), byte(i)}, Address: netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)})}
		l.ID, l.Project = r.newID(), nets[1].Project
		claims = append(claims, l)
	}
	if err := errors.Join(r.store.Claim(ctx, claims, nil)...); err != nil {
		t.Fatal(err)
	}
	seen := map[vnet.MAC]int{}
	q := HistoryQuery{}
	for pages := 1; ; pages++ {
		page, err := r.History(ctx, admin, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			seen[e.MAC]++
		}
		if q.After = page.Next; q.After == "" {
			if pages < 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if len(seen) != 900 {
		t.Errorf("%d guests", len(seen))
	}
	for m, n := range seen {
		if n != 1 {
			t.Errorf("%v comes %d times", m, n)
		}
	}
}
