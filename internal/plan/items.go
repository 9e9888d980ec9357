package plan

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Netns is a routing namespace of a router.
type Netns struct {
	Name  string
	Owner vnet.Ref
}

// Bridge is the broadcast domain of a network, always in the host's namespace.
type Bridge struct {
	Name     string
	Owner    vnet.Ref
	MAC      vnet.MAC
	MTU      int
	MLDSnoop bool
}

// Veth is a pair of ours. The near end belongs to us; the far end is in a
// guest's or a router's namespace.
type Veth struct {
	NS, Name     string
	Owner        vnet.Ref
	MAC          vnet.MAC // of the near end; zero: the kernel's choice
	MTU          int
	PeerNS, Peer string // PeerNS: "" host's, a name under /run/netns, or an absolute path
	PeerMAC      vnet.MAC
	PeerUp       bool // set the far end up
}

// Tap is a persistent tap of ours.
type Tap struct {
	Name  string
	L3    bool // a tun: packets without Ethernet, for a program of ours
	Owner vnet.Ref
	User  string   // who may open it; "" root
	MAC   vnet.MAC // of the host's end; zero: the kernel's choice
	MTU   int
}

// Member puts a link into a bridge and sets it up. The link may be ours
// (veth, tap) or somebody else's (a NIC of a bridged network).
type Member struct {
	Link, Bridge string
	Owner        vnet.Ref
	Isolated     bool // bridge port isolation
}

// Up sets a link of ours administratively up.
type Up struct {
	NS, Link string
	Owner    vnet.Ref
}

// Address is a gateway address; set without duplicate address detection, since
// the network is ours alone.
type Address struct {
	NS, Link string
	Prefix   netip.Prefix // the address and its prefix length
	Owner    vnet.Ref
}

// HostRoute is a route of ours, with RouteProtocol.
// Unreachable routes have no Link.
type HostRoute struct {
	NS          string
	Prefix      netip.Prefix
	Via         netip.Addr
	Link        string
	Unreachable bool
	Table       int // 0: main
	Metric      int // 0: the kernel's own choice
	Owner       vnet.Ref
}

// ProxyNeighbour has the kernel answer ARP or neighbour solicitations for an
// address on a link that it does not hold: a gateway that had to move goes on
// hearing the renewals of guests that still know its old address.
type ProxyNeighbour struct {
	NS, Link string
	Address  netip.Addr
	Owner    vnet.Ref
}

// Forgotten says that the kernel knows no connection, TCP aside, that leaves
// by an outside prefix which no uplink carries any more: each goes on by the
// new one with its next packet. TCP, which would not, is reset by a rule.
type Forgotten struct {
	NS      string
	Outside netip.Prefix
}

// Sysctl is a kernel setting under /proc/sys. One that is not Ours is recorded
// before it is first changed, and restored when no fragment asks for it any
// more.
type Sysctl struct {
	NS    string
	Path  string // for example net/ipv6/conf/sx-web/disable_ipv6
	Value string
	// Ours marks a setting of a link or namespace of ours, which goes with it.
	Ours bool
	// If, when set, is the only original value that is changed: where the
	// setting was something else before we came, it stays so, and the item
	// counts as done.
	If string
}

// Chains is the fixed part of a namespace's tables: chains, empty sets and
// maps. Text is a complete nft script body of `table inet sextant` and `table
// bridge sextant`, without elements of the fragments.
type Chains struct {
	NS   string
	Text string
}

// Element is one element of a set or map of our tables.
type Element struct {
	NS     string
	Family string // inet, bridge
	Set    string
	Elem   string // the key as nft writes it, for example `"sx-web"` or `"sx-web" . 2001:db8::/64`
	Value  string // for maps: the value or verdict; "" for sets
}

func (i Netns) Key() Key  { return Key{"", "netns", i.Name} }
func (i Bridge) Key() Key { return Key{"", "link", i.Name} }
func (i Veth) Key() Key   { return Key{i.NS, "link", i.Name} }
func (i Tap) Key() Key    { return Key{"", "link", i.Name} }
func (i Member) Key() Key { return Key{"", "member", i.Link} }
func (i Up) Key() Key     { return Key{i.NS, "up", i.Link} }
func (i Address) Key() Key {
	return Key{i.NS, "address", i.Link + " " + i.Prefix.String()}
}
func (i HostRoute) Key() Key {
	name := i.Prefix.String()
	if i.Table != 0 {
		name = fmt.Sprintf("%s table %d", name, i.Table)
	}
	if i.Metric != 0 {
		name = fmt.Sprintf("%s metric %d", name, i.Metric)
	}
	return Key{i.NS, "route", name}
}
func (i ProxyNeighbour) Key() Key {
	return Key{i.NS, "proxy", i.Link + " " + i.Address.String()}
}
func (i Forgotten) Key() Key { return Key{i.NS, "forgotten", i.Outside.String()} }
func (i Sysctl) Key() Key    { return Key{i.NS, "sysctl", i.Path} }
func (i Chains) Key() Key    { return Key{i.NS, "chains", Table} }
func (i Element) Key() Key   { return Key{i.NS, "element", i.Family + " " + i.Set + " " + i.Elem} }

