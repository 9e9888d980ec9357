package control

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// primary6 is the primary IPv6 subnet as it is stored: SOURCE PREFIX GATEWAY
// GUESTS.
func (r *rig) primary6(n *vnet.Network) (*vnet.Subnet, string) {
	r.t.Helper()
	fam, err := r.familyOf(r.t.Context(), n.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	s := fam.primaries()[vnet.IPv6]
	if s == nil {
		return nil, "none"
	}
	return s, fmt.Sprintf("%s %s %s %s", s.Source, vnet.FormatPrefix(s.Prefix), s.Gateway, s.Guests)
}

func six(name, mode, addr string) *vnet.Network {
	n := named(name)
	n.IPv6.Mode = vnet.Egress(mode)
	if addr != "" {
		n.IPv6.Address = netip.MustParsePrefix(addr)
	}
	return n
}

// hold gives a subnet a prefix, as its host's ladder does.
func (r *rig) hold(s *vnet.Subnet, prefix string, rung vnet.Egress) {
	r.t.Helper()
	a := &vnet.PrefixAssignment{Meta: vnet.Meta{ID: r.newID(), Project: s.Project}, Network: s.Network, Subnet: s.ID, Host: "h1",
		Prefix: netip.MustParsePrefix(prefix), Rung: rung, State: vnet.PrefixActive}
	if errs := r.store.Claim(r.t.Context(), []vnet.Object{a}, nil); errs[0] != nil {
		r.t.Fatal(errs[0])
	}
}

func TestPrimaryOfUplink(t *testing.T) {
	r := newRig(t)
	for i, tc := range []struct{ mode, addr, want, shown string }{
		{"delegated", "", "delegated   slaac+stateful", ""},
		{"proxied", "", "proxied  none slaac+stateful", ""},
		{"proxied", "2001:db8:1:2:f000::/80", "proxied 2001:db8:1:2:f000::/80 none stateful", "2001:db8:1:2:f000::/80"},
		{"nptv6", "fd12:3456:789a:1::/64", "fixed fd12:3456:789a:1::/64 fd12:3456:789a:1::1 slaac+stateful", "fd12:3456:789a:1::1/64"},
	} {
		n := r.network(six(fmt.Sprintf("n%d", i), tc.mode, tc.addr))
		if _, got := r.primary6(n); got != tc.want {
			t.Errorf("%s %s: %s, want %s", tc.mode, tc.addr, got, tc.want)
		}
		if got := vnet.FormatPrefix(n.IPv6.Address); got != tc.shown {
			t.Errorf("%s %s: shown as %s, want %s", tc.mode, tc.addr, got, tc.shown)
		}
	}
	n := r.network(six("inside", "nptv6", ""))
	if s, got := r.primary6(n); s.Source != vnet.SourceULA || !s.Prefix.IsValid() {
		t.Errorf("nptv6: %s", got)
	}
	n = six("beside", "bridged", "")
	n.IPv4.Mode = vnet.EgressNAT
	n = r.network(n)
	if _, got := r.primary6(n); got != "proxied  none slaac+stateful" {
		t.Errorf("bridged beside nat: %s", got)
	}
	if n.IPv6.Guests != "" || n.IPv6.Address.IsValid() {
		t.Errorf("bridged beside nat is shown with %+v", n.IPv6)
	}
	n = six("lan", "bridged", "")
	n.IPv4.Mode, n.Link = vnet.EgressBridged, "eth1"
	if _, got := r.primary6(r.network(n)); got != "none" {
		t.Errorf("bridged: %s", got)
	}
}

// TestShownPrefixOfUplink: what is shown of a prefix that the host found can be
// sent back, and means nothing.
func TestShownPrefixOfUplink(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	for _, tc := range []struct {
		mode          vnet.Egress
		prefix, shown string
	}{
		{vnet.EgressDelegated, "2001:db8:100:1::/64", "2001:db8:100:1::1/64"},
		{vnet.EgressProxied, "2001:db8:7::/64", "2001:db8:7::/64"},
	} {
		n := r.network(six(string(tc.mode), string(tc.mode), ""))
		s, _ := r.primary6(n)
		r.hold(s, tc.prefix, tc.mode)
		same := func(o vnet.Object) error {
			if got := vnet.FormatPrefix(o.(*vnet.Network).IPv6.Address); got != tc.shown {
				t.Errorf("%s: shown as %s, want %s", tc.mode, got, tc.shown)
			}
			return nil
		}
		if _, err := r.Update(ctx, admin, sel(vnet.KindNetwork, n.Name), 0, same); err != nil {
			t.Errorf("%s: %v", tc.mode, err)
		}
		if s, got := r.primary6(n); s.Prefix.IsValid() {
			t.Errorf("%s: stored as %s", tc.mode, got)
		}
	}
}

func TestSharedPrefixOfUplink(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	h := &vnet.Host{Meta: vnet.Meta{ID: "h1", Name: "h1"}, Facts: vnet.HostFacts{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:1:2::/64")}}}
	if _, err := r.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{h}}); err != nil {
		t.Fatal(err)
	}
	one, two := r.network(six("one", "proxied", "2001:db8:1:2::/64")), r.network(six("two", "proxied", "2001:db8:1:2::/64"))
	for _, n := range []*vnet.Network{one, two} {
		s, _ := r.primary6(n)
		r.hold(s, "2001:db8:1:2::/64", vnet.EgressProxied)
	}
	r.network(six("part", "proxied", "2001:db8:1:2:f000::/80"))
	_, err := r.Create(ctx, admin, "", six("clash", "proxied", "2001:db8:1:2:f000:1::/96"))
	wantKind(t, err, vnet.ErrOverlap, "ipv6.address", "network part")
	_, err = r.Create(ctx, admin, "", six("taken", "routed", "2001:db8:1:2::1/64"))
	wantKind(t, err, vnet.ErrOverlap, "ipv6.address")
}

// TestModeOfUplinkChanges: ports keep their host parts when the prefix is the
// uplink's, and when it no longer is.
func TestModeOfUplinkChanges(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(named("web"))
	p := r.port(portOn(n, "vm1"))
	part := func() uint64 {
		s, _ := r.primary6(n)
		o, err := r.Get(ctx, admin, Selector{Kind: vnet.KindPort, Network: "web", Name: "vm1"})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range o.(*vnet.Port).Fixed {
			if f.Subnet == s.ID {
				return f.Host
			}
		}
		return 0
	}
	want := part()
	for _, mode := range []vnet.Egress{vnet.EgressDelegated, vnet.EgressProxied, vnet.EgressNPTv6, vnet.EgressDelegated, vnet.EgressAuto} {
		_, err := r.Update(ctx, admin, sel(vnet.KindNetwork, "web"), 0, func(o vnet.Object) error {
			o.(*vnet.Network).IPv6.Mode = mode
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if got := part(); got != want {
			t.Errorf("%s: %s has host part %x, want %x", mode, p.Name, got, want)
		}
	}
	_, err := r.Update(ctx, admin, sel(vnet.KindNetwork, "web"), 0, func(o vnet.Object) error {
		o.(*vnet.Network).IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressProxied, Address: netip.MustParsePrefix("2001:db8::/80"), Guests: vnet.GuestsStateful}
		return nil
	})
	wantKind(t, err, vnet.ErrInUse, "vm1")
}

func TestFurtherPrefixOfUplink(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n, inner := r.network(named("web")), r.network(six("inner", "ula", ""))
	make6 := func(n *vnet.Network, source vnet.Source, prefix string) (vnet.Object, error) {
		s := &vnet.Subnet{Network: n.ID, Source: source}
		if prefix != "" {
			s.Prefix = netip.MustParsePrefix(prefix)
		}
		return r.Create(ctx, admin, "", s)
	}
	o, err := make6(n, vnet.SourceDelegated, "")
	if err != nil {
		t.Fatal(err)
	}
	if s := o.(*vnet.Subnet); s.Family != vnet.IPv6 || s.Primary || s.Guests != vnet.GuestsSLAACStateful {
		t.Errorf("%+v", s)
	}
	if _, err = make6(n, vnet.SourceProxied, "2001:db8:1:2:f000::/80"); err != nil {
		t.Error(err)
	}
	_, err = make6(inner, vnet.SourceDelegated, "")
	wantKind(t, err, vnet.ErrInvalid, "source", "ipv6=ula", "sextant network set inner ipv6=auto")
}

// TestPrefixesOfUplink: each prefix is there with where it comes from, and what
// was delegated as a whole, used or not.
func TestPrefixesOfUplink(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	until := r.now().Add(time.Hour).UTC().Truncate(time.Second)
	h := &vnet.Host{Meta: vnet.Meta{ID: "h1", Name: "h1"}, Facts: vnet.HostFacts{Uplinks: []vnet.Uplink{{Name: "eth0", Delegations: []vnet.Delegation{
		{Prefix: netip.MustParsePrefix("2001:db8:100::/56"), From: "DHCPv6", PreferredUntil: until, ValidUntil: until},
		{Prefix: netip.MustParsePrefix("2001:db8:200::/56"), From: "by hand"},
	}}}}}
	if _, err := r.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{h}}); err != nil {
		t.Fatal(err)
	}
	n := r.network(six("web", "auto", ""))
	s, _ := r.primary6(n)
	r.hold(s, "2001:db8:100:7::/64", vnet.EgressDelegated)
	r.hold(s, "2001:db8:7::/64", vnet.EgressProxied)
	part := r.network(six("part", "proxied", "2001:db8:9:0:f000::/80")) // nobody holds it
	all, err := r.Prefixes(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range all {
		got[p.Prefix.String()] = fmt.Sprintf("%s %s %s %s %s", p.Network, p.Source, p.Rung, p.State, p.From)
		if p.Network == part.Name && p.Prefix.Addr().Is6() {
			t.Errorf("%s is in use by nobody", p.Prefix)
		}
	}
	for prefix, want := range map[string]string{
		"2001:db8:100::/56":   " delegated  active DHCPv6",
		"2001:db8:200::/56":   " delegated  unused by hand",
		"2001:db8:100:7::/64": "web delegated delegated active ",
		"2001:db8:7::/64":     "web proxied proxied active ",
		s.Prefix.String():     "web ula  active ",
	} {
		if got[prefix] != want {
			t.Errorf("%s: %q, want %q", prefix, got[prefix], want)
		}
	}
	for _, p := range all {
		if p.Prefix.Bits() == 56 && p.Prefix.Contains(netip.MustParseAddr("2001:db8:100::")) && (!p.ValidUntil.Equal(until) || p.Uplink != "eth0" || p.Host != "h1") {
			t.Errorf("%+v", p)
		}
	}
}
