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
	v4, v6, local6 := routed, routed, false
	for _, n := range nets {
		mode := modesOf(f, n)
		v4 = v4 || leaves(mode[vnet.IPv4])
		v6 = v6 || leaves(mode[vnet.IPv6])
		local6 = local6 || forwards(mode[vnet.IPv6])
	}
	links := foreignLinks(f)
	if v4 {
		for _, l := range links {
			if _, up := f.Uplinks[l.Name]; up {
				out.Items = append(out.Items, Sysctl{Path: "net/ipv4/conf/" + l.Name + "/forwarding", Value: "1"})
			}
		}
	}
	if f.Has(vnet.FeatureIPv6) {
		switch {
		case v6, local6 && !f.Has(vnet.FeatureForceForwarding):
			out.Items = append(out.Items, forwarding6(f, links)...)
		}
	}
	return out
}

// forwarding6 lets the kernel forward IPv6. From Linux 6.17 on that is a
// setting of single links, and the host stays a host on its uplinks. Before,
// conf.all makes every link a router's, on which an RA is heard only where
// accept_ra is 2: so that comes first, on every link where it was 1.
func forwarding6(f *Facts, links []Link) []Item {
	var out []Item
	if f.Has(vnet.FeatureForceForwarding) {
		for _, l := range links {
			if _, up := f.Uplinks[l.Name]; up {
				out = append(out, Sysctl{Path: "net/ipv6/conf/" + l.Name + "/force_forwarding", Value: "1"})
			}
		}
		return out
	}
	for _, l := range links {
		out = append(out, Sysctl{Path: "net/ipv6/conf/" + l.Name + "/accept_ra", Value: "2", If: "1"})
	}
	out = append(out, Sysctl{Path: "net/ipv6/conf/default/accept_ra", Value: "2", If: "1"},
		Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"})
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
