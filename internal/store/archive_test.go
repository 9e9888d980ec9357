package store

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// dump is every key and value, but for revisions of scopes.
func dump(t *testing.T, s *Store) map[string]string {
	t.Helper()
	resp, err := s.etcd.Get(t.Context(), root, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, kv := range resp.Kvs {
		if !strings.HasPrefix(string(kv.Key), root+"scope/") {
			out[string(kv.Key)] = string(kv.Value)
		}
	}
	return out
}

func TestBackupRestore(t *testing.T) {
	each(t, func(t *testing.T, to *Store) {
		from := startEmbedded(t).Store
		ctx := t.Context()
		w := newWorld(t, from)
		p := w.port("vm1", 10)
		mustCommit(t, from, p)
		lease := func(addr string, port vnet.ID) vnet.Object {
			return &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Port: port, Host: "h", Address: netip.MustParseAddr(addr)}
		}
		for _, err := range from.Claim(ctx, []vnet.Object{lease("10.0.0.10", p.ID), lease("10.0.0.11", "")}, nil) {
			if err != nil {
				t.Fatal(err)
			}
		}
		key, _ := objectKey(p)
		before := dump(t, from)
		var b bytes.Buffer
		if err := from.Backup(ctx, &b); err != nil {
			t.Fatal(err)
		}
		if err := from.Observe(ctx, []vnet.Object{&vnet.Host{Meta: vnet.Meta{ID: "h"}}, &vnet.Event{Time: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		if err := to.Restore(ctx, bytes.NewReader(b.Bytes()), false); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, dump(t, to)); d != "" {
			t.Errorf("-from +to:\n%s", d)
		}
		if err := to.Check(ctx); err != nil {
			t.Error(err)
		}
		wantKind(t, to.Restore(ctx, bytes.NewReader(b.Bytes()), false), vnet.ErrExists, "not empty", "--force")
		mustCommit(t, to, &vnet.Project{Meta: meta("extra", "")})
		if err := to.Restore(ctx, bytes.NewReader(b.Bytes()), true); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, dump(t, to)); d != "" {
			t.Errorf("-from +to:\n%s", d)
		}
		// The restored store holds uniqueness and references as before.
		twin := w.port("vm1", 50)
		_, err := to.Commit(ctx, &vnet.Change{Put: []vnet.Object{twin}})
		wantKind(t, err, vnet.ErrExists, "vm1")
		_, err = to.Commit(ctx, del(w.v4))
		wantKind(t, err, vnet.ErrInUse)

		// Bad backups change nothing.
		whole := b.String()
		lines := strings.SplitAfter(strings.TrimSpace(whole), "\n")
		for name, bad := range map[string]string{
			"empty":        "",
			"not a backup": "{}\n",
			"cut short":    strings.Join(lines[:len(lines)-1], ""),
			"garbage":      strings.Join(lines[:2], "") + "garbage\n",
			"twice":        whole + lines[1],
			"newer":        strings.Replace(whole, `"schema":1`, `"schema":99`, 1),
			"dangling":     strings.Replace(whole, string(w.v4.ID), string(newID()), 1),
		} {
			err := to.Restore(ctx, strings.NewReader(bad), true)
			if err == nil {
				t.Errorf("%s: restored", name)
				continue
			}
			wantKind(t, err, vnet.ErrInvalid)
		}
		if d := cmp.Diff(before, dump(t, to)); d != "" {
			t.Errorf("a bad backup changed the store: -was +is:\n%s", d)
		}
		if _, ok := before[key]; !ok {
			t.Error("no port in it")
		}
	})
}

func TestRestoreCutShort(t *testing.T) {
	s := startEmbedded(t).Store
	newWorld(t, s)
	began := func(at time.Time) {
		if _, err := s.etcd.Put(t.Context(), restoreKey, at.UTC().Format(time.RFC3339)); err != nil {
			t.Fatal(err)
		}
	}
	began(time.Now())
	wantKind(t, s.prepare(t.Context(), restoreLasts), vnet.ErrUnavailable, "under way")
	began(time.Now().Add(-2 * restoreLasts))
	wantKind(t, s.Check(t.Context()), vnet.ErrUnavailable)
	if err := s.prepare(t.Context(), restoreLasts); err != nil {
		t.Fatal(err)
	}
	if left := dump(t, s); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func FuzzReadArchive(f *testing.F) {
	f.Add([]byte(`{"format":"sextant-backup","schema":1,"time":"2026-01-01T00:00:00Z","revision":5,"objects":2}
{"kind":"project","object":{"id":"p","name":"default"}}
{"kind":"network","object":{"id":"n","name":"web","project":"p","bridge":"sx-web"}}
`))
	f.Add([]byte(`{"format":"sextant-backup","schema":1,"objects":1}
{"kind":"lease","object":{"id":"l","network":"n","address":"fe80::1%x"}}
`))
	f.Add([]byte("{}\n\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readArchive(bytes.NewReader(data))
		if err != nil {
			if !vnet.Is(err, vnet.ErrInvalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(a.objects) != len(a.raw) {
			t.Fatal("objects and their raw forms differ in number")
		}
		for _, o := range a.objects {
			key, err := objectKey(o)
			if err != nil || !strings.HasPrefix(key, root) || strings.Contains(key, "\x00") {
				t.Fatalf("key %q, %v", key, err)
			}
			if ref, ok := parseKey(key); !ok || ref != vnet.RefOf(o) {
				t.Fatalf("%q is read as %v, is %v", key, ref, vnet.RefOf(o))
			}
		}
	})
}
