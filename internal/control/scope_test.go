package control

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

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
