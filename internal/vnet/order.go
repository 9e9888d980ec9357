package vnet

import (
	"encoding/hex"
	"net/netip"
	"time"
)

// OrderAction is what an order asks for.
type OrderAction string

// The actions.
const (
	// OrderRelease takes leases back: their addresses are free, and kept for
	// those who had them while nobody else needs them.
	OrderRelease OrderAction = "release"
	// OrderImport takes leases over that another server gave.
	OrderImport OrderAction = "import"
)

// OrderMost is how many leases one order may name.
const OrderMost = 256

// LeaseOrder is a wish about leases, which agents alone may claim: the host's
// agent carries it out, lease by lease, reports which could not be done and why
// (a Status of the order, one Problem for each), and deletes it. One that
// nobody has begun until Until is void.
type LeaseOrder struct {
	Meta
	Network ID            `json:"network"`
	Host    string        `json:"host"`
	Action  OrderAction   `json:"action"`
	Leases  []LeaseRecord `json:"leases"`
	Until   time.Time     `json:"until"`
}

// Kind is KindOrder.
func (*LeaseOrder) Kind() Kind { return KindOrder }

// LeaseRecord is a lease as an order names it.
type LeaseRecord struct {
	// Lease is the lease that is meant, for a release: the address may be
	// another guest's by now.
	Lease    ID         `json:"lease,omitempty"`
	Address  netip.Addr `json:"address" doc:"the address, or the first one of a delegated prefix"`
	Length   int        `json:"length,omitempty" doc:"length of a delegated prefix"`
	MAC      MAC        `json:"mac,omitzero"`
	DUID     string     `json:"duid,omitempty" doc:"DHCPv6: hex with colons"`
	IAID     uint32     `json:"iaid,omitempty"`
	Client   string     `json:"client,omitempty" doc:"DHCPv4 client identifier, hex"`
	Hostname string     `json:"hostname,omitempty" doc:"one label, lower case"`
	Expires  time.Time  `json:"expires,omitzero" doc:"absent: never"`
	Declined bool       `json:"declined,omitempty" doc:"in quarantine until it expires: nobody's"`
}

// Family is that of the address, 0 without one.
func (r *LeaseRecord) Family() Family { return FamilyOf(r.Address) }

// Prefix is the delegated prefix; the zero Prefix for one address.
func (r *LeaseRecord) Prefix() netip.Prefix {
	if r.Length == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(r.Address, r.Length)
}

// Text is the address, or the delegated prefix.
func (r *LeaseRecord) Text() string {
	if r.Length > 0 {
		return r.Prefix().String()
	}
	return r.Address.String()
}

// Validate checks a record that is to be imported.
func (r *LeaseRecord) Validate() error {
	const field = "leases"
	switch {
	case r.Family() == 0 || r.Address.Zone() != "" || r.Address.Is4In6():
		return Invalid(field, "a lease lacks its address")
	case r.Address.IsUnspecified() || r.Address.IsMulticast() || r.Address.IsLoopback() || r.Address.IsLinkLocalUnicast():
		return Invalid(field, "%s is no address of a guest", r.Address)
	case r.Length != 0 && (r.Address.Is4() || r.Length < 1 || r.Length > 64 || r.Prefix().Masked().Addr() != r.Address):
		return Invalid(field, "%s/%d is no prefix that could be delegated", r.Address, r.Length)
	case r.DUID != "" && (r.Address.Is4() || !isDUID(r.DUID)):
		return Invalid(field, "%s: %s is no DUID of its guest", r.Text(), quote(r.DUID))
	case r.Client != "" && !isClientID(r.Client):
		return Invalid(field, "%s: %s is no client identifier in hex", r.Text(), quote(r.Client))
	case r.Hostname != "" && (DNSLabel(r.Hostname) != r.Hostname || len(r.Hostname) > 63):
		return Invalid(field, "%s: %s is no name of a guest", r.Text(), quote(r.Hostname))
	case !r.Declined && r.MAC.IsZero() && r.DUID == "" && r.Client == "":
		return Invalid(field, "%s: nothing says whose it is", r.Text()).WithHint("a MAC, a DUID or a client identifier must be there")
	}
	return nil
}

// isClientID reports whether s is a DHCPv4 client identifier in hex, with or
// without colons.
func isClientID(s string) bool {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] != ':' {
			b = append(b, s[i])
		}
	}
	_, err := hex.DecodeString(string(b))
	return err == nil && len(b) > 0 && len(b) <= 2*255
}
