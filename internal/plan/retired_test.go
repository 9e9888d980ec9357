package plan_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

func retired(prefix string, until int64) vnet.RetiredPrefix {
	p := netip.MustParsePrefix(prefix)
	return vnet.RetiredPrefix{Prefix: p, Subnet: "old", Gateway: p.Addr().Next(), Guests: vnet.GuestsSLAAC, Until: time.Unix(until, 0),
		Advertise: vnet.PrefixPolicy{Valid: vnet.Duration(2 * time.Hour)}}
}

// TestRetiredService: guests go on seeing a prefix that was taken away, as
// deprecated until its deadline, with our address in it.
func TestRetiredService(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) {
		n.Retired = []vnet.RetiredPrefix{retired("2001:db8:4::/64", 9000)}
	})
	w.subnet(n, "2001:db8:5::/64", vnet.GuestsSLAAC)
	f := plan.Network(w.s, w.f, n.ID)
	if len(f.Service.Subnets) != 2 {
		t.Fatalf("subnets %+v", f.Service.Subnets)
	}
	old := f.Service.Subnets[1]
	if !old.Deprecated || !old.Retired || old.Prefix.String() != "2001:db8:4::/64" || !old.ValidUntil.Equal(time.Unix(9000, 0)) ||
		!old.PreferredUntil.Before(time.Unix(1, 0)) || old.Advertise.Valid.Std() != 2*time.Hour {
		t.Errorf("the old one is %+v", old)
	}
	if !slices.Contains(f.Items, plan.Item(plan.Address{Link: "sx-web", Prefix: netip.MustParsePrefix("2001:db8:4::1/64"), Owner: f.Owner})) {
		t.Errorf("items %v lack the old gateway", f.Items)
	}
	if got := f.Service.DNS.Servers; slices.Contains(got, old.Gateway) {
		t.Errorf("guests are told the resolver %v", got)
	}
	n.IPv6.Mode = vnet.EgressNone
	if f := plan.Network(w.s, w.f, n.ID); len(f.Service.Subnets) != 0 {
		t.Errorf("without IPv6: %+v", f.Service.Subnets)
	}
}

// TestRetiredGivesWay: whoever has the prefix now has it alone, and the network
// that had it is planned again when that begins or ends.
func TestRetiredGivesWay(t *testing.T) {
	const prefix = "2001:db8:4::/64"
	held := func(w *world, n *vnet.Network) bool {
		return slices.ContainsFunc(plan.Network(w.s, w.f, n.ID).Service.Subnets, func(s plan.Subnet) bool { return s.Retired })
	}
	w := newWorld()
	w.s.Put(&vnet.Router{Meta: meta("r1", "edge"), Netns: "sextant-edge", Number: 1})
	n := w.network("web", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) { n.Retired = []vnet.RetiredPrefix{retired(prefix, 9000)} })
	if !held(w, n) {
		t.Fatal("it is not held at all")
	}
	far := w.network("far", vnet.EgressNone, vnet.EgressNAT66, func(n *vnet.Network) { n.Router = "r1" })
	w.subnet(far, prefix, vnet.GuestsSLAAC)
	if !held(w, n) {
		t.Error("it gave way to another address scope")
	}
	heir := w.network("heir", vnet.EgressNone, vnet.EgressRouted)
	sub := w.subnet(heir, "2001:db8:4::/56", vnet.GuestsSLAAC)
	if held(w, n) {
		t.Error("it did not give way")
	}
	if !slices.Contains(plan.Affected(w.s, sub), vnet.RefOf(n)) {
		t.Errorf("the heir affects %v", plan.Affected(w.s, sub))
	}
	w.s.Put(&vnet.Activation{Meta: meta("heir-act", ""), Network: heir.ID, Host: "h1"})
	if !held(w, n) {
		t.Error("it gave way to what does not run")
	}
	// Of two that gave it up, the later one has it.
	heir2 := w.network("heir2", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) { n.Retired = []vnet.RetiredPrefix{retired(prefix, 9001)} })
	if held(w, n) || !held(w, heir2) {
		t.Error("the earlier one has it")
	}
	own := w.network("own", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) { n.Retired = []vnet.RetiredPrefix{retired("2001:db8:9::/64", 9)} })
	w.subnet(own, "2001:db8:9::/64", vnet.GuestsSLAAC)
	if held(w, own) {
		t.Error("what came back is retired, too")
	}
}

// TestRetiredAddresses: a port that follows its prefix still has its address in
// the one that was.
func TestRetiredAddresses(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNone, vnet.EgressRouted)
	sub := w.subnet(n, "2001:db8:5::/64", vnet.GuestsSLAAC)
	r := retired("2001:db8:4::/64", 9000)
	r.Subnet = sub.ID
	n.Retired = []vnet.RetiredPrefix{r, retired("2001:db8:3::/64", 9000)}
	p := w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"}, vnet.FixedAddress{Subnet: sub.ID, Host: 9})
	want := []plan.GuestAddress{
		{Subnet: sub.ID, Address: netip.MustParseAddr("2001:db8:5::9")},
		{Subnet: sub.ID, Address: netip.MustParseAddr("2001:db8:4::9"), Deprecated: true},
	}
	if got := plan.Port(w.s, w.f, p.ID).Guest.Addresses; !slices.Equal(got, want) {
		t.Errorf("it has %+v", got)
	}
}
