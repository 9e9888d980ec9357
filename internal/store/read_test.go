package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

func TestListPages(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	w := newWorld(t, s)
	other := &vnet.Network{Meta: meta("db", w.project.ID)}
	mustCommit(t, s, other)
	want := map[vnet.ID]bool{}
	for i := range 57 {
		p := w.port(fmt.Sprint("p", i), uint64(i+1))
		if i%3 == 0 {
			p.Network, p.Fixed = other.ID, nil
		} else {
			want[p.ID] = true
		}
		mustCommit(t, s, p)
	}
	for _, limit := range []int{0, 1, 7, 38, 100} {
		for _, q := range []vnet.Query{{Kind: vnet.KindPort, Network: w.net.ID}, {Kind: vnet.KindPort, Project: w.project.ID}} {
			got := map[vnet.ID]bool{}
			q.Limit = limit
			for {
				l, err := s.List(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				if limit > 0 && len(l.Items) > limit {
					t.Fatalf("%d items, limit %d", len(l.Items), limit)
				}
				for _, o := range l.Items {
					if id := o.GetMeta().ID; got[id] {
						t.Fatalf("%s twice", id)
					} else {
						got[id] = true
					}
				}
				if l.Next == "" {
					break
				}
				q.After = l.Next
			}
			if n := len(want); q.Network != "" && len(got) != n || q.Network == "" && len(got) != 57 {
				t.Errorf("limit %d: %d items", limit, len(got))
			}
		}
	}
}

// Statuses of all hosts lie among activations, which come first and may fill
// whole pages.
func TestListStatusesBehindActivations(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	for i := range pageSize + 1 {
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
		if _, err := s.etcd.Put(ctx, root+"host/h1/activation/"+id, `{"id":"`+id+`"}`); err != nil {
			t.Fatal(err)
		}
	}
	var want []vnet.Object
	for i := range 5 {
		ref := vnet.Ref{Kind: vnet.KindNetwork, ID: vnet.ID(fmt.Sprint("n", i))}
		want = append(want, &vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(ref, "h1")}, Target: ref, Host: "h1"})
	}
	if err := s.Observe(ctx, want); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 2} {
		got := 0
		q := vnet.Query{Kind: vnet.KindStatus, Limit: limit}
		for more := true; more; more = q.After != "" {
			l, err := s.List(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			got, q.After = got+len(l.Items), l.Next
		}
		if got != len(want) {
			t.Errorf("limit %d: %d statuses, want %d", limit, got, len(want))
		}
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	w := newWorld(t, s)
	key, _ := objectKey(w.net)
	raw := `{"id":"` + string(w.net.ID) + `","name":"web","project":"` + string(w.project.ID) + `","bridge":"sx-web","number":1,"later":{"a":[1,2]},"ipv4":{"mode":"nat","soon":true},"mtu":1400}`
	if _, err := s.etcd.Put(ctx, key, raw); err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(ctx, vnet.RefOf(w.net))
	if err != nil {
		t.Fatal(err)
	}
	n := o.(*vnet.Network)
	n.MTU, n.Domain = 0, "x.internal"
	mustCommit(t, s, n)
	resp, err := s.etcd.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	got := string(resp.Kvs[0].Value)
	for _, part := range []string{`"later":{"a":[1,2]}`, `"soon":true`, `"mode":"nat"`, `"domain":"x.internal"`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
	if strings.Contains(got, "mtu") || strings.Contains(got, "revision") {
		t.Errorf("should not be in %s", got)
	}
}

func TestSchema(t *testing.T) {
	e := startEmbedded(t)
	inst := &vnet.Installation{Meta: vnet.Meta{ID: InstallationID}, Schema: Schema + 1}
	mustCommit(t, e.Store, inst)
	wantKind(t, e.Check(t.Context()), vnet.ErrUnsupported, "newer version")
	migrations[Schema-1] = func(context.Context, *Store) error { return nil }
	t.Cleanup(func() { delete(migrations, Schema-1) })
	inst.Schema, inst.Revision = Schema-1, vnet.AnyRevision
	mustCommit(t, e.Store, inst)
	if err := e.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	o, err := e.Get(t.Context(), vnet.RefOf(inst))
	if err != nil || o.(*vnet.Installation).Schema != Schema {
		t.Errorf("schema %+v, %v", o, err)
	}
}
