package agent

import (
	"math/rand/v2"
	"slices"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// spanParts is into how many parts a range is cut, spanLeast the size of
	// ranges that are cut at all: in smaller ones every address counts, and the
	// store is asked for each.
	spanParts = 64
	spanLeast = 1024
)

// rangesOf are the ranges of a network that are cut into parts which hosts
// hold: those of which guests without a port are given addresses.
func rangesOf(svc *plan.Service) []vnet.Range {
	if svc.Admit != vnet.AdmitAny {
		return nil
	}
	var out []vnet.Range
	for i := range svc.Subnets {
		if sub := &svc.Subnets[i]; gives(sub) {
			out = append(out, largeOf(sub)...)
		}
	}
	return out
}

// gives reports whether a subnet gives new addresses by DHCP.
func gives(s *plan.Subnet) bool {
	if s.Deprecated || s.Retired || s.Delegate > 0 {
		return false
	}
	switch s.Guests {
	case vnet.GuestsDHCP, vnet.GuestsStateful, vnet.GuestsSLAACStateful:
		return true
	}
	return false
}

// largeOf are a subnet's ranges if all of them are large.
func largeOf(s *plan.Subnet) []vnet.Range {
	ranges := s.Ranges
	if len(ranges) == 0 {
		ranges = []vnet.Range{ipam.RangeOf(s.Prefix)}
	}
	if slices.ContainsFunc(ranges, func(r vnet.Range) bool { return ipam.Size(r) < spanLeast }) {
		return nil
	}
	return ranges
}

// chooseParts returns what a host is to hold of ranges: what it has, and half of
// what nobody has, so that there is something left for others; with more, half
// of the rest again.
func chooseParts(ranges []vnet.Range, held map[string][]vnet.Range, host string, more bool) []vnet.Range {
	var mine, free []vnet.Range
	for _, r := range ranges {
		for _, b := range ipam.Blocks(r, spanParts) {
			meets := func(x vnet.Range) bool { return ipam.Meet(x, b) }
			taken := false
			for other, theirs := range held {
				taken = taken || other != host && slices.ContainsFunc(theirs, meets)
			}
			switch {
			case taken:
			case slices.ContainsFunc(held[host], func(x vnet.Range) bool { return x.Contains(b.First) && x.Contains(b.Last) }):
				mine = append(mine, b)
			default:
				free = append(free, b)
			}
		}
	}
	if len(mine) == 0 || more {
		rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		mine = append(mine, free[:(len(free)+1)/2]...)
	}
	return ipam.Merge(mine)
}

// hold asks for a part of a network's ranges, if it has large ones, or for more
// of them.
func (a *Agent) hold(network vnet.ID) {
	f := a.union.fragments[vnet.Ref{Kind: vnet.KindNetwork, ID: network}]
	if f == nil || f.Service == nil || a.holding[network] {
		return
	}
	ranges := rangesOf(f.Service)
	if len(ranges) == 0 {
		return
	}
	a.holding[network] = true
	ctx, more := a.ctx, len(a.index.heldOf(network)) > 0
	go func() {
		held, err := a.cfg.Store.Hold(ctx, a.cfg.Host, network, func(held map[string][]vnet.Range) []vnet.Range {
			return chooseParts(ranges, held, a.cfg.Host, more)
		})
		a.do(func() {
			delete(a.holding, network)
			if err != nil {
				a.log.Info("no part of the ranges is ours", "network", network, "error", err)
				return
			}
			a.index.setHeld(network, held)
			if f := a.union.fragments[vnet.Ref{Kind: vnet.KindNetwork, ID: network}]; f != nil && f.Service != nil {
				a.serve(f.Service)
			}
		})
	}()
}

// serve tells the servers of a network, and which part of its ranges is this
// host's.
func (a *Agent) serve(svc *plan.Service) {
	var known []*pack.Lease
	if a.srv.services[svc.Network] == nil {
		known = a.leasesOf(svc.Network)
	}
	a.srv.setService(svc.Network, withHeld(svc, a.index.heldOf(svc.Network)), known)
}

// withHeld is the service with what is held of its large ranges; svc itself if
// nothing is.
func withHeld(svc *plan.Service, held []vnet.Range) *plan.Service {
	if len(held) == 0 {
		return svc
	}
	c := *svc
	c.Subnets = slices.Clone(svc.Subnets)
	for i := range c.Subnets {
		sub := &c.Subnets[i]
		if !gives(sub) {
			continue
		}
		for _, r := range largeOf(sub) {
			for _, h := range held {
				if ipam.Meet(r, h) {
					sub.Held = append(sub.Held, h)
				}
			}
		}
	}
	return &c
}

// leasesOf are a network's leases, those that the store does not know yet last.
func (a *Agent) leasesOf(network vnet.ID) []*pack.Lease {
	all := a.snap.LeasesOf(network)
	for _, l := range a.claim.owed.of(network) {
		all = append(all, pack.Of(&l))
	}
	return all
}

// lost takes a lease back that the store refused: its port or subnet is gone, or
// somebody wrote the address down for a port in the same moment. The guest
// learns so when it renews. It is called from any goroutine.
func (a *Agent) lost(l vnet.Lease, err error) {
	if isLearnt(l.How) {
		a.do(func() { a.unlearn(&l, err) })
		return
	}
	a.log.Warn("a lease that was given is taken back", "address", l.Address, "network", l.Network, "guest", l.MAC, "error", err)
	a.do(func() {
		if vnet.Is(err, vnet.ErrExists) {
			a.event(vnet.Ref{Kind: vnet.KindNetwork, ID: l.Network}, "problem", "%v was given to %v while %v: the guest gets another one when it renews", l.Address, l.MAC, err)
		}
		a.srv.leaseGone(pack.Of(&l))
		a.retract(leaseKey{l.Network, l.Address}, l.ID)
		a.claim.forget(pack.Of(&l))
	})
}
