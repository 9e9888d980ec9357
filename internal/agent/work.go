package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// work is one pass: ask the ladder, plan what changed, make the kernel and the
// servers fit, report. With full, everything is compared with the kernel; what
// nobody wishes goes only once the store has spoken: the kept snapshot may be
// older than what guests have.
func (a *Agent) work(ctx context.Context, full bool) {
	if a.resting {
		a.reportResting()
		return
	}
	if !a.settled {
		return // without a word from the store, an empty plan would prune everything
	}
	start := time.Now()
	if a.wishes {
		a.wishes = false
		a.tendShares(ctx)
		a.takeFacts()
	}
	if a.climb {
		a.climb = false
		a.askLadder(ctx)
		a.askTranslator()
	}
	a.markPolicies()
	climbed := time.Since(start)
	if len(a.dirty) == 0 && len(a.changed) == 0 && len(a.zones) == 0 && !full {
		return
	}
	owners := slices.Collect(maps.Keys(a.dirty))
	clear(a.dirty)
	c := newChange()
	for _, r := range owners {
		a.union.set(a.fragment(r), c)
	}
	planned := time.Since(start)
	// Networks that end are withdrawn while their links are still there.
	a.endServices(owners)
	before := a.failed
	a.apply(ctx, c, full)
	a.runTranslator()
	applied := time.Since(start)
	if a.startServices(owners) && a.cfg.Foreign != nil && a.cfg.Now().After(a.lookAt) {
		// Whoever waits for a new network is told what is in its way.
		a.lookForeign(ctx, a.cfg.Now())
	}
	a.proxyUplinks()
	a.proxyGuests(owners)
	a.tendWires()
	a.tellServers()
	a.report(owners, before)
	a.log.Debug("pass", "owners", len(owners), "put", len(c.put), "del", len(c.del), "full", full,
		"ladder", climbed, "plan", planned-climbed, "kernel", applied-planned, "rest", time.Since(start)-applied)
}

// apply makes the kernel fit.
func (a *Agent) apply(ctx context.Context, c *change, full bool) {
	defer a.cfg.Finder.Own()()
	var made []plan.Key
	switch {
	case full:
		a.cfg.Kernel.Want(a.union.items())
		res, err := a.cfg.Kernel.Resync(ctx, a.spoken)
		if err != nil {
			a.log.Warn("the kernel does not say what it has", "error", err)
		}
		made = res.Put
		a.tellMended(append(res.Put, res.Deleted...), c)
	case len(c.put)+len(c.del) > 0:
		made = a.cfg.Kernel.Reconcile(ctx, slices.Collect(maps.Values(c.put)), slices.Collect(maps.Keys(c.del))).Put
	}
	a.failed = a.cfg.Kernel.Errors()
	a.watchRouters(ctx, made)
}

// endServices ends what the owners no longer have.
func (a *Agent) endServices(owners []vnet.Ref) {
	for _, r := range owners {
		f := a.union.fragments[r]
		switch r.Kind {
		case vnet.KindPort:
			if f == nil || f.Guest == nil {
				a.srv.setGuest(r.ID, nil)
				a.ears.portGone(r.ID)
				a.index.setGuest(r.ID, nil)
				a.index.setSpace(r.ID, "")
			}
		case vnet.KindNetwork:
			if f == nil || f.Service == nil {
				a.srv.setService(r.ID, nil, nil)
				a.ears.networkGone(r.ID)
				a.index.setNetwork(r.ID, nil)
				a.index.setHeld(r.ID, nil)
			}
		}
	}
}

// startServices begins or changes what the owners have; it reports whether a
// network is new.
func (a *Agent) startServices(owners []vnet.Ref) (fresh bool) {
	for _, r := range owners {
		f := a.union.fragments[r]
		if f == nil {
			continue
		}
		if f.Service != nil {
			fresh = fresh || a.srv.services[r.ID] == nil
			a.index.setNetwork(r.ID, f.Service.Subnets)
			a.serve(f.Service)
			a.ears.network(onLink(f.Service))
			a.zones[r.ID] = true
		}
	}
	for _, r := range owners {
		if f := a.union.fragments[r]; f != nil && f.Guest != nil {
			a.index.setGuest(r.ID, f.Guest)
			a.index.setSpace(r.ID, a.spaceOf(r.ID))
			a.srv.setGuest(r.ID, f.Guest)
			a.ears.port(f.Guest)
			a.zones[f.Guest.Network] = true
		}
	}
	return fresh
}

