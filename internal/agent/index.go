package agent

import (
	"net/netip"
	"sync"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// index answers, to any goroutine, what the loop knows of addresses and
// namespaces: which subnet an address lies in, which port owns it, which
// namespaces have guests.
type index struct {
	mu      sync.RWMutex
	subnets map[vnet.ID][]plan.Subnet
	owners  map[leaseKey]vnet.ID
	guests  map[vnet.ID][]leaseKey
	spaces  map[vnet.ID]string       // the namespace of each plugged port
	held    map[vnet.ID][]vnet.Range // of each network, in order: what this host gives by itself
}

func newIndex() *index {
	return &index{subnets: map[vnet.ID][]plan.Subnet{}, owners: map[leaseKey]vnet.ID{}, guests: map[vnet.ID][]leaseKey{}, spaces: map[vnet.ID]string{}, held: map[vnet.ID][]vnet.Range{}}
}

func (x *index) setNetwork(id vnet.ID, subnets []plan.Subnet) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if subnets == nil {
		delete(x.subnets, id)
		return
	}
	x.subnets[id] = subnets
}

// setGuest replaces what a port owns; nil: nothing any more.
func (x *index) setGuest(port vnet.ID, g *plan.Guest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range x.guests[port] {
		delete(x.owners, k)
	}
	delete(x.guests, port)
	if g == nil {
		return
	}
	for _, a := range g.Addresses {
		k := leaseKey{g.Network, a.Address}
		x.owners[k] = port
		x.guests[port] = append(x.guests[port], k)
	}
}

// subnetOf returns the subnet in service that holds an address.
func (x *index) subnetOf(network vnet.ID, a netip.Addr) (plan.Subnet, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, s := range x.subnets[network] {
		if s.Prefix.Contains(a) {
			return s, true
		}
	}
	return plan.Subnet{}, false
}

// shared reports whether an address is in a prefix that the network shares with
// an uplink.
func (x *index) shared(network vnet.ID, a netip.Addr) bool {
	if a.Is4() {
		return false
	}
	sub, ok := x.subnetOf(network, a)
	return ok && sub.OffLink
}

// ownerOf returns the port that owns an address, "" if none does.
func (x *index) ownerOf(network vnet.ID, a netip.Addr) vnet.ID {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.owners[leaseKey{network, a}]
}

// setSpace says in which namespace a port's guest is; "": in none.
func (x *index) setSpace(port vnet.ID, ns string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ns == "" {
		delete(x.spaces, port)
		return
	}
	x.spaces[port] = ns
}

// names reports whether a guest is in the namespace, or is to be once it comes.
func (x *index) names(ns string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, s := range x.spaces {
		if s == ns {
			return true
		}
	}
	return false
}

// setHeld says which ranges of a network this host gives by itself.
func (x *index) setHeld(network vnet.ID, ranges []vnet.Range) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(ranges) == 0 {
		delete(x.held, network)
		return
	}
	x.held[network] = ranges
}

// heldOf returns them.
func (x *index) heldOf(network vnet.ID) []vnet.Range {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.held[network]
}

// holds reports whether an address is in one of them.
func (x *index) holds(network vnet.ID, a netip.Addr) bool {
	for _, r := range x.heldOf(network) {
		if r.Contains(a) {
			return true
		}
	}
	return false
}
