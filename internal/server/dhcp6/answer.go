package dhcp6

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
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
	left    int  // claims
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
func (e *engine) solicit(r *request, c client, now time.Time) dhcp.Effects {
	answers := e.answers(r, c, now)
	if r.rapid && slices.ContainsFunc(answers, func(a answer) bool { return len(a.gives) > 0 }) {
		return e.bind(r, c, answers, now)
	}
	for i := range answers {
		for _, g := range answers[i].gives {
			// Under a flood nothing is remembered: what is advertised follows
			// from the client, and its request decides.
			if g.claim && e.Table().Offers() < lease.MaxOffers {
				e.offer(r, c, answers[i].ia, g, now)
			}
		}
	}
	return dhcp.Effects{Send: e.reply(r, dhcpv6.MessageTypeAdvertise, answers)}
}

// request gives addresses (RFC 9915 section 18.3.2).
func (e *engine) request(r *request, c client, now time.Time) dhcp.Effects {
	answers := e.answers(r, c, now)
	for i, a := range answers {
		if slices.ContainsFunc(a.ia.addrs, func(x netip.Addr) bool { return e.SubnetOf(x) == nil }) {
			answers[i].gives, answers[i].status = nil, iana.StatusNotOnLink
		}
	}
	return e.bind(r, c, answers, now)
}

// renew prolongs what is still the client's and takes back what is not (RFC
// 9915 sections 18.3.4 and 18.3.5).
func (e *engine) renew(r *request, c client, now time.Time) dhcp.Effects {
	answers := e.answers(r, c, now)
	for i := range answers {
		a := &answers[i]
		bound := len(a.gives) > 0 || e.hasLease(r, a.ia)
		for _, x := range a.ia.addrs {
			if !slices.ContainsFunc(a.gives, func(g give) bool { return g.address == x }) {
				a.gives = append(a.gives, e.takeBack(r, c, a.ia, x, now))
				bound = bound || e.SubnetOf(x) == nil
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
	for i := range e.Service().Subnets {
		if en := e.Table().Find(clientName(r.duid, x.iaid), e.Service().Subnets[i].ID); en != nil && en.State == lease.Bound {
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
	sub := e.SubnetOf(a)
	if sub == nil || !e.Serves(sub) {
		return g
	}
	en := e.Table().At(a)
	mine := c.has && c.iaid == x.iaid && slices.Contains(c.going, a)
	leased := en != nil && en.State == lease.Bound && en.Client == clientName(r.duid, x.iaid) && sub.Deprecated && !e.Owned(a)
	if !mine && !leased {
		return g
	}
	_, g.valid = e.lifetimes(sub, now)
	if !sub.Deprecated && mine { // only this address is going
		g.valid = 0
	}
	if leased {
		g.valid = max(0, min(g.valid, en.Until.Sub(now).Truncate(time.Second)))
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
	if en := e.Table().At(g.address); en != nil && en.Client == name {
		return
	}
	e.Offer(vnet.Lease{Address: g.address, Subnet: g.subnet, MAC: c.mac, DUID: r.duid, IAID: x.iaid}, name, now)
}

// bind replies at once if there is nothing to claim, else when the claims are
// durable.
func (e *engine) bind(r *request, c client, answers []answer, now time.Time) dhcp.Effects {
	p := &pending{req: r, client: c, answers: answers}
	leases := make(map[netip.Addr]vnet.Lease)
	for _, a := range answers {
		for _, g := range a.gives {
			if g.claim {
				leases[g.address] = e.record(r, c, a.ia, g, now)
			}
		}
	}
	if len(leases) == 0 {
		return e.finish(p, now)
	}
	if e.waiting[r.key()] || len(e.pending) >= lease.MaxPending {
		return dhcp.Effects{} // the client repeats itself: the answer is on its way
	}
	for _, a := range answers {
		for _, g := range a.gives {
			if g.claim {
				e.offer(r, c, a.ia, g, now)
			}
		}
	}
	e.waiting[r.key()] = true
	var out dhcp.Effects
	p.left = len(leases)
	for _, l := range leases {
		e.token++
		e.pending[e.token] = p
		out.Claim = append(out.Claim, dhcp.Claim{Token: e.token, Lease: l})
	}
	return out
}

// Committed is told how a claim went; the last one answers the client.
func (e *engine) Committed(c dhcp.Claim, err error, now time.Time) dhcp.Effects {
	p := e.pending[c.Token]
	if p == nil {
		return dhcp.Effects{}
	}
	delete(e.pending, c.Token)
	if p.quiet {
		return dhcp.Effects{}
	}
	l := c.Lease
	var out dhcp.Effects
	switch sub := e.Subnet(l.Subnet); {
	case err == nil && sub != nil && e.Usable(sub, l.Address):
		e.Bind(l, clientOf(&l))
	case err == nil: // the network changed meanwhile
		out.Release = append(out.Release, l)
		p.drop(l.Address)
	case vnet.Is(err, vnet.ErrExists):
		e.Avoid(l.Address, l.Subnet, now)
		p.drop(l.Address)
	default:
		p.failed = true
	}
	if p.left--; p.left > 0 {
		return out
	}
	delete(e.waiting, p.req.key())
	if p.failed {
		return out // the client asks again
	}
	more := e.finish(p, now)
	out.Send, out.Granted = more.Send, more.Granted
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
func (e *engine) finish(p *pending, now time.Time) dhcp.Effects {
	out := dhcp.Effects{Send: e.reply(p.req, dhcpv6.MessageTypeReply, p.answers)}
	for _, a := range p.answers {
		for _, g := range a.gives {
			if !g.kept {
				continue
			}
			out.Granted = append(out.Granted, e.record(p.req, p.client, a.ia, g, now))
			if p.client.guest != nil {
				e.holds[p.client.guest.Port] = hold{p.req.duid, a.ia.iaid}
			}
		}
	}
	return out
}

// record is the lease that a give makes.
func (e *engine) record(r *request, c client, x ia, g give, now time.Time) vnet.Lease {
	l := e.Lease(g.address, g.subnet, now.Add(g.valid))
	l.MAC, l.DUID, l.IAID, l.Hostname = c.mac, r.duid, x.iaid, r.name
	if c.guest != nil {
		l.Port = c.guest.Port
	}
	return l
}

// key tells a message from others of its client, but not from its repetition.
func (r *request) key() string { return fmt.Sprintf("%s %x %d", r.duid, r.m.TransactionID, r.kind) }