// onLink is the service without the subnets that guests are given prefixes
// from: nothing that is heard on the link is of them.
func onLink(svc *plan.Service) *plan.Service {
	delegates := func(s plan.Subnet) bool { return s.Delegate > 0 }
	if !slices.ContainsFunc(svc.Subnets, delegates) {
		return svc
	}
	c := *svc
	c.Subnets = slices.DeleteFunc(slices.Clone(svc.Subnets), delegates)
	return &c
}

// spaceOf is the namespace that a port of this host is plugged into.
func (a *Agent) spaceOf(port vnet.ID) string {
	if p := a.snap.Ports[port]; p != nil && p.Binding != nil && p.Binding.Host == a.cfg.Host {
		return p.Binding.Netns
	}
	return ""
}

// tellServers brings names and reservations up to date.
func (a *Agent) tellServers() {
	for id, more := range a.zones {
		svc := a.srv.services[id]
		if svc == nil {
			continue
		}
		if more {
			a.srv.setReservations(id, a.reservationsOf(id))
		}
		begun := time.Now()
		if a.late.hold(id, begun, func() { a.do(func() { a.renamed(id) }) }) {
			continue
		}
		a.srv.setZone(zoneOf(svc, a.guestsOf(id), a.snap.LeasesOf(id), a.cfg.Now()))
		a.late.took(id, begun, time.Now())
	}
	clear(a.zones)
}

// renamed marks a network of which nothing but names changed.
func (a *Agent) renamed(network vnet.ID) {
	if _, marked := a.zones[network]; !marked {
		a.zones[network] = false
	}
}

// guestsOf lists what is known of a network's ports.
func (a *Agent) guestsOf(network vnet.ID) []*plan.Guest {
	var guests []*plan.Guest
	for _, p := range a.snap.PortsOf(network) {
		if f := a.union.fragments[vnet.RefOf(p)]; f != nil && f.Guest != nil {
			guests = append(guests, f.Guest)
		}
	}
	return guests
}

// reservationsOf completes a network's reservations in the prefixes of the
// moment.
func (a *Agent) reservationsOf(network vnet.ID) []vnet.Reservation {
	var out []vnet.Reservation
	for _, r := range a.snap.ReservationsOf(network) {
		for _, g := range plan.Completed(a.snap, r.Fixed) {
			c := *r
			c.Address = g.Address
			if !g.Deprecated {
				out = append(out, c)
			}
		}
	}
	return out
}

// report says how each object that changed, or whose kernel items failed or
// recovered, is now.
func (a *Agent) report(owners []vnet.Ref, before map[plan.Key]error) {
	refs := map[vnet.Ref]bool{}
	for r := range a.changed {
		refs[r] = true
	}
	for _, r := range owners {
		refs[r] = true
	}
	for _, owners := range a.union.ownersOf(differing(before, a.failed)) {
		for _, r := range owners {
			if r.Kind == vnet.KindLease {
				if l := a.snap.Lease(r.ID); l != nil {
					r = vnet.Ref{Kind: vnet.KindNetwork, ID: l.Network()} // which reports for it
				}
			}
			refs[r] = true
		}
	}
	clear(a.changed)
	a.troubles = a.problems()
	for r := range refs {
		if s := a.statusOf(r); s != nil {
			a.saidPolicy(s)
			a.rep.status(s)
		}
	}
}

// differing lists the items of which two states of the kernel's errors say
// different things.
func differing(a, b map[plan.Key]error) map[plan.Key]bool {
	out := map[plan.Key]bool{}
	for _, m := range [][2]map[plan.Key]error{{a, b}, {b, a}} {
		for k, err := range m[0] {
			if other := m[1][k]; other == nil || other.Error() != err.Error() {
				out[k] = true
			}
		}
	}
	return out
}

// statusOf is what there is to say of an object, nil for kinds that have no
// status.
func (a *Agent) statusOf(r vnet.Ref) *vnet.Status {
	s := &vnet.Status{Target: r, Host: a.cfg.Host, Applied: a.snap.Revision, State: vnet.StateStopped}
	switch r.Kind {
	case vnet.KindNetwork:
		a.networkStatus(s)
	case vnet.KindPort:
		a.portStatus(s)
	case vnet.KindRouter:
		if f := a.union.fragments[r]; f != nil {
			s.State = vnet.StateRunning
			s.Problems = f.Problems
		}
	case vnet.KindSubnet, vnet.KindReservation:
		if a.snap.Get(r) != nil {
			s.State = vnet.StateRunning
		}
	case vnet.KindUplink:
		a.policyStatus(s)
	default:
		return nil
	}
	s.Problems = append(slices.Clone(s.Problems), a.kernelProblems(r)...)
	if len(s.Problems) > 0 && s.State == vnet.StateRunning {
		s.State = vnet.StateDegraded
		if a.crippled(r) {
			s.State = vnet.StateFailed
		}
	}
	return s
}

