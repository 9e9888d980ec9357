package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// HearGroup is the NFLOG group that carries what guests' ports say in
// neighbour discovery, ARP and MLD to kernel/hear, and the router advertisements
// that were kept from ports whose default network is another one.
const HearGroup = 5353

// RefusedLog is the prefix under which the group carries packets that were not
// let out: from an address in a prefix that the network shares with an uplink,
// which nobody there is known to have. Whoever sent it is asked if it has it. Of
// one guest there are few, and of a network not many, so that a guest which makes
// addresses up keeps no other from being asked for long.
const RefusedLog = "refused"

// The verdict chains of table inet sextant. A gateway link's element in the
// maps out4/out6, in4/in6 and host4/host6 names the one that decides.
const (
	outAny     = "jump out-any"   // beyond this network: wherever the far side lets it in
	outLocal   = "jump out-local" // to the other networks of the router only
	hostServe  = "goto host-services"
	verdictNo  = "drop"
	verdictYes = "accept"
)

// ProjectTag is the short form of a project's ID in names of chains and sets.
func ProjectTag(project vnet.ID) string {
	s := strings.ReplaceAll(string(project), "-", "")
	return s[:min(8, len(s))]
}

// chainsText prints the fixed part of a namespace's tables. Sets and maps are
// empty; the fragments' elements fill them. Every project that has a running
// network in the namespace has a set of its links and two chains: networks of
// one project reach each other, those of different ones never.
//
// DHCP is not tracked: nothing needs it, and a flood of solicitations must not
// fill the host's table. What is redirected from an old gateway is.
func chainsText(projects []string) string {
	var b strings.Builder
	b.WriteString(`table inet sextant {
	set links { type ifname; }
	set translated { type ifname; }
	set within { type ifname . ifname; }
	set source4 { type ifname . ipv4_addr; flags interval; }
	set source6 { type ifname . ipv6_addr; flags interval; }
	set proxied6 { type ifname . ipv6_addr; }
	set shared6 { type ifname . ipv6_addr; flags interval; }
	set strangers { type ifname . ether_addr; size 65535; flags dynamic,timeout; timeout 1m; }
	set strange { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
	set gateways4 { type ifname . ipv4_addr; }
	set gateways6 { type ifname . ipv6_addr; }
	set boot4 { type ifname . ipv4_addr; }
	set boot6 { type ifname . ipv6_addr; }
	set masquerade4 { type ipv4_addr; flags interval; }
	set masquerade6 { type ipv6_addr; flags interval; }
	map ending { type ifname : verdict; }
	map outside6 { type ipv6_addr : interval ipv6_addr; flags interval; }
	map inside6 { type ipv6_addr : interval ipv6_addr; flags interval; }
	set cut-outside6 { type ipv6_addr; flags interval; }
	set cut6 { type ifname . ipv6_addr; flags interval; }
	map out4 { type ifname : verdict; }
	map out6 { type ifname : verdict; }
	map in4 { type ifname : verdict; }
	map in6 { type ifname : verdict; }
	map host4 { type ifname : verdict; }
	map host6 { type ifname : verdict; }
`)
	for _, p := range projects {
		fmt.Fprintf(&b, "\tset links-%s { type ifname; }\n", p)
	}
	b.WriteString(`	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname . oifname @within accept
		iifname vmap @ending
		iifname @links jump established
		oifname @links jump established
		meta nfproto ipv4 iifname vmap @out4
		meta nfproto ipv6 iifname vmap @out6
		meta nfproto ipv4 oifname vmap @in4
		meta nfproto ipv6 oifname vmap @in6
	}
	chain established {
		ct state established,related accept
	}
	chain in-translator {
		iifname @translated accept
		drop
	}
	chain ending-outside {
		meta l4proto tcp ct reply ip6 daddr @cut-outside6 reject with tcp reset
		meta l4proto tcp ct original ip6 daddr @cut-outside6 reject with tcp reset
		oifname != @links iifname . ip6 saddr @cut6 goto cut-off
	}
	chain cut-off {
		meta l4proto tcp reject with tcp reset
		reject with icmpv6 type policy-fail
	}
	chain out-any {
		ct state invalid drop
		meta nfproto ipv4 iifname . ip saddr != @source4 drop
		meta nfproto ipv6 iifname . ip6 saddr != @source6 iifname . ip6 saddr != @proxied6 goto strange6
	}
	chain out-transit {
	}
	chain out-local {
		oifname != @links drop
		jump out-any
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname @links ct state established,related accept
		meta nfproto ipv4 iifname vmap @host4
		meta nfproto ipv6 iifname vmap @host6
	}
	chain host-services {
		udp dport { 67, 547 } accept
		meta l4proto { tcp, udp } th dport 53 iifname . ip daddr @gateways4 accept
		meta l4proto { tcp, udp } th dport 53 iifname . ip6 daddr @gateways6 accept
		udp dport 69 iifname . ip daddr @boot4 accept
		udp dport 69 iifname . ip6 daddr @boot6 accept
		icmp type echo-request accept
		icmpv6 type { echo-request, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept
		meta l4proto igmp accept
		drop
	}
	chain untracked-in {
		type filter hook prerouting priority raw; policy accept;
		udp dport 547 iifname @links notrack
		udp dport 67 ip daddr 255.255.255.255 iifname @links notrack
	}
	chain untracked-out {
		type filter hook output priority raw; policy accept;
		udp sport 547 oifname @links notrack
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname @links udp dport 67 ip daddr != 255.255.255.255 iifname . ip daddr != @gateways4 redirect
		dnat ip6 prefix to ip6 daddr map @inside6
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != @links snat ip6 prefix to ip6 saddr map @outside6
		ct status dnat snat ip6 prefix to ip6 saddr map @outside6
		ip saddr @masquerade4 oifname != @links masquerade
		ip6 saddr @masquerade6 oifname != @links masquerade
	}
`)
	for _, p := range projects {
		fmt.Fprintf(&b, `	chain in-%[1]s {
		iifname @links-%[1]s accept
		drop
	}
	chain in6-%[1]s {
		iifname @links-%[1]s accept
		icmpv6 type echo-request accept
		drop
	}
`, p)
	}
	fmt.Fprintf(&b, `	chain in6-closed {
		icmpv6 type echo-request accept
		drop
	}
	chain strange6 {
		iifname . ip6 saddr != @shared6 drop
		update @strangers { iifname . ether saddr limit rate over 2/second burst 8 packets } drop
		update @strange { iifname limit rate over 20/second burst 40 packets } drop
		log prefix "%[2]s" group %[1]d
		drop
	}
}
table bridge sextant {
	set ports { type ifname; }
	set no4 { type ifname; }
	set no6 { type ifname; }
	set nodefault { type ifname; }
	set inner { type ifname; }
	set outer { type ifname; }
	set asking { type ifname; }
	set asked { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
	set told { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
	set withheld { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
	chain prerouting {
		type filter hook prerouting priority -250; policy accept;
		iifname @inner ether type != ip6 drop
		iifname @outer ether type != ip6 drop
		iifname @outer jump outwards
		iifname @no4 ether type { ip, arp } drop
		iifname @no6 ether type ip6 drop
		iifname @ports jump hear
	}
	chain hear {
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld-listener-done, mld2-listener-report } jump tell
		ether type arp jump tell
		icmpv6 type nd-router-solicit jump ask
		udp dport { 67, 547 } jump ask
	}
	chain ask {
		iifname != @asking goto tell
		update @asked { iifname limit rate over 200/second burst 400 packets } drop
		log group %[1]d
	}
	chain tell {
		update @told { iifname limit rate over 50/second burst 100 packets } return
		log group %[1]d
	}
	chain forward {
		type filter hook forward priority -200; policy accept;
		oifname @inner ether type != ip6 drop
		oifname @outer ether type != ip6 drop
		oifname @inner jump outwards
		icmpv6 type nd-router-advert oifname @nodefault jump withhold
	}
	chain input {
		type filter hook input priority -200; policy accept;
		iifname @inner drop
	}
	chain output {
		type filter hook output priority -200; policy accept;
		oifname @inner drop
		oifname @outer ether type != ip6 drop
		icmpv6 type nd-router-advert oifname @nodefault jump withhold
	}
	chain outwards {
		icmpv6 type { nd-router-advert, nd-redirect } drop
		udp dport 546 drop
	}
	chain withhold {
		update @withheld { oifname limit rate over 20/second burst 40 packets } drop
		log group %[1]d
		drop
	}
}
`, HearGroup, RefusedLog)
	return b.String()
}

