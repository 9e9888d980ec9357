package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// proxied is a network whose guests share a prefix of eth0's.
func (w *world) proxied(id, prefix string, change ...func(*vnet.Network)) (*vnet.Network, *vnet.Subnet) {
	n := w.network(id, vnet.EgressNone, vnet.EgressProxied, change...)
	sub := &vnet.Subnet{Meta: meta(id+"-six", ""), Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceProxied, Guests: vnet.GuestsSLAACStateful, Primary: true}
	w.s.Put(sub)
	w.assign(sub, prefix)
	eth0 := w.f.Links["eth0"]
	eth0.Addresses = append(slices.Clone(eth0.Addresses), netip.MustParsePrefix("2001:db8::7/64"))
	w.f.Links["eth0"] = eth0
	return n, sub
}

func (w *world) assign(sub *vnet.Subnet, prefix string) *vnet.PrefixAssignment {
	a := &vnet.PrefixAssignment{Meta: meta(string(sub.ID)+"-as", ""), Network: sub.Network, Subnet: sub.ID, Host: "h1", Family: vnet.IPv6,
		Prefix: netip.MustParsePrefix(prefix), Rung: vnet.EgressProxied, Uplink: "eth0", State: vnet.PrefixActive}
	w.s.Put(a)
	return a
}

// lease is what a guest without a port has.
func (w *world) lease(id string, n *vnet.Network, a string, how vnet.How) *vnet.Lease {
	l := &vnet.Lease{Meta: meta(id, ""), Network: n.ID, Host: "h1", Address: netip.MustParseAddr(a), Family: vnet.IPv6, How: how}
	w.s.Put(l)
	return l
}

// lent are the addresses that an owner brings, with the links of their routes.
func lent(w *world, r vnet.Ref) string {
	f := plan.FragmentOf(w.s, w.f, r)
	var out []string
	for _, i := range f.Items {
		if x, ok := i.(plan.HostRoute); ok {
			out = append(out, x.Prefix.String()+" "+x.Link)
		}
	}
	for _, a := range f.Proxied {
		out = append(out, "proxied "+a.String())
	}
	return strings.Join(out, ", ")
}

