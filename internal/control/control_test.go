package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/store"
	"github.com/sextant-net/sextant/internal/vnet"
)

var admin = Identity{User: "root", Admin: true}

// rig is a control on a store of its own.
type rig struct {
	*Control
	t     testing.TB
	store *store.Store
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "sxt-control-")
	if err != nil {
		t.Fatal(err)
	}
	e, err := store.StartEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Close()
		_ = os.RemoveAll(dir)
	})
	c, err := New(Config{Store: e.Store, Host: "h1", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Setup(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return &rig{c, t, e.Store}
}

func (r *rig) network(n *vnet.Network) *vnet.Network {
	r.t.Helper()
	o, err := r.Create(r.t.Context(), admin, "", n)
	if err != nil {
		r.t.Fatal(err)
	}
	return o.(*vnet.Network)
}

func named(name string) *vnet.Network { return &vnet.Network{Meta: vnet.Meta{Name: name}} }

func fixed4(name, addr string) *vnet.Network {
	n := named(name)
	n.IPv4 = vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix(addr)}
	n.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressNone}
	return n
}

func (r *rig) port(p *vnet.Port) *vnet.Port {
	r.t.Helper()
	o, err := r.Create(r.t.Context(), admin, "", p)
	if err != nil {
		r.t.Fatal(err)
	}
	return o.(*vnet.Port)
}

