package dhcp6

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// pending is a message whose claims are under way.
type pending struct {
	key     messageKey
	packet  listen.Packet // to work it anew if somebody else was faster
	reply   dhcp.Reply    // sent when all claims are durable
	granted []vnet.Lease
	holder  string
	tries   int

	left    int  // claims
	failed  bool // some claim failed for now: better no answer than half a one
	refused bool // some address is another's
	quiet   bool // a decline: nobody waits
}

// messageKey tells a message from others of its client, but not from its
// repetition.
type messageKey struct {
	duid string
	id   [3]byte
	kind byte
}

// grant is what was last told of an address of a port or a reservation.
type grant struct {
	port  vnet.ID
	duid  string
	iaid  uint32
	name  string
	until time.Time
}

// offer keeps a dynamic address for the IA for a short while.
func (e *engine) offer(r *request, c *client, x *ia, g *give, now time.Time) {
	name := c.name(r, x)
	if en := e.Table().At(g.address); en != nil && en.State != lease.Idle && (e.Table().IsOf(en, name) || en.State == lease.Bound) {
		return
	}
	e.OfferTo(c.holderName(r), e.record(r, c, x, g, now), name, now) // what it will be, so that it is kept once
}

// bind replies at once if there is nothing to claim, else when the claims are
// durable.
func (e *engine) bind(r *request, c *client, answers []answer, now time.Time) dhcp.Effects {
	var out dhcp.Effects
	for i := range answers {
		for j := range answers[i].gives {
			g := &answers[i].gives[j]
			if !g.claim {
				continue
			}
			l := e.record(r, c, answers[i].ia, g, now)
			if e.isSettled(&l, c.name(r, answers[i].ia), g, now) || e.tries >= maxTries {
				continue
			}
			out.Claim = append(out.Claim, dhcp.Claim{Lease: l})
		}
	}
	if e.tries >= maxTries {
		dropClaims(answers)
	}
	if len(out.Claim) == 0 {
		sent := e.send(r, kindReply, answers)
		sent.Granted = e.granted(r, c, answers, now)
		return sent
	}
	key := messageKey{r.duid, r.id, r.kind}
	most := lease.MaxPending
	if c.port == "" {
		most /= 2 // there is always room for known guests
	}
	if e.waiting[key] || len(e.pending) >= most {
		return dhcp.Effects{} // the client repeats itself: the answer is on its way
	}
	for i := range answers {
		for j := range answers[i].gives {
			if g := &answers[i].gives[j]; g.claim {
				e.offer(r, c, answers[i].ia, g, now)
			}
		}
	}
	p := &pending{key: key, packet: e.packet, holder: c.holderName(r), tries: e.tries, left: len(out.Claim)}
	p.packet.Data = slices.Clone(p.packet.Data)
	p.reply = e.send(r, kindReply, answers).Send[0]
	p.reply.Data = slices.Clone(p.reply.Data)
	p.granted = e.granted(r, c, answers, now)
	e.waiting[key] = true
	for i := range out.Claim {
		e.token++
		e.pending[e.token] = p
		out.Claim[i].Token = e.token
	}
	return out
}

// isSettled reports whether a lease is durable for about as long already. The
// client is then told what is left of it. Where guests renew far more often than
// their leases need it (renewMoving), about is a sixteenth.
func (e *engine) isSettled(l *vnet.Lease, client string, g *give, now time.Time) bool {
	en, about := e.Table().At(l.Address), g.valid/16
	if !e.Service().Moves {
		about = min(settled, about)
	}
	if en == nil || en.State != lease.Bound || !e.Table().IsOf(en, client) || en.Lease.Length() != l.Length ||
		l.Expires.Sub(en.Until()) > about {
		return false
	}
	o := en.Lease
	if o.MAC() != l.MAC || o.Port() != l.Port || o.DUID() != l.DUID || o.Via() != l.Via || o.Hostname() != l.Hostname || o.Subnet() != l.Subnet {
		return false
	}
	g.claim, g.valid = false, max(0, min(g.valid, en.Until().Sub(now).Truncate(time.Second)))
	g.preferred = min(g.preferred, g.valid)
	return true
}

// dropClaims takes out of the answers what would have to be claimed.
func dropClaims(answers []answer) {
	for i := range answers {
		a := &answers[i]
		a.gives = slices.DeleteFunc(a.gives, func(g give) bool { return g.claim })
		a.settle()
	}
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
	switch sub := e.SubnetAt(l.Subnet, l.Address); {
	case err == nil && l.How != vnet.HowDHCPv6: // registered
		e.Load(pack.Of(&l), now)
	case err == nil && sub != nil && e.Usable(sub, l.Address) && e.Piece(sub) == l.Length:
		e.BindTo(p.holder, l, clientOf(&l))
		e.loaded(e.Table().At(l.Address).Lease)
	case err == nil: // the network changed meanwhile
		out.Release = append(out.Release, l)
		p.refused = true
	case vnet.Is(err, vnet.ErrExists):
		e.Avoid(l.Address, l.Subnet, now)
		p.refused = true
	default:
		p.failed = true
	}
	if p.left--; p.left > 0 {
		return out
	}
	delete(e.waiting, p.key)
	switch {
	case p.failed: // the client asks again
	case p.refused:
		more, _ := e.handle(p.packet, p.tries+1, now)
		out.Send, out.Claim, out.Granted = more.Send, more.Claim, more.Granted
		out.Release = append(out.Release, more.Release...)
	default:
		out.Send, out.Granted = []dhcp.Reply{p.reply}, p.granted
	}
	return out
}

// granted tells what ports and reservations were given, as far as it is news.
func (e *engine) granted(r *request, c *client, answers []answer, now time.Time) []vnet.Lease {
	var out []vnet.Lease
	for i := range answers {
		x := answers[i].ia
		for j := range answers[i].gives {
			g := &answers[i].gives[j]
			if !g.kept {
				continue
			}
			if h := (hold{r.duid, x.iaid}); c.port != "" && e.holds[c.port] != h {
				e.holds[c.port] = h
			}
			news := grant{c.port, r.duid, x.iaid, r.published(), now.Add(g.valid)}
			old := e.grants[g.address]
			if old.port == news.port && old.duid == news.duid && old.iaid == news.iaid && old.name == news.name && news.until.Sub(old.until) < g.valid/4 {
				continue
			}
			if len(e.grants) >= maxKnown {
				clear(e.grants)
			}
			e.grants[g.address] = news
			out = append(out, e.record(r, c, x, g, now))
		}
	}
	return out
}

// record is the lease that a give makes.
func (e *engine) record(r *request, c *client, x *ia, g *give, now time.Time) vnet.Lease {
	l := e.Lease(g.address, g.subnet, now.Add(g.valid))
	l.Port, l.DUID, l.IAID, l.Hostname, l.Length = c.port, r.duid, x.iaid, r.published(), g.length
	if c.seen || c.guest != nil && g.kept {
		l.MAC = c.mac
	}
	if c.guest != nil && g.kept {
		l.Port = c.guest.Port
	}
	if g.length > 0 {
		// Who is behind a relay is reached over the relay.
		if l.Via = r.peer; len(r.hops) > 0 {
			l.Via = r.from
		}
	}
	return l
}
