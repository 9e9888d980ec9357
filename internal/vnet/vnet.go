// Package vnet holds the nouns of Sextant: what a network, a subnet, a port
// is, what is valid, and how each reports its state.
//
// The package is pure. It imports nothing of ours and nothing that can touch
// the world (no net, os, context, log); addresses are net/netip values. Every
// other package speaks in these types, and the JSON form of each noun is the
// form of the native API.
package vnet

import "time"

// ID names an object for ever: a random UUID (RFC 9562 version 4) in its
// canonical 36-character form. Names may change, IDs never do.
type ID string

// Kind is the noun of an object.
type Kind string

// The kinds of object that the store holds.
const (
	KindInstallation Kind = "installation"
	KindProject      Kind = "project"
	KindNetwork      Kind = "network"
	KindSubnet       Kind = "subnet"
	KindPool         Kind = "pool"
	KindRouter       Kind = "router"
	KindPort         Kind = "port"
	KindReservation  Kind = "reservation"
	KindHost         Kind = "host"
	KindActivation   Kind = "activation"
	KindBinding      Kind = "binding"
	KindUplink       Kind = "uplink"
	KindLease        Kind = "lease"
	KindAssignment   Kind = "assignment"
	KindStatus       Kind = "status"
	KindEvent        Kind = "event"
	KindOrder        Kind = "order"
	KindHistory      Kind = "history"
)

// Scope names an address scope: the set of networks whose prefixes must not
// overlap. The host's own routing is ScopeHost of that host; every router with
// a routing namespace of its own is a scope of its own, named by its ID.
type Scope string

// ScopeHost is the scope of every network whose gateway lies in a host's own
// routing. Networks may start on any host, so all hosts share it.
const ScopeHost Scope = "host"

// Ref points at one object.
type Ref struct {
	Kind Kind `json:"kind"`
	ID   ID   `json:"id"`
}

// String returns "kind/id".
func (r Ref) String() string { return string(r.Kind) + "/" + string(r.ID) }

// Meta is what every object carries.
type Meta struct {
	ID         ID                `json:"id,omitempty" doc:"UUID, given once" readOnly:"true"`
	Name       string            `json:"name,omitempty" doc:"unique within its project (or network); may change"`
	Project    ID                `json:"project,omitempty" doc:"ID of the owning project" readOnly:"true"`
	Generation int64             `json:"generation,omitempty" doc:"counts the changes of the wish" readOnly:"true"`
	Created    time.Time         `json:"created,omitzero" readOnly:"true"`
	Updated    time.Time         `json:"updated,omitzero" readOnly:"true"`
	Tags       map[string]string `json:"tags,omitempty" doc:"free key=value labels"`
	// Deleting is when deletion was asked for; the object goes when
	// Finalizers is empty.
	Deleting   *time.Time `json:"deleting,omitempty" readOnly:"true"`
	Finalizers []string   `json:"finalizers,omitempty" readOnly:"true"`

	// Revision is the store's revision of this object's last change. It is
	// the object's ETag and is never stored inside it.
	Revision int64 `json:"revision,omitempty" readOnly:"true"`
}

// GetMeta returns m itself, so that every noun that embeds Meta is an Object.
func (m *Meta) GetMeta() *Meta { return m }

// Object is any noun that the store holds.
type Object interface {
	// GetMeta returns the object's own Meta, never nil; the caller that owns
	// the object may change it.
	GetMeta() *Meta
	// Kind says which noun it is.
	Kind() Kind
}

// RefOf returns the reference to o.
func RefOf(o Object) Ref { return Ref{o.Kind(), o.GetMeta().ID} }

// Family is an address family.
type Family int

// The two address families. IPv6 first.
const (
	IPv6 Family = 6
	IPv4 Family = 4
)

// Families lists both in the order in which they are treated and shown.
var Families = [2]Family{IPv4, IPv6}

// String returns "ipv4" or "ipv6".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return "family-unknown"
}

// MarshalText returns String's form, empty for a family that is not said.
func (f Family) MarshalText() ([]byte, error) {
	if f == 0 {
		return nil, nil
	}
	return []byte(f.String()), nil
}

// UnmarshalText takes "ipv4", "ipv6", "4", "6", "inet", "inet6", and nothing
// for a family that is not said.
func (f *Family) UnmarshalText(b []byte) error {
	switch string(b) {
	case "":
		*f = 0
	case "ipv4", "4", "inet":
		*f = IPv4
	case "ipv6", "6", "inet6":
		*f = IPv6
	default:
		return Invalid("family", "%q is no address family: say ipv4 or ipv6", b)
	}
	return nil
}
