package vnet

import (
	"net/netip"
	"time"
)

// How says how a guest came by an address.
type How string

// The ways.
const (
	HowDHCPv4 How = "dhcpv4"
	HowDHCPv6 How = "dhcpv6"
	HowSLAAC  How = "slaac"
	HowFixed  How = "fixed" // seen on the wire, and configured by hand in the guest
)

// Lease is an address in use by a guest: given by DHCP or seen on the wire.
// Agents claim leases; nobody edits them. Created is when the guest that has
// the address got it.
type Lease struct {
	Meta
	Network ID         `json:"network"`
	Subnet  ID         `json:"subnet,omitempty"`
	Port    ID         `json:"port,omitempty"`
	Host    string     `json:"host" doc:"the host that claimed it"`
	Address netip.Addr `json:"address"`
	// Length marks a delegated prefix (IA_PD): Address is its first address,
	// and Via the link-local address of the guest that routes it; 0: one
	// address.
	Length int        `json:"length,omitempty" doc:"length of a delegated prefix"`
	Via    netip.Addr `json:"via,omitzero" doc:"the guest's link-local address, next hop of a delegated prefix"`
	// HostPart is Address below its subnet's prefix, in the terms of
	// FixedAddress.Host: no port or reservation of the subnet may have it. For
	// IPv6 it is derived; for IPv4 the store fills it in when it is 0.
	HostPart uint64 `json:"hostPart,omitempty"`
	Family   Family `json:"family"`
	How      How    `json:"how"`
	MAC      MAC    `json:"mac,omitzero"`
	DUID     string `json:"duid,omitempty"`
	IAID     uint32 `json:"iaid,omitempty"`
	Client   string `json:"client,omitempty" doc:"DHCPv4 client identifier, hex"`
	// Hostname is what the guest calls itself, already checked and lower case.
	Hostname string `json:"hostname,omitempty"`
	// Expires is a wall-clock deadline, a promise made to the guest; zero:
	// never (or as long as the guest is there).
	Expires time.Time `json:"expires,omitzero"`
	// Declined marks an address that a guest found in use elsewhere:
	// quarantined until Expires.
	Declined bool `json:"declined,omitempty"`
	// Temporary marks an RFC 8981 address: never published in DNS.
	Temporary bool `json:"temporary,omitempty"`
}

// Prefix is what a delegation delegates; the zero Prefix for one address.
func (l *Lease) Prefix() netip.Prefix {
	if l.Length == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(l.Address, l.Length)
}

// SameGuest reports whether two leases are of one guest: of a port, or of the
// same client without one.
func (l *Lease) SameGuest(o *Lease) bool {
	if l.Port != "" || o.Port != "" {
		return l.Port == o.Port
	}
	return l.MAC == o.MAC && l.DUID == o.DUID && l.Client == o.Client
}

// Kind is KindLease.
func (*Lease) Kind() Kind { return KindLease }

// PrefixState is the state of a prefix assignment.
type PrefixState string

// The states of a prefix.
const (
	PrefixActive     PrefixState = "active"
	PrefixDeprecated PrefixState = "deprecated" // still valid, no new use
	PrefixExpired    PrefixState = "expired"
)

// PrefixAssignment is a prefix that a host holds for a subnet: decided by the
// ladder, claimed before it is first advertised.
type PrefixAssignment struct {
	Meta
	Network ID           `json:"network"`
	Subnet  ID           `json:"subnet"`
	Host    string       `json:"host"`
	Family  Family       `json:"family"`
	Prefix  netip.Prefix `json:"prefix"`
	// Scope is the address scope of the network; empty means ScopeHost.
	Scope Scope  `json:"scope,omitempty"`
	Rung  Egress `json:"rung"`
	// Uplink is the link whose prefix it is a part of; empty: of none.
	Uplink string      `json:"uplink,omitempty" doc:"the uplink that carries it"`
	State  PrefixState `json:"state"`
	// Since is when the state began. PreferredUntil and ValidUntil are
	// wall-clock deadlines; zero means no end in sight.
	Since          time.Time `json:"since,omitzero"`
	PreferredUntil time.Time `json:"preferredUntil,omitzero"`
	// Cut marks a deprecated prefix that no uplink carries any more: what
	// guests began with it cannot go on.
	Cut        bool      `json:"cut,omitempty" doc:"no uplink carries it any more"`
	ValidUntil time.Time `json:"validUntil,omitzero"`
}

// Kind is KindAssignment.
func (*PrefixAssignment) Kind() Kind { return KindAssignment }
