package dhcp4

import (
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// discover offers an address (RFC 2131 section 4.3.1).
func (e *engine) discover(r *request, now time.Time) effects {
	if g, ok := e.fixed(r); ok {
		return effects{send: e.lease(r, dhcpv4.MessageTypeOffer, g, e.leaseTime(r, g.sub, now))}
	}
	if !e.admits() {
		return effects{}
	}
	g, ok := e.choose(r, now)
	if !ok {
		return effects{}
	}
	// Under a flood nothing is remembered: what is offered follows from the
	// client, and its request decides.
	if en := e.table.byAddress[g.address]; (en == nil || en.client != r.client) && e.table.offers < maxOffers {
		e.offer(r, g, now)
	}
	return effects{send: e.lease(r, dhcpv4.MessageTypeOffer, g, e.leaseTime(r, g.sub, now))}
}

// offer keeps an address for the client for a short while.
func (e *engine) offer(r *request, g grant, now time.Time) {
	e.table.put(&entry{
		lease:  vnet.Lease{Address: g.address, Subnet: g.sub.ID, MAC: r.mac, Client: r.id},
		client: r.client, state: offered, until: now.Add(offerTime),
	})
}

// request answers REQUEST in its four kinds (RFC 2131 section 4.3.2).
func (e *engine) request(r *request, now time.Time) effects {
	selecting := r.server.IsValid()
	renewing := !selecting && r.ciaddr.IsValid()
	address := r.requested
	if renewing {
		address = r.ciaddr
	}
	if selecting && !e.isIdentifier(r.server) {
		e.dropOffers(r)
		return effects{}
	}
	if !address.IsValid() || !e.active() {
		return effects{}
	}
	if g, ok := e.fixed(r); ok {
		if g.address != address {
			return e.refuse(r, g.sub)
		}
		d := e.leaseTime(r, g.sub, now)
		l := e.record(r, g, now.Add(d))
		return effects{send: e.lease(r, dhcpv4.MessageTypeAck, g, d), granted: []vnet.Lease{l}}
	}
	if !e.admits() {
		return effects{}
	}
	sub := e.subnetOf(address)
	if sub == nil || !serves(sub) || sub.Deprecated || !e.identifier(sub).IsValid() {
		return e.refuse(r, nil)
	}
	if !e.usable(sub, address) {
		return e.refuse(r, sub)
	}
	if en := e.table.find(r.client, sub.ID); en != nil && en.lease.Address == address {
		return e.claim(r, grant{address, sub, nil}, now)
	} else if en != nil {
		return e.refuse(r, sub)
	}
	if e.table.byAddress[address] != nil { // somebody else's
		return e.refuse(r, sub)
	}
	if !selecting && !renewing {
		// INIT-REBOOT without a record: "it MUST remain silent".
		return effects{}
	}
	return e.claim(r, grant{address, sub, nil}, now)
}

// dropOffers forgets what was offered to a client that chose another server.
func (e *engine) dropOffers(r *request) {
	for i := range e.svc.Subnets {
		if en := e.table.find(r.client, e.svc.Subnets[i].ID); en != nil && en.state == offered {
			e.table.remove(en)
		}
	}
}

// claim asks for a dynamic lease to become durable. A client that repeats
// itself meanwhile gets one answer, to what it sent last.
func (e *engine) claim(r *request, g grant, now time.Time) effects {
	d := e.leaseTime(r, g.sub, now)
	l := e.record(r, g, now.Add(d))
	if token, ok := e.waiting[r.client]; ok {
		if p := e.pending[token]; p.lease.Address == l.Address {
			p.req = r
			return effects{}
		}
	}
	if len(e.pending) >= maxPending {
		return effects{}
	}
	if en := e.table.byAddress[g.address]; en == nil || en.state != bound {
		e.offer(r, g, now)
	}
	return e.ask(&pending{req: r, lease: l, time: d})
}

// ask registers a claim.
func (e *engine) ask(p *pending) effects {
	e.token++
	e.pending[e.token] = p
	if !p.quiet {
		e.waiting[p.req.client] = e.token
	}
	return effects{commit: []commit{{e.token, p.lease}}}
}

// committed is told how a claim went, and answers the client.
func (e *engine) committed(token uint64, err error, now time.Time) effects {
	p := e.pending[token]
	if p == nil {
		return effects{}
	}
	delete(e.pending, token)
	if e.waiting[p.req.client] == token {
		delete(e.waiting, p.req.client)
	}
	if p.quiet {
		return effects{}
	}
	sub := e.subnet(p.lease.Subnet)
	switch {
	case vnet.Is(err, vnet.ErrExists):
		e.table.put(&entry{
			lease: vnet.Lease{Address: p.lease.Address, Subnet: p.lease.Subnet},
			state: foreign, until: now.Add(foreignTime),
		})
		return e.refuse(p.req, sub)
	case err != nil:
		return effects{} // the client asks again
	case sub == nil || !e.usable(sub, p.lease.Address):
		out := e.refuse(p.req, sub)
		out.release = []vnet.Lease{p.lease}
		return out
	}
	e.table.put(&entry{lease: p.lease, client: p.req.client, state: bound, until: p.lease.Expires})
	g := grant{p.lease.Address, sub, nil}
	return effects{send: e.lease(p.req, dhcpv4.MessageTypeAck, g, p.time)}
}

// decline keeps an address back that the client found in use elsewhere (RFC
// 2131 section 4.3.3).
func (e *engine) decline(r *request, now time.Time) effects {
	a := r.requested
	if r.server.IsValid() && !e.isIdentifier(r.server) || !a.IsValid() {
		return effects{}
	}
	if g, ok := e.fixed(r); ok && g.address == a {
		if len(e.conflicts) < maxOffers {
			e.conflicts[a] = now
		}
		return effects{}
	}
	en := e.table.byAddress[a]
	if en == nil || en.client != r.client || len(e.pending) >= maxPending {
		return effects{}
	}
	l := en.lease
	l.Network, l.Project, l.Host = e.svc.Network, e.svc.Project, e.host
	l.Family, l.How, l.Declined, l.Expires = vnet.IPv4, vnet.HowDHCPv4, true, now.Add(quarantine)
	e.table.put(&entry{lease: l, state: declined, until: l.Expires})
	return e.ask(&pending{req: r, lease: l, quiet: true})
}

// release ends a lease (RFC 2131 section 4.3.4); the client is not answered.
func (e *engine) release(r *request, now time.Time) effects {
	en := e.table.byAddress[r.ciaddr]
	if r.server.IsValid() && !e.isIdentifier(r.server) || en == nil || en.client != r.client || en.state != bound {
		return effects{}
	}
	l := en.lease
	e.table.release(en)
	l.Expires = now
	return effects{release: []vnet.Lease{l}}
}

// inform tells options to a client that has an address (RFC 2131 section
// 4.3.5): no lease, no yiaddr.
func (e *engine) inform(r *request) effects {
	sub := e.subnetOf(r.ciaddr)
	if sub == nil || !serves(sub) || !e.identifier(sub).IsValid() {
		return effects{}
	}
	if _, known := e.fixed(r); !known && !e.admits() {
		return effects{}
	}
	return effects{send: e.reply(r, dhcpv4.MessageTypeAck, grant{sub: sub, guest: e.guest(r)}, 0)}
}

// leaseTime is how long the client may keep an address of the subnet.
func (e *engine) leaseTime(r *request, sub *plan.Subnet, now time.Time) time.Duration {
	limit := e.svc.LeaseTime
	if limit <= 0 {
		limit = defaultLease
	}
	limit = max(limit, minLease)
	if !sub.ValidUntil.IsZero() {
		limit = max(minLease, min(limit, sub.ValidUntil.Sub(now)))
	}
	return r.leaseTime(limit).Truncate(time.Second)
}

// record is the lease that a grant makes.
func (e *engine) record(r *request, g grant, expires time.Time) vnet.Lease {
	l := vnet.Lease{
		Network: e.svc.Network, Subnet: g.sub.ID, Host: e.host, Address: g.address, Family: vnet.IPv4,
		How: vnet.HowDHCPv4, MAC: r.mac, Client: r.id, Hostname: r.hostname, Expires: expires,
	}
	l.Project = e.svc.Project
	if port, ok := e.byMAC[r.mac]; ok {
		l.Port = port
	}
	return l
}

// refuse sends a NAK (RFC 2131 section 4.3.2): always broadcast, since the
// client's address is not good on this link.
func (e *engine) refuse(r *request, sub *plan.Subnet) effects {
	return effects{send: e.reply(r, dhcpv4.MessageTypeNak, grant{sub: sub}, 0)}
}

// lease sends an OFFER or ACK.
func (e *engine) lease(r *request, kind dhcpv4.MessageType, g grant, d time.Duration) []reply {
	if g.guest == nil {
		g.guest = e.guest(r)
	}
	return e.reply(r, kind, g, d)
}
