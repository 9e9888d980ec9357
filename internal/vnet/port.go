package vnet

import "net/netip"

// FixedAddress is an address that a port owns: a host part in a subnet. The
// subnet's prefix, or its prefix assignment while the prefix moves, completes
// it.
type FixedAddress struct {
	Subnet ID `json:"subnet"`
	// Host is the part below the prefix: the last 64 bits for IPv6, the
	// host number for IPv4.
	Host uint64 `json:"host"`
	// Address is complete where the subnet's prefix is known to control, and
	// is filled in when read from the newest assignment otherwise.
	Address netip.Addr `json:"address,omitzero"`
}

// Port is one guest NIC.
type Port struct {
	Meta
	Network ID  `json:"network"`
	MAC     MAC `json:"mac,omitzero" doc:"made once if empty"`
	// Addresses is the wish in short form: addresses the port must have. Empty:
	// one of each subnet that hands out addresses.
	Addresses []netip.Addr   `json:"addresses,omitempty"`
	Fixed     []FixedAddress `json:"fixed,omitempty" readOnly:"true"`
	// Allowed are further addresses and prefixes the guest may use.
	Allowed []netip.Prefix `json:"allowed,omitempty"`
	// DefaultRoute says whether this network is the guest's default route;
	// nil means yes.
	DefaultRoute *bool `json:"defaultRoute,omitempty"`
	// Relay is how a trusted relay names the guest's line.
	Relay    string   `json:"relay,omitempty" doc:"interface, circuit or remote id that a trusted relay gives this guest, as text or hex after 0x"`
	Hostname string   `json:"hostname,omitempty" doc:"DNS name in the network's domain; default: the port's name"`
	Binding  *Binding `json:"binding,omitempty" doc:"where it is plugged"`
}

// Kind is KindPort.
func (*Port) Kind() Kind { return KindPort }

// Plug is the kind of a port's device.
type Plug string

// The kinds of plug.
const (
	PlugVeth    Plug = "veth"    // our veth pair, the far end in a namespace
	PlugTap     Plug = "tap"     // our persistent tap
	PlugAdopted Plug = "adopted" // a device that somebody else enslaved to our bridge
)

// Binding ties a port to a device on a host.
type Binding struct {
	Host string `json:"host"`
	Plug Plug   `json:"plug"`
	// Device is the name on the host's side (tap, adopted) or in the guest's
	// namespace (veth).
	Device string `json:"device"`
	Netns  string `json:"netns,omitempty" doc:"veth: the guest's namespace, a name under /run/netns or an absolute path"`
	Owner  string `json:"owner,omitempty" doc:"tap: user that may open it, a name or number"`
}

// Reservation is an address for a guest that has no port.
type Reservation struct {
	Meta
	Network ID           `json:"network"`
	MAC     MAC          `json:"mac,omitzero"`
	DUID    string       `json:"duid,omitempty" doc:"hex with colons"`
	IAID    *uint32      `json:"iaid,omitempty" doc:"with duid"`
	Client  string       `json:"client,omitempty" doc:"the name that the guest sends"`
	Fixed   FixedAddress `json:"fixed,omitzero" readOnly:"true"`
	Address netip.Addr   `json:"address,omitzero"`
}

// Kind is KindReservation.
func (*Reservation) Kind() Kind { return KindReservation }
