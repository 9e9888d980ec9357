package dhcp4

import (
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// discover offers an address (RFC 2131 section 4.3.1).
func (e *engine) discover(r *request, now time.Time) dhcp.Effects {
	if g, ok := e.fixed(r); ok {
		return dhcp.Effects{Send: e.give(r, dhcpv4.MessageTypeOffer, g, e.leaseTime(r, g.sub, now))}
	}
	if !e.Admits() {
		return dhcp.Effects{}
	}
	g, ok := e.choose(r, now)
	if !ok {
		return dhcp.Effects{}
	}
	// Under a flood nothing is remembered: what is offered follows from the
	// client, and its request decides.
	if en := e.Table().At(g.address); (en == nil || en.Client != r.client) && e.Table().Offers() < lease.MaxOffers {
		e.offer(r, g, now)
	}
	return dhcp.Effects{Send: e.give(r, dhcpv4.MessageTypeOffer, g, e.leaseTime(r, g.sub, now))}
}

// offer keeps an address for the client for a short while.
func (e *engine) offer(r *request, g grant, now time.Time) {
	e.Offer(vnet.Lease{Address: g.address, Subnet: g.sub.ID, MAC: r.mac, Client: r.id}, r.client, now)
}

// request answers REQUEST in its four kinds (RFC 2131 section 4.3.2).
func (e *engine) request(r *request, now time.Time) dhcp.Effects {
	selecting := r.server.IsValid()
	renewing := !selecting && r.ciaddr.IsValid()
	address := r.requested
	if renewing {
		address = r.ciaddr
	}
	if selecting && !e.isIdentifier(r.server) {
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
		d := e.leaseTime(r, g.sub, now)
		l := e.record(r, g, now.Add(d))
		return dhcp.Effects{Send: e.give(r, dhcpv4.MessageTypeAck, g, d), Granted: []vnet.Lease{l}}
	}
	if !e.Admits() {
		return dhcp.Effects{}
	}
	sub := e.SubnetOf(address)
	if sub == nil || !e.Serves(sub) || sub.Deprecated || !e.identifier(sub).IsValid() {
		return e.refuse(r, nil)
	}
	if !e.Usable(sub, address) {
		return e.refuse(r, sub)
	}
	if en := e.Table().Find(r.client, sub.ID); en != nil && en.Lease.Address == address {
		return e.claim(r, grant{address, sub, nil}, now)
	} else if en != nil {
		return e.refuse(r, sub)
	}
	if e.Table().At(address) != nil { // somebody else's
		return e.refuse(r, sub)
	}
	if !selecting && !renewing {
		// INIT-REBOOT without a record: "it MUST remain silent".
		return dhcp.Effects{}
	}
	return e.claim(r, grant{address, sub, nil}, now)
}

// dropOffers forgets what was offered to a client that chose another server.
func (e *engine) dropOffers(r *request) {
	for i := range e.Service().Subnets {
		if en := e.Table().Find(r.client, e.Service().Subnets[i].ID); en != nil && en.State == lease.Offered {
			e.Table().Remove(en)
		}
	}
}

// claim asks for a dynamic lease to become durable. A client that repeats
// itself meanwhile gets one answer, to what it sent last.
func (e *engine) claim(r *request, g grant, now time.Time) dhcp.Effects {
	d := e.leaseTime(r, g.sub, now)
	l := e.record(r, g, now.Add(d))
	if token, ok := e.waiting[r.client]; ok {
		if p := e.pending[token]; p.lease.Address == l.Address {
			p.req = r
			return dhcp.Effects{}
		}
	}
	if len(e.pending) >= lease.MaxPending {
		return dhcp.Effects{}
	}
	if en := e.Table().At(g.address); en == nil || en.State != lease.Bound {
		e.offer(r, g, now)
	}
	return e.ask(&pending{req: r, lease: l, time: d})
}

// ask registers a claim.
func (e *engine) ask(p *pending) dhcp.Effects {
	e.token++
	e.pending[e.token] = p
	if !p.quiet {
		e.waiting[p.req.client] = e.token
	}
	return dhcp.Effects{Claim: []dhcp.Claim{{Token: e.token, Lease: p.lease}}}
}

// Committed is told how a claim went, and answers the client.
func (e *engine) Committed(c dhcp.Claim, err error, now time.Time) dhcp.Effects {
	p := e.pending[c.Token]
	if p == nil {
		return dhcp.Effects{}
	}
	delete(e.pending, c.Token)
	if e.waiting[p.req.client] == c.Token {
		delete(e.waiting, p.req.client)
	}
	if p.quiet {
		return dhcp.Effects{}
	}
	sub := e.Subnet(p.lease.Subnet)
	switch {
	case vnet.Is(err, vnet.ErrExists):
		e.Avoid(p.lease.Address, p.lease.Subnet, now)
		return e.refuse(p.req, sub)
	case err != nil:
		return dhcp.Effects{} // the client asks again
	case sub == nil || !e.Usable(sub, p.lease.Address):
		out := e.refuse(p.req, sub)
		out.Release = []vnet.Lease{p.lease}
		return out
	}
	e.Bind(p.lease, p.req.client)
	g := grant{p.lease.Address, sub, nil}
	return dhcp.Effects{Send: e.give(p.req, dhcpv4.MessageTypeAck, g, p.time)}
}

// decline keeps an address back that the client found in use elsewhere (RFC
// 2131 section 4.3.3).
func (e *engine) decline(r *request, now time.Time) dhcp.Effects {
	a := r.requested
	if r.server.IsValid() && !e.isIdentifier(r.server) || !a.IsValid() {
		return dhcp.Effects{}
	}
	if g, ok := e.fixed(r); ok && g.address == a {
		e.Conflict(a, now)
		return dhcp.Effects{}
	}
	en := e.Table().At(a)
	if en == nil || en.Client != r.client || len(e.pending) >= lease.MaxPending {
		return dhcp.Effects{}
	}
	return e.ask(&pending{req: r, lease: e.Decline(en, now), quiet: true})
}

// release ends a lease (RFC 2131 section 4.3.4); the client is not answered.
func (e *engine) release(r *request, now time.Time) dhcp.Effects {
	en := e.Table().At(r.ciaddr)
	if r.server.IsValid() && !e.isIdentifier(r.server) || en == nil || en.Client != r.client || en.State != lease.Bound {
		return dhcp.Effects{}
	}
	return dhcp.Effects{Release: []vnet.Lease{e.End(en, now)}}
}

// inform tells options to a client that has an address (RFC 2131 section
// 4.3.5): no lease, no yiaddr.
func (e *engine) inform(r *request) dhcp.Effects {
	sub := e.SubnetOf(r.ciaddr)
	if sub == nil || !e.Serves(sub) || !e.identifier(sub).IsValid() {
		return dhcp.Effects{}
	}
	if _, known := e.fixed(r); !known && !e.Admits() {
		return dhcp.Effects{}
	}
	return dhcp.Effects{Send: e.reply(r, dhcpv4.MessageTypeAck, grant{sub: sub, guest: e.guest(r)}, 0)}
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
	l.Port, l.MAC, l.Client, l.Hostname = e.PortOf(r.mac), r.mac, r.id, r.hostname
	return l
}

// refuse sends a NAK (RFC 2131 section 4.3.2): always broadcast, since the
// client's address is not good on this link.
func (e *engine) refuse(r *request, sub *plan.Subnet) dhcp.Effects {
	return dhcp.Effects{Send: e.reply(r, dhcpv4.MessageTypeNak, grant{sub: sub}, 0)}
}

// give sends an OFFER or ACK.
func (e *engine) give(r *request, kind dhcpv4.MessageType, g grant, d time.Duration) []dhcp.Reply {
	if g.guest == nil {
		g.guest = e.guest(r)
	}
	return e.reply(r, kind, g, d)
}
