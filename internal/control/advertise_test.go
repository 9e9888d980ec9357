package control

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// How the primary prefix is advertised is the network's to say, and is kept
// with its subnet.
func TestAdvertiseIsOfThePrimarySubnet(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	no := false
	n := named("lab")
	n.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressRouted, Address: netip.MustParsePrefix("2001:db8:5::1/64")}
	n.Advertise = vnet.PrefixPolicy{Valid: vnet.Duration(4 * time.Hour), OnLink: &no}
	n = r.network(n)
	if n.Advertise.Valid.Std() != 4*time.Hour || n.Advertise.OnLink == nil || *n.Advertise.OnLink {
		t.Errorf("shown as %+v", n.Advertise)
	}
	raw, err := r.store.Get(ctx, vnet.RefOf(n))
	if err != nil || !raw.(*vnet.Network).Advertise.IsZero() {
		t.Errorf("the short form is stored: %+v, %v", raw, err)
	}
	subnet := func() *vnet.Subnet {
		l, err := r.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet, Network: n.ID})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range l.Items {
			if s := o.(*vnet.Subnet); s.Family == vnet.IPv6 {
				return s
			}
		}
		t.Fatal("no IPv6 subnet")
		return nil
	}
	before := subnet()
	if before.Advertise.Valid.Std() != 4*time.Hour {
		t.Errorf("the subnet has %+v", before.Advertise)
	}
	set := func(f func(n *vnet.Network)) {
		t.Helper()
		if _, err := r.Update(ctx, admin, sel(vnet.KindNetwork, "lab"), 0, func(o vnet.Object) error { f(o.(*vnet.Network)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	// Another key leaves it, and the subnet, as it is.
	set(func(n *vnet.Network) { n.MTU = 1400 })
	if s := subnet(); s.Revision != before.Revision || s.Advertise.Valid != before.Advertise.Valid {
		t.Errorf("the subnet changed: %+v", s)
	}
	set(func(n *vnet.Network) { n.Advertise.Valid = 0 })
	if s := subnet(); s.Advertise.Valid != 0 || s.Advertise.OnLink == nil {
		t.Errorf("the subnet has %+v", s.Advertise)
	}
	// A family that is switched off keeps nothing of what was shown with it.
	set(func(n *vnet.Network) { n.IPv6.Mode = vnet.EgressLinkLocal })
}
