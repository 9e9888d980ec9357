package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Guests without IPv4 reach what has nothing else by way of IPv6 addresses that
// stand for IPv4 ones (RFC 6052): the name server makes them (RFC 6147), router
// advertisements name the prefix (RFC 8781), and a translator turns packets
// around (RFC 6146). The provider's translator is preferred: it is where IPv4
// is. Without one the host has its own, one for all networks: a program on
// TranslatorLink that gives each guest an IPv4 address of a pool which nobody
// but this host sees, masqueraded like any other guest's.
//
// Its prefix is a /96 of the installation's unique local /48, not the
// well-known 64:ff9b::/96. Below that one no private IPv4 address may be
// written (RFC 6052 section 3.1), but guests behind ipv4=nat reach the printer
// next to the host, and so shall these; and where the provider translates
// without saying so, the host's own packets to it must not be caught by us.

// TranslatorLink is the link between the kernel and the host's translator.
const TranslatorLink = "sextant64"

// Translator is the host's own NAT64.
type Translator struct {
	Prefix netip.Prefix // a /96 that stands for all of IPv4
	Pool   netip.Prefix // IPv4 addresses for guests, known on this host only
	// Missing says why there is no program for it, Hint what to do; empty:
	// there is one.
	Missing, Hint string
}

// Runs reports whether the translator is there.
func (t *Translator) Runs() bool { return t != nil && t.Missing == "" && t.Pool.IsValid() }

// Gateway is the host's address in the pool.
func (t *Translator) Gateway() netip.Addr { return t.Pool.Addr().Next() }

// Itself is the translator's own address, from which its ICMP errors come.
func (t *Translator) Itself() netip.Addr { return t.Gateway().Next() }

// Guests is the part of the pool that guests' addresses are taken from: the
// upper half, which neither end of the link has an address in.
func (t *Translator) Guests() netip.Prefix {
	p, _ := ipam.NthSubnet(t.Pool, t.Pool.Bits()+1, 1) // cannot fail: a pool is a /18
	return p
}

// OwnNAT64 is the prefix of the translators of an installation: the first /96
// of the last /64 but one of its /48 (the last has the ways to routers).
func OwnNAT64(ula netip.Prefix) netip.Prefix {
	if !ula.IsValid() || ula.Bits() > 48 {
		return netip.Prefix{}
	}
	b := ula.Masked().Addr().As16()
	b[6], b[7] = 0xff, 0xfe
	return netip.PrefixFrom(netip.AddrFrom16(b), 96)
}

// way64 is how guests of a network reach IPv4 by translation.
type way64 struct {
	prefix  netip.Prefix // zero: not at all
	own     bool         // by the host's translator
	why     string
	problem vnet.Problem // why not, if that was asked for
}

// nat64Of decides it for a network that runs here.
func nat64Of(s *Snapshot, f *Facts, n *vnet.Network, mode map[vnet.Family]vnet.Egress) way64 {
	if !n.NAT64Wanted() || n.DNS.DNS64.IsValid() && !n.NAT64.Prefix().IsValid() {
		return way64{} // by hand, with a translator of somebody's
	}
	if p := n.NAT64.Prefix(); p.IsValid() {
		return way64{prefix: p, why: fmt.Sprintf("IPv4 over the translator of %s, by name", p)}
	}
	if p := f.Heard64(); p.IsValid() && leaves(mode[vnet.IPv6]) {
		return way64{prefix: p, why: fmt.Sprintf("IPv4 over the provider's translator, %s", p)}
	}
	own := OwnNAT64(s.Installation.ULA)
	switch {
	case !forwards(mode[vnet.IPv6]) || !own.IsValid():
		return way64{}
	case f.Uplink4 == "":
		return lacking(n, "no IPv4 by translation: no uplink has IPv4, and no router there names a translator", "say nat64=PREFIX if there is one")
	case f.Translator == nil:
		return way64{why: "IPv4 by translation is about to come"}
	case !f.Translator.Runs():
		return lacking(n, "no IPv4 by translation: "+f.Translator.Missing, f.Translator.Hint)
	}
	return way64{prefix: f.Translator.Prefix, own: true, why: fmt.Sprintf("IPv4 over the translator of this host, %s", f.Translator.Prefix)}
}

// lacking is no way, which is a problem to who asked for one.
func lacking(n *vnet.Network, msg, hint string) way64 {
	w := way64{why: msg}
	if n.NAT64 == vnet.NAT64Auto {
		w.problem = vnet.Problem{Kind: vnet.ErrUnavailable, Field: "nat64", Family: vnet.IPv4, Msg: msg, Hint: hint}
	} else if hint != "" {
		w.why += "; " + hint
	}
	return w
}