// TestProxiedAddress: each address in an uplink's prefix has a fragment, as
// long as its lease, its network and its prefix are.
func TestProxiedAddress(t *testing.T) {
	const one = "2001:db8::1:2"
	for name, tc := range map[string]struct {
		change func(*world, *vnet.Network, *vnet.Lease)
		want   string
	}{
		"learnt": {func(*world, *vnet.Network, *vnet.Lease) {}, one + "/128 sx-web, proxied " + one},
		"given by another host": {func(w *world, _ *vnet.Network, l *vnet.Lease) {
			c := *l
			c.Host = "h2"
			w.s.Put(&c)
		}, ""},
		"declined": {func(w *world, _ *vnet.Network, l *vnet.Lease) {
			c := *l
			c.Declined = true
			w.s.Put(&c)
		}, ""},
		"of another prefix": {func(w *world, n *vnet.Network, l *vnet.Lease) {
			c := *l
			c.Address = netip.MustParseAddr("2001:db8:0:1::1")
			w.s.Put(&c)
		}, ""},
		"somebody outside has it": {func(w *world, _ *vnet.Network, l *vnet.Lease) {
			w.f.Contested = map[netip.Addr]bool{l.Address: true}
		}, "proxied " + one},
		"of a network that is stopped": {func(w *world, n *vnet.Network, _ *vnet.Lease) {
			w.s.Put(&vnet.Activation{Meta: meta("web-act", ""), Network: n.ID, Host: "h1"})
		}, ""},
		"of a prefix that is deprecated": {func(w *world, n *vnet.Network, _ *vnet.Lease) {
			a := *w.s.Assignments["web-six-as"]
			a.State = vnet.PrefixDeprecated
			w.s.Put(&a)
		}, one + "/128 sx-web, proxied " + one},
		"of a prefix that is gone": {func(w *world, n *vnet.Network, _ *vnet.Lease) {
			w.s.Delete(vnet.Ref{Kind: vnet.KindAssignment, ID: "web-six-as"})
		}, ""},
		"of a prefix that has expired": {func(w *world, n *vnet.Network, _ *vnet.Lease) {
			a := *w.s.Assignments["web-six-as"]
			a.State = vnet.PrefixExpired
			w.s.Put(&a)
		}, ""},
		"of a network that lost the family": {func(w *world, n *vnet.Network, _ *vnet.Lease) {
			w.f.Rungs[n.ID] = plan.Rung{V6: vnet.EgressLinkLocal}
		}, ""},
		"released": {func(w *world, _ *vnet.Network, l *vnet.Lease) { w.s.Delete(vnet.RefOf(l)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			n, _ := w.proxied("web", "2001:db8::/64")
			l := w.lease("l", n, one, vnet.HowSLAAC)
			tc.change(w, n, l)
			if got := lent(w, vnet.RefOf(l)); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// TestProxiedAffects: an address costs itself alone, and those of other
// prefixes nothing; a prefix takes all in it along, whatever came first.
func TestProxiedAffects(t *testing.T) {
	w := newWorld()
	n, sub := w.proxied("web", "2001:db8::/64")
	w.s.Delete(vnet.Ref{Kind: vnet.KindAssignment, ID: "web-six-as"})
	in := w.lease("in", n, "2001:db8::1:2", vnet.HowSLAAC)
	out := w.lease("out", n, "fd00::1:2", vnet.HowSLAAC)
	if got := plan.Affected(w.s, in); got != nil {
		t.Errorf("without the prefix: %v", got)
	}
	as := w.assign(sub, "2001:db8::/64")
	if got := plan.Affected(w.s, in); !slices.Equal(got, []vnet.Ref{vnet.RefOf(in)}) || !slices.Equal(got, w.s.AffectedByLease(w.s.Lease("in"))) {
		t.Errorf("an address in it: %v", got)
	}
	if got := plan.Affected(w.s, out); got != nil || w.s.AffectedByLease(pack.Of(out)) != nil {
		t.Errorf("an address elsewhere: %v", got)
	}
	owners := plan.Owners(w.s)
	if !slices.Contains(owners, vnet.RefOf(in)) || slices.Contains(owners, vnet.RefOf(out)) || !slices.Contains(plan.Affected(w.s, as), vnet.RefOf(in)) {
		t.Errorf("owners %v, the prefix affects %v", owners, plan.Affected(w.s, as))
	}
	w.s.Delete(vnet.RefOf(as))
	if slices.Contains(plan.Owners(w.s), vnet.RefOf(in)) {
		t.Error("without its prefix it owns something")
	}
}

// TestProxiedTwice: of two networks that share a prefix one has an address:
// ports before leases, and the older before the younger. Whoever loses follows
// when the other goes.
func TestProxiedTwice(t *testing.T) {
	w := newWorld()
	a, _ := w.proxied("a", "2001:db8::/64")
	b, subB := w.proxied("bb", "2001:db8::/64")
	const one = "2001:db8::9"
	first, second := w.lease("l1", a, one, vnet.HowDHCPv6), w.lease("l22", b, one, vnet.HowDHCPv6)
	want := func(r vnet.Ref, want string) {
		t.Helper()
		if got := lent(w, r); got != want {
			t.Errorf("%v: %q, want %q", r, got, want)
		}
	}
	want(vnet.RefOf(first), one+"/128 sx-a, proxied "+one)
	want(vnet.RefOf(second), "")
	if got := plan.Affected(w.s, first); !slices.Contains(got, vnet.RefOf(second)) {
		t.Errorf("the first affects %v", got)
	}
	port := w.port("vm", b, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"}, vnet.FixedAddress{Subnet: subB.ID, Host: 9})
	want(vnet.RefOf(port), one+"/128 sx-bb, proxied "+one)
	want(vnet.RefOf(first), "")
	want(vnet.RefOf(second), one+"/128 sx-bb, proxied "+one) // the port's own lease, in the same words
	if got := plan.Affected(w.s, port); !slices.Contains(got, vnet.RefOf(first)) {
		t.Errorf("the port affects %v", got)
	}
	stop := &vnet.Activation{Meta: meta("bb-act", ""), Network: b.ID, Host: "h1"}
	w.s.Put(stop)
	want(vnet.RefOf(first), one+"/128 sx-a, proxied "+one)
	if got := plan.Affected(w.s, stop); !slices.Contains(got, vnet.RefOf(first)) {
		t.Errorf("the end of a network affects %v", got)
	}
	noConflicts(t, w)
}

// noConflicts: two fragments that share a key want the same.
func noConflicts(t *testing.T, w *world) {
	t.Helper()
	seen := map[plan.Key]plan.Item{}
	for _, f := range plan.Make(w.s, w.f).Fragments {
		for _, i := range f.Items {
			if old, ok := seen[i.Key()]; ok && old != i {
				t.Errorf("two fragments want %v differently: %v and %v", i.Key(), old, i)
			}
			seen[i.Key()] = i
		}
	}
}

// TestProxiedPort: a port's own address is led to where the port is, also
// before its guest has said a word; of a port elsewhere nothing is.
func TestProxiedPort(t *testing.T) {
	w := newWorld()
	n, sub := w.proxied("web", "2001:db8::/64")
	p := w.port("vm", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"}, vnet.FixedAddress{Subnet: sub.ID, Host: 0xabc})
	if got := lent(w, vnet.RefOf(p)); got != "2001:db8::abc/128 sx-web, proxied 2001:db8::abc" {
		t.Error(got)
	}
	p = w.port("vm", n, vnet.Binding{}, vnet.FixedAddress{Subnet: sub.ID, Host: 0xabc})
	away := *p
	away.Binding = &vnet.Binding{Host: "h2"}
	w.s.Put(&away)
	if got := lent(w, vnet.RefOf(p)); got != "" {
		t.Errorf("of a port elsewhere: %s", got)
	}
	nowhere := *p
	nowhere.Binding = nil
	w.s.Put(&nowhere)
	if got := lent(w, vnet.RefOf(p)); got != "2001:db8::abc/128 sx-web, proxied 2001:db8::abc" {
		t.Errorf("of a port that is nowhere yet: %s", got)
	}
}

// TestProxiedService: guests are told a prefix that is not on-link, have their
// resolver at the gateway's link-local address, and never get the host's own
// address; SLAAC needs a /64.
func TestProxiedService(t *testing.T) {
	w := newWorld()
	n, _ := w.proxied("web", "2001:db8::/64")
	f := plan.Network(w.s, w.f, n.ID)
	sub := f.Service.Subnets[0]
	if !sub.OffLink || sub.Gateway.IsValid() || sub.Uplink != "eth0" || sub.Guests != vnet.GuestsSLAACStateful || !slices.Equal(sub.Reserved, []netip.Addr{netip.MustParseAddr("2001:db8::7")}) {
		t.Errorf("%+v", sub)
	}
	if s := fmt.Sprint(f.Service.DNS.Servers); s != "[fe80::5054:ff:fe00:1]" {
		t.Errorf("resolvers %s", s)
	}
	if !f.Service.RA.Send || !f.Service.RA.DefaultRouter {
		t.Errorf("%+v", f.Service.RA)
	}
	w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
	if s := fmt.Sprint(plan.Network(w.s, w.f, n.ID).Service.DNS.Servers); s != "[fd12:3456:789a:1::1]" {
		t.Errorf("beside another prefix: resolvers %s", s)
	}
	m, sub80 := w.proxied("long", "2001:db8::5:0:0:0/80")
	sub80.Ranges = []vnet.Range{{First: netip.MustParseAddr("2001:db8::5:0:0:10"), Last: netip.MustParseAddr("2001:db8::5:0:0:20")},
		{First: netip.MustParseAddr("2001:db8:1::10"), Last: netip.MustParseAddr("2001:db8:1::20")}}
	w.s.Put(sub80)
	if s := plan.Network(w.s, w.f, m.ID).Service.Subnets[0]; s.Guests != vnet.GuestsStateful || len(s.Ranges) != 1 || len(s.Reserved) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestProxiedCost: what addresses of other networks cost does not depend on how
// many there are, and a prefix that comes takes its own along only.
func TestProxiedCost(t *testing.T) {
	w := newWorld()
	n := w.network("plain", vnet.EgressNone, vnet.EgressNAT66)
	w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
	base := netip.MustParseAddr("fd12:3456:789a:1::1:0").As16()
	for i := range 2000 {
		base[14], base[15] = byte(i>>8), byte(i)
		w.s.Put(&vnet.Lease{Meta: meta(fmt.Sprint("l", i), ""), Network: n.ID, Host: "h1", Address: netip.AddrFrom16(base), Family: vnet.IPv6, How: vnet.HowSLAAC})
	}
	p, _ := w.proxied("web", "2001:db8::/64")
	w.lease("mine", p, "2001:db8::2", vnet.HowSLAAC)
	owners := plan.Owners(w.s)
	if len(owners) != 4 { // host, two networks, one lease
		t.Errorf("%d owners: %v", len(owners), owners)
	}
	l := w.s.Lease("l7")
	if got := testing.AllocsPerRun(100, func() { w.s.AffectedByLease(l) }); got != 0 {
		t.Errorf("a lease of another network costs %v allocations", got)
	}
}
