package plan

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// retired returns the prefixes that were taken away from the network by hand,
// as guests go on seeing them until their deadline (RFC 9096 section 3.5):
// deprecated, and with our old address in them, so that what guests began
// goes on. One that overlaps a prefix in use has a new owner and is gone at
// once. Those past their deadline are the agent's to take out of the snapshot:
// a plan has no clock.
func (p *networkPlan) retired(active []Subnet) []Subnet {
	if m := p.mode[vnet.IPv6]; len(p.n.Retired) == 0 || m == vnet.EgressNone || m == vnet.EgressLinkLocal {
		return nil
	}
	var out []Subnet
	for _, r := range p.n.Retired {
		taken := slices.ContainsFunc(active, func(s Subnet) bool { return s.Prefix.Overlaps(r.Prefix) }) ||
			slices.ContainsFunc(out, func(s Subnet) bool { return s.Prefix.Overlaps(r.Prefix) }) || p.s.inUse(p.n, r)
		if taken {
			continue
		}
		since := r.Since
		if since.IsZero() {
			since = longAgo
		}
		out = append(out, Subnet{
			ID: r.Subnet, Family: vnet.IPv6, Prefix: r.Prefix, Gateway: r.Gateway, Guests: r.Guests, Delegate: r.Delegate,
			Advertise: r.Advertise, Deprecated: true, Retired: true, PreferredUntil: since, ValidUntil: r.Until,
		})
	}
	return out
}

// longAgo is a time that has passed.
var longAgo = time.Unix(0, 0).UTC()

// inUse reports whether another network that runs here has a prefix that
// overlaps the retired one of n, in the same address scope.
func (s *Snapshot) inUse(n *vnet.Network, r vnet.RetiredPrefix) bool {
	other := func(id vnet.ID) bool {
		o := s.Networks[id]
		return o != nil && o.ID != n.ID && o.Router == n.Router && s.Started(id)
	}
	for _, sub := range s.Subnets {
		if sub.Prefix.IsValid() && sub.Prefix.Overlaps(r.Prefix) && other(sub.Network) {
			return true
		}
	}
	for _, a := range s.Assignments {
		if a.Prefix.Overlaps(r.Prefix) && a.Host == s.Host && a.State == vnet.PrefixActive && other(a.Network) {
			return true
		}
	}
	// Of two that gave the prefix up, the later one has it.
	for id := range s.retiring {
		later := func(o vnet.RetiredPrefix) bool {
			return o.Prefix.Overlaps(r.Prefix) && (o.Until.After(r.Until) || o.Until.Equal(r.Until) && id < n.ID)
		}
		if other(id) && slices.ContainsFunc(s.Networks[id].Retired, later) {
			return true
		}
	}
	return false
}

// retiringBeside lists the other networks with a retired prefix that overlaps
// one of the network's: they must look again whether they may keep it.
func (s *Snapshot) retiringBeside(network vnet.ID) []vnet.Ref {
	if len(s.retiring) == 0 {
		return nil
	}
	var out []vnet.Ref
	for id := range s.retiring {
		if id == network {
			continue
		}
		beside := slices.ContainsFunc(s.Networks[id].Retired, func(r vnet.RetiredPrefix) bool {
			for _, sub := range s.SubnetsOf(network) {
				if sub.Prefix.IsValid() && sub.Prefix.Overlaps(r.Prefix) {
					return true
				}
				if slices.ContainsFunc(s.AssignmentsOf(sub.ID), func(a *vnet.PrefixAssignment) bool { return a.Prefix.Overlaps(r.Prefix) }) {
					return true
				}
			}
			return false
		})
		if beside {
			out = append(out, vnet.Ref{Kind: vnet.KindNetwork, ID: id})
		}
	}
	return out
}

// Retiring lists the networks that have retired prefixes.
func (s *Snapshot) Retiring() []*vnet.Network {
	out := make([]*vnet.Network, 0, len(s.retiring))
	for id := range s.retiring {
		out = append(out, s.Networks[id])
	}
	return out
}
