package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// defaultMTU is used while the host has no uplink to take the MTU from: the
// MTU of Ethernet.
const defaultMTU = 1500

// networkPlan is a network's fragment in the making.
type networkPlan struct {
	s   *Snapshot
	f   *Facts
	n   *vnet.Network
	out *Fragment
	svc *Service

	ns     string // namespace of the gateway link
	link   string // gateway link
	bridge string
	tag    string // project tag
	mode   map[vnet.Family]vnet.Egress
	way64  way64
}

// Network returns a network's fragment. A network that is not to run here has
// an empty one.
func Network(s *Snapshot, f *Facts, id vnet.ID) *Fragment {
	out := &Fragment{Owner: vnet.Ref{Kind: vnet.KindNetwork, ID: id}}
	n := s.Networks[id]
	if n == nil || n.Deleting != nil || !s.Started(id) {
		return out
	}
	p := &networkPlan{s: s, f: f, n: n, out: out, bridge: n.Bridge, tag: ProjectTag(n.Project)}
	rung := f.Rungs[id]
	out.Why4, out.Why6 = rung.Why4, rung.Why6
	out.Problems = append(out.Problems, rung.Problems...)
	p.mode = modesOf(f, n)
	out.Rung4, out.Rung6 = p.mode[vnet.IPv4], p.mode[vnet.IPv6]

	if m := p.mode[vnet.IPv6]; m != vnet.EgressNone && m != vnet.EgressBridged && !f.Has(vnet.FeatureIPv6) {
		out.Why6 = "this kernel has no IPv6"
		if n.IPv6.Mode != vnet.EgressAuto {
			p.problem(vnet.ErrUnsupported, "ipv6", out.Why6, "start it without ipv6.disable=1, or set ipv6=none")
		}
		p.mode[vnet.IPv6], out.Rung6 = vnet.EgressNone, vnet.EgressNone
	}
	if p.bridged() {
		p.planBridged()
		return out
	}
	p.planGateway()
	return out
}

// modesOf is what a network's families do on this host: as wished, or as the
// ladder decided.
func modesOf(f *Facts, n *vnet.Network) map[vnet.Family]vnet.Egress {
	out := map[vnet.Family]vnet.Egress{}
	for _, fam := range vnet.Families {
		out[fam] = n.Policy(fam).Mode
		if r := f.Rungs[n.ID].mode(fam); r != "" {
			out[fam] = r
		}
	}
	return out
}

func (p *networkPlan) add(items ...Item) { p.out.Items = append(p.out.Items, items...) }

func (p *networkPlan) problem(k vnet.ErrKind, field, msg, hint string) {
	p.out.Problems = append(p.out.Problems, vnet.Problem{Kind: k, Field: field, Msg: msg, Hint: hint})
}

// mtu is the network's MTU: the one asked for, else the uplink's.
func (p *networkPlan) mtu() int {
	mtu := p.n.MTU
	if mtu == 0 {
		mtu = p.f.UplinkMTU()
	}
	if Beside(p.n) { // what is longer than the outside bridge takes would be lost there
		if wire, _ := WireOf(p.f, p.n); wire != "" && p.f.Links[wire].MTU >= 1280 {
			mtu = min(mtu, p.f.Links[wire].MTU)
		}
	}
	return mtu
}

// UplinkMTU is the smaller MTU of the active uplinks, in bytes, never below
// what IPv6 needs (RFC 8200 section 5: 1280).
func (f *Facts) UplinkMTU() int {
	mtu := 0
	for _, name := range []string{f.Uplink4, f.Uplink6} {
		u, ok := f.Links[name]
		if ok && u.MTU > 0 && (mtu == 0 || u.MTU < mtu) {
			mtu = u.MTU
		}
	}
	if mtu == 0 || mtu > 65535 {
		return defaultMTU
	}
	return max(mtu, 1280)
}

// Has reports whether the kernel has a feature.
func (f *Facts) Has(feature string) bool { return f.Features[feature] }

// planBridge makes the broadcast domain itself.
func (p *networkPlan) planBridge(gatewayHere bool) {
	p.add(Bridge{Name: p.bridge, Owner: p.out.Owner, MAC: p.bridgeMAC(gatewayHere), MTU: p.mtu(), MLDSnoop: p.n.MLDSnoop})
	p.add(Up{"", p.bridge, p.out.Owner})
	if !gatewayHere && p.f.Has(vnet.FeatureIPv6) {
		p.add(linkSysctl("", p.bridge, vnet.IPv6, "disable_ipv6", "1"))
	}
	p.planPorts()
}

