package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
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

func TestNetworkShortForm(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(&vnet.Network{Meta: vnet.Meta{Name: "lab"},
		IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix("192.168.150.1/24")},
		IPv6: vnet.FamilyPolicy{Mode: vnet.EgressRouted, Address: netip.MustParsePrefix("2001:db8:5::1/64"), Guests: vnet.GuestsStateful}})
	if n.IPv4.Address.String() != "192.168.150.1/24" || n.IPv6.Address.String() != "2001:db8:5::1/64" || n.IPv6.Guests != vnet.GuestsStateful {
		t.Errorf("shown as %+v", n)
	}
	if n.Bridge != "sx-lab" || n.Number != 1 || n.MAC.IsZero() || !n.MAC.IsUnicast() || !*n.Started {
		t.Errorf("chosen: %+v", n)
	}
	raw, err := r.store.Get(ctx, vnet.RefOf(n))
	if err != nil {
		t.Fatal(err)
	}
	if s := raw.(*vnet.Network); s.IPv4.Address.IsValid() || s.IPv6.Guests != "" || s.Started != nil {
		t.Errorf("the short form is stored: %+v", s)
	}
	subs, err := r.List(ctx, admin, Query{Kind: vnet.KindSubnet, Network: "lab"})
	if err != nil || len(subs.Items) != 2 {
		t.Fatalf("%v, %v", subs, err)
	}

	auto := r.network(named("auto"))
	inst, _ := r.installation(ctx)
	if !inst.ULA.Contains(auto.IPv6.Address.Addr()) || auto.IPv6.Address.Bits() != 64 {
		t.Errorf("IPv6 of auto is %s", auto.IPv6.Address)
	}
	if auto.IPv4.Address.IsValid() {
		t.Errorf("IPv4 of auto is %s before a host chose it", auto.IPv4.Address)
	}
	// A host chooses the prefix: it is shown, and survives an edit.
	l, _ := r.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet, Network: auto.ID})
	for _, o := range l.Items {
		if s := o.(*vnet.Subnet); s.Source == vnet.SourceAuto {
			a := &vnet.PrefixAssignment{Meta: vnet.Meta{ID: r.newID()}, Network: auto.ID, Subnet: s.ID, Host: "h1", Prefix: netip.MustParsePrefix("10.77.0.0/24"), State: vnet.PrefixActive}
			if err := errors.Join(r.store.Claim(ctx, []vnet.Object{a}, nil)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	o, err := r.Update(ctx, admin, sel(vnet.KindNetwork, "auto"), 0, func(o vnet.Object) error {
		n := o.(*vnet.Network)
		if n.IPv4.Address.String() != "10.77.0.1/24" {
			t.Errorf("shown as %s", n.IPv4.Address)
		}
		n.MTU = 1400
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.(*vnet.Network); got.MTU != 1400 || got.IPv4.Address.String() != "10.77.0.1/24" || got.Generation != 2 {
		t.Errorf("%+v", got)
	}
	// What a host chose is in the way of a prefix written down.
	_, err = r.Create(ctx, admin, "", fixed4("clash", "10.77.0.129/25"))
	wantKind(t, err, vnet.ErrOverlap, "ipv4.address", "10.77.0.0/24", "auto")
}

func TestNetworkUpdate(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("lab", "10.1.0.1/24"))
	set := func(f func(n *vnet.Network)) (*vnet.Network, error) {
		o, err := r.Update(ctx, admin, sel(vnet.KindNetwork, "lab"), 0, func(o vnet.Object) error { f(o.(*vnet.Network)); return nil })
		if err != nil {
			return nil, err
		}
		return o.(*vnet.Network), nil
	}
	got, err := set(func(n *vnet.Network) { n.IPv4.Address = netip.MustParsePrefix("10.2.0.1/24") })
	if err != nil || got.IPv4.Address.String() != "10.2.0.1/24" {
		t.Fatalf("%+v, %v", got, err)
	}
	p := r.port(portOn(n, "vm1"))
	_, err = set(func(n *vnet.Network) { n.IPv4.Address = netip.MustParsePrefix("10.3.0.1/24") })
	wantKind(t, err, vnet.ErrInUse, "port vm1", p.Fixed[0].Address.String(), "ipv4.address")
	_, err = set(func(n *vnet.Network) { n.IPv4.Mode = vnet.EgressNone })
	wantKind(t, err, vnet.ErrInUse, "port vm1")
	if got, err = set(func(n *vnet.Network) { n.IPv6.Mode = vnet.EgressULA }); err != nil || !got.IPv6.Address.IsValid() {
		t.Fatalf("IPv6 switched on: %+v, %v", got, err)
	}
	if got, err = set(func(n *vnet.Network) { n.IPv6.Mode = vnet.EgressNone }); err != nil || got.IPv6.Address.IsValid() {
		t.Fatalf("IPv6 switched off: %+v, %v", got, err)
	}
	off := false
	if got, err = set(func(n *vnet.Network) { n.Started = &off }); err != nil || *got.Started {
		t.Fatalf("stopped: %+v, %v", got, err)
	}
	// While stopped, its prefix is free for others; starting it is not, then.
	r.network(fixed4("other", "10.2.0.0/16"))
	_, err = r.Start(ctx, admin, sel(vnet.KindNetwork, "lab"))
	wantKind(t, err, vnet.ErrOverlap, "other")

	_, err = r.Update(ctx, admin, sel(vnet.KindNetwork, "lab"), 1, func(vnet.Object) error { return nil })
	wantKind(t, err, vnet.ErrConflict, "changed since it was read")
}

func TestOverlap(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.network(fixed4("a", "10.1.0.1/24"))
	if err := r.store.Observe(ctx, []vnet.Object{&vnet.Host{Meta: vnet.Meta{ID: "h1"}, Facts: vnet.HostFacts{Prefixes: []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16")}}}}); err != nil {
		t.Fatal(err)
	}
	for addr, word := range map[string]string{"10.1.0.1/24": "network a", "10.1.0.129/25": "network a", "10.0.0.1/8": "network a", "172.20.5.1/24": "host h1"} {
		_, err := r.Create(ctx, admin, "", fixed4("b", addr))
		wantKind(t, err, vnet.ErrOverlap, "ipv4.address", word)
	}
	_, err0 := r.Create(ctx, admin, "", fixed4("a", "10.1.0.1/24"))
	wantKind(t, err0, vnet.ErrExists, `there is a network "a" already`)
	six := named("six")
	six.IPv4.Mode = vnet.EgressNone
	six.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressRouted, Address: netip.MustParsePrefix("2001:db8::1/48")}
	r.network(six)
	six = named("six2")
	six.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressRouted, Address: netip.MustParsePrefix("2001:db8:0:7::1/64")}
	_, err := r.Create(ctx, admin, "", six)
	wantKind(t, err, vnet.ErrOverlap, "ipv6.address", "network six")

	// A router is a scope of its own.
	if _, err := r.Create(ctx, admin, "", &vnet.Router{Meta: vnet.Meta{Name: "r1"}}); err != nil {
		t.Fatal(err)
	}
	n := fixed4("c", "10.1.0.1/24")
	n.Router = "r1"
	r.network(n)
	n = fixed4("d", "10.1.0.1/24")
	n.Router = "r1"
	_, err = r.Create(ctx, admin, "", n)
	wantKind(t, err, vnet.ErrOverlap, "network c")
	_, err = r.Delete(ctx, admin, sel(vnet.KindRouter, "r1"), 0)
	wantKind(t, err, vnet.ErrInUse, "network c")

	// What went is free again.
	if _, err := r.Delete(ctx, admin, sel(vnet.KindNetwork, "a"), 0); err != nil {
		t.Fatal(err)
	}
	r.network(fixed4("e", "10.1.0.1/24"))
	if _, err := r.Stop(ctx, admin, sel(vnet.KindNetwork, "e")); err != nil {
		t.Fatal(err)
	}
	r.network(fixed4("f", "10.1.0.1/24"))
}

// Several controls on one store make networks with overlapping prefixes at
// once: one wins.
func TestOverlapAmongWriters(t *testing.T) {
	r := newRig(t)
	other, err := New(Config{Store: r.store, Host: "h1"})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for k := range 6 {
			c := r.Control
			if k%2 == 1 {
				c = other
			}
			wg.Go(func() {
				addr := fmt.Sprintf("10.%d.%d.1/%d", round, k, 24-8*(k%3)/2)
				_, err := c.Create(t.Context(), admin, "", fixed4(fmt.Sprintf("n%d-%d", round, k), addr))
				switch {
				case err == nil:
					mu.Lock()
					won++
					mu.Unlock()
				case !vnet.Is(err, vnet.ErrOverlap):
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		if won == 0 {
			t.Fatal("nobody won")
		}
	}
	l, err := r.Prefixes(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range l {
		for _, b := range l[:i] {
			if a.Prefix.Overlaps(b.Prefix) {
				t.Errorf("%s (%s) overlaps %s (%s)", a.Prefix, a.Network, b.Prefix, b.Network)
			}
		}
	}
}

func TestPorts(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := named("web")
	n.IPv4 = vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix("10.1.0.1/24")}
	n = r.network(n)
	p := r.port(portOn(n, "vm1"))
	if len(p.Fixed) != 2 || p.MAC.IsZero() || !netip.MustParsePrefix("10.1.0.0/24").Contains(p.Fixed[0].Address) {
		t.Fatalf("%+v", p)
	}
	want := portOn(n, "vm2")
	want.Addresses = []netip.Addr{netip.MustParseAddr("10.1.0.77")}
	q := r.port(want)
	if q.Fixed[0].Address != want.Addresses[0] || len(q.Fixed) != 2 {
		t.Errorf("%+v", q)
	}
	for addr, word := range map[string]string{"10.1.0.1": "gateway", "10.1.0.0": "reserved", "10.9.0.5": "no subnet", "10.1.0.77": ""} {
		bad := portOn(n, "vm3")
		bad.Addresses = []netip.Addr{netip.MustParseAddr(addr)}
		_, err := r.Create(ctx, admin, "", bad)
		kind := vnet.ErrInvalid
		if word == "" {
			kind, word = vnet.ErrExists, "vm2"
		}
		wantKind(t, err, kind, "addresses", word)
	}
	dup := portOn(n, "vm3")
	dup.MAC = p.MAC
	_, err := r.Create(ctx, admin, "", dup)
	wantKind(t, err, vnet.ErrExists, "mac", "vm1")
	_, err = r.Create(ctx, admin, "", portOn(n, "vm1"))
	wantKind(t, err, vnet.ErrExists, `there is a port "vm1" already`)
	_, err = r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0)
	wantKind(t, err, vnet.ErrInUse, "vm1", "vm2", "port delete")

	// An edit that does not speak of addresses keeps them.
	o, err := r.Update(ctx, admin, sel(vnet.KindPort, "vm1"), 0, func(o vnet.Object) error {
		o.(*vnet.Port).Hostname = "www"
		return nil
	})
	if err != nil || fmt.Sprint(o.(*vnet.Port).Fixed) != fmt.Sprint(p.Fixed) {
		t.Errorf("%v -> %+v, %v", p.Fixed, o, err)
	}
	for _, name := range []string{"vm1", "vm2"} {
		if _, err := r.Delete(ctx, admin, sel(vnet.KindPort, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0); err != nil {
		t.Fatal(err)
	}
}

// The last address of a subnet is found, and the one after it is not.
func TestPortsExhaust(t *testing.T) {
	r := newRig(t)
	n := fixed4("tiny", "10.1.0.1/28")
	n.IPv4.Ranges = []vnet.Range{{First: netip.MustParseAddr("10.1.0.8"), Last: netip.MustParseAddr("10.1.0.14")}}
	n = r.network(n)
	got := map[netip.Addr]bool{}
	for i := range 13 {
		p := r.port(portOn(n, fmt.Sprint("p", i)))
		a := p.Fixed[0].Address
		if got[a] || a.String() == "10.1.0.1" {
			t.Fatalf("%s again", a)
		}
		if i < 6 && n.IPv4.Ranges[0].Contains(a) {
			t.Errorf("%s is in the range for guests without a port", a)
		}
		got[a] = true
	}
	_, err := r.Create(t.Context(), admin, "", portOn(n, "late"))
	wantKind(t, err, vnet.ErrExhausted, "10.1.0.0/28")
}

func TestPlug(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	tap := vnet.Binding{Plug: vnet.PlugTap, Device: "tap7"}
	_, err := r.Plug(ctx, admin, Selector{Name: "vm1", Network: "web"}, nil, tap)
	wantKind(t, err, vnet.ErrNotFound, "vm1")
	p, err := r.Plug(ctx, admin, Selector{Name: "vm1", Network: "web"}, &vnet.Port{}, tap)
	if err != nil || p.Binding.Host != "h1" || p.Network != n.ID {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := r.Plug(ctx, admin, Selector{Name: "vm1"}, nil, tap); err != nil {
		t.Errorf("once more: %v", err)
	}
	_, err = r.Plug(ctx, admin, Selector{Name: "vm1"}, nil, vnet.Binding{Plug: vnet.PlugTap, Device: "tap8"})
	wantKind(t, err, vnet.ErrInUse, "tap7", "unplug")
	_, err = r.Plug(ctx, admin, Selector{Name: "vm2", Network: "web"}, &vnet.Port{}, tap)
	wantKind(t, err, vnet.ErrExists, "device", "tap7", "vm1")
	if p, err = r.Unplug(ctx, admin, Selector{Name: "vm1"}); err != nil || p.Binding != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := r.Plug(ctx, admin, Selector{Name: "vm2", Network: "web"}, &vnet.Port{}, tap); err != nil {
		t.Error(err)
	}
}

func TestPoolsAndSubnets(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	pool := &vnet.Pool{Meta: vnet.Meta{Name: "p6"}, Prefix: netip.MustParsePrefix("2001:db8::/62")}
	if _, err := r.Create(ctx, admin, "", pool); err != nil {
		t.Fatal(err)
	}
	_, err := r.Create(ctx, admin, "", &vnet.Pool{Meta: vnet.Meta{Name: "p7"}, Prefix: netip.MustParsePrefix("2001:db8::/48")})
	wantKind(t, err, vnet.ErrOverlap, "pool p6")
	n := r.network(named("web"))
	var wg sync.WaitGroup
	var errs [4]error
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = r.Create(ctx, admin, "", &vnet.Subnet{Meta: vnet.Meta{Name: fmt.Sprint("s", i)}, Network: n.ID, Pool: "p6"})
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	_, err = r.Create(ctx, admin, "", &vnet.Subnet{Network: n.ID, Pool: "p6"})
	wantKind(t, err, vnet.ErrExhausted, "pool p6")
	_, err = r.Delete(ctx, admin, sel(vnet.KindPool, "p6"), 0)
	wantKind(t, err, vnet.ErrInUse)
	if _, err := r.Delete(ctx, admin, Selector{Kind: vnet.KindSubnet, Network: "web", Name: "s2"}, 0); err != nil {
		t.Fatal(err)
	}
	o, err := r.Create(ctx, admin, "", &vnet.Subnet{Network: n.ID, Pool: "p6"})
	if err != nil {
		t.Fatal(err)
	}
	uses, _ := r.Prefixes(ctx, admin)
	if len(uses) != 5 || o.(*vnet.Subnet).Prefix.Bits() != 64 {
		t.Errorf("%+v", uses)
	}
}

func TestReservations(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	mac := vnet.MAC{0x52, 0x54, 0, 1, 2, 3}
	o, err := r.Create(ctx, admin, "", &vnet.Reservation{Network: n.ID, MAC: mac, Address: netip.MustParseAddr("10.1.0.9")})
	if err != nil || o.(*vnet.Reservation).Fixed.Host != 9 {
		t.Fatalf("%+v, %v", o, err)
	}
	_, err = r.Create(ctx, admin, "", &vnet.Reservation{Network: n.ID, MAC: mac, Address: netip.MustParseAddr("10.1.0.10")})
	wantKind(t, err, vnet.ErrExists, mac.String())
	mac[5]++
	_, err = r.Create(ctx, admin, "", &vnet.Reservation{Network: n.ID, MAC: mac, Address: netip.MustParseAddr("10.2.0.10")})
	wantKind(t, err, vnet.ErrInvalid, "address", "10.1.0.0/24")
	if _, err := r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0); err != nil {
		t.Fatal(err)
	}
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

func TestWait(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(named("web"))
	ref := vnet.RefOf(n)
	report := func(state vnet.State, applied int64, problems ...vnet.Problem) {
		s := &vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(ref, "h1")}, Target: ref, Host: "h1", State: state, Applied: applied, Problems: problems}
		if err := r.store.Observe(ctx, []vnet.Object{s}); err != nil {
			t.Error(err)
		}
	}
	go func() {
		report(vnet.StateRunning, n.Revision-1)
		report(vnet.StatePending, n.Revision)
		report(vnet.StateRunning, n.Revision)
	}()
	st, err := r.Wait(ctx, ref, n.Revision, "", Running)
	if err != nil || st.State != vnet.StateRunning {
		t.Fatalf("%+v, %v", st, err)
	}
	report(vnet.StateFailed, n.Revision, vnet.Problem{Field: "link", Msg: "no such NIC", Hint: "plug it in"})
	_, err = r.Wait(ctx, ref, n.Revision, "h1", Applied)
	wantKind(t, err, vnet.ErrHost, "link", "no such NIC", "plug it in")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = r.Wait(short, ref, n.Revision+100, "", Applied)
	wantKind(t, err, vnet.ErrUnavailable, "did not report")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no DeadlineExceeded", err)
	}
	if err := r.Withdraw(ctx, admin, ref, n.Revision); err != nil {
		t.Fatal(err)
	}
	_, err = r.Get(ctx, admin, sel(vnet.KindNetwork, "web"))
	wantKind(t, err, vnet.ErrNotFound)
	go report(vnet.StateStopped, n.Revision+5)
	if _, err := r.Wait(ctx, ref, n.Revision+5, "", Gone); err != nil {
		t.Error(err)
	}
	// Something no host ever had.
	go func() {
		h := vnet.Ref{Kind: vnet.KindHost, ID: "h1"}
		_ = r.store.Observe(ctx, []vnet.Object{&vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(h, "h1")}, Target: h, Host: "h1", Applied: 1000}})
	}()
	if _, err := r.Wait(ctx, vnet.Ref{Kind: vnet.KindPort, ID: r.newID()}, 900, "", Gone); err != nil {
		t.Error(err)
	}
}

func TestWhyAndOverview(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	p := portOn(n, "vm1")
	p.Addresses = []netip.Addr{netip.MustParseAddr("10.1.0.7")}
	p = r.port(p)
	lease := &vnet.Lease{Meta: vnet.Meta{ID: r.newID()}, Network: n.ID, Subnet: p.Fixed[0].Subnet, Port: p.ID, Host: "h1", Address: p.Fixed[0].Address, How: vnet.HowDHCPv4, MAC: p.MAC}
	if err := errors.Join(r.store.Claim(ctx, []vnet.Object{lease}, nil)...); err != nil {
		t.Fatal(err)
	}
	for addr, words := range map[string][]string{
		"10.1.0.7":        {"port vm1", "by dhcpv4", "10.1.0.0/24"},
		"::ffff:10.1.0.7": {"port vm1"},
		"10.1.0.1":        {"the gateway of network web"},
		"10.1.0.99":       {"lies in 10.1.0.0/24"},
	} {
		rs, err := r.Why(ctx, admin, netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range words {
			if len(rs) <= i || !strings.Contains(rs[i].Text, w) {
				t.Errorf("%s: reason %d of %+v does not say %q", addr, i, rs, w)
			}
		}
	}
	if rs, err := r.Why(ctx, admin, netip.MustParseAddr("192.0.2.1")); err != nil || len(rs) != 0 {
		t.Errorf("%v, %v", rs, err)
	}
	if rs, err := r.Why(ctx, Identity{}, netip.MustParseAddr("10.1.0.7")); err != nil || len(rs) != 0 {
		t.Errorf("a stranger sees %v, %v", rs, err)
	}
	ov, err := r.Status(ctx, admin)
	if err != nil || len(ov.Networks) != 1 || ov.Networks[0].State != vnet.StatePending || ov.Ready {
		t.Errorf("%+v, %v", ov, err)
	}
	if err := r.ReleaseLease(ctx, admin, Selector{Name: "10.1.0.7"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Delete(ctx, admin, sel(vnet.KindPort, "vm1"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.network(named("web"))
	ch, err := r.Events(ctx, admin, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-ch; e.What != "created" || e.Revision == 0 || e.Msg != "network web created by root" {
		t.Errorf("%+v", e)
	}
	go func() {
		_, _ = r.Stop(ctx, admin, sel(vnet.KindNetwork, "web"))
		_, _ = r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0)
	}()
	for _, want := range []string{"stopped", "deleted"} {
		if e := <-ch; e.What != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	cancel()
	if _, open := <-ch; open {
		t.Error("still open")
	}
}

// What hangs on a network goes with it, also when it is more than fits into
// one transaction, and a deletion that was cut short is finished by the next.
func TestDeleteLargeNetwork(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	for i := range 60 {
		res := &vnet.Reservation{Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, byte(i)}, Address: netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 10)})}
		if _, err := r.Create(ctx, admin, "", res); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := r.store.Get(ctx, vnet.RefOf(n))
	if err != nil {
		t.Fatal(err)
	}
	going := raw.(*vnet.Network)
	now := time.Now()
	going.Deleting = &now
	if _, err := r.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{going}}); err != nil {
		t.Fatal(err)
	}
	_, err = r.Create(ctx, admin, "", portOn(n, "late"))
	wantKind(t, err, vnet.ErrConflict, "being deleted")
	if _, err := r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0); err != nil {
		t.Fatal(err)
	}
	for _, k := range []vnet.Kind{vnet.KindNetwork, vnet.KindSubnet, vnet.KindReservation, vnet.KindActivation} {
		if l, err := r.store.List(ctx, vnet.Query{Kind: k}); err != nil || len(l.Items) > 0 {
			t.Errorf("%ss left: %v, %v", k, l.Items, err)
		}
	}
	if again := r.network(fixed4("web", "10.1.0.1/24")); again.Number != 1 || again.Bridge != "sx-web" {
		t.Errorf("not everything is free again: %+v", again)
	}
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

func TestPortUpdate(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := named("web")
	n.IPv4 = vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix("10.1.0.1/24")}
	n.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressULA, Guests: vnet.GuestsSLAAC}
	n = r.network(n)
	p := r.port(portOn(n, "vm1"))
	set := func(f func(p *vnet.Port)) (*vnet.Port, error) {
		o, err := r.Update(ctx, admin, sel(vnet.KindPort, "vm1"), 0, func(o vnet.Object) error { f(o.(*vnet.Port)); return nil })
		if err != nil {
			return nil, err
		}
		return o.(*vnet.Port), nil
	}
	if want := ipam.EUI64(p.MAC); p.Fixed[1].Host != want {
		t.Errorf("host part %x on a SLAAC network, want %x", p.Fixed[1].Host, want)
	}
	want := netip.MustParseAddr("10.1.0.200")
	q, err := set(func(p *vnet.Port) { p.Addresses = []netip.Addr{want} })
	if err != nil || q.Fixed[0].Address != want || q.Fixed[1] != p.Fixed[1] {
		t.Fatalf("%+v, %v", q, err)
	}
	if q, err = set(func(p *vnet.Port) { p.Addresses = nil }); err != nil || q.Fixed[0].Address == want || len(q.Fixed) != 2 {
		t.Fatalf("%+v, %v", q, err)
	}
	_, err = set(func(p *vnet.Port) { p.Network = "elsewhere" })
	wantKind(t, err, vnet.ErrInvalid, "network", "cannot move")
	mac := vnet.MAC{2, 1, 2, 3, 4, 5}
	if q, err = set(func(p *vnet.Port) { p.MAC = mac }); err != nil || q.Fixed[1].Host != ipam.EUI64(mac) {
		t.Fatalf("%+v, %v", q, err)
	}
	// An edit that comes too late.
	_, err = r.Update(ctx, admin, sel(vnet.KindPort, "vm1"), p.Revision, func(vnet.Object) error { return nil })
	wantKind(t, err, vnet.ErrConflict)
	if _, err := r.Delete(ctx, admin, sel(vnet.KindPort, "vm1"), q.Revision); err != nil {
		t.Error(err)
	}
}
