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

// Asking says whether prefixes are asked for on an uplink (DHCPv6-PD).
type Asking string

// The ways of asking. Empty means AskAuto.
const (
	AskAuto Asking = "auto" // unless a DHCPv6 client of the host does so already
	AskOn   Asking = "on"
	AskOff  Asking = "off"
)

// AnyUplink is the name of the policy whose prefixes hold whichever uplink is
// in use.
const AnyUplink = "any"

// UplinkPolicy is what is wished of one uplink of a host: its Name is the
// link's. Uplinks without one are used as they are found.
type UplinkPolicy struct {
	Meta
	Host string `json:"host,omitempty" doc:"the host"`
	// Shared makes the link a port of a bridge that bridged networks can be
	// on; the host's addresses and routes move onto the bridge.
	Shared bool   `json:"shared,omitempty" doc:"put the link into a bridge that networks can share; the host's addresses move onto it"`
	Pinned string `json:"pinned,omitempty" doc:"guests leave by this uplink whatever the metrics say: ipv4, ipv6 or both"`
	Ask    Asking `json:"ask,omitempty" doc:"ask for prefixes (DHCPv6-PD): auto, on or off; auto: unless the host has a client that does"`
	Hint   int    `json:"hint,omitempty" doc:"length of the prefix to ask for, for example 56; default as the provider has it"`
	// Prefixes, File and Command give prefixes for guests beside what a
	// provider delegates; all count.
	Prefixes []netip.Prefix `json:"prefixes,omitempty" doc:"prefixes that are routed to this host, by hand"`
	File     string         `json:"file,omitempty" doc:"a file with such prefixes, one a line: PREFIX [PREFERRED VALID]"`
	Command  []string       `json:"command,omitempty" doc:"a program that prints such prefixes, and its arguments"`
	Every    Duration       `json:"every,omitempty" doc:"how often the command runs; default 5m"`
	Settle   Duration       `json:"settle,omitempty" doc:"how long something better must have been offered before auto climbs to it; default 30s"`
	// Until and Before hold a change of Shared that is not confirmed: at Until
	// Before is in force again.
	Until  time.Time `json:"until,omitzero" doc:"sharing or its end is undone then unless it is confirmed" readOnly:"true"`
	Before bool      `json:"before,omitempty" readOnly:"true"`
}

// Kind is KindUplink.
func (*UplinkPolicy) Kind() Kind { return KindUplink }

// SharedAt is whether the link is to be shared at a moment.
func (p *UplinkPolicy) SharedAt(now time.Time) bool {
	if !p.Until.IsZero() && !now.Before(p.Until) {
		return p.Before
	}
	return p.Shared
}