// bridgeMAC pins the bridge's own MAC, so that ports that come and go never
// change it. Where the gateway is a veth's far end, the bridge needs another.
func (p *networkPlan) bridgeMAC(gatewayHere bool) vnet.MAC {
	m := p.n.MAC
	if !gatewayHere {
		m[0] ^= 0x04
	}
	return m
}

// planPorts puts every member of the bridge, ours or plugged by others, under
// the bridge table.
func (p *networkPlan) planPorts() {
	for _, name := range p.f.strangersIn(p.bridge) {
		p.add(portElements(name, p.n, p.mode)...)
	}
}

// portElements are the elements of the bridge table for one bridge port.
func portElements(link string, n *vnet.Network, mode map[vnet.Family]vnet.Egress) []Item {
	out := []Item{Element{"", "bridge", "ports", quote(link), ""}}
	if n.DHCP.Limit < vnet.DHCPNoLimit {
		// Who floods the servers is to be heard less, not the others: each answer
		// to somebody new also takes a place in the kernel's table of neighbours.
		out = append(out, Element{"", "bridge", "asking", quote(link), ""})
	}
	if mode[vnet.IPv4] == vnet.EgressNone && !n.IPv4.L2 {
		out = append(out, Element{"", "bridge", "no4", quote(link), ""})
	}
	if mode[vnet.IPv6] == vnet.EgressNone && !n.IPv6.L2 {
		out = append(out, Element{"", "bridge", "no6", quote(link), ""})
	}
	return out
}

// linkSysctl is a setting of a link of ours.
func linkSysctl(ns, link string, f vnet.Family, key, value string) Item {
	return Sysctl{NS: ns, Path: fmt.Sprintf("net/ipv%d/conf/%s/%s", int(f), link, key), Value: value, Ours: true}
}

// planGateway is the plan of a network whose gateway is ours.
func (p *networkPlan) planGateway() {
	if !p.placeGateway() {
		p.problem(vnet.ErrNotFound, "router", "its router is not there (yet)", "")
		return
	}
	p.planBridge(p.ns == "")
	if p.ns != "" {
		near := RouterPortName(p.n.ID)
		p.add(Veth{Name: near, Owner: p.out.Owner, MTU: p.mtu(), PeerNS: p.ns, Peer: p.link, PeerMAC: p.n.MAC, PeerUp: true},
			Member{Link: near, Bridge: p.bridge, Owner: p.out.Owner})
		if p.f.Has(vnet.FeatureIPv6) {
			p.add(linkSysctl("", near, vnet.IPv6, "disable_ipv6", "1"))
		}
	}
	p.svc = &Service{
		Network: p.n.ID, Project: p.n.Project, Name: p.n.Name, NS: p.ns, Link: p.link, Bridge: p.bridge,
		MAC: p.n.MAC, MTU: p.mtu(), Domain: p.n.Domain, Admit: p.n.Admit, LeaseTime: p.n.LeaseTime.Std(),
		DHCP: p.n.DHCP, Boot: p.n.Boot, Routes: p.n.Routes, NTP: p.n.NTP, CaptivePortal: p.n.CaptivePortal,
		Strangers: p.f.strangersIn(p.bridge), Moves: moves(p.s, p.n),
	}
	p.out.Service = p.svc
	p.way64 = nat64Of(p.s, p.f, p.n, p.mode)
	p.planBeside()
	p.planLinkSysctls()
	p.planSubnets()
	p.planFilter()
	p.planNPTv6()
	p.planCut()
	p.planPinned()
	p.planNAT64()
	p.planNames()
	p.tellNAT64()
	p.planForwarding()
}

// placeGateway says where the gateway link is; false if that is not known.
func (p *networkPlan) placeGateway() bool {
	p.link = p.bridge
	if p.n.Router == "" {
		return true
	}
	r := p.s.Routers[p.n.Router]
	if r == nil {
		return false
	}
	p.ns, p.link = r.Netns, GatewayLink
	if len(p.bridge) <= 15 {
		p.link = p.bridge
	}
	return true
}

// GatewayLink is the name of a gateway link in a router's namespace, where the
// bridge's own name cannot be used.
const GatewayLink = "gateway"

// RouterPortName is the host's end of the veth between a network's bridge and
// its router's namespace.
func RouterPortName(network vnet.ID) string { return "sxg" + ProjectTag(network) }

// planLinkSysctls sets the gateway link up as a router's link: no RA of
// others, no address of its own making beside the link-local one, which needs
// no duplicate address detection since its MAC is ours.
func (p *networkPlan) planLinkSysctls() {
	if !p.f.Has(vnet.FeatureIPv6) {
		return
	}
	if p.mode[vnet.IPv6] == vnet.EgressNone {
		p.add(linkSysctl(p.ns, p.link, vnet.IPv6, "disable_ipv6", "1"))
		return
	}
	for _, kv := range [][2]string{
		{"disable_ipv6", "0"}, {"accept_ra", "0"}, {"autoconf", "0"}, {"accept_dad", "0"}, {"accept_redirects", "0"}, {"forwarding", "1"},
	} {
		p.add(linkSysctl(p.ns, p.link, vnet.IPv6, kv[0], kv[1]))
	}
}

