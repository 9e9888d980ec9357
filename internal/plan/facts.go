package plan

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Facts is what was found on the host, at one revision of the finder's count.
// Only the namespace of the host is described.
type Facts struct {
	Revision int64
	Features map[string]bool // vnet.Feature* -> present
	Links    map[string]Link // by name; ours included
	Routes   []Route         // unicast routes of every table that are not ours, default routes aside
	Uplink4  string          // link of the active IPv4 default route, "" if none
	Uplink6  string
	Uplinks  map[string]vnet.Uplink // by link name: every link with a default route
	Rungs    map[vnet.ID]Rung       // what the ladder decided for each network
	// Defaults are the host's default routes, those that are used first first;
	// Pinned4 and Pinned6 those that guests use whatever the metrics say.
	Defaults         []DefaultRoute
	Pinned4, Pinned6 Hop
	// Delegated are prefixes that a DHCPv6 client of the host holds.
	Delegated []netip.Prefix
	// Aggregates are the prefixes delegated to this host that networks have
	// pieces of.
	Aggregates []netip.Prefix
	Contested  map[netip.Addr]bool // addresses of guests that somebody had before them on an uplink
	Resolvers  []netip.AddrPort    // the host's own name servers, loopback ones resolved to real ones where known

	// Translator is the host's NAT64, nil where no network needs one.
	Translator *Translator

	strangers map[string][]string // see Index
}

// Index prepares the facts for many plans, which then need not look through all
// links for the members of one bridge. To be called anew when Links changes.
func (f *Facts) Index() {
	f.strangers = map[string][]string{}
	for _, l := range f.Links {
		if l.Master != "" && !strings.HasPrefix(l.Alias, AliasPrefix) {
			f.strangers[l.Master] = append(f.strangers[l.Master], l.Name)
		}
	}
	for _, names := range f.strangers {
		slices.Sort(names)
	}
}

// strangersIn lists the members of a bridge that are not ours, sorted.
func (f *Facts) strangersIn(bridge string) []string {
	if f.strangers != nil {
		return f.strangers[bridge]
	}
	var names []string
	for _, l := range f.Links {
		if l.Master == bridge && !strings.HasPrefix(l.Alias, AliasPrefix) {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Answering are the links by which guests' packets of a family leave, and so
// the answers come: uplinks, and all others that the host has an address or a
// route on, as a VPN of single prefixes or a second network of the site. The
// kernel forwards by the setting of the link where a packet comes in. Links of
// ours and ports of bridges may be among them.
func (f *Facts) Answering(family vnet.Family) map[string]bool {
	out := map[string]bool{}
	for name := range f.Uplinks {
		out[name] = true
	}
	for _, r := range f.Routes {
		if vnet.FamilyOf(r.Prefix.Addr()) == family {
			out[r.Link] = true
		}
	}
	for name, l := range f.Links {
		for _, p := range l.Addresses {
			if vnet.FamilyOf(p.Addr()) == family && p.Addr().IsGlobalUnicast() {
				out[name] = true
			}
		}
	}
	return out
}

// Link is a link of the host's namespace.
type Link struct {
	Index     int
	Name      string
	Type      string // IFLA_INFO_KIND: bridge, veth, tun, dummy, …; "" for a plain NIC
	MAC       vnet.MAC
	MTU       int
	Master    string // name of the bridge it belongs to
	Up        bool   // administratively
	Carrier   bool
	Alias     string // ours starts with AliasPrefix
	Addresses []netip.Prefix
}

// Route is a route of the host that is not ours.
type Route struct {
	Prefix netip.Prefix
	Table  int
	Link   string
}

// Rung is where a network stands: the mode in force of each family ("" as
// wished), and why.
type Rung struct {
	V4, V6     vnet.Egress
	Why4, Why6 string
	Problems   []vnet.Problem
}

func (r Rung) mode(f vnet.Family) vnet.Egress {
	if f == vnet.IPv4 {
		return r.V4
	}
	return r.V6
}
