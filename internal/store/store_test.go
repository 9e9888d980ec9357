package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// shortDir is a temporary directory whose path fits a socket address.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sxt-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func startEmbedded(t testing.TB) *Embedded {
	t.Helper()
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: shortDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func openSocket(t testing.TB) *Store {
	t.Helper()
	dir := shortDir(t)
	sock := filepath.Join(dir, "agents.sock")
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: filepath.Join(dir, "d"), Socket: sock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	s, err := Open(t.Context(), Config{Endpoints: []string{"unix://" + sock}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// openExternal starts the distribution's etcd.
func openExternal(t testing.TB) *Store {
	t.Helper()
	netnstest.NeedCommands(t, "etcd")
	dir := shortDir(t)
	ports := freePorts(t, 2)
	client, peer := "http://127.0.0.1:"+ports[0], "http://127.0.0.1:"+ports[1]
	cmd := exec.Command("etcd", "--data-dir", dir, "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--heartbeat-interval", "10", "--election-timeout", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var s *Store
	netnstest.Eventually(t, 20*time.Second, "etcd answers", func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err = Open(ctx, Config{Endpoints: []string{client}})
		return err
	})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		out = append(out, port)
	}
	return out
}

// each runs the test over every way to reach a store.
func each(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Run("embedded", func(t *testing.T) { f(t, startEmbedded(t).Store) })
	t.Run("socket", func(t *testing.T) { f(t, openSocket(t)) })
	t.Run("external", func(t *testing.T) { f(t, openExternal(t)) })
}

func newID() vnet.ID { return vnet.ID(uuid.NewString()) }

func meta(name string, project vnet.ID) vnet.Meta {
	return vnet.Meta{ID: newID(), Name: name, Project: project}
}

type world struct {
	s       *Store
	project *vnet.Project
	net     *vnet.Network
	v4, v6  *vnet.Subnet
}

func newWorld(t testing.TB, s *Store) *world {
	t.Helper()
	w := &world{s: s, project: &vnet.Project{Meta: meta("default", "")}}
	w.net = &vnet.Network{Meta: meta("web", w.project.ID), Bridge: "sx-web", Number: 1}
	w.v4 = &vnet.Subnet{Meta: meta("", ""), Network: w.net.ID, Family: vnet.IPv4, Primary: true, Prefix: netip.MustParsePrefix("10.0.0.0/24")}
	w.v6 = &vnet.Subnet{Meta: meta("", ""), Network: w.net.ID, Family: vnet.IPv6, Primary: true, Prefix: netip.MustParsePrefix("fd00::/64")}
	inst := &vnet.Installation{Meta: vnet.Meta{ID: InstallationID}, Schema: Schema, ULA: netip.MustParsePrefix("fd00::/48")}
	mustCommit(t, s, inst, w.project, w.net, w.v4, w.v6)
	return w
}

func (w *world) port(name string, host uint64) *vnet.Port {
	return &vnet.Port{Meta: meta(name, w.project.ID), Network: w.net.ID, MAC: vnet.MAC{0x52, 0x54, 0, 0, byte(host >> 8), byte(host)},
		Fixed: []vnet.FixedAddress{{Subnet: w.v4.ID, Host: host}, {Subnet: w.v6.ID, Host: host}}}
}

func mustCommit(t testing.TB, s *Store, put ...vnet.Object) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), &vnet.Change{Put: put})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func wantKind(t testing.TB, err error, kind vnet.ErrKind, words ...string) {
	t.Helper()
	if !vnet.Is(err, kind) {
		t.Fatalf("got %v, want an error of kind %s", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func del(o vnet.Object) *vnet.Change {
	return &vnet.Change{Delete: []vnet.Deletion{{Ref: vnet.RefOf(o), Revision: vnet.AnyRevision}}}
}

func TestCommit(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		p := w.port("vm1", 10)
		rev := mustCommit(t, s, p)

		got, err := s.Get(ctx, vnet.RefOf(p))
		if err != nil || got.GetMeta().Revision != rev {
			t.Fatalf("got %+v, %v; want revision %d", got, err, rev)
		}
		p.Revision = rev
		if d := cmp.Diff(vnet.Object(p), got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("-put +got:\n%s", d)
		}

		t.Run("a name is held once", func(t *testing.T) {
			twin := w.port("vm1", 11)
			_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{twin}})
			wantKind(t, err, vnet.ErrExists, "name: vm1", "port vm1")
			twin.Name, twin.MAC = "vm2", p.MAC
			_, err = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{twin}})
			wantKind(t, err, vnet.ErrExists, "mac: 52:54:00:00:00:0a", "port vm1")
			twin = w.port("vm2", 10)
			twin.MAC[5] = 99
			_, err = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{twin}})
			wantKind(t, err, vnet.ErrExists, "addresses: ", "host part 0xa", "port vm1")
			if _, err := s.Get(ctx, vnet.RefOf(twin)); !vnet.Is(err, vnet.ErrNotFound) {
				t.Errorf("half made: %v", err)
			}
		})
		t.Run("the same name twice in one change", func(t *testing.T) {
			a, b := w.port("x", 20), w.port("x", 21)
			_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{a, b}})
			wantKind(t, err, vnet.ErrExists, "name: x")
		})
		t.Run("revisions", func(t *testing.T) {
			old := *p
			p.Hostname = "changed"
			p.Revision = mustCommit(t, s, p)
			old.Hostname = "other"
			_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{&old}})
			wantKind(t, err, vnet.ErrConflict, "changed meanwhile")
			old.Revision = vnet.AnyRevision
			p.Revision = mustCommit(t, s, &old)
			old.Revision = 0
			_, err = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{&old}})
			wantKind(t, err, vnet.ErrExists)
			gone := w.port("gone", 50)
			gone.Revision = 5
			_, err = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{gone}})
			wantKind(t, err, vnet.ErrNotFound)
		})
		t.Run("names swapped in one change", func(t *testing.T) {
			q := w.port("vm9", 30)
			q.Revision = mustCommit(t, s, q)
			p.Name, q.Name = q.Name, p.Name
			rev := mustCommit(t, s, q, p)
			p.Revision, q.Revision = rev, rev
			l, err := s.List(ctx, vnet.Query{Kind: vnet.KindPort, Network: w.net.ID, Name: "vm9"})
			if err != nil || len(l.Items) != 1 || l.Items[0].GetMeta().ID != p.ID {
				t.Errorf("vm9 is %v, %v", l, err)
			}
		})
		t.Run("in use", func(t *testing.T) {
			_, err := s.Commit(ctx, del(w.v4))
			wantKind(t, err, vnet.ErrInUse, "port vm1", "port vm9")
			_, err = s.Commit(ctx, del(w.net))
			wantKind(t, err, vnet.ErrInUse, "network web")
			_, err = s.Commit(ctx, del(w.project))
			wantKind(t, err, vnet.ErrInUse, "network web")
		})
		t.Run("what it refers to must be there", func(t *testing.T) {
			q := w.port("lost", 40)
			q.Network = newID()
			_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{q}})
			wantKind(t, err, vnet.ErrNotFound, "network")
		})
		t.Run("too much", func(t *testing.T) {
			var c vnet.Change
			for i := range 30 {
				c.Put = append(c.Put, w.port(fmt.Sprint("many", i), uint64(300+i)))
			}
			_, err := s.Commit(ctx, &c)
			wantKind(t, err, vnet.ErrInvalid, "128")
		})
		t.Run("scopes", func(t *testing.T) {
			gen, err := s.Generation(ctx, vnet.ScopeHost)
			if err != nil {
				t.Fatal(err)
			}
			c := func(name string) *vnet.Change {
				return &vnet.Change{Put: []vnet.Object{&vnet.Pool{Meta: meta(name, w.project.ID)}}, Scopes: map[vnet.Scope]int64{vnet.ScopeHost: gen}}
			}
			rev, err := s.Commit(ctx, c("a"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Commit(ctx, c("b"))
			wantKind(t, err, vnet.ErrConflict, "prefixes")
			if now, _ := s.Generation(ctx, vnet.ScopeHost); now != rev {
				t.Errorf("generation %d after revision %d", now, rev)
			}
		})
	})
}