// served returns the subnets whose prefix is known, in service order: active
// prefixes first, the newest assignment first among those that move.
func (p *networkPlan) served() []Subnet {
	var out, old []Subnet
	for _, sub := range p.s.SubnetsOf(p.n.ID) {
		if m := p.mode[sub.Family]; m == vnet.EgressNone || m == vnet.EgressLinkLocal || m == vnet.EgressBridged {
			continue
		}
		base := Subnet{
			ID: sub.ID, Family: sub.Family, Guests: sub.Guests, Ranges: sub.Ranges,
			Advertise: sub.Advertise, Written: sub.Updated, Delegate: sub.Delegate,
		}
		if sub.Guests == vnet.GuestsDelegation {
			base.Advertise = vnet.PrefixPolicy{Off: true}
		}
		if !sub.Source.Moves() && sub.Prefix.IsValid() {
			base.Prefix, base.Gateway = sub.Prefix, gatewayOf(sub, sub.Prefix)
			if p.mode[sub.Family] == vnet.EgressNPTv6 {
				base.Outside = outsideOf(sub.Prefix, p.s.AssignmentsOf(sub.ID))
			}
			out = append(out, base)
			base.Outside = netip.Prefix{}
		}
		// A network of mode auto has prefixes of the uplink beside its unique
		// local one.
		for _, a := range p.s.AssignmentsOf(sub.ID) {
			if a.Rung == vnet.EgressNPTv6 {
				continue // it stands for the other one outside
			}
			b := base
			b.Prefix, b.Gateway, b.Ranges = a.Prefix, gatewayOf(sub, a.Prefix), rangesIn(sub, a.Prefix)
			b.PreferredUntil, b.ValidUntil = a.PreferredUntil, a.ValidUntil
			b.Deprecated = a.State == vnet.PrefixDeprecated
			if b.Uplink, b.Cut = a.Uplink, a.Cut; a.Rung == vnet.EgressProxied {
				b = p.offLink(b)
			}
			if b.Deprecated {
				if sub.Family == vnet.IPv6 { // IPv4 has no deprecation: a prefix that moved is gone
					old = append(old, b)
				}
				continue
			}
			out = append(out, b)
		}
	}
	out = append(out, p.retired(out)...)
	out = append(out, old...)
	slices.SortStableFunc(out, func(a, b Subnet) int { return int(a.Family - b.Family) })
	for i := range out {
		if out[i].Family == vnet.IPv4 && p.routes(vnet.IPv4) {
			out[i].Router = out[i].Gateway
		}
	}
	return out
}

// gatewayOf is our address in a subnet's prefix; zero if the gateway is not
// ours.
func gatewayOf(sub *vnet.Subnet, prefix netip.Prefix) netip.Addr {
	if sub.Guests == vnet.GuestsDelegation {
		return netip.Addr{} // nothing of it is on the link
	}
	switch sub.Gateway {
	case vnet.GatewayExternal, vnet.GatewayNone:
		return netip.Addr{}
	case "":
		return prefix.Masked().Addr().Next()
	}
	a, err := netip.ParseAddr(sub.Gateway)
	if err != nil || !prefix.Contains(a) {
		return prefix.Masked().Addr().Next()
	}
	return a
}

// routes reports whether guests may leave the network in the family.
func (p *networkPlan) routes(f vnet.Family) bool {
	switch p.mode[f] {
	case vnet.EgressIsolated, vnet.EgressLinkLocal, vnet.EgressNone, vnet.EgressULA:
		return false
	}
	return true
}

func (p *networkPlan) planSubnets() {
	p.svc.Subnets = p.served()
	for _, sub := range p.s.SubnetsOf(p.n.ID) {
		held := p.s.AssignmentsOf(sub.ID)
		p.out.Waiting = p.out.Waiting || sub.Source.Moves() && len(held) == 0 && p.mode[sub.Family] != vnet.EgressBridged
		for _, a := range held {
			// Guests renew where they got their lease: there they are told that
			// the prefix is another one now.
			if old := gatewayOf(sub, a.Prefix); a.State == vnet.PrefixDeprecated && old.Is4() {
				p.add(ProxyNeighbour{p.ns, p.link, old, p.out.Owner})
			}
		}
	}
	for _, sub := range p.svc.Subnets {
		if sub.Gateway.IsValid() {
			p.add(Address{p.ns, p.link, netip.PrefixFrom(sub.Gateway, sub.Prefix.Bits()), p.out.Owner})
		}
		if sub.Delegate > 0 {
			// What no guest has leads nowhere: not back to where it came from.
			p.add(HostRoute{NS: p.ns, Prefix: sub.Prefix, Unreachable: true, Owner: p.out.Owner})
		}
	}
}

