package dhcp6

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
)

// solicit advertises addresses and prefixes, or gives them at once to a client
// that asks for rapid commit (RFC 9915 section 18.3.1).
func (e *engine) solicit(r *request, c *client, now time.Time) dhcp.Effects {
	answers := e.answersTo(r, c, now)
	if p := e.Service().DHCP.RapidCommit; r.rapid && (p == nil || *p) && slices.ContainsFunc(answers, func(a answer) bool { return len(a.gives) > 0 }) {
		return e.bind(r, c, answers, now)
	}
	for i := range answers {
		for j := range answers[i].gives {
			// Where nothing is remembered, what is advertised follows from the
			// client, and its request decides.
			if g := &answers[i].gives[j]; g.claim && e.Remembers(e.SubnetAt(g.subnet, g.address)) {
				e.offer(r, c, answers[i].ia, g, now)
			}
		}
	}
	return e.send(r, kindAdvertise, answers)
}

// request gives addresses and prefixes (RFC 9915 section 18.3.2).
func (e *engine) request(r *request, c *client, now time.Time) dhcp.Effects {
	answers := e.answersTo(r, c, now)
	for i := range answers {
		a := &answers[i]
		if !a.ia.prefixes && slices.ContainsFunc(a.ia.wishes, func(w wish) bool { return e.onLink(r, w.address) == nil }) {
			a.gives, a.status = a.gives[:0], statusNotOnLink
		}
	}
	return e.bind(r, c, answers, now)
}

// renew prolongs what is still the client's and takes back what is not (RFC
// 9915 sections 18.3.4 and 18.3.5).
func (e *engine) renew(r *request, c *client, now time.Time) dhcp.Effects {
	answers := e.answersTo(r, c, now)
	for i := range answers {
		a := &answers[i]
		bound := len(a.gives) > 0 || e.hasLease(r, c, a.ia)
		for _, w := range a.ia.wishes {
			if !a.has(w.address, w.length) {
				a.gives = append(a.gives, e.takeBack(r, c, a.ia, w, now))
				bound = bound || e.subnetFor(r, a.ia, w) == nil
			}
		}
		if !bound && !(c.has && c.iaid == a.ia.iaid && !a.ia.prefixes) {
			a.gives, a.status = a.gives[:0], statusNoBinding
		} else {
			a.settle()
		}
	}
	// A client whose addresses went all, while there are others for it, gets
	// these in the same answer.
	for i := range answers {
		a := &answers[i]
		if a.status == statusSuccess && !slices.ContainsFunc(a.gives, func(g give) bool { return g.preferred > 0 }) {
			n := len(a.gives)
			e.assign(r, c, a, now, true)
			slices.Reverse(a.gives[:n])
			slices.Reverse(a.gives[n:])
			slices.Reverse(a.gives)
		}
	}
	return e.bind(r, c, answers, now)
}

// subnetFor returns the subnet that something a client names in an IA is of, or
// nil.
func (e *engine) subnetFor(r *request, x *ia, w wish) *plan.Subnet {
	if !x.prefixes {
		return e.onLink(r, w.address)
	}
	for i := range e.Service().Subnets {
		if sub := &e.Service().Subnets[i]; e.Delegates(sub) && sub.Prefix.Contains(w.address) {
			return sub
		}
	}
	return nil
}

// takeBack returns what the client names and is not given: with what is left of
// it if it is the client's in a subnet that goes, else with no lifetime at all.
func (e *engine) takeBack(r *request, c *client, x *ia, w wish, now time.Time) give {
	g := give{address: w.address, length: w.length}
	sub := e.subnetFor(r, x, w)
	if sub == nil || !e.Serves(sub) && !e.Delegates(sub) {
		return g
	}
	en := e.Table().At(w.address)
	mine := !x.prefixes && c.has && c.iaid == x.iaid && slices.Contains(c.going, w.address)
	leased := en != nil && en.State == lease.Bound && en.Lease.Length() == w.length && e.Table().IsOf(en, c.name(r, x)) &&
		sub.Deprecated && !e.Owned(w.address)
	if !mine && !leased {
		return g
	}
	_, g.valid = e.lifetimes(sub, now)
	if !sub.Deprecated && mine { // only this address is going
		g.valid = 0
	}
	if leased {
		g.valid = max(0, min(g.valid, en.Until().Sub(now).Truncate(time.Second)))
	}
	return g
}

// confirm says whether the client's addresses fit this link (RFC 9915 section
// 18.3.3). Without an address there is nothing to say.
func (e *engine) confirm(r *request) dhcp.Effects {
	status, seen := uint16(statusSuccess), false
	for i := range r.ias {
		if r.ias[i].prefixes {
			continue
		}
		for _, w := range r.ias[i].wishes {
			seen = true
			if e.onLink(r, w.address) == nil {
				status = statusNotOnLink
			}
		}
	}
	if !seen {
		return dhcp.Effects{}
	}
	return e.sendStatus(r, status, nil)
}

// inform tells options to a client that wants no address (RFC 9915 section
// 18.3.6).
func (e *engine) inform(r *request) dhcp.Effects { return e.send(r, kindReply, nil) }

// release ends the leases that the client names (RFC 9915 section 18.3.7).
func (e *engine) release(r *request, c *client, now time.Time) dhcp.Effects {
	var out dhcp.Effects
	var answers []answer
	for i := range r.ias {
		x := &r.ias[i]
		found := false
		for _, w := range x.wishes {
			if !x.prefixes && (slices.Contains(c.kept, w.address) || slices.Contains(c.going, w.address)) {
				found = true
				if _, ok := e.grants[w.address]; ok && (c.guest == nil || c.port != "") {
					delete(e.grants, w.address)
					out.Release = append(out.Release, e.Lease(w.address, "", now))
				}
				continue
			}
			en := e.Table().At(w.address)
			if en == nil || en.State != lease.Bound || en.Lease.Length() != w.length || !e.Table().IsOf(en, c.name(r, x)) {
				continue
			}
			found = true
			out.Release = append(out.Release, e.End(en, now))
		}
		if !found {
			answers = append(answers, answer{ia: x, status: statusNoBinding})
		}
	}
	if h, ok := e.holds[c.port]; ok && h.duid == r.duid && r.has(false, h.iaid) {
		delete(e.holds, c.port)
	}
	out.Send = e.sendStatus(r, statusSuccess, answers).Send
	return out
}

// decline keeps back addresses that the client found in use elsewhere (RFC
// 9915 section 18.3.8). Prefixes cannot be declined.
func (e *engine) decline(r *request, c *client, now time.Time) dhcp.Effects {
	var out dhcp.Effects
	var answers []answer
	for i := range r.ias {
		x := &r.ias[i]
		found := false
		for _, w := range x.wishes {
			if x.prefixes {
				break
			}
			if slices.Contains(c.kept, w.address) || slices.Contains(c.going, w.address) {
				if found = true; c.guest == nil || c.port != "" {
					e.Conflict(w.address, now)
				}
				continue
			}
			en := e.Table().At(w.address)
			if en == nil || !e.Table().IsOf(en, c.name(r, x)) || len(e.pending) >= lease.MaxPending {
				continue
			}
			found = true
			e.token++
			e.pending[e.token] = &pending{quiet: true}
			out.Claim = append(out.Claim, dhcp.Claim{Token: e.token, Lease: e.Decline(en, now)})
		}
		if !found {
			answers = append(answers, answer{ia: x, status: statusNoBinding})
		}
	}
	out.Send = e.sendStatus(r, statusSuccess, answers).Send
	return out
}
