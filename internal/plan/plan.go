// Package plan turns what is wanted (a Snapshot of the store) and what is
// there (the Facts of one host) into that host's plan: the kernel objects and
// the services that must exist, each printable as the command an operator
// would type.
//
// The package is pure. A network's fragment depends on that network and the
// host's facts only, a port's on that port and its network, and the host's
// plan is the union of all fragments: one changed port costs one port.
package plan

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Mark is how everything that Sextant puts into the kernel is recognised:
// links carry AliasPrefix + Ref in their alias, routes the protocol number,
// nft objects live in tables called Table, namespaces start with NetnsPrefix.
const (
	AliasPrefix   = "sextant:"
	RouteProtocol = 83 // 'S'; free in iproute2's rt_protos
	Table         = "sextant"
	NetnsPrefix   = "sextant-"
)

// Key identifies an item within a host. Two fragments never share a key
// unless the items are equal (shared items, such as a host sysctl).
type Key struct {
	NS   string // network namespace, "" is the host's own
	Kind string // link, address, route, sysctl, chains, element, netns
	Name string
}

// Stage orders items: lower stages are made first and removed last.
type Stage int

// The stages.
const (
	StageNetns   Stage = iota // routing namespaces
	StageHost                 // host sysctls that must precede forwarding
	StageBridge               // bridges and taps and veths without a master
	StageSysctl               // sysctls of our links
	StageFilter               // nft: before a port joins its bridge
	StageUp                   // our links go up, still without members
	StageAddress              // gateway addresses, before a guest can speak to them
	StageMember               // a link joins its bridge
	StageRoute                // routes
	StageForward              // what makes the kernel forward on all links at once
)

// Item is one thing that must exist in the kernel. Items are comparable with
// ==, and equal items mean that nothing needs doing.
type Item interface {
	Key() Key
	Stage() Stage
	// Commands is how an operator would make it: lines of ip, nft, sysctl.
	Commands() []string
}

// Fragment is the part of a plan that one owner asks for.
type Fragment struct {
	Owner    vnet.Ref
	Items    []Item
	Service  *Service       // for networks: what the address servers do; nil: nothing
	Guest    *Guest         // for ports: what they know of it
	Problems []vnet.Problem // why the owner is not wholly as wished
	Proxied  []netip.Addr   // addresses in an uplink's prefix that guests have; contested ones, too
	Waiting  bool           // something decided on the host (a prefix) is not there yet
	// For networks, for Status:
	Rung4, Rung6 vnet.Egress
	Why4, Why6   string
}

// Service is all that the protocol servers must know of one network. Its
// links and addresses are items of the same fragment.
type Service struct {
	Network   vnet.ID
	Project   vnet.ID
	Name      string
	NS        string // namespace of the gateway link
	Link      string // gateway link: the bridge itself, or a veth's far end
	Bridge    string // the bridge, always in the host's namespace
	MAC       vnet.MAC
	MTU       int
	Domain    string // without a trailing dot
	Admit     vnet.Admit
	LeaseTime time.Duration
	Subnets   []Subnet // in the order in which they are advertised
	DNS       DNS
	RA        RA
	// Moves: prefixes of it come and go with the host's uplinks.
	Moves bool
	// Translated: guests reach IPv4 over the host's translator.
	Translated bool
	// What guests are told beside addresses, as the network has it.
	DHCP          vnet.DHCPPolicy
	Boot          vnet.BootPolicy
	Routes        []vnet.Route
	NTP           []string
	CaptivePortal string
	// Strangers are the members of the bridge that are no port of ours and
	// not our own: their guests are heard and answered, but not known.
	Strangers []string
}

// Subnet is a subnet in service: its prefix is known.
type Subnet struct {
	ID      vnet.ID
	Family  vnet.Family
	Prefix  netip.Prefix
	Gateway netip.Addr // our address in it; zero: not ours
	Router  netip.Addr // what guests are told as default router (IPv4); zero: none
	Guests  vnet.Guests
	Ranges  []vnet.Range // dynamic addresses; empty: whatever is free
	// Held is the part of the ranges that this host gives without asking others;
	// the agent fills it in. Empty: none.
	Held []vnet.Range
	// Deprecated prefixes are advertised with preferred lifetime 0 until
	// ValidUntil.
	Deprecated bool
	// PreferredUntil and ValidUntil bound lifetimes; zero: no bound.
	PreferredUntil, ValidUntil time.Time
	// OffLink: advertise without the L flag (proxied).
	OffLink bool
	// Uplink is the link whose on-link prefix it is (proxied).
	Uplink string
	// Cut: no uplink carries it any more, see vnet.PrefixAssignment.
	Cut bool
	// Outside is what the prefix is translated to (nptv6).
	Outside netip.Prefix
	// Reserved host addresses never handed out (gateways of others, …).
	Reserved []netip.Addr
	// Advertise shapes the prefix in router advertisements; its lifetimes are
	// bounded by PreferredUntil and ValidUntil. Written is when the subnet was
	// last written, from which lifetimes that count down are counted.
	Advertise vnet.PrefixPolicy
	Written   time.Time
	// Delegate is the length of the prefixes that are cut from Prefix for
	// guests (guests=delegation): nothing of it is on the link. 0: none.
	Delegate int
	// Retired: deprecated because it was taken away by hand. The vnet.Subnet of
	// the ID is gone, or has another prefix.
	Retired bool
}

// RA is the router advertisement of a network.
type RA struct {
	Send          bool
	DefaultRouter bool // router lifetime above 0
	Policy        vnet.RAPolicy
}

// DNS is the name service of a network.
type DNS struct {
	Serve   bool
	Servers []netip.Addr // told to guests: our gateway addresses, or the user's
	Search  []string

	Records    []vnet.NameRecord
	Forwarders []vnet.Forwarder
	Upwards    bool // ask forwarders for unknown names of our own domain, too
	DNS64      netip.Prefix
	Only64     bool                // guests reach no IPv6 outside but what DNS64 makes
	Encrypted  []vnet.EncryptedDNS // told to guests
}

// Guest is what the servers know of a port beforehand.
type Guest struct {
	Port         vnet.ID
	Network      vnet.ID
	Name         string // DNS label
	MAC          vnet.MAC
	Addresses    []GuestAddress
	DefaultRoute bool   // else: neither default route nor resolvers from this network
	Relay        string // how a trusted relay names its line; "" if none does
	Device       string // on the host's side; "" if not plugged
}

// GuestAddress is an address that a port owns, completed.
type GuestAddress struct {
	Subnet     vnet.ID
	Address    netip.Addr
	Deprecated bool
}
