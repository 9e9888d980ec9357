package plan_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// world builds snapshots and facts in few words.
type world struct {
	s *plan.Snapshot
	f *plan.Facts
	n int
}

func newWorld() *world {
	w := &world{s: plan.NewSnapshot("h1")}
	w.s.Put(&vnet.Installation{ULA: netip.MustParsePrefix("fd12:3456:789a::/48")})
	w.s.Put(&vnet.Project{Meta: meta("p1", "default")})
	w.f = &plan.Facts{
		Features: map[string]bool{vnet.FeatureIPv6: true, vnet.FeatureForceForwarding: true},
		Links: map[string]plan.Link{
			"eth0": {Index: 2, Name: "eth0", MTU: 1492, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/24")}},
			"eth1": {Index: 3, Name: "eth1", MTU: 1500, Up: true},
			"br0":  {Index: 4, Name: "br0", Type: "bridge", MTU: 1500, Up: true},
		},
		Uplink4: "eth0", Uplink6: "eth0",
		Uplinks: map[string]vnet.Uplink{"eth0": {Name: "eth0", V4: true, V6: true}},
		Rungs:   map[vnet.ID]plan.Rung{},
	}
	return w
}

// meta gives objects readable IDs; real ones are UUIDs.
func meta(id, name string) vnet.Meta {
	return vnet.Meta{ID: vnet.ID(id), Name: name, Project: "p1", Created: time.Unix(int64(len(id)), 0)}
}

func (w *world) network(id string, v4, v6 vnet.Egress, change ...func(*vnet.Network)) *vnet.Network {
	w.n++
	n := &vnet.Network{
		Meta: meta(id, id), Bridge: "sx-" + id, Number: w.n, MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, byte(w.n)},
		Domain: id + ".internal", Admit: vnet.AdmitAny, LeaseTime: vnet.Duration(12 * time.Hour),
		IPv4: vnet.FamilyPolicy{Mode: v4}, IPv6: vnet.FamilyPolicy{Mode: v6},
	}
	for _, c := range change {
		c(n)
	}
	w.s.Put(n)
	w.s.Put(&vnet.Activation{Meta: meta(id+"-act", ""), Network: n.ID, Host: "h1", Started: true})
	return n
}

func (w *world) subnet(n *vnet.Network, prefix string, guests vnet.Guests) *vnet.Subnet {
	p := netip.MustParsePrefix(prefix)
	f, src := vnet.IPv6, vnet.SourceFixed
	if p.Addr().Is4() {
		f = vnet.IPv4
	}
	sub := &vnet.Subnet{Meta: meta(string(n.ID)+"-"+p.Addr().String(), ""), Network: n.ID, Family: f, Source: src, Prefix: p, Guests: guests, Primary: true}
	w.s.Put(sub)
	return sub
}

func (w *world) port(id string, n *vnet.Network, b vnet.Binding, fixed ...vnet.FixedAddress) *vnet.Port {
	b.Host = "h1"
	p := &vnet.Port{Meta: meta(id, id), Network: n.ID, MAC: vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 1}, Fixed: fixed, Binding: &b}
	w.s.Put(p)
	return p
}

// assigned gives a subnet a prefix of an uplink.
func (w *world) assigned(sub *vnet.Subnet, prefix string, rung vnet.Egress, state vnet.PrefixState) *vnet.PrefixAssignment {
	a := &vnet.PrefixAssignment{Meta: meta("as-"+prefix, ""), Network: sub.Network, Subnet: sub.ID, Host: "h1", Family: vnet.IPv6,
		Prefix: netip.MustParsePrefix(prefix), Rung: rung, Uplink: "eth0", State: state}
	w.s.Put(a)
	return a
}

// delegation is a subnet that guests get prefixes from.
func (w *world) delegation(n *vnet.Network, prefix string) *vnet.Subnet {
	sub := w.subnet(n, prefix, vnet.GuestsDelegation)
	sub.Primary, sub.Delegate = false, 64
	return sub
}

// delegated is the lease of a prefix.
func (w *world) delegated(id string, n *vnet.Network, prefix, via string) *vnet.Lease {
	p := netip.MustParsePrefix(prefix)
	l := &vnet.Lease{Meta: meta(id, ""), Network: n.ID, Host: "h1", Address: p.Addr(), Length: p.Bits(), Via: netip.MustParseAddr(via),
		Family: vnet.IPv6, How: vnet.HowDHCPv6}
	w.s.Put(l)
	return l
}