func portOn(n *vnet.Network, name string) *vnet.Port {
	return &vnet.Port{Meta: vnet.Meta{Name: name}, Network: n.ID}
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

func sel(k vnet.Kind, name string) Selector { return Selector{Kind: k, Name: name} }

func TestSetup(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	inst, err := r.installation(ctx)
	if err != nil || inst.ULA.Bits() != 48 || inst.ULA.Addr().As16()[0] != 0xfd {
		t.Fatalf("installation %+v, %v", inst, err)
	}
	if err := r.Setup(ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get(ctx, admin, sel(vnet.KindNetwork, DefaultNetwork)); !vnet.Is(err, vnet.ErrNotFound) {
		t.Errorf("a default network on an old installation: %v", err)
	}
	again, _ := r.installation(ctx)
	if again.ULA != inst.ULA {
		t.Error("the ULA changed")
	}
}

func TestSetupDefaultNetwork(t *testing.T) {
	dir, err := os.MkdirTemp("", "sxt-control-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	e, err := store.StartEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, _ := New(Config{Store: e.Store, Host: "h1"})
	for range 2 {
		if err := c.Setup(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		o, err := c.Get(t.Context(), admin, sel(vnet.KindNetwork, DefaultNetwork))
		if err != nil {
			t.Fatal(err)
		}
		n := o.(*vnet.Network)
		if n.IPv4.Mode != vnet.EgressAuto || n.IPv6.Mode != vnet.EgressAuto || !*n.Started || !*n.Autostart || n.Bridge != "sx-default" {
			t.Errorf("%+v", n)
		}
	}
	if _, err := c.Delete(t.Context(), admin, sel(vnet.KindNetwork, DefaultNetwork), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Setup(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), admin, sel(vnet.KindNetwork, DefaultNetwork))
	wantKind(t, err, vnet.ErrNotFound)
}

func TestProjects(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	o, err := r.Create(ctx, admin, "", &vnet.Project{Meta: vnet.Meta{Name: "blue"}})
	if err != nil {
		t.Fatal(err)
	}
	blue := Identity{User: "bob", Projects: []vnet.ID{o.GetMeta().ID}}
	_, err = r.Create(ctx, blue, "", named("web"))
	wantKind(t, err, vnet.ErrNotFound, `no project "default"`)
	r.network(named("secret"))
	n, err := r.Create(ctx, blue, "blue", named("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if b := n.(*vnet.Network).Bridge; b == "sx-secret" || !strings.HasPrefix(b, "sx-secret") {
		t.Errorf("bridge %s", b)
	}
	l, err := r.List(ctx, blue, Query{Kind: vnet.KindNetwork, AllProjects: true})
	if err != nil || len(l.Items) != 1 {
		t.Errorf("sees %v, %v", l, err)
	}
	if l, err := r.List(ctx, blue, Query{Kind: vnet.KindProject}); err != nil || len(l.Items) != 1 {
		t.Errorf("sees %v, %v", l, err)
	}
	lease := &vnet.Lease{Meta: vnet.Meta{ID: r.newID()}, Network: n.GetMeta().ID, Host: "h1", Address: netip.MustParseAddr("10.0.0.9")}
	if err := errors.Join(r.store.Claim(ctx, []vnet.Object{lease}, nil)...); err != nil {
		t.Fatal(err)
	}
	for project, want := range map[string]int{"": 0, "blue": 1} {
		if l, err := r.List(ctx, admin, Query{Kind: vnet.KindLease, Project: project}); err != nil || len(l.Items) != want {
			t.Errorf("leases of project %q: %v, %v", project, l, err)
		}
	}
	theirs, _ := r.Get(ctx, admin, sel(vnet.KindNetwork, "secret"))
	_, err = r.Get(ctx, blue, Selector{Kind: vnet.KindNetwork, Project: "blue", Name: string(theirs.GetMeta().ID)})
	wantKind(t, err, vnet.ErrNotFound)
	_, err = r.Create(ctx, blue, "blue", &vnet.Port{Meta: vnet.Meta{Name: "x"}, Network: theirs.GetMeta().ID})
	wantKind(t, err, vnet.ErrNotFound)
	_, err = r.Create(ctx, blue, "", &vnet.Project{Meta: vnet.Meta{Name: "red"}})
	wantKind(t, err, vnet.ErrForbidden)
	_, err = r.Delete(ctx, blue, sel(vnet.KindProject, "blue"), 0)
	wantKind(t, err, vnet.ErrForbidden)
	_, err = r.Delete(ctx, admin, sel(vnet.KindProject, "blue"), 0)
	wantKind(t, err, vnet.ErrInUse, "network secret")
	_, err = r.Delete(ctx, admin, sel(vnet.KindProject, "default"), 0)
	wantKind(t, err, vnet.ErrForbidden)
	wantKind(t, r.Backup(ctx, blue, nil), vnet.ErrForbidden)
}

func TestArchive(t *testing.T) {
	from, to := newRig(t), newRig(t)
	ctx := t.Context()
	n := from.network(named("web"))
	from.port(portOn(n, "vm1"))
	var b bytes.Buffer
	if err := from.Backup(ctx, admin, &b); err != nil {
		t.Fatal(err)
	}
	if err := to.Restore(ctx, admin, bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	want, _ := from.installation(ctx)
	if got, _ := to.installation(ctx); got == nil || got.ULA != want.ULA {
		t.Errorf("ULA %v, want %v", got, want.ULA)
	}
	if _, err := to.Get(ctx, admin, Selector{Kind: vnet.KindPort, Network: "web", Name: "vm1"}); err != nil {
		t.Error(err)
	}
	if m := to.network(named("db")); m.Number != 2 {
		t.Errorf("number %d", m.Number)
	}
	wantKind(t, to.Restore(ctx, admin, bytes.NewReader(b.Bytes())), vnet.ErrExists, "networks")
}

type echo struct{}

func (echo) Ask(_ context.Context, q Question) (json.RawMessage, error) { return json.Marshal(q) }

func TestAsk(t *testing.T) {
	r := newRig(t)
	_, err := r.Ask(t.Context(), admin, Question{Verb: "cleanup"})
	wantKind(t, err, vnet.ErrUnavailable)
	r.asker = echo{}
	if got, err := r.Ask(t.Context(), admin, Question{Verb: "cleanup"}); err != nil || string(got) != `{"host":"h1","verb":"cleanup"}` {
		t.Errorf("%s, %v", got, err)
	}
	_, err = r.Ask(t.Context(), Identity{}, Question{Verb: "cleanup"})
	wantKind(t, err, vnet.ErrForbidden)
}