// verdicts is what the six maps say of a gateway link, one family. Empty means
// that there is no element: no rule of ours applies.
type verdicts struct{ out, in, host string }

// verdictsOf is the egress table of the manual: one row per mode.
func verdictsOf(f vnet.Family, mode vnet.Egress, inbound vnet.Inbound, project string) verdicts {
	peers := "goto in-" + project
	closed := verdictNo
	if f == vnet.IPv6 {
		// RFC 4890 section 4.3.1: echo reaches guests that have global
		// addresses, whatever else is closed.
		closed = "goto in6-closed"
	}
	switch mode {
	case vnet.EgressNAT, vnet.EgressNAT66:
		in := peers
		if inbound == vnet.InboundClosed {
			in = verdictNo
		}
		return verdicts{outAny, in, hostServe}
	case vnet.EgressRouted, vnet.EgressDelegated, vnet.EgressProxied, vnet.EgressNPTv6:
		in := peers
		switch {
		case inbound == vnet.InboundOpen:
			in = verdictYes
		case inbound == vnet.InboundClosed:
			in = closed
		case f == vnet.IPv6:
			in = "goto in6-" + project
		}
		return verdicts{outAny, in, hostServe}
	case vnet.EgressULA:
		in := peers
		if inbound == vnet.InboundClosed {
			in = verdictNo
		}
		return verdicts{outLocal, in, hostServe}
	case vnet.EgressIsolated, vnet.EgressLinkLocal:
		return verdicts{verdictNo, verdictNo, hostServe}
	case vnet.EgressNone:
		return verdicts{verdictNo, verdictNo, verdictNo}
	}
	return verdicts{} // open, bridged: no rules of ours
}

