package plan_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestDelegatedPrefix: the lease of a prefix has a fragment of its own, which
// is there as long as the lease, its subnet and its network are.
func TestDelegatedPrefix(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world, *vnet.Network, *vnet.Subnet, *vnet.Lease)
		none   bool
	}{
		"given here": {func(*world, *vnet.Network, *vnet.Subnet, *vnet.Lease) {}, false},
		"given by another host": {func(w *world, _ *vnet.Network, _ *vnet.Subnet, l *vnet.Lease) {
			l.Host = "h2"
		}, true},
		"declined": {func(w *world, _ *vnet.Network, _ *vnet.Subnet, l *vnet.Lease) { l.Declined = true }, true},
		"without a next hop": {func(w *world, _ *vnet.Network, _ *vnet.Subnet, l *vnet.Lease) {
			l.Via = netip.Addr{}
		}, true},
		"of a network that is stopped": {func(w *world, n *vnet.Network, _ *vnet.Subnet, _ *vnet.Lease) {
			w.s.Put(&vnet.Activation{Meta: meta("web-act", ""), Network: n.ID, Host: "h1"})
		}, true},
		"of a network that is gone": {func(w *world, n *vnet.Network, _ *vnet.Subnet, _ *vnet.Lease) {
			w.s.Delete(vnet.RefOf(n))
		}, true},
		"of a subnet that is gone": {func(w *world, _ *vnet.Network, s *vnet.Subnet, _ *vnet.Lease) {
			w.s.Delete(vnet.RefOf(s))
		}, true},
		"of a subnet that is being retired": {func(w *world, n *vnet.Network, s *vnet.Subnet, _ *vnet.Lease) {
			w.s.Delete(vnet.RefOf(s))
			n.Retired = []vnet.RetiredPrefix{{Prefix: s.Prefix, Subnet: s.ID, Guests: s.Guests, Delegate: s.Delegate, Until: time.Unix(9, 0)}}
		}, false},
		"released": {func(w *world, _ *vnet.Network, _ *vnet.Subnet, l *vnet.Lease) { w.s.Delete(vnet.RefOf(l)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			n := w.network("web", vnet.EgressNone, vnet.EgressRouted)
			sub := w.delegation(n, "2001:db8:7:100::/56")
			l := w.delegated("cpe", n, "2001:db8:7:101::/64", "fe80::1")
			c := *l
			if tc.change(w, n, sub, &c); w.s.Lease(l.ID) != nil {
				w.s.Put(&c)
			}
			l = &c
			f := plan.FragmentOf(w.s, w.f, vnet.RefOf(l))
			if got := len(f.Items) == 0; got != tc.none {
				t.Errorf("items %v, want none: %v", f.Items, tc.none)
			}
			if !tc.none && !slices.Contains(f.Items, plan.Item(plan.HostRoute{
				Prefix: l.Prefix(), Via: l.Via, Link: "sx-web", Owner: vnet.RefOf(l),
			})) {
				t.Errorf("items %v lack the route", f.Items)
			}
		})
	}
}

// TestDelegationAffects: a prefix that comes or goes costs itself alone; its
// network takes it along.
func TestDelegationAffects(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNone, vnet.EgressRouted)
	sub := w.delegation(n, "2001:db8:7:100::/56")
	l := w.delegated("cpe", n, "2001:db8:7:101::/64", "fe80::1")
	flat := &vnet.Lease{Meta: meta("flat", ""), Network: n.ID, Host: "h1", Address: netip.MustParseAddr("2001:db8::1")}
	w.s.Put(flat)
	if got := plan.Affected(w.s, l); len(got) != 1 || got[0] != vnet.RefOf(l) {
		t.Errorf("a prefix: %v", got)
	}
	if got := plan.Affected(w.s, flat); len(got) != 0 {
		t.Errorf("an address: %v", got)
	}
	if !slices.Contains(plan.Affected(w.s, sub), vnet.RefOf(l)) || !slices.Contains(plan.Owners(w.s), vnet.RefOf(l)) ||
		slices.Contains(plan.Owners(w.s), vnet.RefOf(flat)) {
		t.Errorf("the subnet affects %v, owners %v", plan.Affected(w.s, sub), plan.Owners(w.s))
	}
	w.s.Delete(vnet.RefOf(l))
	if slices.Contains(plan.Owners(w.s), vnet.RefOf(l)) {
		t.Error("it still owns something")
	}
}

// TestDelegationService: servers know the subnet, but nothing of it is on the
// link and it is not advertised.
func TestDelegationService(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNone, vnet.EgressRouted)
	w.delegation(n, "2001:db8:7:100::/56")
	s := plan.Network(w.s, w.f, n.ID).Service.Subnets
	if len(s) != 1 || s[0].Delegate != 64 || !s[0].Advertise.Off || s[0].Gateway.IsValid() || s[0].Guests != vnet.GuestsDelegation {
		t.Errorf("service %+v", s)
	}
}
