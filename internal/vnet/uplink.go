package vnet

import (
	"net/netip"
	"time"
)

// HeardRouter is a router as its advertisements on an uplink describe it
// (RFC 4861 section 4.2). Deadlines are wall-clock.
type HeardRouter struct {
	Address    netip.Addr `json:"address" doc:"link-local"`
	MAC        MAC        `json:"mac,omitzero"`
	Since      time.Time  `json:"since,omitzero" doc:"first heard"`
	Until      time.Time  `json:"until,omitzero" doc:"end of its life as default router; absent: it is none"`
	Preference Preference `json:"preference,omitempty"`
	Managed    bool       `json:"managed,omitempty" doc:"M flag"`
	Other      bool       `json:"other,omitempty" doc:"O flag"`
	MTU        int        `json:"mtu,omitempty"`

	Prefixes  []HeardPrefix  `json:"prefixes,omitempty"`
	Resolvers []netip.Addr   `json:"resolvers,omitempty"`
	Search    []string       `json:"search,omitempty"`
	PREF64    []netip.Prefix `json:"pref64,omitempty" doc:"NAT64 prefixes (RFC 8781)"`
}

// HeardPrefix is a prefix that a router advertises (RFC 4861 section 4.6.2).
type HeardPrefix struct {
	Prefix     netip.Prefix `json:"prefix"`
	Since      time.Time    `json:"since,omitzero" doc:"first heard"`
	OnLink     bool         `json:"onLink,omitempty" doc:"L flag"`
	Autonomous bool         `json:"autonomous,omitempty" doc:"A flag"`
	// PreferredUntil and ValidUntil: zero means never.
	PreferredUntil time.Time `json:"preferredUntil,omitzero"`
	ValidUntil     time.Time `json:"validUntil,omitzero"`
}

// Delegation is a prefix that this host may give to its networks.
type Delegation struct {
	Prefix         netip.Prefix `json:"prefix"`
	Exclude        netip.Prefix `json:"exclude,omitzero" doc:"the part that the provider uses itself (RFC 6603)"`
	From           string       `json:"from,omitempty" doc:"where it comes from: a DHCPv6 server, a file, a command, by hand"`
	Since          time.Time    `json:"since,omitzero"`
	PreferredUntil time.Time    `json:"preferredUntil,omitzero"`
	ValidUntil     time.Time    `json:"validUntil,omitzero"`
}