// networkStatus fills in what the ladder chose and what is in the way.
func (a *Agent) networkStatus(s *vnet.Status) {
	f := a.union.fragments[s.Target]
	n := a.snap.Networks[s.Target.ID]
	if f == nil || n == nil || n.Deleting != nil || !a.snap.Started(n.ID) {
		return
	}
	s.State = vnet.StateRunning
	if f.Waiting {
		s.State = vnet.StatePending
	}
	s.Rung4, s.Rung6, s.Why4, s.Why6 = f.Rung4, f.Rung6, f.Why4, f.Why6
	s.Problems = append(s.Problems, f.Problems...)
	s.Problems = append(s.Problems, a.troubles[s.Target.ID]...)
	s.Bridge = plan.BridgeOf(a.facts, n)
	if f.Service != nil {
		s.MTU = f.Service.MTU
		for _, sub := range f.Service.Subnets {
			if sub.Gateway.IsValid() && !sub.Deprecated {
				s.Prefixes = append(s.Prefixes, prefixAt(sub.Gateway, sub.Prefix))
			} else if sub.OffLink && !sub.Deprecated {
				s.Prefixes = append(s.Prefixes, sub.Prefix) // we have no address in it
			}
		}
	}
	if len(f.Items) == 0 && len(f.Problems) > 0 {
		s.State = vnet.StateFailed // on somebody else's bridge nothing of ours may be needed
	}
	s.Problems = append(s.Problems, a.foreign...)
	if len(a.failed) > 0 {
		for _, l := range a.snap.LeasesPlanned(n.ID) {
			s.Problems = append(s.Problems, a.kernelProblems(l)...)
		}
	}
}

func (a *Agent) portStatus(s *vnet.Status) {
	f := a.union.fragments[s.Target]
	p := a.snap.Ports[s.Target.ID]
	if f == nil || f.Guest == nil || p == nil || p.Binding == nil || p.Binding.Host != a.cfg.Host {
		return // its guest is known to the servers, but is not here
	}
	s.State, s.Device = vnet.StateRunning, f.Guest.Device
	if l, ok := a.facts.Links[s.Device]; ok {
		s.Live = l.Carrier
	}
}

// crippled reports whether the kernel refused what the owner cannot be without:
// of a port anything, of a network and a router the bridge or the namespace,
// and the rules, without which its guests would be open to everybody.
func (a *Agent) crippled(r vnet.Ref) bool {
	f := a.union.fragments[r]
	if f == nil || len(a.failed) == 0 {
		return false
	}
	for _, i := range f.Items {
		if a.failed[i.Key()] == nil {
			continue
		}
		switch i.Stage() {
		case plan.StageNetns, plan.StageBridge, plan.StageFilter:
			return true
		}
		if r.Kind == vnet.KindPort {
			return true
		}
	}
	return false
}

// kernelProblems are the owner's items that the kernel refused.
func (a *Agent) kernelProblems(r vnet.Ref) []vnet.Problem {
	f := a.union.fragments[r]
	if f == nil || len(a.failed) == 0 {
		return nil
	}
	var out []vnet.Problem
	seen := map[string]bool{}
	for _, i := range f.Items {
		err := a.failed[i.Key()]
		if err == nil || seen[err.Error()] {
			continue
		}
		seen[err.Error()] = true
		p := vnet.Problem{Kind: kindOr(err, vnet.ErrHost), Msg: err.Error()}
		var e *vnet.Error
		if errors.As(err, &e) && e.Hint != "" {
			p.Msg, p.Hint = strings.TrimSuffix(p.Msg, "; "+e.Hint), e.Hint
		}
		out = append(out, p)
	}
	return out
}

// kindOr is the kind of an error of ours, or the kind for others.
func kindOr(err error, other vnet.ErrKind) vnet.ErrKind {
	if k := vnet.KindOf(err); k != vnet.ErrInternal {
		return k
	}
	return other
}

// tellMended makes an event of what somebody else had changed, but not of what
// this pass planned anew.
func (a *Agent) tellMended(mended []plan.Key, c *change) {
	keys := map[plan.Key]bool{}
	for _, k := range mended {
		if c.put[k] == nil && c.del[k] == nil {
			keys[k] = true
		}
	}
	nets := map[vnet.Ref]int{}
	for _, owners := range a.union.ownersOf(keys) {
		for _, r := range owners {
			nets[r]++
		}
	}
	for r, n := range nets {
		a.event(r, "mended", "%d of its kernel objects had been changed by somebody else and were put back", n)
	}
}
