package control

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

func fixed6(name, addr string) *vnet.Network {
	n := named(name)
	n.IPv4 = vnet.FamilyPolicy{Mode: vnet.EgressNone}
	n.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressRouted, Address: netip.MustParsePrefix(addr), Guests: vnet.GuestsSLAAC}
	return n
}

// set changes a network.
func (r *rig) set(name string, change func(*vnet.Network)) *vnet.Network {
	r.t.Helper()
	o, err := r.Update(r.t.Context(), admin, sel(vnet.KindNetwork, name), vnet.AnyRevision, func(o vnet.Object) error {
		change(o.(*vnet.Network))
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return o.(*vnet.Network)
}

func (r *rig) retiredOf(name string) []vnet.RetiredPrefix {
	r.t.Helper()
	o, err := r.Get(r.t.Context(), admin, sel(vnet.KindNetwork, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return o.(*vnet.Network).Retired
}

// TestRetiredPrefixes: what guests were told is kept for as long as they were
// promised, whichever way it is taken away.
func TestRetiredPrefixes(t *testing.T) {
	old := netip.MustParsePrefix("2001:db8:5::/64")
	for name, tc := range map[string]struct {
		before func(*vnet.Network)
		change func(*testing.T, *rig)
		until  time.Duration // 0: nothing is retired
	}{
		"another address": {nil, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:6::1/64") })
		}, 2 * time.Hour},
		"a promise of longer": {func(n *vnet.Network) { n.Advertise.Valid = vnet.Duration(24 * time.Hour) }, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:6::1/64") })
		}, 24 * time.Hour},
		"leases": {func(n *vnet.Network) { n.IPv6.Guests, n.LeaseTime = vnet.GuestsStateful, vnet.Duration(8*time.Hour) }, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) {
				n.IPv6.Address, n.LeaseTime = netip.MustParsePrefix("2001:db8:6::1/64"), vnet.Duration(time.Hour)
			})
		}, 8 * time.Hour},
		"another mode": {nil, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) { n.IPv6.Mode, n.IPv6.Address = vnet.EgressULA, netip.Prefix{} })
		}, 2 * time.Hour},
		"the family off": {nil, func(_ *testing.T, r *rig) { r.set("web", func(n *vnet.Network) { n.IPv6.Mode = vnet.EgressNone }) }, 2 * time.Hour},
		"something else": {nil, func(_ *testing.T, r *rig) { r.set("web", func(n *vnet.Network) { n.MTU = 1400 }) }, 0},
		"the gateway": {nil, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:5::2/64") })
		}, 0},
		"never ran": {func(n *vnet.Network) { n.Started = new(bool) }, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:6::1/64") })
		}, 0},
		"stopped before": {nil, func(t *testing.T, r *rig) {
			if _, err := r.Stop(t.Context(), admin, sel(vnet.KindNetwork, "web")); err != nil {
				t.Fatal(err)
			}
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:6::1/64") })
		}, 2 * time.Hour},
		"back again": {nil, func(_ *testing.T, r *rig) {
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:6::1/64") })
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:5::1/64") })
			if got := r.retiredOf("web"); len(got) != 1 || got[0].Prefix.String() != "2001:db8:6::/64" {
				r.t.Errorf("of the detour: %+v", got)
			}
			r.set("web", func(n *vnet.Network) { n.IPv6.Address = netip.MustParsePrefix("2001:db8:6::1/64") })
		}, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			n := fixed6("web", "2001:db8:5::1/64")
			if tc.before != nil {
				tc.before(n)
			}
			r.network(n)
			begun := time.Now()
			tc.change(t, r)
			got := r.retiredOf("web")
			if tc.until == 0 {
				if len(got) != 0 {
					t.Errorf("retired %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Prefix != old || got[0].Gateway != netip.MustParseAddr("2001:db8:5::1") {
				t.Fatalf("retired %+v", got)
			}
			if left := got[0].Until.Sub(begun); left < tc.until-2*time.Second || left > tc.until+time.Minute {
				t.Errorf("it ends in %v, want %v", left, tc.until)
			}
			uses, err := r.Prefixes(t.Context(), admin)
			if err != nil {
				t.Fatal(err)
			}
			listed := false
			for _, u := range uses {
				listed = listed || u.Prefix == old && u.State == vnet.PrefixDeprecated && u.ValidUntil.Equal(got[0].Until) && u.PreferredUntil.Before(u.ValidUntil)
			}
			if !listed {
				t.Errorf("prefix list lacks it: %+v", uses)
			}
			// The deadline passes, and the next write forgets it.
			r.now = func() time.Time { return got[0].Until.Add(time.Second) }
			r.set("web", func(n *vnet.Network) { n.Tags = map[string]string{"a": "b"} })
			if got := r.retiredOf("web"); len(got) != 0 {
				t.Errorf("not forgotten: %+v", got)
			}
		})
	}
}

