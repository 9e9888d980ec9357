package ladder

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

// reach is an IPv6 subnet whose prefix comes from an uplink: by name, or
// because its network has mode auto.
type reach struct {
	wish   *Wish
	subnet *vnet.Subnet
	// rungs are those that it may stand on, the highest first.
	rungs []vnet.Egress
	auto  bool
	held  []vnet.PrefixAssignment // of this host, the oldest first

	active  *vnet.PrefixAssignment
	source  *Source                // of active
	revived *vnet.PrefixAssignment // what active was a moment ago: deprecated
	number  *uint64                // which piece of its source it had, for the next one
	wait    *Source                // what it does not climb to yet
	short   string                 // what keeps it from the rungs above
}

// reachOf returns the reach of a subnet, nil if its prefix comes from
// elsewhere. A second subnet may ask for a prefix of its own.
func reachOf(w *Wish, s *vnet.Subnet) *reach {
	r := &reach{wish: w, subnet: s}
	mode := w.mode(vnet.IPv6)
	switch {
	case s.Family == vnet.IPv6 && w.Beside && s.Primary:
		if w.Wire == "" {
			r.rungs = []vnet.Egress{vnet.EgressProxied}
		}
	case s.Family != vnet.IPv6 || !mode.Addressed():
		return nil
	case s.Source == vnet.SourceProxied, s.Primary && mode == vnet.EgressProxied:
		r.rungs = []vnet.Egress{vnet.EgressProxied}
	case s.Primary && mode == vnet.EgressNPTv6:
		r.rungs = []vnet.Egress{vnet.EgressNPTv6}
	case s.Source == vnet.SourceDelegated, s.Primary && mode == vnet.EgressDelegated:
		r.rungs = []vnet.Egress{vnet.EgressDelegated}
	case s.Primary && mode == vnet.EgressAuto:
		r.rungs, r.auto = []vnet.Egress{vnet.EgressDelegated, vnet.EgressProxied}, true
	default:
		return nil
	}
	return r
}

// height orders the rungs of auto.
func height(e vnet.Egress) int {
	return slices.Index([]vnet.Egress{vnet.EgressULA, vnet.EgressNAT66, vnet.EgressProxied, vnet.EgressDelegated}, e)
}

// Higher reports whether one rung of auto is above another.
func Higher(a, b vnet.Egress) bool { return height(a) > height(b) }

// reach decides the prefixes that come from uplinks, and with them the rungs
// of auto.
func (d *decider) reach() {
	// Those of another uplink than the one that packets leave by are of no
	// use: its provider drops them.
	usable := func(all []Source) []Source {
		return slices.DeleteFunc(all, func(s Source) bool { return s.Link != "" && s.Link != d.in.Uplink.Link6 })
	}
	u := &uplifts{d: d, taken: map[netip.Prefix]*reach{},
		delegated: usable(sources(d.in.Uplink.Delegated, d.in.Now)), onLink: usable(shareable(d.in.Uplink.OnLink, d.in.Now))}
	for _, r := range d.reaches {
		u.keep(r)
	}
	order := slices.Clone(d.reaches)
	slices.SortStableFunc(order, first)
	for _, r := range order {
		if !r.wish.Stopped {
			u.choose(r)
		}
	}
	for _, r := range d.reaches {
		u.tell(r)
	}
}

// first orders those that may have to share: who has one keeps it, the oldest
// first; then who asks by name; then by number.
func first(a, b *reach) int {
	rank := func(r *reach) int {
		switch {
		case r.active != nil:
			return 0
		case !r.auto:
			return 1
		}
		return 2
	}
	c := rank(a) - rank(b)
	if c == 0 && a.active != nil {
		c = a.active.Since.Compare(b.active.Since)
	}
	return cmp.Or(c, a.wish.Number-b.wish.Number, cmp.Compare(a.subnet.ID, b.subnet.ID))
}

// uplifts is what the uplinks offer, and who has which of it.
type uplifts struct {
	d                 *decider
	delegated, onLink []Source
	taken             map[netip.Prefix]*reach // /64s of delegated prefixes
}

// choose finds the highest rung that the subnet may stand on now.
func (u *uplifts) choose(r *reach) {
	for _, rung := range r.rungs {
		if r.active != nil && r.active.Rung == rung {
			return
		}
		p, s, why := u.offer(r, rung)
		if s == nil {
			r.short = join(r.short, why)
			continue
		}
		if u.waits(r, rung, s) {
			r.wait = s
			continue
		}
		u.take(r, rung, p, s)
		return
	}
	if r.active != nil { // on a rung that is no longer among its own
		u.drop(r, "is of a rung that is left")
	}
}

// waits reports whether auto must not climb to the source yet, and sees to it
// that it is asked again.
func (u *uplifts) waits(r *reach, rung vnet.Egress, s *Source) bool {
	d := u.d
	present, stood := d.in.Present[r.wish.Network]
	settle := cmp.Or(d.in.Settle, Settle)
	if !r.auto || !stood || height(rung) <= height(present) || settle < 0 {
		return false
	}
	at := s.Since
	if since := d.in.Uplink.Since6; since.After(at) {
		at = since
	}
	at = at.Add(settle)
	if !d.in.Now.Before(at) || at.Sub(d.in.Now) > settle { // or from before the clock was set back
		return false
	}
	if d.out.Next.IsZero() || at.Before(d.out.Next) {
		d.out.Next = at
	}
	return true
}

