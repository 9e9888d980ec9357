package vnet

import (
	"net/netip"
	"time"
)

// Egress says how one family of a network reaches the outside. The table in
// docs/man/sextant-network.md is the contract of each.
type Egress string

// The egress modes. Not every mode exists in both families.
const (
	EgressAuto      Egress = "auto"       // decided by the ladder from uplink facts
	EgressNAT       Egress = "nat"        // IPv4: masqueraded
	EgressNAT66     Egress = "nat66"      // IPv6: masqueraded
	EgressNPTv6     Egress = "nptv6"      // IPv6: prefix translated 1:1
	EgressDelegated Egress = "delegated"  // IPv6: routed, prefix by DHCPv6-PD
	EgressProxied   Egress = "proxied"    // IPv6: the uplink's on-link prefix, ND proxied
	EgressRouted    Egress = "routed"     // routed, the prefix is the user's
	EgressIsolated  Egress = "isolated"   // guests among themselves
	EgressULA       Egress = "ula"        // IPv6: a unique local prefix, not beyond the router
	EgressOpen      Egress = "open"       // routed, no rules of ours
	EgressBridged   Egress = "bridged"    // on a physical link or an existing bridge
	EgressLinkLocal Egress = "link-local" // IPv6: link-local only
	EgressNone      Egress = "none"       // the family is off
)

// Guests says how guests of a subnet get their addresses.
type Guests string

// The ways guests get addresses.
const (
	GuestsSLAAC         Guests = "slaac"
	GuestsStateless     Guests = "stateless"      // SLAAC, options by DHCPv6 (O flag)
	GuestsStateful      Guests = "stateful"       // DHCPv6 (M flag), no A flag
	GuestsSLAACStateful Guests = "slaac+stateful" // both; the default for IPv6
	GuestsDHCP          Guests = "dhcp"           // the default for IPv4
	GuestsManual        Guests = "manual"
	// GuestsDelegation marks a prefix of which guests get shorter ones for
	// networks of their own (RFC 9915 section 6.3): nothing of it is on the link.
	GuestsDelegation Guests = "delegation"
)

// Inbound says whether new connections from outside reach guests.
type Inbound string

// The inbound policies. Empty means the mode's default.
const (
	InboundClosed Inbound = "closed"
	InboundOpen   Inbound = "open"
)

// Admit says whom the address servers answer.
type Admit string

// The admit policies.
const (
	AdmitAny   Admit = "any"   // whoever shows up; the default for networks made by hand
	AdmitPorts Admit = "ports" // only known ports
)

// FamilyPolicy is one family's part of a network.
//
// Address, Guests and Ranges are a short form: they speak of the network's
// primary subnet of that family. Control folds them into that Subnet when it
// writes and fills them in when it reads; stored networks have them empty.
type FamilyPolicy struct {
	Mode    Egress       `json:"mode,omitempty" doc:"how this family reaches the outside"`
	Inbound Inbound      `json:"inbound,omitempty" doc:"new connections from outside: closed or open; empty: as the mode has it"`
	L2      bool         `json:"l2,omitempty" doc:"with mode none: let guests exchange frames of this family among themselves"`
	Address netip.Prefix `json:"address,omitzero" doc:"gateway address and prefix length of the primary subnet"`
	Guests  Guests       `json:"guests,omitempty" doc:"how guests of the primary subnet get addresses"`
	Ranges  []Range      `json:"ranges,omitempty" doc:"addresses of the primary subnet for guests without a port"`
}