// TestRetiredSubnets: so with the subnets beside the primary one. What a client
// sends as retired is nobody's wish.
func TestRetiredSubnets(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed6("web", "2001:db8:5::1/64"))
	more := func(name, prefix string) *vnet.Subnet {
		s := &vnet.Subnet{Meta: vnet.Meta{Name: name}, Network: n.ID, Prefix: netip.MustParsePrefix(prefix)}
		o, err := r.Create(ctx, admin, "", s)
		if err != nil {
			t.Fatal(err)
		}
		return o.(*vnet.Subnet)
	}
	more("more", "2001:db8:6::/64")
	if _, err := r.Delete(ctx, admin, sel(vnet.KindSubnet, "more"), vnet.AnyRevision); err != nil {
		t.Fatal(err)
	}
	got := r.retiredOf("web")
	if len(got) != 1 || got[0].Prefix.String() != "2001:db8:6::/64" {
		t.Fatalf("retired %+v", got)
	}
	r.set("web", func(n *vnet.Network) { n.Retired = nil })
	if got := r.retiredOf("web"); len(got) != 1 {
		t.Errorf("a client removed it: %+v", got)
	}
	more("again", "2001:db8:6::/64")
	if got := r.retiredOf("web"); len(got) != 0 {
		t.Errorf("what is back is retired: %+v", got)
	}
	_, err := r.Update(ctx, admin, sel(vnet.KindSubnet, "again"), vnet.AnyRevision, func(o vnet.Object) error {
		o.(*vnet.Subnet).Prefix = netip.MustParsePrefix("2001:db8:8::/64")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.retiredOf("web"); len(got) != 1 || got[0].Prefix.String() != "2001:db8:6::/64" {
		t.Errorf("after an edit: %+v", got)
	}
	for i := range byte(40) {
		s := more("", netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 9, 0, i}), 64).String())
		if _, err := r.Delete(ctx, admin, sel(vnet.KindSubnet, string(s.ID)), vnet.AnyRevision); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.retiredOf("web"); len(got) != retiredMost {
		t.Errorf("%d are remembered", len(got))
	}
}

