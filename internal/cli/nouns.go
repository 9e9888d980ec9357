package cli

import (
	"reflect"
	"slices"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// column is a column of a list: its heading and the JSON paths whose first
// value that is there is shown.
type column struct {
	head  string
	paths []string
	wide  bool // only with -o wide
}

// noun is what the command line knows of a noun; the rest it reads off the
// type.
type noun struct {
	name    string
	kind    vnet.Kind
	short   string
	typ     reflect.Type
	aliases map[string]string
	columns []column
	// sort is the JSON paths that lists are sorted by.
	sort []string
	// readOnly nouns are listed and shown only.
	readOnly bool
	// part is the key below which lies what may be set of a noun that is found
	// and not made, and wish its type: such nouns have no create, and set makes
	// the part if need be. Keys of it are written without its name.
	part string
	wish reflect.Type
	// networked nouns have names within networks: network= says where to look.
	networked bool
	// waits says that writes wait for a host by default.
	waits bool
	// filters are parameters of the API that narrow a list.
	filters []string
}

// keys are those that are shown, and, but for nouns with a part, set.
func (n *noun) keys() keyed { return keysOf(n.typ, n.aliases) }

// written are the keys that are set. A part has no name of its own.
func (n *noun) written() keyed {
	if n.part == "" {
		return n.keys()
	}
	k := keysOf(n.wish, n.aliases)
	k.fields = slices.DeleteFunc(k.fields, func(f vnet.Field) bool { return f.Path == "name" || slices.Contains(n.filters, f.Path) })
	return k
}

// in puts what is set where it belongs.
func (n *noun) in(b body) body {
	if n.part == "" {
		return b
	}
	return body{n.part: b}
}

func col(head string, paths ...string) column { return column{head: head, paths: paths} }

func wide(head string, paths ...string) column { return column{head: head, paths: paths, wide: true} }

var nouns = []noun{
	{
		name: "network", kind: vnet.KindNetwork, short: "Networks: broadcast domains with a gateway",
		typ: reflect.TypeFor[vnet.Network](), waits: true, sort: []string{"name"},
		aliases: map[string]string{
			"ipv4": "ipv4.mode", "ipv6": "ipv6.mode",
			"ipv4.range": "ipv4.ranges", "ipv6.range": "ipv6.ranges",
		},
		columns: []column{
			col("NAME", "name"), col("STATE", "status.state"), col("BRIDGE", "bridge"),
			col("IPV4", "status.mode4", "ipv4.mode"), col("IPV6", "status.mode6", "ipv6.mode"),
			col("GATEWAYS", "status.gateways"), wide("ROUTER", "router"), wide("LINK", "link"), wide("MTU", "status.mtu", "mtu"),
			wide("DOMAIN", "domain"), wide("AUTOSTART", "autostart"), wide("PROJECT", "project"), wide("ID", "id"),
		},
	},
	{
		name: "subnet", kind: vnet.KindSubnet, short: "Subnets: prefixes on a network",
		typ: reflect.TypeFor[vnet.Subnet](), networked: true, waits: true, sort: []string{"network", "family", "prefix"},
		columns: []column{
			col("NAME", "name"), col("NETWORK", "network"), col("FAMILY", "family"), col("PREFIX", "prefix"),
			col("SOURCE", "source"), col("GUESTS", "guests"), col("GATEWAY", "gateway"), wide("POOL", "pool"),
			wide("RANGES", "ranges"), wide("PRIMARY", "primary"), wide("PROJECT", "project"), wide("ID", "id"),
		},
	},
	{
		name: "pool", kind: vnet.KindPool, short: "Pools: prefixes that subnets are cut from",
		typ: reflect.TypeFor[vnet.Pool](), sort: []string{"name"},
		columns: []column{
			col("NAME", "name"), col("PREFIX", "prefix"), col("LENGTH", "subnetLen"), col("SHARED", "shared"),
			wide("PROJECT", "project"), wide("ID", "id"),
		},
	},
	{
		name: "router", kind: vnet.KindRouter, short: "Routers: routing namespaces of their own",
		typ: reflect.TypeFor[vnet.Router](), waits: true, sort: []string{"name"},
		columns: []column{
			col("NAME", "name"), col("NETNS", "netns"), wide("NUMBER", "number"), wide("PROJECT", "project"), wide("ID", "id"),
		},
	},
	{
		name: "port", kind: vnet.KindPort, short: "Ports: guests' network cards",
		typ: reflect.TypeFor[vnet.Port](), networked: true, waits: true, sort: []string{"network", "name"},
		aliases: map[string]string{"address": "addresses"},
		columns: []column{
			col("NAME", "name"), col("NETWORK", "network"), col("MAC", "mac"), col("ADDRESSES", "fixed.address", "addresses"),
			col("DEVICE", "binding.device"), wide("HOST", "binding.host"), wide("PLUG", "binding.plug"),
			wide("NETNS", "binding.netns"), wide("HOSTNAME", "hostname"), wide("PROJECT", "project"), wide("ID", "id"),
		},
	},
	{
		name: "reservation", kind: vnet.KindReservation, short: "Reservations: addresses for guests without a port",
		typ: reflect.TypeFor[vnet.Reservation](), networked: true, waits: true, sort: []string{"network", "address"},
		columns: []column{
			col("NAME", "name"), col("NETWORK", "network"), col("ADDRESS", "address", "fixed.address"), col("MAC", "mac"),
			col("DUID", "duid"), wide("IAID", "iaid"), wide("CLIENT", "client"), wide("PROJECT", "project"), wide("ID", "id"),
		},
	},
	{
		name: "lease", kind: vnet.KindLease, short: "Leases: addresses that guests really use",
		typ: reflect.TypeFor[client.Lease](), networked: true, readOnly: true, waits: true, sort: []string{"network", "address"},
		columns: []column{
			col("NETWORK", "network"), col("ADDRESS", "prefix", "address"), col("MAC", "mac"), col("HOW", "how"), col("NAME", "name"),
			col("PORT", "port"), col("EXPIRES", "expires"), wide("FAMILY", "family"), wide("HOST", "host"), wide("DUID", "duid"),
			wide("VIA", "via"), wide("SINCE", "since"), wide("TEMPORARY", "temporary"), wide("DECLINED", "declined"), wide("ID", "id"),
		},
	},
	{
		name: "uplink", kind: vnet.KindUplink, short: "Uplinks: hosts' ways out",
		typ: reflect.TypeFor[client.HostUplink](), part: "policy", wish: reflect.TypeFor[vnet.UplinkPolicy](),
		waits: true, filters: []string{"host"}, sort: []string{"host", "name"},
		columns: []column{
			col("HOST", "host"), col("NAME", "name"), col("TYPE", "type"), col("STATE", "state"), col("IPV4", "v4"), col("IPV6", "v6"),
			col("PREFIXES", "delegations.prefix"), col("MTU", "mtu"), col("ROUTERS", "routers.address"),
			wide("ADDRESSES", "addresses"), wide("METRIC4", "metric4"), wide("METRIC6", "metric6"), wide("MANAGER", "manager"),
			wide("LOWER", "lower"), wide("SHARED", "policy.shared"), wide("PINNED", "policy.pinned"), wide("PROBLEMS", "problems.message"),
		},
	},
	{
		name: "host", kind: vnet.KindHost, short: "Hosts: machines that run an agent",
		typ: reflect.TypeFor[vnet.Host](), readOnly: true, sort: []string{"id"},
		columns: []column{
			col("NAME", "id"), col("VERSION", "facts.version"), col("KERNEL", "facts.kernel"), col("SEEN", "seen"),
			col("PROBLEMS", "facts.problems.message"),
		},
	},
	{
		name: "project", kind: vnet.KindProject, short: "Projects: tenants",
		typ: reflect.TypeFor[vnet.Project](), sort: []string{"name"},
		columns: []column{col("NAME", "name"), col("DESCRIPTION", "description"), wide("ID", "id")},
	},
}