// translatedNetwork gives an nptv6 network a prefix inside, one outside, and one that
// it had outside until its uplink went.
func translatedNetwork(w *world, n *vnet.Network) {
	sub := w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
	w.s.Put(&vnet.PrefixAssignment{Meta: meta("as", ""), Network: n.ID, Subnet: sub.ID, Host: "h1", Family: vnet.IPv6,
		Prefix: netip.MustParsePrefix("2001:db8:100:1::/64"), Rung: vnet.EgressNPTv6, State: vnet.PrefixActive})
	w.s.Put(&vnet.PrefixAssignment{Meta: meta("gone", ""), Network: n.ID, Subnet: sub.ID, Host: "h1", Family: vnet.IPv6,
		Prefix: netip.MustParsePrefix("2001:db8:200:1::/64"), Rung: vnet.EgressNPTv6, State: vnet.PrefixDeprecated, Cut: true})
}

// TestGolden prints the plans of whole hosts as an operator would type them.
func TestGolden(t *testing.T) {
	for name, build := range map[string]func(*world){
		"empty": func(*world) {},
		"nptv6": func(w *world) {
			n := w.network("web", vnet.EgressNAT, vnet.EgressNPTv6)
			translatedNetwork(w, n)
		},
		"nptv6-router": func(w *world) {
			w.s.Put(&vnet.Router{Meta: meta("0123456789abcdef", "edge"), Netns: "sextant-edge", Number: 3})
			n := w.network("web", vnet.EgressNAT, vnet.EgressNPTv6, func(n *vnet.Network) { n.Router = "0123456789abcdef" })
			translatedNetwork(w, n)
		},
		"nat64": func(w *world) {
			n := w.network("web", vnet.EgressNone, vnet.EgressAuto)
			w.f.Rungs[n.ID] = plan.Rung{V6: vnet.EgressULA}
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.f.Translator = &translator
		},
		"nat64-router": func(w *world) {
			w.s.Put(&vnet.Router{Meta: meta("0123456789abcdef", "edge"), Netns: "sextant-edge", Number: 3})
			n := w.network("web", vnet.EgressNone, vnet.EgressAuto, func(n *vnet.Network) { n.Router = "0123456789abcdef" })
			w.f.Rungs[n.ID] = plan.Rung{V6: vnet.EgressULA}
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.f.Translator = &translator
		},
		"default": func(w *world) {
			n := w.network("web", vnet.EgressAuto, vnet.EgressAuto)
			w.f.Rungs[n.ID] = plan.Rung{V4: vnet.EgressNAT, V6: vnet.EgressNAT66}
			auto := w.subnet(n, "0.0.0.0/32", vnet.GuestsDHCP)
			auto.Prefix, auto.Source = netip.Prefix{}, vnet.SourceAuto
			w.s.Put(&vnet.PrefixAssignment{Meta: meta("as", ""), Network: n.ID, Subnet: auto.ID, Host: "h1", Family: vnet.IPv4,
				Prefix: netip.MustParsePrefix("192.168.77.0/24"), State: vnet.PrefixActive})
			six := w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.port("vm1", n, vnet.Binding{Plug: vnet.PlugVeth, Netns: "guest1", Device: "eth0"},
				vnet.FixedAddress{Subnet: auto.ID, Host: 9}, vnet.FixedAddress{Subnet: six.ID, Host: 0xabc})
			w.port("vm2", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap7", Owner: "libvirt-qemu"})
		},
		"routed-old-kernel": func(w *world) {
			w.f.Features[vnet.FeatureNeighbourLimits] = true
			w.f.Features[vnet.FeatureForceForwarding] = false
			n := w.network("lab", vnet.EgressNAT, vnet.EgressRouted)
			w.subnet(n, "192.168.150.0/24", vnet.GuestsDHCP)
			w.subnet(n, "2001:db8:5::/64", vnet.GuestsStateful)
		},
		"boot": func(w *world) {
			n := w.network("pxe", vnet.EgressIsolated, vnet.EgressULA, func(n *vnet.Network) { n.Boot.Root = "/srv/tftp" })
			w.subnet(n, "10.0.0.0/24", vnet.GuestsDHCP)
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.subnet(w.network("web", vnet.EgressNAT, vnet.EgressNone), "10.1.0.0/24", vnet.GuestsDHCP)
		},
		"isolated-and-none": func(w *world) {
			a := w.network("iso", vnet.EgressNone, vnet.EgressIsolated)
			w.subnet(a, "fd12:3456:789a:2::/64", vnet.GuestsSLAAC)
			w.port("vm1", a, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"})
			w.network("quiet", vnet.EgressIsolated, vnet.EgressNone)
			w.network("ll", vnet.EgressNone, vnet.EgressLinkLocal)
		},
		"bridged-nic": func(w *world) {
			n := w.network("lan", vnet.EgressBridged, vnet.EgressBridged, func(n *vnet.Network) { n.Link = "eth1" })
			w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"})
		},
		"bridged-bridge": func(w *world) {
			n := w.network("lan", vnet.EgressBridged, vnet.EgressBridged, func(n *vnet.Network) { n.Link = "br0" })
			w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"})
		},
		"router": func(w *world) {
			w.s.Put(&vnet.Router{Meta: meta("r1", "edge"), Netns: "sextant-edge", Number: 1})
			n := w.network("web", vnet.EgressNAT, vnet.EgressNAT66, func(n *vnet.Network) { n.Router = "r1" })
			w.subnet(n, "10.0.0.0/24", vnet.GuestsDHCP)
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			m := w.network("pub", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) { n.Router = "r1" })
			w.subnet(m, "2001:db8:7::/64", vnet.GuestsSLAAC)
		},
		"delegation": func(w *world) {
			n := w.network("web", vnet.EgressNone, vnet.EgressNAT66)
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.delegation(n, "fd12:3456:789a:100::/56")
			w.delegated("cpe", n, "fd12:3456:789a:101::/64", "fe80::1")
			w.delegated("flat", n, "fd12:3456:789a:1::9/128", "fe80::2").Length = 0
		},
		"delegation-router": func(w *world) {
			w.s.Put(&vnet.Router{Meta: meta("r1", "edge"), Netns: "sextant-edge", Number: 1})
			n := w.network("pub", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) { n.Router = "r1" })
			w.subnet(n, "2001:db8:7::/64", vnet.GuestsSLAAC)
			w.delegation(n, "2001:db8:7:100::/56")
			w.delegated("cpe", n, "2001:db8:7:101::/64", "fe80::1")
		},
		// A second delegation has taken the place of a first one, which is cut.
		"delegated": func(w *world) {
			n := w.network("web", vnet.EgressNone, vnet.EgressAuto)
			w.f.Rungs[n.ID] = plan.Rung{V4: vnet.EgressNone, V6: vnet.EgressDelegated}
			w.f.Aggregates = []netip.Prefix{netip.MustParsePrefix("2001:db8:200::/56")}
			six := w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.assigned(six, "2001:db8:200:1::/64", vnet.EgressDelegated, vnet.PrefixActive)
			w.assigned(six, "2001:db8:100:1::/64", vnet.EgressDelegated, vnet.PrefixDeprecated).Cut = true
			w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"}, vnet.FixedAddress{Subnet: six.ID, Host: 0xabc})
		},
		"pinned": func(w *world) {
			w.f.Pinned4 = plan.Hop{Link: "eth1", Via: netip.MustParseAddr("203.0.113.1")}
			w.f.Pinned6 = plan.Hop{Link: "eth1", Via: netip.MustParseAddr("fe80::1")}
			n := w.network("web", vnet.EgressNAT, vnet.EgressNAT66)
			w.subnet(n, "10.0.0.0/24", vnet.GuestsDHCP)
			w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful)
			w.subnet(w.network("inner", vnet.EgressIsolated, vnet.EgressULA), "fd12:3456:789a:2::/64", vnet.GuestsSLAACStateful)
			w.s.Put(&vnet.Router{Meta: meta("r1", "edge"), Netns: "sextant-edge", Number: 1})
			w.subnet(w.network("far", vnet.EgressNAT, vnet.EgressNone, func(n *vnet.Network) { n.Router = "r1" }), "10.1.0.0/24", vnet.GuestsDHCP)
		},
		"delegated-router": func(w *world) {
			w.s.Put(&vnet.Router{Meta: meta("r1", "edge"), Netns: "sextant-edge", Number: 1})
			n := w.network("web", vnet.EgressNone, vnet.EgressAuto, func(n *vnet.Network) { n.Router = "r1" })
			w.f.Rungs[n.ID] = plan.Rung{V4: vnet.EgressNone, V6: vnet.EgressDelegated}
			w.f.Aggregates = []netip.Prefix{netip.MustParsePrefix("2001:db8:200::/56")}
			w.assigned(w.subnet(n, "fd12:3456:789a:1::/64", vnet.GuestsSLAACStateful), "2001:db8:200:1::/64", vnet.EgressDelegated, vnet.PrefixActive)
		},
		"proxied": func(w *world) {
			n, sub := w.proxied("web", "2001:db8::/64")
			w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"}, vnet.FixedAddress{Subnet: sub.ID, Host: 0xabc})
			w.lease("learnt", n, "2001:db8::5054:ff:feaa:1", vnet.HowSLAAC)
			m, _ := w.proxied("two", "2001:db8::/64", func(n *vnet.Network) { n.IPv6.Inbound = vnet.InboundOpen })
			w.lease("given", m, "2001:db8::77", vnet.HowDHCPv6)
			long, _ := w.proxied("long", "2001:db8::5:0:0:0/80")
			w.lease("taken", long, "2001:db8::5:0:0:9", vnet.HowDHCPv6)
			w.f.Contested = map[netip.Addr]bool{netip.MustParseAddr("2001:db8::5:0:0:9"): true}
		},
		"proxied-router": func(w *world) {
			w.s.Put(&vnet.Router{Meta: meta("r1", "edge"), Netns: "sextant-edge", Number: 1})
			n, _ := w.proxied("web", "2001:db8::/64", func(n *vnet.Network) { n.Router = "r1" })
			w.lease("learnt", n, "2001:db8::5054:ff:feaa:1", vnet.HowSLAAC)
		},
		"retired": func(w *world) {
			n := w.network("web", vnet.EgressNone, vnet.EgressRouted, func(n *vnet.Network) {
				n.Retired = []vnet.RetiredPrefix{{
					Prefix: netip.MustParsePrefix("2001:db8:4::/64"), Subnet: "gone", Gateway: netip.MustParseAddr("2001:db8:4::1"),
					Guests: vnet.GuestsSLAAC, Until: time.Unix(7200, 0),
				}}
			})
			w.subnet(n, "2001:db8:5::/64", vnet.GuestsSLAAC)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			build(w)
			got := plan.Make(w.s, w.f).String()
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("the plan changed (-golden +now); run with -update if that is meant:\n%s", d)
			}
		})
	}
}

