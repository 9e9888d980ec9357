package learn

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Sighting is that a guest was seen with an address.
type Sighting struct {
	Address netip.Addr
	// Tentative: the guest only asks if the address is free.
	Tentative bool
}

// Sightings returns the addresses that the sender of the event uses or asks
// for.
func Sightings(ev hear.Event) []Sighting {
	switch ev := ev.(type) {
	case *hear.Solicitation:
		if ev.DAD() {
			return []Sighting{{ev.Target, true}}
		}
		return []Sighting{{ev.Source, false}}
	case *hear.Advertisement:
		if ev.Source == ev.Target {
			return []Sighting{{ev.Target, false}}
		}
		return []Sighting{{ev.Target, false}, {ev.Source, false}}
	case *hear.RouterSolicitation:
		return []Sighting{{ev.Source, false}}
	case *hear.Report:
		return []Sighting{{ev.Source, false}}
	case *hear.ARP:
		if ev.Probe() {
			return []Sighting{{ev.Target, true}}
		}
		return []Sighting{{ev.Sender, false}}
	}
	return nil
}

// Hear takes in what the guest said.
func (e *Engine) Hear(now time.Time, h Holder, ev hear.Event) Result {
	var r Result
	n := e.networks[h.Network]
	if n == nil {
		return r
	}
	for _, s := range Sightings(ev) {
		s.Address = s.Address.Unmap().WithZone("")
		if s.Address.IsLinkLocalUnicast() && s.Address.Is6() && ipam.IsEUI64(s.Address, h.MAC) {
			e.link(h.Link).eui64 = true
		}
		if n.mayLearn(s.Address) {
			r.add(e.transition(now, h, s))
		}
	}
	r.add(e.recall(now, h))
	return r
}

// mayLearn reports whether the address can be a guest's that nobody knows of.
func (n *network) mayLearn(a netip.Addr) bool {
	if n.known.has(a) || !a.IsGlobalUnicast() {
		return false
	}
	s := n.subnetOf(a)
	if s == nil || a == s.Gateway || a == s.Router || a == s.Prefix.Masked().Addr() { // the last: subnet-router anycast (RFC 4291 section 2.6.1), or IPv4's network
		return false
	}
	if a.Is4() && s.Prefix.Bits() < 31 && !s.Prefix.Contains(a.Next()) {
		return false // the broadcast address
	}
	for _, r := range s.Reserved {
		if r == a {
			return false
		}
	}
	return true
}

// subnetOf returns the subnet with the longest prefix that holds a, or nil.
func (n *network) subnetOf(a netip.Addr) *plan.Subnet {
	var best *plan.Subnet
	for i := range n.subnets {
		if s := &n.subnets[i]; s.Prefix.Contains(a) && (best == nil || s.Prefix.Bits() > best.Prefix.Bits()) {
			best = s
		}
	}
	return best
}

// smallHost bounds the interface identifiers that people choose: ::1, ::53,
// ::1:2. A random one is below it once in 2^32.
const smallHost = 1 << 32

// howOf guesses how the guest came by the address.
func howOf(a netip.Addr, mac vnet.MAC, s *plan.Subnet) vnet.How {
	if a.Is4() || s.Prefix.Bits() != 64 {
		return vnet.HowFixed
	}
	switch s.Guests {
	case vnet.GuestsSLAAC, vnet.GuestsStateless, vnet.GuestsSLAACStateful:
	default:
		return vnet.HowFixed
	}
	if !ipam.IsEUI64(a, mac) && vnet.InterfaceID(a) < smallHost {
		return vnet.HowFixed
	}
	return vnet.HowSLAAC
}

// isTemporary guesses whether a SLAAC address is one of RFC 8981. On the wire
// it looks like a stable one of RFC 7217, so: a guest that makes its stable
// addresses of its MAC has no other random ones; and of a guest with random
// ones the first in each prefix is taken for the stable one.
func (e *Engine) isTemporary(x *entry) bool {
	if ipam.IsEUI64(x.addr, x.holder.MAC) {
		return false
	}
	l := e.link(x.holder.Link)
	if l.eui64 {
		return true
	}
	mine, err := x.addr.Prefix(64)
	if err != nil {
		return false
	}
	for y := range l.entries {
		if y != x && y.state == Held && !y.temporary && y.network == x.network && y.holder.MAC == x.holder.MAC &&
			mine.Contains(y.addr) && vnet.InterfaceID(y.addr) >= smallHost {
			return true
		}
	}
	return false
}