func TestDeleteNetworkTakesItsClaims(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		var leases []vnet.Object
		for i := range 300 {
			leases = append(leases, &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v6.ID, Host: "h",
				Address: netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})})
		}
		as := &vnet.PrefixAssignment{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Host: "h", Prefix: netip.MustParsePrefix("10.9.0.0/24")}
		for _, err := range s.Claim(ctx, append(leases, as), nil) {
			if err != nil {
				t.Fatal(err)
			}
		}
		c := del(w.v4)
		c.Delete = append(c.Delete, del(w.v6).Delete[0], del(w.net).Delete[0])
		if _, err := s.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
		if err := s.Collect(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		left, err := s.etcd.Get(ctx, root, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range left.Kvs {
			if k := string(kv.Key); strings.Contains(k, string(w.net.ID)) || strings.Contains(k, "lease") || strings.Contains(k, "uniq/prefix") ||
				strings.Contains(k, string(w.v4.ID)) {
				t.Errorf("left behind: %s", k)
			}
		}
		_, err = s.Get(ctx, vnet.RefOf(w.net))
		wantKind(t, err, vnet.ErrNotFound)
		if err := s.Claim(ctx, leases[:1], nil)[0]; !vnet.Is(err, vnet.ErrNotFound) {
			t.Errorf("claim on a network that is gone: %v", err)
		}
	})
}

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

