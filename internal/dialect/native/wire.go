package native

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// The types of the wire that are not the nouns themselves. Everywhere on the
// wire a reference to another object (network, router, pool, project) is shown
// by name and taken by name or ID.

// Network is a network and how it fares.
type Network struct {
	vnet.Network
	// Status is there where the host has spoken.
	Status *NetworkStatus `json:"status,omitempty" readOnly:"true"`
}

// NetworkStatus is what a host's agent reports of a network.
type NetworkStatus struct {
	Host     string         `json:"host"`
	State    vnet.State     `json:"state" doc:"pending, running, degraded, failed or stopped"`
	Mode4    vnet.Egress    `json:"mode4,omitempty" doc:"the IPv4 mode in force"`
	Why4     string         `json:"why4,omitempty" doc:"why this mode, why not a better one"`
	Mode6    vnet.Egress    `json:"mode6,omitempty" doc:"the IPv6 mode in force"`
	Why6     string         `json:"why6,omitempty" doc:"why this mode, why not a better one"`
	Gateways []netip.Prefix `json:"gateways,omitempty" doc:"gateway addresses in service"`
	// Prefixes are told where one network is shown.
	Prefixes []NetworkPrefix `json:"prefixes,omitempty" doc:"prefixes that hosts found for it, with their lifetimes"`
	Bridge   string          `json:"bridge,omitempty"`
	MTU      int             `json:"mtu,omitempty" doc:"bytes"`
	Problems []vnet.Problem  `json:"problems,omitempty"`
}

// NetworkPrefix is a prefix that a host found for a network: a free private one,
// or one of its uplink.
type NetworkPrefix struct {
	Prefix         netip.Prefix     `json:"prefix"`
	Rung           vnet.Egress      `json:"rung,omitempty" doc:"how the network reaches the outside with it"`
	Uplink         string           `json:"uplink,omitempty" doc:"the link that carries it"`
	State          vnet.PrefixState `json:"state,omitempty" doc:"active, deprecated or expired"`
	PreferredUntil time.Time        `json:"preferredUntil,omitzero" doc:"absent: no end in sight"`
	ValidUntil     time.Time        `json:"validUntil,omitzero"`
	Host           string           `json:"host,omitempty"`
}

// networkStatus picks what concerns a network out of a status.
func networkStatus(s *vnet.Status) *NetworkStatus {
	if s == nil {
		return nil
	}
	return &NetworkStatus{
		Host: s.Host, State: s.State, Mode4: s.Rung4, Why4: s.Why4, Mode6: s.Rung6, Why6: s.Why6,
		Gateways: s.Prefixes, Bridge: s.Bridge, MTU: s.MTU, Problems: s.Problems,
	}
}

// Lease is an address in use by a guest.
type Lease struct {
	ID      vnet.ID    `json:"id"`
	MAC     vnet.MAC   `json:"mac,omitzero"`
	Address netip.Addr `json:"address"`
	// Prefix and Via are those of a delegation, whose first address is Address.
	Prefix    netip.Prefix `json:"prefix,omitzero" doc:"the delegated prefix"`
	Via       netip.Addr   `json:"via,omitzero" doc:"the guest's link-local address, next hop of the prefix"`
	Family    vnet.Family  `json:"family" doc:"ipv4 or ipv6"`
	How       vnet.How     `json:"how" doc:"dhcpv4, dhcpv6, slaac, or fixed: configured by hand in the guest"`
	Name      string       `json:"name" doc:"what the guest calls itself, else its port's name"`
	Port      string       `json:"port" doc:"name of the port, if it has one"`
	Since     *time.Time   `json:"since,omitempty" doc:"when the guest got it"`
	Expires   *time.Time   `json:"expires" doc:"null: as long as the guest is there"`
	Network   string       `json:"network" doc:"name of the network"`
	Project   string       `json:"project,omitempty"`
	Host      string       `json:"host" doc:"the host that saw or gave it"`
	DUID      string       `json:"duid,omitempty"`
	Temporary bool         `json:"temporary,omitempty" doc:"a privacy address (RFC 8981): never in DNS"`
	Declined  bool         `json:"declined,omitempty" doc:"a guest found it in use elsewhere: not given until it expires"`
	Revision  int64        `json:"revision,omitempty"`
}

