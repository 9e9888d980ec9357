package ladder

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// keep goes through what a subnet holds: what an uplink still offers stays,
// the rest ends in its time.
func (u *uplifts) keep(r *reach) {
	d := u.d
	// The active one first: a deprecated one comes back only beside none, and of
	// several that of the highest rung.
	slices.SortStableFunc(r.held, func(a, b vnet.PrefixAssignment) int {
		return cmp.Or(stateOrder(a.State)-stateOrder(b.State), slices.Index(r.rungs, a.Rung)-slices.Index(r.rungs, b.Rung))
	})
	for _, h := range r.held {
		switch {
		case h.State == vnet.PrefixActive && h.Prefix.IsValid() && !r.wish.Stopped && r.active == nil && slices.Contains(r.rungs, h.Rung) && u.sourceOf(r, h.Rung, h.Prefix) != nil:
			u.keepActive(r, h) // its deadline is judged by the source: a clock may have been set
		case h.State == vnet.PrefixExpired, !h.ValidUntil.IsZero() && !d.in.Now.Before(h.ValidUntil), !h.Prefix.IsValid():
			d.out.Release = append(d.out.Release, h)
		case r.wish.Stopped:
			d.hold(h, false)
		case h.State == vnet.PrefixDeprecated:
			u.past(r, h)
		case r.active != nil:
			u.deprecate(r, h, "is one too many beside "+r.active.Prefix.String())
		case !slices.Contains(r.rungs, h.Rung):
			u.deprecate(r, h, "is of a mode that the network no longer has")
		default:
			u.keepActive(r, h)
		}
	}
	r.held = nil
}

func stateOrder(s vnet.PrefixState) int {
	return slices.Index([]vnet.PrefixState{vnet.PrefixActive, vnet.PrefixDeprecated, vnet.PrefixExpired}, s)
}

// past goes on with a deprecated prefix, or makes it the active one again when
// the uplink offers it again: guests have addresses in it already.
func (u *uplifts) past(r *reach, h vnet.PrefixAssignment) {
	if s := u.sourceOf(r, h.Rung, h.Prefix); s != nil && r.active == nil && slices.Contains(r.rungs, h.Rung) && u.taken[h.Prefix] == nil &&
		!u.waits(r, h.Rung, s) {
		r.revived = &vnet.PrefixAssignment{}
		*r.revived = h
		h.State, h.Since, h.Cut = vnet.PrefixActive, u.d.in.Now, false
		u.activate(r, h, s, true)
		return
	}
	r.remember(u, &h)
	cut := u.cut(h)
	changed := cut != h.Cut
	h.Cut = cut
	u.d.hold(h, changed)
}

// keepActive keeps what is active if an uplink offers it still.
func (u *uplifts) keepActive(r *reach, h vnet.PrefixAssignment) {
	s := u.sourceOf(r, h.Rung, h.Prefix)
	switch {
	case s == nil && u.unheard(h.Rung) && u.taken[h.Prefix] == nil:
		r.active = &h
		r.remember(u, &h)
		if h.Rung != vnet.EgressProxied {
			u.taken[h.Prefix] = r
		}
		d := u.d
		d.out.Held = append(d.out.Held, h)
		return
	case s == nil:
		u.deprecate(r, h, "is not offered by an uplink any more")
		return
	case h.Rung != vnet.EgressProxied && u.taken[h.Prefix] != nil:
		u.deprecate(r, h, "is network "+u.taken[h.Prefix].wish.Name+"'s")
		return
	}
	u.activate(r, h, s, false)
}

// unheard reports whether it is too early to know what the uplink offers for a
// rung.
func (u *uplifts) unheard(rung vnet.Egress) bool {
	if rung == vnet.EgressProxied {
		return u.d.in.Uplink.UnheardOnLink
	}
	return u.d.in.Uplink.UnheardDelegated
}

