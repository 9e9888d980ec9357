package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ladder"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// speaker writes down what is said.
type speaker struct {
	said []string
	err  error
}

func (s *speaker) Farewell(bridge string, routers []vnet.HeardRouter, _ time.Time) error {
	for _, r := range routers {
		s.said = append(s.said, fmt.Sprintf("%s without %s", bridge, r.Address))
	}
	return s.err
}

func (s *speaker) Solicit(bridge string) error {
	s.said = append(s.said, "solicit "+bridge)
	return s.err
}

// expect compares with what was said since the last time.
func (s *speaker) expect(t *testing.T, said ...string) {
	t.Helper()
	if !slices.Equal(s.said, said) {
		t.Errorf("said %q, want %q", s.said, said)
	}
	s.said = nil
}

func routerAt(last byte) vnet.HeardRouter {
	a := [16]byte{0xfe, 0x80, 15: last}
	return vnet.HeardRouter{Address: netip.AddrFrom16(a), MAC: vnet.MAC{2, 0, 0, 0, 0, last}}
}

// besideNetwork is an agent with a network of bridged IPv6 beside NATed IPv4 and
// two shared NICs, whose loop the test plays.
func besideNetwork(t *testing.T, s *speaker) (*played, *vnet.Network) {
	p := newPlayed(t, s)
	n := &vnet.Network{Meta: vnet.Meta{ID: "n1", Name: "web"}, Bridge: "sx-web",
		IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNAT}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressBridged}}
	p.snap.Put(n)
	p.snap.Put(&vnet.Activation{Meta: vnet.Meta{ID: "n1-a"}, Network: n.ID, Host: "h1", Started: true})
	p.facts = &plan.Facts{Links: map[string]plan.Link{"wlan0": {Name: "wlan0"}}, Uplinks: map[string]vnet.Uplink{"wlan0": {Name: "wlan0", Type: "wifi"}}}
	for _, nic := range []string{"eth0", "eth1"} {
		p.facts.Links["br-"+nic] = plan.Link{Name: "br-" + nic, Type: "bridge", Alias: plan.SharedPrefix + nic}
	}
	return p, n
}

// hear has routers be heard on a bridge, or none.
func (p *played) hear(bridge string, routers ...vnet.HeardRouter) {
	p.facts.Uplinks[bridge] = vnet.Uplink{Name: bridge, Type: "bridge", Routers: routers}
}

// on makes a link the uplink, decides anew on which rung the network stands, and
// follows.
func (p *played) on(uplink string, n *vnet.Network) {
	p.facts.Uplink6 = uplink
	w := &ladder.Wish{}
	p.besideOf(w, n)
	rung := vnet.EgressProxied
	if w.Wire != "" {
		rung = vnet.EgressBridged
	}
	p.rungs[n.ID] = plan.Rung{V4: vnet.EgressNAT, V6: rung}
	p.tendWires()
}

// TestWires: a network's guests are told of every router that they lose, once,
// and the new one is asked to speak.
func TestWires(t *testing.T) {
	s := &speaker{}
	p, n := besideNetwork(t, s)
	p.hear("br-eth0", routerAt(1))
	p.on("br-eth0", n)
	s.expect(t, "solicit br-eth0")
	p.told("its IPv6 is on br-eth0", "network=web")
	p.on("br-eth0", n)
	s.expect(t)

	// A router more comes, and is remembered when none is heard any more.
	p.hear("br-eth0", routerAt(1), routerAt(2))
	p.on("br-eth0", n)
	p.hear("br-eth0")
	p.on("br-eth0", n)
	p.told()

	// The second is behind both: it is not gone.
	p.hear("br-eth1", routerAt(2), routerAt(3))
	p.on("br-eth1", n)
	s.expect(t, "sx-web without fe80::1", "solicit br-eth1")
	p.told("its IPv6 is on br-eth1 now, no longer on br-eth0")

	// Wi-Fi cannot be bridged: the guests' router is the host, until it can.
	p.on("wlan0", n)
	s.expect(t, "sx-web without fe80::2", "sx-web without fe80::3")
	p.told("its IPv6 is no longer on br-eth1")
	p.on("wlan0", n)
	s.expect(t)
	p.on("br-eth1", n)
	s.expect(t, "solicit br-eth1")
	p.told("its IPv6 is on br-eth1")

	// What cannot be said stops nothing.
	s.err = errors.New("no such device")
	p.on("br-eth0", n)
	s.expect(t, "sx-web without fe80::2", "sx-web without fe80::3", "solicit br-eth0")
	p.told("its IPv6 is on br-eth0 now")
}

// TestWiresEnd: of a network that is stopped or gone nothing is said or kept,
// and one with bridged IPv4, too, is not followed.
func TestWiresEnd(t *testing.T) {
	s := &speaker{}
	p, n := besideNetwork(t, s)
	p.hear("br-eth0", routerAt(1))
	p.on("br-eth0", n)
	s.expect(t, "solicit br-eth0")
	p.told("its IPv6 is on")
	p.snap.Put(&vnet.Activation{Meta: vnet.Meta{ID: "n1-a"}, Network: n.ID, Host: "h1"})
	p.tendWires()
	s.expect(t)
	p.told()
	if len(p.wires) != 0 {
		t.Errorf("stopped: %v", p.wires)
	}
	p.snap.Put(&vnet.Activation{Meta: vnet.Meta{ID: "n1-a"}, Network: n.ID, Host: "h1", Started: true})
	p.on("br-eth0", n)
	s.expect(t, "solicit br-eth0")
	p.told("its IPv6 is on")
	p.snap.Delete(vnet.RefOf(n))
	p.tendWires()
	s.expect(t)
	if len(p.wires) != 0 {
		t.Errorf("deleted: %v", p.wires)
	}
	whole := *n
	whole.ID, whole.IPv4.Mode = "n2", vnet.EgressBridged
	p.snap.Put(&whole)
	p.snap.Put(&vnet.Activation{Meta: vnet.Meta{ID: "n2-a"}, Network: "n2", Host: "h1", Started: true})
	p.on("br-eth0", &whole)
	s.expect(t)
}
