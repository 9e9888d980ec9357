package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

// Nobody but its owner can reach an embedded server.
func TestSockets(t *testing.T) {
	dir := shortDir(t)
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: filepath.Join(dir, "d"), Socket: filepath.Join(dir, "agents.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var listeners []net.Listener
	for _, l := range e.server.Peers {
		listeners = append(listeners, l)
	}
	listeners = append(listeners, e.server.Clients...)
	if len(listeners) != 3 {
		t.Errorf("%d sockets", len(listeners))
	}
	for _, l := range listeners {
		info, err := os.Stat(l.Addr().String())
		if err != nil || l.Addr().Network() != "unix" || info.Mode().Perm() != 0o600 {
			t.Errorf("it listens on %s %s: %v, %v", l.Addr().Network(), l.Addr(), info, err)
		}
	}
}

// Starting and stopping a store says nothing to worry about.
func TestQuietStart(t *testing.T) {
	var said bytes.Buffer
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: shortDir(t), Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	newWorld(t, e.Store)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if said.Len() > 0 {
		t.Errorf("it says:\n%s", said.String())
	}
}