// activate makes h the active prefix of r, with the deadlines of its source.
func (u *uplifts) activate(r *reach, h vnet.PrefixAssignment, s *Source, changed bool) {
	if scope := r.wish.scope(); scopeOr(h.Scope) != scope || h.Network != r.wish.Network {
		h.Scope, h.Network, changed = scope, r.wish.Network, true
	}
	if !fresh(h.PreferredUntil, s.PreferredUntil, u.d.in.Now) || !fresh(h.ValidUntil, s.ValidUntil, u.d.in.Now) {
		h.PreferredUntil, h.ValidUntil, changed = s.PreferredUntil, s.ValidUntil, true
	}
	if h.Uplink != s.Link {
		h.Uplink, changed = s.Link, true
	}
	r.active, r.source = &h, s
	r.remember(u, &h)
	if h.Rung != vnet.EgressProxied {
		u.taken[h.Prefix] = r
	}
	u.d.out.Held = append(u.d.out.Held, h) // its end is looked at when it comes: the source is usually refreshed
	if changed {
		u.d.out.Claim = append(u.d.out.Claim, h)
	}
	u.again(h.PreferredUntil)
	u.again(h.ValidUntil)
}

// again sees to it that a deadline is looked at again when half of what is left
// is over, since the source is usually refreshed by then, and at last when it
// comes.
func (u *uplifts) again(deadline time.Time) {
	now := u.d.in.Now
	if deadline.IsZero() || !deadline.After(now) {
		return
	}
	at := now.Add(max(deadline.Sub(now)/2+time.Second, 10*time.Second))
	if at.After(deadline) {
		at = deadline
	}
	if u.d.out.Next.IsZero() || at.Before(u.d.out.Next) {
		u.d.out.Next = at
	}
}

// fresh reports whether a deadline that is kept may stand for the true one: it
// must not be later, and not have less than half the time left. Sources are
// refreshed every few minutes, which is not worth a write for each network.
func fresh(kept, truth, now time.Time) bool {
	if truth.IsZero() || kept.IsZero() {
		return truth.IsZero() && kept.IsZero()
	}
	return !kept.After(truth) && kept.Sub(now) >= truth.Sub(now)/2
}

// remember notes which piece of its source the subnet has or had.
func (r *reach) remember(u *uplifts, h *vnet.PrefixAssignment) {
	if h.Rung == vnet.EgressProxied || r.number != nil && r.active != h {
		return
	}
	for _, s := range u.d.in.Uplink.Delegated {
		if s.holds(h.Prefix) {
			n := index(s.Prefix, h.Prefix)
			r.number = &n
			return
		}
	}
	// Its source is gone. Providers delegate prefixes whose length is a
	// multiple of 4 or 8; what varies below a /56 is most probably ours.
	n := index(netip.PrefixFrom(h.Prefix.Addr(), 56), h.Prefix)
	r.number = &n
}

// sourceOf is who offers the subnet a prefix on a rung.
func (u *uplifts) sourceOf(r *reach, rung vnet.Egress, p netip.Prefix) *Source {
	if rung == vnet.EgressProxied {
		for i := range u.onLink {
			if part, ok := r.part(&u.onLink[i]); ok && part == p {
				return &u.onLink[i]
			}
		}
		return nil
	}
	for i := range u.delegated {
		if u.delegated[i].holds(p) {
			return &u.delegated[i]
		}
	}
	return nil
}

// cut reports whether no uplink carries a prefix any more, not even for what
// was begun with it.
func (u *uplifts) cut(h vnet.PrefixAssignment) bool {
	if u.unheard(h.Rung) || u.d.in.Uplink.Link6 == "" {
		return h.Cut // a cable that is pulled out says nothing of the provider
	}
	list := u.d.in.Uplink.Delegated
	if h.Rung == vnet.EgressProxied {
		list = u.d.in.Uplink.OnLink
	}
	return !slices.ContainsFunc(list, func(s Source) bool {
		return (s.Link == "" || s.Link == u.d.in.Uplink.Link6) && s.holds(h.Prefix) && (s.ValidUntil.IsZero() || u.d.in.Now.Before(s.ValidUntil))
	})
}

// deprecate gives an active prefix its end.
func (u *uplifts) deprecate(r *reach, h vnet.PrefixAssignment, why string) {
	d := u.d
	r.remember(u, &h)
	until := d.in.Now.Add(grace(r.wish, r.subnet))
	if h.ValidUntil.IsZero() || h.ValidUntil.After(until) {
		h.ValidUntil = until
	}
	h.State, h.Since, h.PreferredUntil = vnet.PrefixDeprecated, d.in.Now, d.in.Now
	h.Cut = u.cut(h)
	d.out.Moves = append(d.out.Moves, Move{Network: r.wish.Network, Subnet: h.Subnet, From: h.Prefix, Because: why})
	d.hold(h, true)
}