// TestUnion: the host's plan is the union of the fragments, and two fragments
// that share a key ask for the same item.
func TestUnion(t *testing.T) {
	w := newWorld()
	for i, id := range []string{"a", "b", "c"} {
		n := w.network(id, vnet.EgressNAT, vnet.EgressULA)
		w.subnet(n, []string{"10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"}[i], vnet.GuestsDHCP)
		w.port("port-"+id, n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap" + id})
	}
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

// TestOnePortCostsOnePort: a changed port changes no other fragment.
func TestOnePortCostsOnePort(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNAT, vnet.EgressULA)
	w.subnet(n, "10.1.0.0/24", vnet.GuestsDHCP)
	w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"})
	before := plan.Make(w.s, w.f)
	p := w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap2"})
	after := plan.Make(w.s, w.f)
	for r, f := range after.Fragments {
		same := cmp.Equal(before.Fragments[r], f, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
		if changed := r == vnet.RefOf(p); same == changed {
			t.Errorf("%v: changed %v, want %v", r, !same, changed)
		}
	}
	if got := plan.Affected(w.s, p); len(got) != 1 || got[0] != vnet.RefOf(p) {
		t.Errorf("Affected = %v, want the port alone", got)
	}
}

// TestStopped: what is not started leaves nothing.
func TestStopped(t *testing.T) {
	w := newWorld()
	n := w.network("web", vnet.EgressNAT, vnet.EgressULA)
	w.port("vm1", n, vnet.Binding{Plug: vnet.PlugTap, Device: "tap1"})
	w.s.Put(&vnet.Activation{Meta: meta("web-act", ""), Network: n.ID, Host: "h1"})
	if got := plan.Make(w.s, w.f).String(); got != "" {
		t.Errorf("a stopped network leaves\n%s", got)
	}
}
