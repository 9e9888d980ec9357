package control

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

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
