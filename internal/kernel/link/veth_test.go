package link_test

import (
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// joined is a pair of links between two bridges of the same namespace, one of
// which is somebody else's.
func joined() []plan.Item {
	return []plan.Item{
		plan.Bridge{Name: "sx-web", Owner: owner, MAC: mac, MTU: 1400},
		plan.Veth{Name: "sxi1", Owner: owner, MAC: vnet.MAC{0xfa, 0x54, 0, 0xaa, 0, 1}, MTU: 1400, Peer: "sxo1", PeerMAC: vnet.MAC{0xfe, 0x54, 0, 0xaa, 0, 1}, PeerUp: true},
		plan.Sysctl{Path: "net/ipv6/conf/sxi1/disable_ipv6", Value: "1"},
		plan.Sysctl{Path: "net/ipv6/conf/sxo1/disable_ipv6", Value: "1"},
		plan.Member{Link: "sxi1", Bridge: "sx-web", Owner: owner},
		plan.Member{Link: "sxo1", Bridge: "br7", Owner: owner, Isolated: true},
	}
}

// TestVethBothEnds: a pair with both ends in the host's namespace is one item:
// its far end is nobody else's and no item of its own, a restarted agent knows
// it, what somebody does to it is mended, and both ends go together.
func TestVethBothEnds(t *testing.T) {
	h := newHost(t)
	for _, br := range []string{"br7", "br8"} {
		h.ns.Run("ip", "link", "add", br, "type", "bridge")
		h.ns.Run("ip", "link", "set", br, "up")
	}
	items := joined()
	h.apply(items, nil)
	h.settled(items)
	for cmd, says := range map[string][]string{
		"ip -d link show sxi1": {"sxi1@sxo1", "master sx-web", "mtu 1400", "fa:54:00:aa:00:01", "isolated off", ",UP", "alias sextant:network/1111"},
		"ip -d link show sxo1": {"sxo1@sxi1", "master br7", "mtu 1400", "fe:54:00:aa:00:01", "isolated on", ",UP", "alias sextant:far/sxi1"},
	} {
		f := strings.Fields(cmd)
		out := h.ns.Run(f[0], f[1:]...)
		for _, s := range says {
			if !strings.Contains(out, s) {
				t.Errorf("%s: no %q in\n%s", cmd, s, out)
			}
		}
	}
	if out := h.ns.Run("ip", "-6", "address", "show", "dev", "sxo1"); out != "" {
		t.Errorf("the host takes part on the outside: %s", out)
	}
	h.restart()
	h.settled(items)

	for _, harm := range [][]string{
		{"link", "set", "sxo1", "down"},
		{"link", "set", "sxo1", "nomaster"},
		{"link", "set", "sxo1", "master", "br8"},
		{"link", "set", "sxo1", "address", "02:00:00:00:00:01"},
		{"link", "delete", "sxo1"},
	} {
		h.ns.Run("ip", harm...)
		h.restart()
		if got := h.actual(items); len(got) == len(items) && got[items[1].Key()] == items[1] && got[items[5].Key()] == items[5] {
			t.Errorf("%v is not seen", harm)
		}
		h.apply(items, nil)
		h.settled(items)
	}

	// Another uplink: the outer end leaves one bridge for the other.
	moved := append([]plan.Item(nil), items...)
	moved[5] = plan.Member{Link: "sxo1", Bridge: "br8", Owner: owner, Isolated: true}
	h.apply(moved[5:], nil)
	h.settled(moved)

	h.apply(nil, []plan.Item{moved[5], moved[4], moved[3], moved[2], moved[1], moved[0]})
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if out := h.ns.Run("ip", "-o", "link"); strings.Contains(out, "sx") || !strings.Contains(out, "br8") {
		t.Errorf("links:\n%s", out)
	}
}

// TestVethFarTaken: a link of somebody else's with the far end's name stays.
func TestVethFarTaken(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "sxo1", "type", "bridge")
	h.fails(joined()[1], vnet.ErrConflict, "sxo1")
	if out := h.ns.Run("ip", "-o", "link", "show", "type", "veth"); out != "" {
		t.Errorf("half made:\n%s", out)
	}
}
