package plan

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Facts is what was found on the host, at one revision of the finder's count.
// Only the namespace of the host is described.
type Facts struct {
	Revision  int64
	Features  map[string]bool // vnet.Feature* -> present
	Links     map[string]Link // by name; ours included
	Routes    []Route         // unicast routes of every table that are not ours, default routes aside
	Uplink4   string          // link of the active IPv4 default route, "" if none
	Uplink6   string
	Uplinks   map[string]vnet.Uplink // by link name: every link with a default route
	Resolvers []netip.AddrPort       // the host's own name servers, loopback ones resolved to real ones where known
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