// DNSPolicy is what a network's name server does.
type DNSPolicy struct {
	Off     bool         `json:"off,omitempty" doc:"no name service on this network"`
	Servers []netip.Addr `json:"servers,omitempty" doc:"name servers told to guests instead of ours"`
	Search  []string     `json:"search,omitempty" doc:"search domains told to guests; default: the network's domain"`
	// Records are names beside those of the guests, which never override them.
	Records    []NameRecord   `json:"records,omitempty" doc:"further records, NAME [TTL] TYPE VALUE, for example www CNAME web"`
	Forwarders []Forwarder    `json:"forwarders,omitempty" doc:"whom other names are asked of, [DOMAIN=]ADDRESS[:PORT]; DOMAIN= for names asked of nobody; default: the host's resolvers"`
	Upwards    bool           `json:"upwards,omitempty" doc:"ask the forwarders for names of the network's own domain that are not known here"`
	DNS64      netip.Prefix   `json:"dns64,omitzero" doc:"make IPv6 addresses of IPv4 ones below this NAT64 prefix (RFC 6147)"`
	Encrypted  []EncryptedDNS `json:"encrypted,omitempty" doc:"encrypted resolvers told to guests (RFC 9463): PRIORITY NAME [ADDRESS …] [alpn=A+B] [port=N] [dohpath=PATH]"`
}

// Network is one broadcast domain: a bridge and the policy of both families.
type Network struct {
	Meta
	Router    ID           `json:"router,omitempty" doc:"ID of the router where its gateway lives; empty: the host's own routing"`
	Bridge    string       `json:"bridge,omitempty" doc:"bridge device on the host, at most 15 characters; chosen if empty"`
	Number    int          `json:"number,omitempty" doc:"unique small number in the installation; picks the ULA /64" readOnly:"true"`
	MAC       MAC          `json:"mac,omitzero" doc:"the gateway's MAC; made once if empty"`
	MTU       int          `json:"mtu,omitempty" doc:"bytes; 0: as the uplink"`
	Domain    string       `json:"domain,omitempty" doc:"DNS domain of the guests; default NAME.internal"`
	Link      string       `json:"link,omitempty" doc:"mode bridged: existing bridge or NIC to be on; with ipv6=bridged beside another ipv4 it may be left out: the shared uplink in use"`
	IPv4      FamilyPolicy `json:"ipv4,omitzero"`
	IPv6      FamilyPolicy `json:"ipv6,omitzero"`
	Admit     Admit        `json:"admit,omitempty" doc:"whom the address servers answer: any or ports"`
	DNS       DNSPolicy    `json:"dns,omitzero"`
	NAT64     NAT64        `json:"nat64,omitempty" doc:"IPv4 for guests without any: auto, off, or the /96 of a translator that is there; auto (the default) is on where ipv4=none and IPv6 leads out"`
	LeaseTime Duration     `json:"leaseTime,omitempty" doc:"valid lifetime of dynamic leases, for example 12h; default 12h"`
	MLDSnoop  bool         `json:"mldSnoop,omitempty" doc:"multicast snooping on the bridge (default off)"`

	// Advertise is a short form, too: it speaks of the primary IPv6 subnet.
	Advertise     PrefixPolicy `json:"advertise,omitzero"`
	RA            RAPolicy     `json:"ra,omitzero"`
	DHCP          DHCPPolicy   `json:"dhcp,omitzero"`
	Boot          BootPolicy   `json:"boot,omitzero"`
	Routes        []Route      `json:"routes,omitempty" doc:"prefixes that guests reach over the gateway, PREFIX [via ADDRESS] [pref low|medium|high] [lifetime TIME]"`
	NTP           []string     `json:"ntp,omitempty" doc:"time servers told to guests, addresses or names"`
	CaptivePortal string       `json:"captivePortal,omitempty" doc:"URI of the captive portal's API told to guests (RFC 8910)"`

	// Retired are prefixes that guests were given and that were taken away by
	// hand: advertised as deprecated until their deadline (RFC 9096 section 3.5).
	Retired []RetiredPrefix `json:"retired,omitempty" readOnly:"true"`

	// Autostart and Started show the network's Activation; writing them is a
	// wish about it.
	Autostart *bool `json:"autostart,omitempty" doc:"start with the host (default true)"`
	Started   *bool `json:"started,omitempty" doc:"is to run now (default true on create)"`
}

// RetiredPrefix is a prefix that guests may still use for what they began.
type RetiredPrefix struct {
	Prefix netip.Prefix `json:"prefix"`
	Subnet ID           `json:"subnet"` // which may be gone
	// Gateway is the address that was ours; zero: none.
	Gateway netip.Addr `json:"gateway,omitzero"`
	Guests  Guests     `json:"guests,omitempty"`
	// Delegate is for guests=delegation: see Subnet.
	Delegate int `json:"delegate,omitempty"`
	// Advertise is how it was advertised; its Valid is the longest valid
	// lifetime that is told from now on.
	Advertise PrefixPolicy `json:"advertise,omitzero"`
	// Since is when it was taken away, Until a wall-clock deadline: the end of
	// what guests were promised.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until"`
}