func (p *networkPlan) planFilter() {
	open := map[vnet.Family]bool{}
	for _, f := range vnet.Families {
		open[f] = p.mode[f] == vnet.EgressOpen
	}
	p.add(linkElements(p.ns, p.link, p.tag)...)
	for _, f := range vnet.Families {
		p.add(verdictElements(p.ns, p.link, f, verdictsOf(f, p.filterMode(f), p.n.Policy(f).Inbound, p.tag))...)
	}
	for _, sub := range p.svc.Subnets {
		if open[sub.Family] {
			continue
		}
		if sub.Delegate == 0 && !sub.OffLink { // else each lease has its own: see Lease
			p.add(sourceElement(p.ns, p.link, sub.Prefix))
		}
		if sub.OffLink && !sub.Cut {
			p.add(sharedElement(p.ns, p.link, sub.Prefix))
		}
		if sub.Gateway.IsValid() {
			p.add(gatewayElement(p.ns, p.link, sub.Gateway))
			if p.n.Boot.Root != "" {
				p.add(bootElement(p.ns, p.link, sub.Gateway))
			}
		}
		if p.masquerades(sub) {
			p.add(masqueradeElement(p.ns, sub.Prefix))
		}
	}
}

// planNames fills in what guests are told: router, resolvers, domain.
func (p *networkPlan) planNames() {
	d := &p.svc.DNS
	d.Serve = !p.n.DNS.Off
	d.Servers = p.n.DNS.Servers
	if len(d.Servers) == 0 && d.Serve {
		for _, sub := range p.svc.Subnets {
			if sub.Gateway.IsValid() && !sub.Deprecated && !slices.Contains(d.Servers, sub.Gateway) {
				d.Servers = append(d.Servers, sub.Gateway)
			}
		}
		if a, ok := p.nameService(); ok {
			d.Servers = append(d.Servers, a)
			p.add(gatewayElement(p.ns, p.link, a))
		}
	}
	d.Search = p.n.DNS.Search
	if len(d.Search) == 0 && p.n.Domain != "" {
		d.Search = []string{p.n.Domain}
	}
	d.Records, d.Forwarders, d.Upwards = p.n.DNS.Records, p.n.DNS.Forwarders, p.n.DNS.Upwards
	d.DNS64, d.Encrypted = p.n.DNS.DNS64, p.n.DNS.Encrypted
	v6 := p.mode[vnet.IPv6]
	p.svc.RA = RA{
		Send:          !p.n.RA.Off && v6 != vnet.EgressNone && v6 != vnet.EgressLinkLocal && v6 != vnet.EgressBridged,
		DefaultRouter: p.routes(vnet.IPv6) && p.egress(vnet.IPv6), Policy: p.n.RA,
	}
}

// egress reports whether the host has a way out in the family, as far as the
// mode needs one: a guest must not take a default route that leads nowhere.
func (p *networkPlan) egress(f vnet.Family) bool {
	switch p.mode[f] {
	case vnet.EgressNAT66:
		return p.f.Uplink6 != ""
	case vnet.EgressNPTv6:
		return p.f.Uplink6 != "" && p.translates()
	}
	return true
}

// planForwarding lets the kernel forward between the gateway link and the
// rest. In the host's namespace, IPv4 is forwarded per interface. IPv6 is so
// from Linux 6.17 on; before, only conf.all does it, which would end the
// host's own autoconfiguration, so that is prepared by Host's fragment.
func (p *networkPlan) planForwarding() {
	if forwards(p.mode[vnet.IPv4]) {
		p.add(linkSysctl(p.ns, p.link, vnet.IPv4, "forwarding", "1"))
	}
	if forwards(p.mode[vnet.IPv6]) && p.ns == "" && p.f.Has(vnet.FeatureForceForwarding) {
		p.add(linkSysctl("", p.link, vnet.IPv6, "force_forwarding", "1"))
	}
}

// forwards reports whether a mode has the kernel forward between networks.
func forwards(m vnet.Egress) bool {
	switch m {
	case vnet.EgressNone, vnet.EgressLinkLocal, vnet.EgressBridged, vnet.EgressIsolated:
		return false
	}
	return true
}

// leaves reports whether guests of a mode send packets over the uplinks.
func leaves(m vnet.Egress) bool { return forwards(m) && m != vnet.EgressULA }