// EndedLease is what is told of a lease that ended, to those who follow.
type EndedLease struct {
	ID       vnet.ID `json:"id"`
	Revision int64   `json:"revision"`
}

// ImportRequest is the body of an import.
type ImportRequest struct {
	Leases []vnet.LeaseRecord `json:"leases" doc:"at most 256"`
}

// Stay is the time for which a guest had an address.
type Stay struct {
	Address netip.Addr   `json:"address"`
	Prefix  netip.Prefix `json:"prefix,omitzero" doc:"of a delegation, whose first address it is"`
	MAC     vnet.MAC     `json:"mac,omitzero"`
	DUID    string       `json:"duid,omitempty"`
	Name    string       `json:"name" doc:"what the guest called itself, else its port's name"`
	Port    string       `json:"port" doc:"name of the port, if it had one"`
	How     vnet.How     `json:"how"`
	Network string       `json:"network"`
	Project string       `json:"project,omitempty"`
	From    *time.Time   `json:"from" doc:"null: not known"`
	Until   *time.Time   `json:"until" doc:"null: it lasts"`
}

// HostUplink is a link of a host that leads outside: what its host finds, and
// what is wished of it.
type HostUplink struct {
	Host string `json:"host"`
	vnet.Uplink
	State UplinkState `json:"state,omitempty" doc:"up, down, or absent: it is not there, or no default route leads over it" readOnly:"true"`
	// Policy is written; all else is shown. The link's name is not in it.
	Policy   *vnet.UplinkPolicy `json:"policy,omitempty" doc:"what is wished of it; absent: nothing"`
	Revision int64              `json:"revision,omitempty" doc:"of the policy; absent without one" readOnly:"true"`
}

// UplinkState is how a link fares.
type UplinkState string

// The states of links.
const (
	UplinkUp     UplinkState = "up"
	UplinkDown   UplinkState = "down"
	UplinkAbsent UplinkState = "absent"
)

// hostUplink is an uplink on the wire. The policy's own names, times and
// numbers are those of the uplink.
func hostUplink(v UplinkView) HostUplink {
	out := HostUplink{Host: v.Host, Uplink: v.Facts, State: UplinkUp}
	switch {
	case v.Absent:
		out.State = UplinkAbsent
	case v.Facts.Name == vnet.AnyUplink:
		out.State = ""
	case v.Facts.Down:
		out.State = UplinkDown
	}
	if v.Policy != nil {
		p := *v.Policy
		out.Revision = p.Revision
		p.Meta, p.Host = vnet.Meta{Tags: p.Tags}, ""
		out.Policy = &p
	}
	return out
}

// Confirmed answers a confirmation.
type Confirmed struct {
	Uplinks []ConfirmedUplink `json:"uplinks"`
}

// ConfirmedUplink is an uplink whose sharing, or the end of it, is for good.
type ConfirmedUplink struct {
	Host   string `json:"host"`
	Name   string `json:"name"`
	Shared bool   `json:"shared"`
}

// List is a page of a list.
type List[T any] struct {
	Items    []T    `json:"items"`
	Next     string `json:"next,omitempty" doc:"the after= of the next page; absent on the last"`
	Revision int64  `json:"revision,omitempty" doc:"of the store when the page was read"`
}

// Deleted answers a DELETE.
type Deleted struct {
	Revision int64 `json:"revision" doc:"the store's revision at which it went"`
}

// PlugRequest is the body of a plug: where to, and what the port is to be if
// it has to be made.
type PlugRequest struct {
	Binding vnet.Binding `json:"binding"`
	Port    *vnet.Port   `json:"port,omitempty" doc:"the port to make if there is none of this name"`
}

// CleanupRequest is the body of a cleanup.
type CleanupRequest struct {
	Host string `json:"host,omitempty" doc:"the host to clean; default: the only one"`
}