// Kind is KindNetwork.
func (*Network) Kind() Kind { return KindNetwork }

// Policy returns the family's part of n, for reading and writing.
func (n *Network) Policy(f Family) *FamilyPolicy {
	if f == IPv4 {
		return &n.IPv4
	}
	return &n.IPv6
}

// Source says where a subnet's prefix comes from.
type Source string

// The sources of prefixes.
const (
	SourceFixed     Source = "fixed"     // written down by the user
	SourceAuto      Source = "auto"      // IPv4: a free private prefix, chosen by the ladder
	SourcePool      Source = "pool"      // cut from a Pool
	SourceULA       Source = "ula"       // from the installation's /48
	SourceDelegated Source = "delegated" // DHCPv6-PD
	SourceProxied   Source = "proxied"   // the uplink's on-link prefix
)

// Moves reports whether prefixes of the source are decided on the host and may
// change there: they are PrefixAssignments, never part of the Subnet.
func (s Source) Moves() bool {
	return s == SourceAuto || s == SourceDelegated || s == SourceProxied
}

// Gateway values of a Subnet that are not an address.
const (
	GatewayExternal = "external" // somebody else's
	GatewayNone     = "none"
)

// Range is an inclusive range of addresses of one family.
type Range struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
}

// Subnet is a prefix on a network.
type Subnet struct {
	Meta
	Network ID     `json:"network"`
	Family  Family `json:"family"`
	// Primary marks the subnet that the network's own short form speaks of.
	Primary bool   `json:"primary,omitempty" readOnly:"true"`
	Source  Source `json:"source"`
	// Prefix is masked; zero while Source.Moves, but for SourceProxied, where
	// it may say which part of the uplink's prefix is to be used.
	Prefix netip.Prefix `json:"prefix,omitzero"`
	// Gateway is an address in Prefix, "external", "none", or empty for the
	// first address. While Source.Moves it is empty or a word.
	Gateway string  `json:"gateway,omitempty"`
	Pool    ID      `json:"pool,omitempty"`
	Guests  Guests  `json:"guests,omitempty"`
	Ranges  []Range `json:"ranges,omitempty" doc:"addresses for guests without a port; default: all that is free"`
	// Delegate is for guests=delegation.
	Delegate  int          `json:"delegate,omitempty" doc:"with guests=delegation: the length of the prefixes that guests get; default 64"`
	Advertise PrefixPolicy `json:"advertise,omitzero"`
}

// Kind is KindSubnet.
func (*Subnet) Kind() Kind { return KindSubnet }

// Pool is a prefix that subnets are cut from.
type Pool struct {
	Meta
	Prefix    netip.Prefix `json:"prefix"`
	SubnetLen int          `json:"subnetLen,omitempty" doc:"prefix length of the pieces; default 64 (IPv6) or 24 (IPv4)"`
	Shared    bool         `json:"shared,omitempty" doc:"other projects may cut from it"`
}

// Kind is KindPool.
func (*Pool) Kind() Kind { return KindPool }

// Router is where gateways live: a routing namespace of its own, and so an
// address scope of its own.
type Router struct {
	Meta
	// Netns is the namespace on the host; chosen if empty.
	Netns string `json:"netns,omitempty" readOnly:"true"`
	// Number is unique in the installation; picks the transit prefixes.
	Number int `json:"number,omitempty" readOnly:"true"`
}

// Kind is KindRouter.
func (*Router) Kind() Kind { return KindRouter }

// Activation says that a network is to run on a host.
type Activation struct {
	Meta
	Network   ID     `json:"network"`
	Host      string `json:"host"`
	Started   bool   `json:"started"`
	Autostart bool   `json:"autostart"`
}

// Kind is KindActivation.
func (*Activation) Kind() Kind { return KindActivation }