// take makes a prefix the subnet's own.
func (u *uplifts) take(r *reach, rung vnet.Egress, p netip.Prefix, s *Source) {
	if r.active != nil {
		u.drop(r, "has a better one in its place")
	}
	a := vnet.PrefixAssignment{
		Meta:    vnet.Meta{Project: r.subnet.Project},
		Network: r.wish.Network, Subnet: r.subnet.ID, Host: u.d.in.Host, Family: vnet.IPv6, Prefix: p,
		Scope: r.wish.scope(), Rung: rung, State: vnet.PrefixActive, Since: u.d.in.Now,
	}
	a.PreferredUntil, a.ValidUntil = s.PreferredUntil, s.ValidUntil
	own := func(h vnet.PrefixAssignment) bool {
		return h.Subnet == a.Subnet && h.Prefix == p && h.Rung == rung && h.ID != ""
	}
	if i := slices.IndexFunc(u.d.out.Held, own); i >= 0 { // its own, until a while ago
		a.Meta = u.d.out.Held[i].Meta
		u.d.out.Held, u.d.out.Claim = slices.Delete(u.d.out.Held, i, i+1), slices.DeleteFunc(u.d.out.Claim, own)
	}
	for i := range u.d.out.Moves {
		if m := &u.d.out.Moves[i]; m.Subnet == r.subnet.ID && !m.To.IsValid() {
			m.To = p
		}
	}
	u.activate(r, a, s, true)
}

// drop takes back that a prefix is active.
func (u *uplifts) drop(r *reach, why string) {
	h := *r.active
	same := func(a vnet.PrefixAssignment) bool {
		return a.ID == h.ID && a.Prefix == h.Prefix && a.Subnet == h.Subnet
	}
	u.d.out.Held = slices.DeleteFunc(u.d.out.Held, same)
	u.d.out.Claim = slices.DeleteFunc(u.d.out.Claim, same)
	delete(u.taken, h.Prefix)
	r.active, r.source = nil, nil
	if r.revived != nil { // it was none before, either
		h = *r.revived
		h.Cut = u.cut(h)
		u.d.hold(h, h.Cut != r.revived.Cut)
		r.revived = nil
		return
	}
	u.deprecate(r, h, why)
}

// offer finds a prefix for the subnet on a rung, or says why there is none.
func (u *uplifts) offer(r *reach, rung vnet.Egress) (netip.Prefix, *Source, string) {
	if rung == vnet.EgressProxied {
		return u.share(r)
	}
	if len(u.delegated) == 0 {
		return netip.Prefix{}, nil, "no prefix is delegated to this host"
	}
	for i := range u.delegated {
		if p, ok := u.free(r, &u.delegated[i]); ok {
			return p, &u.delegated[i], ""
		}
	}
	return netip.Prefix{}, nil, fmt.Sprintf("every /64 of %s is in use; a shorter delegation would lift it", u.delegated[0].named())
}

// mostTries bounds the search for a free /64.
const mostTries = 1 << 16

// free finds a /64 of a source that nobody has: the one with the number that
// the subnet had, else with its network's number, else the next.
func (u *uplifts) free(r *reach, s *Source) (netip.Prefix, bool) {
	n := s.pieces()
	at := uint64(max(r.wish.Number, 0))
	if r.number != nil {
		at = *r.number
	}
	firm := &u.d.scope(r.wish.Scope).firm
	for i := range min(n, mostTries) {
		p, ok := s.piece((at + i) % n)
		if !ok || u.taken[p] != nil {
			continue
		}
		if _, clashes := clash(firm, p, r.subnet.ID); clashes {
			continue
		}
		return p, true
	}
	return netip.Prefix{}, false
}

// tell says on which rung the subnet's network stands, and why.
func (u *uplifts) tell(r *reach) {
	if !r.subnet.Primary {
		return
	}
	if r.wish.Beside {
		u.tellBeside(r)
		return
	}
	dec := u.d.decisions[r.wish.Network]
	if r.active != nil && r.source == nil {
		dec.Rung6 = r.active.Rung
		dec.Why6 = fmt.Sprintf("%s: %s, as before; the uplink has just begun to be heard", dec.Rung6, r.active.Prefix)
	} else if r.active != nil {
		dec.Rung6 = r.active.Rung
		dec.Why6 = fmt.Sprintf("%s: %s", dec.Rung6, r.source.named())
		if !r.auto {
			dec.Why6 = fmt.Sprintf("%s: by name; %s", dec.Rung6, r.source.named())
		}
	} else if r.auto && r.short != "" {
		dec.Why6 = u.d.in.Uplink.below(r.short)
	} else if !r.auto {
		dec.Why6 = fmt.Sprintf("%s: by name; but %s", dec.Rung6, r.short)
		dec.Problems = append(dec.Problems, vnet.Problem{Kind: vnet.ErrUnavailable, Field: "ipv6", Family: vnet.IPv6, Msg: r.short, Hint: "say ipv6=auto to have what the uplink carries"})
	}
	if r.wait != nil {
		dec.Why6 = join(dec.Why6, fmt.Sprintf("%s has just come and is taken when it stays", r.wait.named()))
	} else if r.active != nil && r.auto && r.short != "" {
		dec.Why6 = join(dec.Why6, r.short)
	}
}

func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}
