package dhcp4

import (
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// discover offers an address (RFC 2131 section 4.3.1).
func (e *engine) discover(r *request, now time.Time) dhcp.Effects {
	if g, ok := e.fixed(r); ok {
		if e.rapid(r) {
			return e.grant(r, g, now)
		}
		return dhcp.Effects{Send: e.reply(r, kindOffer, g, e.leaseTime(r, g.sub, now))}
	}
	if !e.admitted(r) {
		return dhcp.Effects{}
	}
	if token, ok := e.probing[r.client()]; ok { // it repeats itself
		e.probes[token].req = r.keep()
		return dhcp.Effects{}
	}
	g, ok := e.choose(r, now)
	switch {
	case !ok && e.v6Only(r) && e.home(r) != nil:
		// RFC 8925 section 3.3: nothing is left for who can do without.
		sub := e.home(r)
		return dhcp.Effects{Send: e.reply(r, kindOffer, grant{sub: sub}, e.leaseTime(r, sub, now))}
	case !ok:
		return dhcp.Effects{}
	}
	if e.unsure(r, g) {
		return e.probe(r, g, now)
	}
	return e.propose(r, g, now)
}

// propose offers a dynamic address or, where two messages are enough, claims
// it at once.
func (e *engine) propose(r *request, g grant, now time.Time) dhcp.Effects {
	if e.rapid(r) {
		return e.claim(r, g, now)
	}
	// Under a flood nothing is remembered: what is offered follows from the
	// client, and its request decides. Nor is it for who most likely will not
	// take it (RFC 8925 section 3.2).
	if en := e.Table().At(g.address); (en == nil || !e.Table().IsOf(en, r.client())) && e.Remembers(g.sub) && !e.v6Only(r) {
		e.offer(r, g, now)
	}
	return dhcp.Effects{Send: e.reply(r, kindOffer, g, e.leaseTime(r, g.sub, now))}
}

// offer keeps an address for the client for a short while.
func (e *engine) offer(r *request, g grant, now time.Time) {
	e.Offer(e.record(r, g, now), r.client(), now) // what it will be, so that it is kept once
}

// rapid reports whether the client gets its answer at once (RFC 4039).
func (e *engine) rapid(r *request) bool {
	policy := e.Service().DHCP.RapidCommit
	return r.kind == kindDiscover && r.opts.get(optRapidCommit) != nil && (policy == nil || *policy)
}

// v6Only reports whether the client can do without IPv4 and is to do so (RFC
// 8925).
func (e *engine) v6Only(r *request) bool {
	return e.Service().DHCP.V6Only != nil && r.asked.has(optV6Only) && r.kind != kindInform
}

// home is a subnet that the client is on, or nil.
func (e *engine) home(r *request) *plan.Subnet {
	for i := range e.Service().Subnets {
		if sub := &e.Service().Subnets[i]; !sub.Deprecated && e.reaches(r, sub) {
			return sub
		}
	}
	return nil
}

// maxProbes bounds the probes under way of one network, maxTries the addresses
// that are looked for in vain for one request.
const maxProbes, maxTries = 64, 4

// unsure reports whether somebody else may have the address: it is new to the
// client. Behind a relay nobody can be asked.
func (e *engine) unsure(r *request, g grant) bool {
	policy := e.Service().DHCP.Probe
	if policy != nil && !*policy || r.sub != nil || e.v6Only(r) || len(e.probes) >= maxProbes {
		return false
	}
	en := e.Table().At(g.address)
	return en == nil || !e.Table().IsOf(en, r.client())
}

// probe has the address looked for before it is offered (RFC 2131 section
// 2.2), and keeps it meanwhile.
func (e *engine) probe(r *request, g grant, now time.Time) dhcp.Effects {
	if e.Table().Offers() < lease.MaxOffers {
		e.offer(r, g, now)
	}
	token := e.nextToken()
	e.probes[token] = &pending{req: r.keep(), grant: grant{address: g.address}, lease: vnet.Lease{Subnet: g.sub.ID}}
	e.probing[r.client()] = token
	return dhcp.Effects{Probe: []dhcp.Probe{{Token: token, Address: g.address}}}
}

// Probed is told who answered for an address, and offers it or another one. The
// client itself may have it still, where its lease was lost here.
func (e *engine) Probed(p dhcp.Probe, by vnet.MAC, now time.Time) dhcp.Effects {
	w := e.probes[p.Token]
	if w == nil {
		return dhcp.Effects{}
	}
	r := w.req
	taken := !by.IsZero() && by != r.mac
	delete(e.probes, p.Token)
	delete(e.probing, r.client())
	if err := e.identify(r); err != nil {
		return dhcp.Effects{}
	}
	sub := e.Subnet(w.lease.Subnet)
	en := e.Table().At(p.Address)
	if taken && (en == nil || en.State != lease.Bound) {
		e.Avoid(p.Address, w.lease.Subnet, now)
		if r.tries++; r.tries >= maxTries {
			return dhcp.Effects{} // the client asks again
		}
	}
	if taken || sub == nil || !e.reaches(r, sub) || !e.Usable(sub, p.Address) || en != nil && !e.Table().IsOf(en, r.client()) {
		return e.discover(r, now)
	}
	return e.propose(r, grant{p.Address, sub}, now)
}
