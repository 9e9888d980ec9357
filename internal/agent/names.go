package agent

import (
	"hash/maphash"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// setZone tells the name server a network's names.
func (s *servers) setZone(z dns.Zone) {
	now := toldZone{z, sumOf(z.Records)}
	now.zone.Records = nil
	if old, ok := s.zones[z.Network]; ok && old.records == now.records && reflect.DeepEqual(old.zone, now.zone) {
		return
	}
	s.zones[z.Network] = now
	s.dns.SetZone(z)
}

// toldZone is what the name server was last told of a network: of its records,
// of which there may be very many, only the sum.
type toldZone struct {
	zone    dns.Zone
	records uint64
}

var recordSeed = maphash.MakeSeed()

// sumOf is the same for the same records in the same order.
func sumOf(records []dns.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(recordSeed)
	for _, r := range records {
		maphash.WriteComparable(&h, r)
	}
	return h.Sum64()
}

// usedBy says which IPv6 addresses each port is known to use.
func usedBy(leases []*pack.Lease, now time.Time) map[vnet.ID]map[netip.Addr]bool {
	out := map[vnet.ID]map[netip.Addr]bool{}
	for _, l := range leases {
		port := l.Port()
		if port == "" || !l.Address().Is6() || l.Declined() || l.Temporary() || expired(l.Expires(), now) {
			continue
		}
		if out[port] == nil {
			out[port] = map[netip.Addr]bool{}
		}
		out[port][l.Address()] = true
	}
	return out
}

// publishes reports whether a port's own address is to be found by name. Where
// guests may make addresses of their own instead, one that the guest does not
// use must not be published once it is known what it does use.
func publishes(svc *plan.Service, g *plan.Guest, a plan.GuestAddress, used map[vnet.ID]map[netip.Addr]bool) bool {
	i := slices.IndexFunc(svc.Subnets, func(s plan.Subnet) bool { return s.ID == a.Subnet })
	if i < 0 || svc.Subnets[i].Guests != vnet.GuestsSLAACStateful {
		return true
	}
	return len(used[g.Port]) == 0 || used[g.Port][a.Address]
}

// zoneOf builds a network's names from its service, its ports and the leases
// of guests without one.
func zoneOf(svc *plan.Service, guests []*plan.Guest, leases []*pack.Lease, now time.Time) dns.Zone {
	z := dns.Zone{
		Network: svc.Network, Project: svc.Project, NS: svc.NS, Link: svc.Link, Domain: svc.Domain,
		Extra: svc.DNS.Records, Forwarders: svc.DNS.Forwarders, Upwards: svc.DNS.Upwards,
		DNS64: svc.DNS.DNS64, Only64: svc.DNS.Only64, Encrypted: svc.DNS.Encrypted,
	}
	for _, sub := range svc.Subnets {
		z.Prefixes = append(z.Prefixes, sub.Prefix)
		if svc.DNS.Serve && sub.Gateway.IsValid() {
			z.Listen = append(z.Listen, sub.Gateway)
		}
	}
	// Guests all of whose prefixes are an uplink's find us there.
	if own := linkLocal(svc.MAC); svc.DNS.Serve && slices.Contains(svc.DNS.Servers, own) {
		z.Listen = append(z.Listen, own)
	}
	named := map[vnet.ID]*plan.Guest{}
	used := usedBy(leases, now)
	for _, g := range guests {
		named[g.Port] = g
		for _, a := range g.Addresses {
			if !a.Deprecated && publishes(svc, g, a, used) {
				z.Records = append(z.Records, dns.Record{Name: g.Name, Address: a.Address, Port: g.Port, MAC: g.MAC, Managed: true})
			}
		}
	}
	// A guest without a port is known by the name it gave to DHCP, also at the
	// addresses that it was only seen to use.
	names := map[vnet.MAC]string{}
	for _, l := range leases {
		if l.Hostname() != "" && !l.MAC().IsZero() && l.Port() == "" {
			names[l.MAC()] = l.Hostname()
		}
	}
	going := func(a netip.Addr) bool {
		return slices.ContainsFunc(svc.Subnets, func(s plan.Subnet) bool { return s.Deprecated && s.Prefix.Contains(a) })
	}
	for _, l := range leases {
		if going(l.Address()) || l.Declined() || l.Temporary() || l.Length() != 0 || expired(l.Expires(), now) {
			continue // a delegated prefix is no address
		}
		r := dns.Record{Address: l.Address(), Port: l.Port(), MAC: l.MAC()}
		if g := named[r.Port]; r.Port != "" && g != nil {
			r.Name, r.Managed = g.Name, true
		} else if r.Name = l.Hostname(); r.Name == "" {
			r.Name = names[r.MAC]
		}
		if r.Name != "" {
			z.Records = append(z.Records, r)
		}
	}
	slices.SortStableFunc(z.Records, func(a, b dns.Record) int { return a.Address.Compare(b.Address) })
	return z
}
