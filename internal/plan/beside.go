package plan

import (
	"fmt"

	"github.com/sextant-net/sextant/internal/vnet"
)

// A network may have IPv4 of ours and IPv6 of somebody else's router: a veth
// pair between its bridge and one that the outside is on carries IPv6 and
// nothing else. Guests configure themselves by what the real router says.

// Beside reports whether a network wishes bridged IPv6 beside an IPv4 that is
// not bridged.
func Beside(n *vnet.Network) bool {
	return n.IPv6.Mode == vnet.EgressBridged && n.IPv4.Mode != vnet.EgressBridged
}

// besides reports whether the network is joined to an outside bridge now: on the
// rung proxied it is not.
func (p *networkPlan) besides() bool {
	return Beside(p.n) && p.mode[vnet.IPv6] == vnet.EgressBridged
}

// WireOf is the bridge that a network's IPv6 joins, or why there is none now and
// what would make one. Without a link of its own that is the active uplink, as
// far as it is a bridge.
func WireOf(f *Facts, n *vnet.Network) (bridge, why string) {
	name := n.Link
	if name == "" {
		if name = f.Uplink6; name == "" {
			name = f.Uplink4
		}
	}
	l, there := f.Links[name]
	switch {
	case name == "":
		return "", "no uplink is in use"
	case !there:
		return "", fmt.Sprintf("this host has no link %q", name)
	case l.Type == "bridge" && l.Name != n.Bridge:
		return l.Name, ""
	case l.Master != "" && SharedNIC(f.Links[l.Master]) == l.Name:
		return l.Master, ""
	case l.Master != "" && f.Links[l.Master].Type == "bridge" && l.Master != n.Bridge:
		return l.Master, ""
	case f.Uplinks[name].Type == "wifi":
		return "", fmt.Sprintf("the uplink %s is Wi-Fi, which cannot be bridged", name)
	}
	return "", fmt.Sprintf("the uplink %s is not shared; `sextant uplink set %s shared=true` would lift it", name, name)
}

// BesideNames are the ends of the pair: on the network's bridge, and outside.
func BesideNames(network vnet.ID) (inner, outer string) {
	return "sxi" + ProjectTag(network), "sxo" + ProjectTag(network)
}

// planBeside joins the network's bridge to the outside one. There is one pair
// for a network, so its bridge never carries frames between two outside ones:
// the kernel takes the outer end out of one bridge before it puts it into
// another. Outer ends are isolated: whatever a guest connects two networks with,
// no frame goes from one over the outside bridge to the other, so there is no
// loop.
func (p *networkPlan) planBeside() {
	if !p.besides() {
		return
	}
	wire, why := WireOf(p.f, p.n)
	if wire == "" {
		p.problem(vnet.ErrUnavailable, "ipv6", why, "")
		return
	}
	inner, outer := BesideNames(p.n.ID)
	// A bridge without a MAC of its own takes the lowest of its members.
	in, out := p.n.MAC, p.n.MAC
	in[0], out[0] = 0xfa, 0xfe
	p.add(Veth{Name: inner, Owner: p.out.Owner, MAC: in, MTU: p.mtu(), Peer: outer, PeerMAC: out, PeerUp: true},
		Element{"", "bridge", "inner", quote(inner), ""},
		Element{"", "bridge", "outer", quote(outer), ""},
		Member{Link: inner, Bridge: p.bridge, Owner: p.out.Owner},
		Member{Link: outer, Bridge: wire, Owner: p.out.Owner, Isolated: true})
	for _, name := range []string{inner, outer} {
		p.add(linkSysctl("", name, vnet.IPv6, "disable_ipv6", "1"))
	}
}
