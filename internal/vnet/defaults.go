package vnet

import (
	"strings"
	"time"
)

// DefaultLease is the lifetime of a dynamic lease if nothing else is said.
const DefaultLease = 12 * time.Hour

// A lease shorter than minLease would be renewed without end; maxLease keeps
// well below the 32 bits of seconds on the wire, all ones of which mean
// forever.
const (
	minLease = 10 * time.Second
	maxLease = 365 * 24 * time.Hour
)

// SetDefaults fills in what a client left out of a network's short form.
//
// A family without a mode is auto, unless the other one alone was named and
// says something about the whole network: beside bridged it is bridged, and
// beside isolated it is isolated, so that no network that was to be shut has
// a way out by the family nobody thought of. A gateway address without host
// bits becomes the first address. Calling it again changes nothing.
func (n *Network) SetDefaults() {
	v4, v6 := n.IPv4.Mode, n.IPv6.Mode
	n.IPv4.setMode(v6)
	n.IPv6.setMode(v4)
	for _, f := range Families {
		p := n.Policy(f)
		if p.Mode.Addressed() && p.Guests == "" {
			bits := 0
			if p.Address.IsValid() {
				bits = p.Address.Bits()
			}
			p.Guests = defaultGuests(f, bits)
		}
		// Nothing of a prefix that is shared with the uplink is the gateway's.
		if p.Address.IsValid() && p.Mode != EgressProxied {
			p.Address = GatewayPrefix(p.Address)
		}
	}
	n.NAT64 = n.NAT64.normal()
	if n.Admit == "" {
		n.Admit = AdmitAny
	}
	if n.Domain == "" {
		if label := DNSLabel(n.Name); label != "" {
			n.Domain = label + ".internal"
		}
	}
	n.Domain = strings.ToLower(strings.TrimSuffix(n.Domain, "."))
	if n.LeaseTime == 0 {
		n.LeaseTime = Duration(DefaultLease)
	}
}

// setMode fills in the mode of a family, given what was said of the other one.
func (p *FamilyPolicy) setMode(other Egress) {
	if p.Mode != "" {
		return
	}
	switch {
	case p.Address.IsValid():
		// An address alone says no mode: Validate asks for one, since auto
		// chooses the prefix itself.
		p.Mode = EgressAuto
	case other == EgressBridged, other == EgressIsolated:
		p.Mode = other
	default:
		p.Mode = EgressAuto
	}
}

// SetDefaults fills in what a client left out of a subnet: the family from the
// prefix, the source from what was given (a prefix is fixed, a pool is cut
// from, otherwise it is chosen), and how guests get addresses.
func (s *Subnet) SetDefaults() {
	if s.Family == 0 && s.Prefix.IsValid() {
		s.Family = FamilyOf(s.Prefix.Addr())
	}
	if s.Source == "" {
		switch {
		case s.Pool != "":
			s.Source = SourcePool
		case s.Prefix.IsValid():
			s.Source = SourceFixed
		case s.Family == IPv6:
			s.Source = SourceULA
		default:
			s.Source = SourceAuto
		}
	}
	if s.Source == SourceDelegated || s.Source == SourceProxied {
		if s.Family == 0 {
			s.Family = IPv6
		}
		if s.Source == SourceProxied && s.Gateway == "" {
			s.Gateway = GatewayNone
		}
	}
	if s.Guests == "" && s.Family != 0 {
		bits := 0
		if s.Prefix.IsValid() {
			bits = s.Prefix.Bits()
		}
		s.Guests = defaultGuests(s.Family, bits)
	}
	if s.Guests == GuestsDelegation && s.Delegate == 0 {
		s.Delegate = 64
	}
}

// SetDefaults fills in the length of the pieces of a pool.
func (p *Pool) SetDefaults() {
	if p.SubnetLen == 0 && p.Prefix.IsValid() {
		if n := usualBits(p.Prefix.Addr()); n >= p.Prefix.Bits() {
			p.SubnetLen = n
		}
	}
}

// SetDefaults brings what a reservation is for into the one form in which it
// is compared.
func (r *Reservation) SetDefaults() {
	r.DUID = strings.ToLower(r.DUID)
	r.Client = strings.ToLower(r.Client)
}