// quote writes an interface name as nft does.
func quote(name string) string { return `"` + name + `"` }

// linkElements are the elements that put a gateway link under the rules. What
// stays within it passes: where br_netfilter is on, frames between two guests
// come by the forward chain as from the bridge to itself.
func linkElements(ns, link, project string) []Item {
	return []Item{
		Element{ns, "inet", "links", quote(link), ""},
		Element{ns, "inet", "within", quote(link) + " . " + quote(link), ""},
		Element{ns, "inet", "links-" + project, quote(link), ""},
	}
}

// verdictElements are a gateway link's elements in the verdict maps.
func verdictElements(ns, link string, f vnet.Family, v verdicts) []Item {
	var out []Item
	add := func(set, verdict string) {
		if verdict != "" {
			out = append(out, Element{ns, "inet", fmt.Sprintf("%s%d", set, int(f)), quote(link), verdict})
		}
	}
	add("out", v.out)
	add("in", v.in)
	add("host", v.host)
	return out
}

// sourceElement lets a gateway link's guests send from a prefix.
func sourceElement(ns, link string, p netip.Prefix) Item {
	return Element{ns, "inet", fmt.Sprintf("source%d", famNum(p.Addr())), quote(link) + " . " + p.Masked().String(), ""}
}

// gatewayElement makes the services of a gateway address reachable.
func gatewayElement(ns, link string, a netip.Addr) Item {
	return Element{ns, "inet", fmt.Sprintf("gateways%d", famNum(a)), quote(link) + " . " + a.String(), ""}
}

// bootElement makes the boot files at a gateway address reachable.
func bootElement(ns, link string, a netip.Addr) Item {
	return Element{ns, "inet", fmt.Sprintf("boot%d", famNum(a)), quote(link) + " . " + a.String(), ""}
}

// masqueradeElement hides a prefix behind the address of the link it leaves by.
func masqueradeElement(ns string, p netip.Prefix) Item {
	return Element{ns, "inet", fmt.Sprintf("masquerade%d", famNum(p.Addr())), p.Masked().String(), ""}
}

func famNum(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// chainsItem is the fixed part for the projects that run networks in ns.
func chainsItem(ns string, projects []vnet.ID) Item {
	tags := make([]string, 0, len(projects))
	for _, p := range projects {
		tags = append(tags, ProjectTag(p))
	}
	slices.Sort(tags)
	return Chains{NS: ns, Text: chainsText(slices.Compact(tags))}
}
