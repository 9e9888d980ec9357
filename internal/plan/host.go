package plan

import (
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// HostOwner owns what all networks of a host share.
func HostOwner(host string) vnet.Ref { return vnet.Ref{Kind: vnet.KindHost, ID: vnet.ID(host)} }

// running lists the networks that are to run here with their gateway in the
// router ("" for the host's own routing), and their projects.
func running(s *Snapshot, router vnet.ID) (nets []*vnet.Network, projects []vnet.ID) {
	for _, n := range s.Networks {
		if n.Router != router || n.Deleting != nil || !s.Started(n.ID) {
			continue
		}
		nets = append(nets, n)
		projects = append(projects, n.Project)
	}
	slices.Sort(projects)
	return nets, slices.Compact(projects)
}

// Host returns the fragment of what all networks of the host share: the fixed
// part of the tables, and the settings that let the kernel forward without the
// host losing its own autoconfiguration. Without a running network it is
// empty, and everything is as it was.
func Host(s *Snapshot, f *Facts) *Fragment {
	out := &Fragment{Owner: HostOwner(s.Host)}
	nets, projects := running(s, "")
	routed := false
	for _, r := range s.Routers {
		rn, _ := running(s, r.ID)
		if len(rn) > 0 {
			routed = true
			projects = append(projects, r.Project)
		}
	}
	if len(nets) == 0 && !routed {
		return out
	}
	out.Items = append(out.Items, chainsItem("", projects))
	out.Items = append(out.Items, neighbourLimits(f)...)
	v4, v6, local6, any6 := routed, routed, false, routed
	for _, n := range nets {
		mode := modesOf(f, n)
		v4 = v4 || leaves(mode[vnet.IPv4])
		v6 = v6 || leaves(mode[vnet.IPv6])
		local6 = local6 || forwards(mode[vnet.IPv6])
		any6 = any6 || mode[vnet.IPv6] != vnet.EgressNone && (mode[vnet.IPv6] != vnet.EgressBridged || Beside(n))
	}
	if f.Translator.Runs() {
		out.Items = append(out.Items, translatorItems(out.Owner, f)...)
		v4, local6 = true, true
	}
	links := foreignLinks(f)
	if f.Has(vnet.FeatureIPv6) {
		out.Items = append(out.Items, unreachable(s, f)...)
	}
	out.Items = append(out.Items, pinRoutes(s, f, v4, v6)...)
	if v4 {
		answers := f.Answering(vnet.IPv4)
		for _, l := range links {
			if answers[l.Name] {
				out.Items = append(out.Items, Sysctl{Path: "net/ipv4/conf/" + l.Name + "/forwarding", Value: "1"})
			}
		}
	}
	if f.Has(vnet.FeatureIPv6) && any6 {
		out.Items = append(out.Items, hearRouters(links)...)
		out.Items = append(out.Items, forwarding6(f, links, v6, local6)...)
	}
	return out
}

// hearRouters lets the host keep its own IPv6. A link that becomes a router's
// (forwarding=1, which gateway links need to be known as routers, RFC 4861
// section 4.4) makes the kernel throw away the default routes of all links on
// which accept_ra is 1, in every version of Linux; and where everything
// forwards, RAs are heard only with 2. So that comes first, on every link where
// it was 1, and on those that come later.
func hearRouters(links []Link) []Item {
	var out []Item
	for _, l := range links {
		out = append(out, Sysctl{Path: "net/ipv6/conf/" + l.Name + "/accept_ra", Value: "2", If: "1"})
	}
	return append(out, Sysctl{Path: "net/ipv6/conf/default/accept_ra", Value: "2", If: "1"})
}

// forwarding6 lets the kernel forward IPv6. From Linux 6.17 on that is a
// setting of single links, and the host stays a host on its uplinks. Before,
// only conf.all does it, also between two bridges.
func forwarding6(f *Facts, links []Link, leaves, local bool) []Item {
	if !f.Has(vnet.FeatureForceForwarding) {
		if leaves || local {
			return []Item{Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"}}
		}
		return nil
	}
	if !leaves {
		return nil
	}
	var out []Item
	answers := f.Answering(vnet.IPv6)
	for _, l := range links {
		if answers[l.Name] {
			out = append(out, Sysctl{Path: "net/ipv6/conf/" + l.Name + "/force_forwarding", Value: "1"})
		}
	}
	return out
}

// foreignLinks are the links that are not ours and not in a bridge, by name.
func foreignLinks(f *Facts) []Link {
	var out []Link
	for _, l := range f.Links {
		if l.Name == "lo" || strings.HasPrefix(l.Alias, AliasPrefix) || l.Master != "" && !isVRF(f, l.Master) {
			continue
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Link) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// isVRF reports whether a master is a VRF, whose links keep their own
// addresses and RAs, unlike ports of a bridge.
func isVRF(f *Facts, master string) bool { return f.Links[master].Type == "vrf" }

// The kernel's limits of neighbours, shared by all links and namespaces, are
// 128, 512 and 1024: not collected, collected soon, refused. A guest has an
// address of IPv4 and a few of IPv6, so that a few hundred guests reach them.
// Limits that somebody set stay.
var neighbours = []struct{ key, old, new string }{
	{"gc_thresh1", "128", "8192"}, {"gc_thresh2", "512", "32768"}, {"gc_thresh3", "1024", "65536"},
}

func neighbourLimits(f *Facts) []Item {
	if !f.Has(vnet.FeatureNeighbourLimits) {
		return nil
	}
	var out []Item
	for _, fam := range vnet.Families {
		if fam == vnet.IPv6 && !f.Has(vnet.FeatureIPv6) {
			continue
		}
		for _, n := range neighbours {
			out = append(out, Sysctl{Path: "net/" + fam.String() + "/neigh/default/" + n.key, Value: n.new, If: n.old})
		}
	}
	return out
}
