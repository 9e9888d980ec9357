package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// SharedPrefix begins the alias of a bridge that shares a NIC of the host (see
// kernel/attach); the NIC's name follows. It is not AliasPrefix: the bridge
// carries the host's own addresses and is the host's link for everybody else.
const SharedPrefix = "sextant-uplink:"

// SharedNIC is the NIC that the link is a bridge of ours for, "" if it is none.
func SharedNIC(l Link) string {
	nic, ok := strings.CutPrefix(l.Alias, SharedPrefix)
	if !ok || l.Type != "bridge" {
		return ""
	}
	return nic
}

// bridged reports whether the network is wholly on somebody else's wire.
func (p *networkPlan) bridged() bool {
	return p.mode[vnet.IPv4] == vnet.EgressBridged || p.mode[vnet.IPv6] == vnet.EgressBridged && !Beside(p.n)
}

// planBridged is the plan of a network on somebody else's wire: an existing
// bridge, which stays as it is, or a NIC that carries no host address, which
// joins a bridge of ours. The gateway is somebody else's and we serve nothing.
func (p *networkPlan) planBridged() {
	l, ok := p.f.Links[p.n.Link]
	switch {
	case p.n.Link == "":
		p.problem(vnet.ErrInvalid, "link", "a bridged network needs a link to be on", "set link=BRIDGE or link=NIC")
		return
	case !ok:
		p.problem(vnet.ErrHost, "link", fmt.Sprintf("this host has no link %q", p.n.Link), "plug it in, or set link= to one that `sextant uplink list` shows")
		if strings.HasPrefix(p.f.Links[p.bridge].Alias, AliasPrefix) {
			// It was there: its guests still have each other.
			p.planBridge(false)
		}
		return
	case l.Type == "bridge" && l.Name != p.n.Bridge:
		p.bridge = l.Name
		p.planPorts()
		return
	case l.Master != "" && l.Master != p.n.Bridge:
		p.problem(vnet.ErrHost, "link", fmt.Sprintf("%s already belongs to %s", l.Name, l.Master), fmt.Sprintf("set link=%s", l.Master))
		return
	}
	if a, ok := hostAddress(l); ok {
		p.problem(vnet.ErrHost, "link", fmt.Sprintf("%s carries the host's address %s, which would be cut off", l.Name, a),
			"use a NIC without addresses, or an existing bridge that the host's addresses are on")
		return
	}
	if l.Name == p.f.Uplink4 || l.Name == p.f.Uplink6 {
		p.problem(vnet.ErrHost, "link", fmt.Sprintf("the host's default route leads over %s", l.Name), "use another NIC")
		return
	}
	p.planBridge(false)
	if p.f.Has(vnet.FeatureIPv6) {
		p.add(Sysctl{Path: "net/ipv6/conf/" + l.Name + "/disable_ipv6", Value: "1"})
	}
	p.add(Member{Link: l.Name, Bridge: p.bridge, Owner: p.out.Owner})
}

// hostAddress finds an address by which the host is reached over the link;
// link-local ones do not count.
func hostAddress(l Link) (netip.Prefix, bool) {
	i := slices.IndexFunc(l.Addresses, func(a netip.Prefix) bool { return !a.Addr().IsLinkLocalUnicast() })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return l.Addresses[i], true
}

// BridgeOf is the device that ports of a network join on this host: its own
// bridge, or the existing one that a bridged network is on.
func BridgeOf(f *Facts, n *vnet.Network) string {
	if !Beside(n) && (n.IPv4.Mode == vnet.EgressBridged || n.IPv6.Mode == vnet.EgressBridged) {
		if l, ok := f.Links[n.Link]; ok && l.Type == "bridge" {
			return l.Name
		}
	}
	return n.Bridge
}
