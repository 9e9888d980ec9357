package dhcp4

import (
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// request answers REQUEST in its four kinds (RFC 2131 section 4.3.2).
func (e *engine) request(r *request, now time.Time) dhcp.Effects {
	selecting := r.server.IsValid()
	renewing := !selecting && r.ciaddr.IsValid()
	address := r.requested
	if renewing {
		address = r.ciaddr
	}
	if e.another(r) {
		e.dropOffers(r)
		return dhcp.Effects{}
	}
	if !address.IsValid() || !e.Active() {
		return dhcp.Effects{}
	}
	if g, ok := e.fixed(r); ok {
		if g.address != address {
			return e.refuse(r, g.sub)
		}
		return e.grant(r, g, now)
	}
	if !e.admitted(r) {
		return dhcp.Effects{}
	}
	sub := e.SubnetOf(address)
	if sub == nil || !e.reaches(r, sub) || sub.Deprecated {
		return e.refuse(r, nil)
	}
	if !e.Usable(sub, address) {
		return e.refuse(r, sub)
	}
	e.adopt(r)
	e.reclaim(r, address)
	own := e.Table().Find(r.client(), sub.ID)
	switch {
	case own != nil && own.Address() == address:
		if own.State != lease.Idle {
			return e.claim(r, grant{address, sub}, now)
		}
	case own != nil || e.Table().At(address) != nil: // it has another one, or somebody else has this
		return e.refuse(r, sub)
	case !selecting && !renewing:
		// INIT-REBOOT without a record: "it MUST remain silent".
		return dhcp.Effects{}
	}
	g, ok := e.takes(r, sub, address, now)
	if !ok {
		return e.refuse(r, sub)
	}
	return e.claim(r, g, now)
}

// grant gives a client the address that is kept for it.
func (e *engine) grant(r *request, g grant, now time.Time) dhcp.Effects {
	d := e.leaseTime(r, g.sub, now)
	return dhcp.Effects{
		Send:    e.reply(r, kindAck, g, d),
		Granted: []vnet.Lease{e.record(r, g, now.Add(d))},
	}
}

// dropOffers forgets what was offered to a client that chose another server.
func (e *engine) dropOffers(r *request) {
	for i := range e.Service().Subnets {
		if en := e.Table().Find(r.client(), e.Service().Subnets[i].ID); en != nil && en.State == lease.Offered {
			e.Table().Release(en)
		}
	}
}

// claim asks for a dynamic lease to become durable. A client that repeats
// itself meanwhile gets one answer, to what it sent last.
func (e *engine) claim(r *request, g grant, now time.Time) dhcp.Effects {
	d := e.leaseTime(r, g.sub, now)
	if token, ok := e.waiting[r.client()]; ok {
		if p := e.pending[token]; p.lease.Address == g.address {
			p.req = r.keep()
			return dhcp.Effects{}
		}
	}
	if len(e.pending) >= lease.MaxPending {
		return dhcp.Effects{}
	}
	if en := e.Table().At(g.address); en == nil || en.State != lease.Bound {
		e.offer(r, g, now)
	}
	return e.ask(&pending{req: r.keep(), lease: e.record(r, g, now.Add(d)), time: d})
}

// ask registers a claim.
func (e *engine) ask(p *pending) dhcp.Effects {
	token := e.nextToken()
	e.pending[token] = p
	e.most = max(e.most, len(e.pending))
	if !p.quiet {
		e.waiting[p.req.client()] = token
	}
	return dhcp.Effects{Claim: []dhcp.Claim{{Token: token, Lease: p.lease}}}
}

// Committed is told how a claim went, and answers the client.
func (e *engine) Committed(c dhcp.Claim, err error, now time.Time) dhcp.Effects {
	p := e.pending[c.Token]
	if p == nil {
		return dhcp.Effects{}
	}
	r := p.req
	delete(e.pending, c.Token)
	if e.waiting[r.client()] == c.Token {
		delete(e.waiting, r.client())
	}
	if len(e.pending) == 0 && e.most > lease.MaxPending/64 { // a map never shrinks
		e.pending, e.waiting, e.most = make(map[uint64]*pending), make(map[string]uint64), 0
	}
	if p.quiet {
		return dhcp.Effects{}
	}
	gone := e.identify(r) // its port or its relay may be others now
	sub := e.Subnet(p.lease.Subnet)
	switch {
	case vnet.Is(err, vnet.ErrExists):
		e.Avoid(p.lease.Address, p.lease.Subnet, now)
		if r.kind != kindDiscover {
			return e.refuse(r, sub)
		}
		if r.tries++; r.tries >= maxTries {
			return dhcp.Effects{}
		}
		return e.discover(r, now)
	case err != nil:
		return dhcp.Effects{} // the client asks again
	case gone != nil || sub == nil || !e.reaches(r, sub) || !e.Usable(sub, p.lease.Address):
		out := e.refuse(r, sub)
		out.Release = []vnet.Lease{p.lease}
		return out
	}
	e.Bind(p.lease, r.client())
	return dhcp.Effects{Send: e.reply(r, kindAck, grant{p.lease.Address, sub}, p.time)}
}

// leaseTime is how long the client may keep an address of the subnet.
func (e *engine) leaseTime(r *request, sub *plan.Subnet, now time.Time) time.Duration {
	limit := e.Service().LeaseTime
	if limit <= 0 {
		limit = lease.DefaultTime
	}
	limit = max(limit, lease.MinTime)
	if !sub.ValidUntil.IsZero() {
		limit = max(lease.MinTime, min(limit, sub.ValidUntil.Sub(now)))
	}
	return r.leaseTime(limit).Truncate(time.Second)
}

// record is the lease that a grant makes.
func (e *engine) record(r *request, g grant, expires time.Time) vnet.Lease {
	l := e.Lease(g.address, g.sub.ID, expires)
	l.Port, l.MAC, l.Client, l.Hostname = r.port(), r.mac, r.clientID(), r.hostname()
	if d, iaid, ok := duid(r.opts.get(optClient)); ok {
		l.DUID, l.IAID = d.String(), iaid
	}
	return l
}

// refuse sends a NAK. To who only discovered there is nothing to refuse.
func (e *engine) refuse(r *request, sub *plan.Subnet) dhcp.Effects {
	if r.kind != kindRequest {
		return dhcp.Effects{}
	}
	return dhcp.Effects{Send: e.reply(r, kindNak, grant{sub: sub}, 0)}
}
