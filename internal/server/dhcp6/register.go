package dhcp6

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// makesAddresses reports whether guests make addresses of their own in a
// subnet.
func makesAddresses(s *plan.Subnet) bool {
	return s.Family == vnet.IPv6 &&
		(s.Guests == vnet.GuestsSLAAC || s.Guests == vnet.GuestsStateless || s.Guests == vnet.GuestsSLAACStateful)
}

// register takes in an address that a client made itself (RFC 9686 section
// 4.3): the one that its message came from, on its link, and nobody else's. It
// is confirmed once it is durable.
func (e *engine) register(r *request, c *client, now time.Time) (dhcp.Effects, error) {
	a := &r.address
	sub := e.onLink(r, a.address)
	if a.count != 1 || a.address != r.peer || sub == nil || !makesAddresses(sub) || len(r.ias) > 0 {
		return dhcp.Effects{}, errAddress
	}
	if a.address == sub.Gateway || slices.Contains(sub.Reserved, a.address) {
		return dhcp.Effects{}, errAddress
	}
	if e.Owned(a.address) && !slices.Contains(c.kept, a.address) && !slices.Contains(c.going, a.address) {
		return dhcp.Effects{}, errAddress
	}
	en := e.Table().At(a.address)
	if en != nil && (en.State == lease.Bound || en.State == lease.Declined) {
		return dhcp.Effects{}, errAddress // given by us, or in dispute
	}
	l := e.Lease(a.address, sub.ID, now.Add(min(time.Duration(a.valid)*time.Second, maxRegistered)))
	l.How, l.MAC, l.Port, l.DUID, l.Hostname = vnet.HowSLAAC, c.mac, c.port, r.duid, r.published()
	w := e.start(r, kindRegistered)
	w.option(optIAAddr, a.body)
	out := e.finish(r, w)

	holder := lease.Holder(&l, vnet.HowDHCPv6, clientOf(&l))
	if en == nil && e.Table().Held(holder) >= maxReported || en != nil && en.Lease.MAC() != l.MAC && en.Lease.DUID() != "" {
		return dhcp.Effects{}, errAddress
	}
	key := messageKey{r.duid, r.id, r.kind}
	if e.waiting[key] || len(e.pending) >= lease.MaxPending/2 {
		return dhcp.Effects{}, nil
	}
	if en != nil && en.Lease.DUID() == l.DUID && en.Lease.Hostname() == l.Hostname && en.Lease.Port() == l.Port &&
		l.Expires.Sub(en.Until()).Abs() < settled {
		return out, nil
	}
	p := &pending{key: key, left: 1, tries: maxTries, reply: out.Send[0]}
	p.reply.Data = slices.Clone(p.reply.Data)
	e.waiting[key] = true
	e.token++
	e.pending[e.token] = p
	return dhcp.Effects{Claim: []dhcp.Claim{{Token: e.token, Lease: l}}}, nil
}
