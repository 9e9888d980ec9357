package plan_test

import (
	"slices"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestNoDefaultElement: advertisements are kept from the device of a port whose
// default network is another one, and from no other, whoever made the device
// and whoever is the router.
func TestNoDefaultElement(t *testing.T) {
	no, yes := false, true
	for _, mode := range []vnet.Egress{vnet.EgressRouted, vnet.EgressBridged} {
		w := newWorld()
		n := w.network("web", vnet.EgressNone, mode, func(n *vnet.Network) { n.Link = "eth1" })
		for _, c := range []struct {
			binding vnet.Binding
			wish    *bool
			device  string // "": no element
		}{
			{vnet.Binding{Plug: vnet.PlugTap, Device: "tap0"}, &no, "tap0"},
			{vnet.Binding{Plug: vnet.PlugVeth, Device: "eth0", Netns: "g"}, &no, plan.PortName("p")},
			{vnet.Binding{Plug: vnet.PlugAdopted, Device: "vnet0"}, &no, "vnet0"},
			{vnet.Binding{Plug: vnet.PlugTap, Device: "tap0"}, &yes, ""},
			{vnet.Binding{Plug: vnet.PlugAdopted, Device: "vnet0"}, nil, ""},
		} {
			w.port("p", n, c.binding).DefaultRoute = c.wish
			f := plan.Port(w.s, w.f, "p")
			got := ""
			for _, i := range f.Items {
				if e, ok := i.(plan.Element); ok && e.Set == "nodefault" {
					got = e.Elem
				}
			}
			want := ""
			if c.device != "" {
				want = `"` + c.device + `"`
			}
			if got != want {
				t.Errorf("%s, %+v: element %s, want %s", mode, c.binding, got, want)
			}
			joins := slices.ContainsFunc(f.Items, func(i plan.Item) bool { return i.Stage() > plan.StageFilter })
			if c.binding.Plug != vnet.PlugAdopted && !joins {
				t.Error("the device joins no bridge after that")
			}
		}
	}
}
