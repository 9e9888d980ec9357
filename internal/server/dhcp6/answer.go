package dhcp6

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	kindRenew  = dhcpv6.MessageTypeRenew
	kindRebind = dhcpv6.MessageTypeRebind
)

// pending is a message whose claims are under way.
type pending struct {
	req     *request
	client  client
	answers []answer
	leases  map[netip.Addr]vnet.Lease
	left    int
	failed  bool // some claim failed for now: better no answer than half a one
	quiet   bool // a decline: nobody waits
}

// answer is what one IA of a message is told.
type answer struct {
	ia     ia
	gives  []give
	status iana.StatusCode // StatusSuccess is not told
}

// solicit advertises addresses, or gives them at once to a client that asks
// for rapid commit (RFC 9915 section 18.3.1).
func (e *engine) solicit(r *request, c client, now time.Time) effects {
	answers := e.answers(r, c, now)
	if r.rapid && slices.ContainsFunc(answers, func(a answer) bool { return len(a.gives) > 0 }) {
		return e.bind(r, c, answers, now)
	}
	for i := range answers {
		for _, g := range answers[i].gives {
			// Under a flood nothing is remembered: what is advertised follows
			// from the client, and its request decides.
			if g.claim && e.table.offers < maxOffers {
				e.offer(r, c, answers[i].ia, g, now)
			}
		}
	}
	return effects{send: e.reply(r, dhcpv6.MessageTypeAdvertise, answers)}
}

// request gives addresses (RFC 9915 section 18.3.2).
func (e *engine) request(r *request, c client, now time.Time) effects {
	answers := e.answers(r, c, now)
	for i, a := range answers {
		if slices.ContainsFunc(a.ia.addrs, func(x netip.Addr) bool { return e.subnetOf(x) == nil }) {
			answers[i].gives, answers[i].status = nil, iana.StatusNotOnLink
		}
	}
	return e.bind(r, c, answers, now)
}

// renew prolongs what is still the client's and takes back what is not (RFC
// 9915 sections 18.3.4 and 18.3.5).
func (e *engine) renew(r *request, c client, now time.Time) effects {
	answers := e.answers(r, c, now)
	for i := range answers {
		a := &answers[i]
		bound := len(a.gives) > 0 || e.hasLease(r, a.ia)
		for _, x := range a.ia.addrs {
			if !slices.ContainsFunc(a.gives, func(g give) bool { return g.address == x }) {
				a.gives = append(a.gives, e.takeBack(r, c, a.ia, x, now))
				bound = bound || e.subnetOf(x) == nil
			}
		}
		switch {
		case !bound && !(c.has && c.iaid == a.ia.iaid):
			a.gives, a.status = nil, iana.StatusNoBinding
		default:
			a.settle()
		}
	}
	// A client whose addresses went all, while there are others for it, gets
	// these in the same answer.
	for i := range answers {
		a := &answers[i]
		if a.status == iana.StatusSuccess && !slices.ContainsFunc(a.gives, func(g give) bool { return g.preferred > 0 }) {
			a.gives = append(e.assign(r, c, a.ia, now, true), a.gives...)
		}
	}
	return e.bind(r, c, answers, now)
}

// hasLease reports whether an IA has a dynamic lease in any subnet.
func (e *engine) hasLease(r *request, x ia) bool {
	for i := range e.svc.Subnets {
		if en := e.table.find(clientName(r.duid, x.iaid), e.svc.Subnets[i].ID); en != nil && en.state == bound {
			return true
		}
	}
	return false
}

// takeBack returns an address that the client names and that it is not given:
// with what is left of it if it is the client's in a subnet that goes, else
// with no lifetime at all.
func (e *engine) takeBack(r *request, c client, x ia, a netip.Addr, now time.Time) give {
	g := give{address: a}
	sub := e.subnetOf(a)
	if sub == nil || !serves(sub) {
		return g
	}
	en := e.table.byAddress[a]
	mine := c.has && c.iaid == x.iaid && slices.Contains(c.going, a)
	leased := en != nil && en.state == bound && en.client == clientName(r.duid, x.iaid) && sub.Deprecated && !e.owns(a)
	if !mine && !leased {
		return g
	}
	_, g.valid = e.lifetimes(sub, now)
	if !sub.Deprecated && mine { // only this address is going
		g.valid = 0
	}
	if leased {
		g.valid = max(0, min(g.valid, en.until.Sub(now).Truncate(time.Second)))
	}
	return g
}

// answers returns what each IA of a message gets.
//
// An IA that is only prolonged gets new addresses if it had any: so it follows
// when the network gets another prefix.
func (e *engine) answers(r *request, c client, now time.Time) []answer {
	out := make([]answer, 0, len(r.ias))
	taken := make(map[netip.Addr]bool)
	for _, x := range r.ias {
		fresh := !r.prolongs() || e.hasLease(r, x)
		a := answer{ia: x, gives: e.assign(r, c, x, now, fresh)}
		a.gives = slices.DeleteFunc(a.gives, func(g give) bool { return taken[g.address] })
		for _, g := range a.gives {
			taken[g.address] = true
		}
		if !r.prolongs() {
			a.settle()
		}
		out = append(out, a)
	}
	return out
}