// TestDelegationSubnet: a prefix that guests get prefixes from is admitted as
// any other, and gives nobody a single address.
func TestDelegationSubnet(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed6("web", "2001:db8:5::1/64"))
	other := r.network(fixed6("lab", "2001:db8:7::1/64"))
	pool := &vnet.Pool{Meta: vnet.Meta{Name: "site"}, Prefix: netip.MustParsePrefix("2001:db8:100::/40"), SubnetLen: 56}
	if _, err := r.Create(ctx, admin, "", pool); err != nil {
		t.Fatal(err)
	}
	sub := &vnet.Subnet{Meta: vnet.Meta{Name: "pd"}, Network: n.ID, Pool: "site", Guests: vnet.GuestsDelegation, Delegate: 60}
	o, err := r.Create(ctx, admin, "", sub)
	if err != nil {
		t.Fatal(err)
	}
	if s := o.(*vnet.Subnet); s.Prefix.String() != "2001:db8:100::/56" || s.Delegate != 60 || s.Gateway != "" {
		t.Errorf("subnet %+v", s)
	}
	p := r.port(portOn(n, "vm1"))
	if len(p.Fixed) != 1 || !netip.MustParsePrefix("2001:db8:5::/64").Contains(p.Fixed[0].Address) {
		t.Errorf("the port has %+v", p.Fixed)
	}
	asking := portOn(n, "vm2")
	asking.Addresses = []netip.Addr{netip.MustParseAddr("2001:db8:100::9")}
	_, err = r.Create(ctx, admin, "", asking)
	wantKind(t, err, vnet.ErrInvalid, "guests get whole prefixes")
	_, err = r.Create(ctx, admin, "", &vnet.Subnet{Network: other.ID, Prefix: netip.MustParsePrefix("2001:db8:100:8::/64")})
	wantKind(t, err, vnet.ErrOverlap, "2001:db8:100::/56 of network web")
	uses, err := r.Prefixes(ctx, admin)
	if err != nil || len(uses) != 3 || uses[2].Prefix.String() != "2001:db8:100::/56" {
		t.Errorf("prefix list %+v %v", uses, err)
	}
	lease := &vnet.Lease{Meta: vnet.Meta{ID: r.newID()}, Network: n.ID, Subnet: o.GetMeta().ID, Host: "h1", MAC: vnet.MAC{2, 0, 0, 0, 0, 9},
		Address: netip.MustParseAddr("2001:db8:100:10::"), Length: 60, How: vnet.HowDHCPv6}
	if err := r.store.Claim(ctx, []vnet.Object{lease}, nil)[0]; err != nil {
		t.Fatal(err)
	}
	why, err := r.Why(ctx, admin, netip.MustParseAddr("2001:db8:100:1a::5"))
	if err != nil || len(why) != 2 || why[0].Text != "it lies in 2001:db8:100:10::/60, which 02:00:00:00:00:09 has by dhcpv6 on network web" {
		t.Errorf("why %+v %v", why, err)
	}
	if why, err := r.Why(ctx, admin, netip.MustParseAddr("2001:db8:100::1")); err != nil || len(why) != 1 {
		t.Errorf("the first address is somebody's: %+v %v", why, err)
	}
}

// TestPortsFollowTheirPrefix: addresses that nobody asked for go on below the
// new prefix; those that somebody did, and the new gateway's, are in the way.
func TestPortsFollowTheirPrefix(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed6("web", "2001:db8:5::1/64"))
	p := r.port(portOn(n, "vm1"))
	at := func(name string) netip.Addr {
		t.Helper()
		o, err := r.Get(ctx, admin, Selector{Kind: vnet.KindPort, Network: "web", Name: name})
		if err != nil || len(o.(*vnet.Port).Fixed) != 1 {
			t.Fatalf("%+v %v", o, err)
		}
		return o.(*vnet.Port).Fixed[0].Address
	}
	to := func(addr string) error {
		_, err := r.Update(ctx, admin, sel(vnet.KindNetwork, "web"), vnet.AnyRevision, func(o vnet.Object) error {
			o.(*vnet.Network).IPv6.Address = netip.MustParsePrefix(addr)
			return nil
		})
		return err
	}
	if err := to("2001:db8:6::1/64"); err != nil {
		t.Fatal(err)
	}
	if got := at("vm1"); !netip.MustParsePrefix("2001:db8:6::/64").Contains(got) || vnet.InterfaceID(got) != p.Fixed[0].Host {
		t.Errorf("it has %v, host part %x", got, p.Fixed[0].Host)
	}
	gw := at("vm1").As16()
	copy(gw[:8], []byte{0x20, 1, 0xd, 0xb8, 0, 7, 0, 0})
	wantKind(t, to(netip.PrefixFrom(netip.AddrFrom16(gw), 64).String()), vnet.ErrInUse, "vm1", at("vm1").String())
	asking := portOn(n, "vm2")
	asking.Addresses = []netip.Addr{netip.MustParseAddr("2001:db8:6::99")}
	r.port(asking)
	wantKind(t, to("2001:db8:7::1/64"), vnet.ErrInUse, "port vm2 has the address 2001:db8:6::99")
}