func (Netns) Stage() Stage          { return StageNetns }
func (Bridge) Stage() Stage         { return StageBridge }
func (Veth) Stage() Stage           { return StageBridge }
func (Tap) Stage() Stage            { return StageBridge }
func (Member) Stage() Stage         { return StageMember }
func (Up) Stage() Stage             { return StageUp }
func (Address) Stage() Stage        { return StageAddress }
func (HostRoute) Stage() Stage      { return StageRoute }
func (ProxyNeighbour) Stage() Stage { return StageRoute }
func (Forgotten) Stage() Stage      { return StageRoute }
func (Chains) Stage() Stage         { return StageFilter }
func (Element) Stage() Stage        { return StageFilter }

// Stage is StageForward for the switches of all links, StageSysctl for settings
// of links of ours, and StageHost for the rest, which must hold before.
func (i Sysctl) Stage() Stage {
	switch {
	case i.Path == "net/ipv6/conf/all/forwarding", i.Path == "net/ipv4/ip_forward":
		return StageForward
	case i.Ours:
		return StageSysctl
	}
	return StageHost
}

// in prefixes a command with the namespace it runs in.
func in(ns, cmd string) string {
	switch {
	case ns == "":
		return cmd
	case strings.HasPrefix(ns, "/"):
		return "nsenter --net=" + ns + " " + cmd
	}
	return "ip netns exec " + ns + " " + cmd
}

func mtu(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" mtu %d", n)
}

func (i Netns) Commands() []string { return []string{"ip netns add " + i.Name} }

func (i Bridge) Commands() []string {
	snoop := 0
	if i.MLDSnoop {
		snoop = 1
	}
	return []string{
		fmt.Sprintf("ip link add %s address %s%s type bridge stp_state 0 forward_delay 0 mcast_snooping %d", i.Name, i.MAC, mtu(i.MTU), snoop),
		fmt.Sprintf("ip link set %s alias %s%s", i.Name, AliasPrefix, i.Owner),
	}
}

func (i Veth) Commands() []string {
	s := "ip link add " + i.Name + mtu(i.MTU)
	if !i.MAC.IsZero() {
		s += " address " + i.MAC.String()
	}
	s += " type veth peer name " + i.Peer
	if i.PeerNS != "" {
		s += " netns " + i.PeerNS
	}
	if !i.PeerMAC.IsZero() {
		s += " address " + i.PeerMAC.String()
	}
	out := []string{in(i.NS, s), in(i.NS, fmt.Sprintf("ip link set %s alias %s%s", i.Name, AliasPrefix, i.Owner))}
	if i.PeerUp {
		out = append(out, in(i.PeerNS, "ip link set "+i.Peer+" up"))
	}
	return out
}

func (i Tap) Commands() []string {
	mode := "tap"
	if i.L3 {
		mode = "tun"
	}
	s := "ip tuntap add " + i.Name + " mode " + mode
	if i.User != "" {
		s += " user " + i.User
	}
	set := "ip link set " + i.Name + mtu(i.MTU)
	if !i.MAC.IsZero() {
		set += " address " + i.MAC.String()
	}
	out := []string{s, fmt.Sprintf("%s alias %s%s", set, AliasPrefix, i.Owner)}
	return out
}

func (i Member) Commands() []string {
	out := []string{fmt.Sprintf("ip link set %s master %s up", i.Link, i.Bridge)}
	if i.Isolated {
		out = append(out, fmt.Sprintf("bridge link set dev %s isolated on", i.Link))
	}
	return out
}

func (i Up) Commands() []string { return []string{in(i.NS, "ip link set "+i.Link+" up")} }

func (i Address) Commands() []string {
	s := fmt.Sprintf("ip address add %s dev %s", i.Prefix, i.Link)
	if i.Prefix.Addr().Is6() {
		s += " nodad"
	}
	return []string{in(i.NS, s)}
}

func (i HostRoute) Commands() []string {
	s := "ip route add "
	if i.Unreachable {
		s += "unreachable "
	}
	s += i.Prefix.String()
	if i.Via.IsValid() {
		s += " via " + i.Via.String()
	}
	if i.Link != "" {
		s += " dev " + i.Link
	}
	if i.Table != 0 {
		s += fmt.Sprintf(" table %d", i.Table)
	}
	if i.Metric != 0 {
		s += fmt.Sprintf(" metric %d", i.Metric)
	}
	return []string{in(i.NS, fmt.Sprintf("%s proto %d", s, RouteProtocol))}
}

func (i ProxyNeighbour) Commands() []string {
	return []string{in(i.NS, fmt.Sprintf("ip neigh add proxy %s dev %s proto %d", i.Address, i.Link, RouteProtocol))}
}

func (i Forgotten) Commands() []string {
	var out []string
	for _, proto := range []string{"udp", "icmpv6"} {
		out = append(out, in(i.NS, fmt.Sprintf("conntrack -D -f ipv6 -p %s -q %s || true", proto, i.Outside)))
	}
	return out
}

func (i Sysctl) Commands() []string {
	name := i.Path // which sysctl takes, too, and must where a link's name has dots
	if !strings.Contains(name, ".") {
		name = strings.ReplaceAll(name, "/", ".")
	}
	cmd := fmt.Sprintf("sysctl -w %s=%s", name, i.Value)
	if i.If != "" {
		cmd += "  # where it is " + i.If
	}
	return []string{in(i.NS, cmd)}
}

func (i Chains) Commands() []string {
	return []string{in(i.NS, "nft -f - <<'EOF'\n"+strings.TrimRight(i.Text, "\n")+"\nEOF")}
}

func (i Element) Commands() []string {
	v := i.Elem
	if i.Value != "" {
		v += " : " + i.Value
	}
	return []string{in(i.NS, fmt.Sprintf("nft add element %s %s %s { %s }", i.Family, Table, i.Set, v))}
}