// settle sets the status of an IA that gets nothing.
func (a *answer) settle() {
	if len(a.gives) == 0 && a.status == iana.StatusSuccess {
		a.status = iana.StatusNoAddrsAvail
	}
}

// offer keeps a dynamic address for the IA for a short while.
func (e *engine) offer(r *request, c client, x ia, g give, now time.Time) {
	name := clientName(r.duid, x.iaid)
	if en := e.table.byAddress[g.address]; en != nil && en.client == name {
		return
	}
	e.table.put(&entry{
		lease:  vnet.Lease{Address: g.address, Subnet: g.subnet, MAC: c.mac, DUID: r.duid, IAID: x.iaid},
		client: name, state: offered, until: now.Add(offerTime),
	})
}

// bind replies at once if there is nothing to claim, else when the claims are
// durable.
func (e *engine) bind(r *request, c client, answers []answer, now time.Time) effects {
	p := &pending{req: r, client: c, answers: answers, leases: make(map[netip.Addr]vnet.Lease)}
	for _, a := range answers {
		for _, g := range a.gives {
			if g.claim {
				p.leases[g.address] = e.record(r, c, a.ia, g, now)
			}
		}
	}
	if len(p.leases) == 0 {
		return e.finish(p, now)
	}
	key := fmt.Sprintf("%s %x %d", r.duid, r.m.TransactionID, r.kind)
	if _, ok := e.waiting[key]; ok || len(e.pending) >= maxPending {
		return effects{} // the client repeats itself: the answer is on its way
	}
	for _, a := range answers {
		for _, g := range a.gives {
			if g.claim {
				e.offer(r, c, a.ia, g, now)
			}
		}
	}
	e.waiting[key] = 0
	var out effects
	p.left = len(p.leases)
	for _, l := range p.leases {
		e.token++
		e.pending[e.token] = p
		out.commit = append(out.commit, commit{e.token, l})
	}
	return out
}

// committed is told how a claim went; the last one answers the client.
func (e *engine) committed(token uint64, address netip.Addr, err error, now time.Time) effects {
	p := e.pending[token]
	if p == nil {
		return effects{}
	}
	delete(e.pending, token)
	if p.quiet {
		return effects{}
	}
	l := p.leases[address]
	var out effects
	switch sub := e.subnet(l.Subnet); {
	case err == nil && sub != nil && e.usable(sub, address):
		e.table.put(&entry{lease: l, client: clientOf(&l), state: bound, until: l.Expires})
	case err == nil: // the network changed meanwhile
		out.release = append(out.release, l)
		p.drop(address)
	case vnet.Is(err, vnet.ErrExists):
		e.table.put(&entry{
			lease: vnet.Lease{Address: address, Subnet: l.Subnet}, state: foreign, until: now.Add(foreignTime),
		})
		p.drop(address)
	default:
		p.failed = true
	}
	if p.left--; p.left > 0 {
		return out
	}
	delete(e.waiting, fmt.Sprintf("%s %x %d", p.req.duid, p.req.m.TransactionID, p.req.kind))
	if p.failed {
		return out // the client asks again
	}
	more := e.finish(p, now)
	out.send, out.granted = more.send, more.granted
	return out
}

// drop takes an address out of the answers.
func (p *pending) drop(a netip.Addr) {
	for i := range p.answers {
		x := &p.answers[i]
		x.gives = slices.DeleteFunc(x.gives, func(g give) bool { return g.address == a })
		x.settle()
	}
}

// finish replies, and tells what ports and reservations were given.
func (e *engine) finish(p *pending, now time.Time) effects {
	out := effects{send: e.reply(p.req, dhcpv6.MessageTypeReply, p.answers)}
	for _, a := range p.answers {
		for _, g := range a.gives {
			if !g.kept {
				continue
			}
			out.granted = append(out.granted, e.record(p.req, p.client, a.ia, g, now))
			if p.client.guest != nil {
				e.holds[p.client.guest.Port] = hold{p.req.duid, a.ia.iaid}
			}
		}
	}
	return out
}

// record is the lease that a give makes.
func (e *engine) record(r *request, c client, x ia, g give, now time.Time) vnet.Lease {
	l := vnet.Lease{
		Network: e.svc.Network, Subnet: g.subnet, Host: e.host, Address: g.address, Family: vnet.IPv6,
		How: vnet.HowDHCPv6, MAC: c.mac, DUID: r.duid, IAID: x.iaid, Hostname: r.name, Expires: now.Add(g.valid),
	}
	l.Project = e.svc.Project
	if c.guest != nil {
		l.Port = c.guest.Port
	}
	return l
}

// owns reports whether the address is kept for a port or reservation.
func (e *engine) owns(a netip.Addr) bool { _, ok := e.owned[a]; return ok }
