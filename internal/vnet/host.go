package vnet

import (
	"net/netip"
	"time"
)

// Installation is the one object that says what is common to all hosts.
type Installation struct {
	Meta
	// ULA is the /48 made once (RFC 4193 section 3.2.2).
	ULA netip.Prefix `json:"ula"`
	// Schema is the version of the store's layout.
	Schema int `json:"schema"`
}

// Kind is KindInstallation.
func (*Installation) Kind() Kind { return KindInstallation }

// Project is a tenant; it owns everything below it.
type Project struct {
	Meta
	Description string `json:"description,omitempty"`
}

// Kind is KindProject.
func (*Project) Kind() Kind { return KindProject }

// DefaultProject is the name of the project that is always there.
const DefaultProject = "default"

// Host is a machine that runs an agent. Its facts are observations, written
// by the agent only. The object's ID is the host's name.
type Host struct {
	Meta
	Facts HostFacts `json:"facts"`
	Seen  time.Time `json:"seen,omitzero" doc:"the agent's last sign of life that was written"`
}

// Kind is KindHost.
func (*Host) Kind() Kind { return KindHost }

// HostFacts is what other parts need to know of a host.
type HostFacts struct {
	Version  string         `json:"version,omitempty" doc:"of the agent"`
	Kernel   string         `json:"kernel,omitempty"`
	Features []Feature      `json:"features,omitempty" doc:"what the kernel can and cannot do"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty" doc:"prefixes in use on the host that are not ours"`
	// Uses says, by the text of a prefix, what uses it.
	Uses     map[string]string `json:"uses,omitempty" doc:"what uses each of the prefixes"`
	Uplinks  []Uplink          `json:"uplinks,omitempty"`
	Problems []Problem         `json:"problems,omitempty"`
}

// Feature is one kernel feature, probed once, by name.
type Feature struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Needed  string `json:"needed,omitempty" doc:"what does not work without it"`
}

// The kernel features that are probed.
const (
	FeatureIPv6            = "ipv6"
	FeatureBridgeConntrack = "nf_conntrack_bridge"
	FeatureForceForwarding = "force_forwarding" // Linux 6.17: per-link IPv6 forwarding
	FeatureNFLOG           = "nfnetlink_log"
	FeatureTun             = "tun"
	FeatureVeth            = "veth"
	FeatureNAT             = "nft_nat"
	FeatureNeighbourLimits = "gc_thresh" // the host may set how many neighbours the kernel keeps
)

// Uplink is a link of a host that leads outside.
type Uplink struct {
	Name string `json:"name"`
	// V4 and V6 say that the family's active default route leads here.
	V4 bool `json:"v4,omitempty"`
	V6 bool `json:"v6,omitempty"`
	// Metric4 and Metric6 are the default routes' metrics.
	Metric4   int            `json:"metric4,omitempty"`
	Metric6   int            `json:"metric6,omitempty"`
	MTU       int            `json:"mtu,omitempty"`
	Type      string         `json:"type,omitempty" doc:"ethernet, wifi, point-to-point, bridge, vlan, tunnel"`
	Addresses []netip.Prefix `json:"addresses,omitempty" doc:"global addresses with their prefix lengths"`

	Down        bool          `json:"down,omitempty" doc:"it has no carrier, or is set down"`
	Manager     string        `json:"manager,omitempty" doc:"who manages it: networkd, NetworkManager, ifupdown, dhcpcd; absent: nobody known"`
	Pinned      bool          `json:"pinned,omitempty" doc:"it is in use because it is pinned"`
	Lower       string        `json:"lower,omitempty" doc:"the link that is shared by means of this bridge of ours"`
	Routers     []HeardRouter `json:"routers,omitempty" doc:"routers heard there"`
	Delegations []Delegation  `json:"delegations,omitempty" doc:"prefixes held for guests"`
	Problems    []Problem     `json:"problems,omitempty"`
}

// State is where an object is on a host.
type State string

// The states that an agent reports.
const (
	StatePending  State = "pending"  // wished, not yet tried
	StateRunning  State = "running"  // everything holds
	StateDegraded State = "degraded" // works in part: see Problems
	StateFailed   State = "failed"   // does not work: see Problems
	StateStopped  State = "stopped"
)

// Problem is one thing that is not as wished, in the words of an Error.
type Problem struct {
	Kind   ErrKind `json:"kind"`
	Field  string  `json:"field,omitempty"`
	Msg    string  `json:"message"`
	Hint   string  `json:"hint,omitempty" doc:"the command that mends it"`
	Family Family  `json:"family,omitempty"`
}

// Status is what a host's agent reports of one object. The store keeps one
// per (object, host).
type Status struct {
	Meta
	Target Ref    `json:"target"`
	Host   string `json:"host"`
	// Applied is the store revision that the host has worked in; Control's
	// Wait compares it with the revision a verb returned.
	Applied  int64     `json:"applied"`
	State    State     `json:"state"`
	Problems []Problem `json:"problems,omitempty"`

	// For networks: what the ladder chose.
	Rung4    Egress         `json:"rung4,omitempty"`
	Rung6    Egress         `json:"rung6,omitempty"`
	Why4     string         `json:"why4,omitempty" doc:"why this rung, why not higher"`
	Why6     string         `json:"why6,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty" doc:"gateway addresses in service"`
	Bridge   string         `json:"bridge,omitempty"`
	MTU      int            `json:"mtu,omitempty"`

	// For ports: the device on the host.
	Device string `json:"device,omitempty"`
	Live   bool   `json:"live,omitempty" doc:"the guest's side has carrier"`
}

// Kind is KindStatus.
func (*Status) Kind() Kind { return KindStatus }

// Event is one thing that happened, for people and for server-sent events.
type Event struct {
	Meta
	Time   time.Time `json:"time"`
	Host   string    `json:"host,omitempty"`
	Target Ref       `json:"target,omitzero"`
	What   string    `json:"what" doc:"one word: created changed deleted started stopped lease prefix problem mended"`
	Msg    string    `json:"message"`
}

// Kind is KindEvent.
func (*Event) Kind() Kind { return KindEvent }