func TestClaim(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		p := w.port("vm1", 10)
		mustCommit(t, s, p)
		lease := func(addr string, port vnet.ID) *vnet.Lease {
			a := netip.MustParseAddr(addr)
			l := &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Port: port, Host: "h", Address: a}
			if a.Is6() {
				l.Subnet = w.v6.ID
			}
			return l
		}
		free, dup := lease("10.0.0.20", ""), lease("10.0.0.20", "")
		thief, owner := lease("10.0.0.10", ""), lease("10.0.0.10", p.ID)
		lost := lease("10.0.0.30", "")
		lost.Network = newID()
		got := s.Claim(ctx, []vnet.Object{free, dup, thief, owner, lost}, []vnet.Ref{{Kind: vnet.KindLease, ID: newID()}})
		for i, want := range []vnet.ErrKind{"", vnet.ErrExists, vnet.ErrExists, "", vnet.ErrNotFound, ""} {
			if vnet.KindOf(got[i]) != want {
				t.Errorf("claim %d: %v, want %q", i, got[i], want)
			}
		}
		if free.HostPart != 20 {
			t.Errorf("host part %d", free.HostPart)
		}
		// A port cannot take what is leased; it can once it is released.
		q := w.port("vm2", 20)
		_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{q}})
		wantKind(t, err, vnet.ErrExists)
		free.Expires = time.Now().Add(time.Hour)
		if err := errors.Join(s.Claim(ctx, []vnet.Object{free}, []vnet.Ref{vnet.RefOf(owner)})...); err != nil {
			t.Fatalf("renew and release: %v", err)
		}
		if err := errors.Join(s.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(free)})...); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, q)
		// Releasing the lease of a port must not give away the port's address.
		if err := errors.Join(s.Claim(ctx, []vnet.Object{owner}, nil)...); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(owner)})...); err != nil {
			t.Fatal(err)
		}
		thief.ID = newID()
		wantKind(t, s.Claim(ctx, []vnet.Object{thief}, nil)[0], vnet.ErrExists, "port vm1")
	})
}

// Several writers take addresses from one small range: each goes to one.
func TestUniqueAmongWriters(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		const writers, addresses = 8, 40
		var mu sync.Mutex
		won := map[uint64]int{}
		var wg sync.WaitGroup
		for k := range writers {
			wg.Go(func() {
				for h := range uint64(addresses) {
					var err error
					if k%2 == 0 {
						p := w.port(fmt.Sprintf("w%d-%d", k, h), h+1)
						p.MAC[2] = byte(k + 1)
						_, err = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{p}})
					} else {
						l := &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Host: "h",
							Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(h + 1)})}
						err = s.Claim(ctx, []vnet.Object{l}, nil)[0]
					}
					switch {
					case err == nil:
						mu.Lock()
						won[h]++
						mu.Unlock()
					case !vnet.Is(err, vnet.ErrExists):
						t.Errorf("writer %d: %v", k, err)
					}
				}
			})
		}
		wg.Wait()
		for h := range uint64(addresses) {
			if won[h] != 1 {
				t.Errorf("address %d was given %d times", h+1, won[h])
			}
		}
	})
}

// A network is deleted while others plug ports into it: never is a port left
// without its network.
func TestDeleteAgainstCreate(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	project := &vnet.Project{Meta: meta("p", "")}
	mustCommit(t, s, project)
	for range 30 {
		n := &vnet.Network{Meta: meta("n", project.ID)}
		mustCommit(t, s, n)
		p := &vnet.Port{Meta: meta("x", project.ID), Network: n.ID}
		var wg sync.WaitGroup
		var made, deleted error
		wg.Go(func() { _, made = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{p}}) })
		wg.Go(func() { _, deleted = s.Commit(ctx, del(n)) })
		wg.Wait()
		if (made == nil) == (deleted == nil) {
			t.Fatalf("made: %v, deleted: %v", made, deleted)
		}
		if deleted != nil {
			wantKind(t, deleted, vnet.ErrInUse)
			if _, err := s.Commit(ctx, &vnet.Change{Delete: append(del(p).Delete, del(n).Delete...)}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestObserveAndCollect(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	w := newWorld(t, s)
	long := time.Now().Add(-time.Hour)
	status := func(r vnet.Ref) *vnet.Status {
		return &vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(r, "h"), Updated: long}, Target: r, Host: "h", State: vnet.StateRunning}
	}
	live, stale := status(vnet.RefOf(w.net)), status(vnet.Ref{Kind: vnet.KindPort, ID: newID()})
	objects := []vnet.Object{live, stale, &vnet.Host{Meta: vnet.Meta{ID: "h"}}}
	for range eventsKept + 100 {
		objects = append(objects, &vnet.Event{Time: time.Now(), What: "changed"})
	}
	if err := s.Observe(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, vnet.RefOf(live)); err != nil {
		t.Error(err)
	}
	_, err := s.Get(ctx, vnet.RefOf(stale))
	wantKind(t, err, vnet.ErrNotFound)
	l, err := s.List(ctx, vnet.Query{Kind: vnet.KindEvent})
	if err != nil || len(l.Items) != eventsKept {
		t.Fatalf("%d events, %v", len(l.Items), err)
	}
	if l.Items[0].GetMeta().ID != objects[len(objects)-eventsKept].GetMeta().ID {
		t.Error("the wrong events were kept")
	}
	if hosts, err := s.List(ctx, vnet.Query{Kind: vnet.KindHost}); err != nil || len(hosts.Items) != 1 {
		t.Errorf("hosts: %v, %v", hosts, err)
	}
	if err := s.Observe(ctx, []vnet.Object{w.net}); !vnet.Is(err, vnet.ErrInvalid) {
		t.Errorf("a network is no observation: %v", err)
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
