package control

import (
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestNoIPv6: on a host whose kernel has no IPv6, a wish for it by name is
// refused; auto, none and what was there before are not.
func TestNoIPv6(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	six := func(name string, mode vnet.Egress, prefix string) *vnet.Network {
		n := &vnet.Network{Meta: vnet.Meta{Name: name}, IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNone}, IPv6: vnet.FamilyPolicy{Mode: mode}}
		if prefix != "" {
			n.IPv6.Address = netip.MustParsePrefix(prefix)
		}
		return n
	}
	before := r.network(six("before", vnet.EgressRouted, "2001:db8:1::1/64"))
	facts := vnet.HostFacts{Features: []vnet.Feature{{Name: vnet.FeatureIPv6}}}
	if err := r.store.Observe(ctx, []vnet.Object{&vnet.Host{Meta: vnet.Meta{ID: "h1", Name: "h1"}, Facts: facts}}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Create(ctx, admin, "", six("six", vnet.EgressRouted, "2001:db8:5::1/64"))
	wantKind(t, err, vnet.ErrUnsupported, "", "no IPv6")
	r.network(named("auto"))
	r.network(&vnet.Network{Meta: vnet.Meta{Name: "four"}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressNone}})
	change := func(name string, f func(*vnet.Network)) error {
		_, err := r.Update(ctx, admin, sel(vnet.KindNetwork, name), 0, func(o vnet.Object) error {
			f(o.(*vnet.Network))
			return nil
		})
		return err
	}
	if err := change(before.Name, func(n *vnet.Network) { n.MTU = 1400 }); err != nil {
		t.Errorf("what was there cannot be changed: %v", err)
	}
	wantKind(t, change("four", func(n *vnet.Network) { n.IPv6.Mode = vnet.EgressNAT66 }), vnet.ErrUnsupported, "", "no IPv6")
}