// Heard64 is the translator's prefix that routers on the IPv6 uplink name, the
// same one for as long as anybody does.
func (f *Facts) Heard64() netip.Prefix {
	var all []netip.Prefix
	for _, r := range f.Uplinks[f.Uplink6].Routers {
		for _, p := range r.PREF64 {
			if vnet.CheckPREF64("", p) == nil && p.IsValid() {
				all = append(all, p)
			}
		}
	}
	if len(all) == 0 {
		return netip.Prefix{}
	}
	return slices.MinFunc(all, netip.Prefix.Compare)
}

// NeedsTranslator reports whether a network here is to use the host's own
// translator if there is one.
func NeedsTranslator(s *Snapshot, f *Facts) bool {
	if !f.Has(vnet.FeatureIPv6) {
		return false
	}
	probe := *f
	probe.Translator = &Translator{Prefix: OwnNAT64(s.Installation.ULA), Pool: pools[0]}
	for _, n := range s.Networks {
		if n.NAT64Wanted() && n.Deleting == nil && s.Started(n.ID) && nat64Of(s, &probe, n, modesOf(f, n)).own {
			return true
		}
	}
	return false
}

// pools are where the translator's pool is looked for: what the ladder takes
// seldom, the range for benchmarks first, which no network routes (RFC 2544).
var pools = []netip.Prefix{
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("10.80.0.0/12"),
	netip.MustParsePrefix("172.28.0.0/14"),
	netip.MustParsePrefix("192.168.0.0/16"),
}

// poolBits is the length of a pool: over eight thousand guests at a time, each
// of which keeps its address for two hours after its last packet.
const poolBits = 18

// PoolFor chooses the translator's pool: the one that there is if nothing is
// in its way, else the first that is free; zero: all are taken. Used is what
// else the host uses.
func PoolFor(now netip.Prefix, used []netip.Prefix) netip.Prefix {
	free := func(p netip.Prefix) bool {
		return !slices.ContainsFunc(used, func(u netip.Prefix) bool { return u.Bits() > 1 && u.Overlaps(p) })
	}
	if now.IsValid() && now.Bits() == poolBits && free(now) {
		return now
	}
	for _, block := range pools {
		count, _ := ipam.SubnetCount(block, poolBits)
		for i := range count {
			if p, err := ipam.NthSubnet(block, poolBits, i); err == nil && free(p) {
				return p
			}
		}
	}
	return netip.Prefix{}
}

// translatorItems are what the kernel must have for the translator: its link,
// the ways to it, and who may use it. Packets come back from it as from any
// network of guests; into it come only those of networks that it is for, and
// from it none reaches services of the host.
func translatorItems(owner vnet.Ref, f *Facts) []Item {
	t := f.Translator
	if !t.Runs() {
		return nil
	}
	link := TranslatorLink
	out := []Item{
		Tap{Name: link, L3: true, Owner: owner, MTU: f.UplinkMTU()},
		Up{"", link, owner},
		Address{"", link, netip.PrefixFrom(t.Gateway(), t.Pool.Bits()), owner},
		HostRoute{Prefix: t.Prefix, Link: link, Owner: owner},
		linkSysctl("", link, vnet.IPv4, "forwarding", "1"),
		linkSysctl("", link, vnet.IPv6, "disable_ipv6", "0"),
		linkSysctl("", link, vnet.IPv6, "accept_ra", "0"),
		Element{"", "inet", "links", quote(link), ""},
		masqueradeElement("", t.Pool),
	}
	if f.Has(vnet.FeatureForceForwarding) {
		out = append(out, linkSysctl("", link, vnet.IPv6, "force_forwarding", "1"))
	}
	out = append(out, verdictElements("", link, vnet.IPv4, verdicts{in: verdictNo, host: verdictNo})...)
	return append(out, verdictElements("", link, vnet.IPv6, verdicts{in: "goto in-translator", host: verdictNo})...)
}

// planNAT64 lets the network's guests use the way that was found. Those of a
// router are let through where its packets reach the host.
func (p *networkPlan) planNAT64() {
	w := p.way64
	p.out.Why4 = joinWhy(p.out.Why4, w.why)
	if w.problem.Msg != "" {
		p.out.Problems = append(p.out.Problems, w.problem)
	}
	if !w.own {
		return
	}
	p.svc.Translated = true
	link := p.link
	if p.ns != "" {
		link = RouterLinkName(p.n.Router)
	}
	p.add(Element{"", "inet", "translated", quote(link), ""})
}

// tellNAT64 has the servers tell guests of the way. Where IPv6 itself leads
// nowhere, the addresses that others have are of no use to them.
func (p *networkPlan) tellNAT64() {
	if !p.way64.prefix.IsValid() {
		return
	}
	p.svc.DNS.DNS64 = p.way64.prefix
	if !p.svc.RA.Policy.PREF64.IsValid() {
		p.svc.RA.Policy.PREF64 = p.way64.prefix
	}
	if p.way64.own {
		p.svc.DNS.Only64 = !p.svc.RA.DefaultRouter
		p.svc.RA.DefaultRouter = true
	}
}
