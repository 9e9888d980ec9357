package ladder

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// holder is who has a prefix: a subnet of ours, or whatever the label says.
type holder struct {
	subnet vnet.ID
	label  string
}

// slot is a subnet whose prefix moves, with what it holds.
type slot struct {
	wish   *Wish
	subnet *vnet.Subnet
	active *vnet.PrefixAssignment
	moved  *Move // what was held until now
}

// scope is what is occupied in one address scope.
type scope struct {
	firm occupied // facts, other hosts' networks, subnets that do not move
	ours occupied // active prefixes that are kept or new
	soft occupied // deprecated ones, and those of stopped networks: only new choices avoid them
}

type decider struct {
	in        Input
	wishes    []Wish // sorted by network
	decisions map[vnet.ID]*Decision
	rungs     map[wished]stood
	scopes    map[vnet.Scope]*scope
	slots     []*slot
	bySubnet  map[vnet.ID]*slot
	reaches   []*reach
	reachOf   map[vnet.ID]*reach // by subnet
	out       Output
}

func newDecider(in Input) *decider {
	in.Held = inTime(in.Held, in.ClockSet)
	d := &decider{in: in, wishes: slices.Clone(in.Wishes), decisions: make(map[vnet.ID]*Decision, len(in.Wishes)), rungs: map[wished]stood{},
		scopes: map[vnet.Scope]*scope{}, bySubnet: map[vnet.ID]*slot{}, reachOf: map[vnet.ID]*reach{}}
	if byNetwork := func(a, b Wish) int { return cmp.Compare(a.Network, b.Network) }; !slices.IsSortedFunc(d.wishes, byNetwork) {
		slices.SortStableFunc(d.wishes, byNetwork)
	}
	for i := range d.wishes {
		w := &d.wishes[i]
		w.Subnets = slices.Clone(w.Subnets)
		slices.SortStableFunc(w.Subnets, func(a, b vnet.Subnet) int { return cmp.Compare(a.ID, b.ID) })
		for j := range w.Subnets {
			s := &w.Subnets[j]
			if s.Source == vnet.SourceAuto && s.Family == vnet.IPv4 && w.mode(s.Family).Addressed() {
				sl := &slot{wish: w, subnet: s}
				d.slots, d.bySubnet[s.ID] = append(d.slots, sl), sl
			}
			if r := reachOf(w, s); r != nil {
				d.reaches, d.reachOf[s.ID] = append(d.reaches, r), r
			}
		}
	}
	d.occupy()
	return d
}

func (d *decider) scope(s vnet.Scope) *scope {
	s = scopeOr(s)
	sc := d.scopes[s]
	if sc == nil {
		sc = &scope{}
		d.scopes[s] = sc
	}
	return sc
}

// occupy collects what is firm. Of the host's facts only those that could be
// in the way of something are kept: the host may carry a full routing table.
func (d *decider) occupy() {
	interest := d.interest()
	var near []Used
	for _, list := range [][]Used{d.in.Used, d.in.Taken} {
		for _, u := range list {
			if !u.Prefix.IsValid() || standsForDefault(u.Prefix) {
				continue
			}
			if _, ok := interest.Overlap(u.Prefix); ok {
				near = append(near, u)
			}
		}
	}
	// The order of the input must not show in what we say is in the way.
	slices.SortFunc(near, func(a, b Used) int { return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Label, b.Label)) })
	for _, u := range near {
		d.scope(u.Scope).firm.Add(u.Prefix, holder{label: u.Label})
	}
	for i := range d.wishes {
		w := &d.wishes[i]
		for j := range w.Subnets {
			if p, ok := d.fixed(w, &w.Subnets[j]); ok {
				d.scope(w.Scope).firm.Add(p, holder{w.Subnets[j].ID, "of network " + w.Name})
			}
		}
	}
}

// interest holds everything that a fact could be in the way of.
func (d *decider) interest() *ipam.Set[struct{}] {
	var s ipam.Set[struct{}]
	for _, blocks := range tiers {
		for _, b := range blocks {
			s.Add(b, struct{}{})
		}
	}
	for i := range d.wishes {
		w := &d.wishes[i]
		for j := range w.Subnets {
			if p, ok := d.fixed(w, &w.Subnets[j]); ok {
				s.Add(p, struct{}{})
			}
		}
	}
	for _, h := range d.in.Held {
		s.Add(h.Prefix, struct{}{})
	}
	return &s
}

// standsForDefault reports whether a route is a default route in pieces, as
// VPNs put them in (0.0.0.0/1 and 128.0.0.0/1, 2000::/3): no network is that
// large.
func standsForDefault(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 7
}

// fixed returns the prefix of a started network's subnet that does not move.
// Networks that share a prefix on purpose have none of their own.
func (d *decider) fixed(w *Wish, s *vnet.Subnet) (netip.Prefix, bool) {
	mode := w.mode(s.Family)
	if w.Stopped || s.Source.Moves() || !mode.Addressed() || mode == vnet.EgressProxied {
		return netip.Prefix{}, false
	}
	p := s.Prefix
	if !p.IsValid() && s.Source == vnet.SourceULA {
		p, _ = ulaOf(d.in.ULA, w.Number)
	}
	return p, p.IsValid()
}

// warnOfFixed tells of subnets that do not move and have something in the way.
func (d *decider) warnOfFixed() {
	for i := range d.wishes {
		w := &d.wishes[i]
		for j := range w.Subnets {
			s := &w.Subnets[j]
			p, ok := d.fixed(w, s)
			if !ok {
				continue
			}
			if e, ok := clash(&d.scope(w.Scope).firm, p, s.ID); ok {
				d.problem(w, s, vnet.ErrOverlap, fmt.Sprintf("%s %s", p, overlaps(e)), moveIt(w, s))
			}
		}
	}
}

// moveIt says what to do about a fixed subnet that clashes.
func moveIt(w *Wish, s *vnet.Subnet) string {
	if !s.Primary {
		return "delete the subnet and create one with a prefix that is free, or give up the other"
	}
	return fmt.Sprintf("say `sextant network set %s %s.address=` with a prefix that is free, or give up the other", w.Name, s.Family)
}

func (d *decider) problem(w *Wish, s *vnet.Subnet, kind vnet.ErrKind, msg, hint string) {
	field := "prefix"
	if s.Primary {
		field = s.Family.String() + ".address"
	}
	dec := d.decisions[w.Network]
	dec.Problems = append(dec.Problems, vnet.Problem{Kind: kind, Field: field, Msg: msg, Hint: hint, Family: s.Family})
}

// clash finds what overlaps p and is not of the subnet itself.
func clash(set *occupied, p netip.Prefix, self vnet.ID) (found ipam.Entry[holder], ok bool) {
	set.Visit(p, func(e ipam.Entry[holder]) bool {
		if self != "" && e.Value.subnet == self {
			return true
		}
		found, ok = e, true
		return false
	})
	return found, ok
}

func overlaps(e ipam.Entry[holder]) string {
	return strings.TrimRight(fmt.Sprintf("overlaps %s, %s", e.Prefix, e.Value.label), ", ")
}

// keep goes through what is held, the oldest first: it stays unless its subnet
// no longer wants it, its time is over, or something is in its way.
func (d *decider) keep() {
	held := make([]*vnet.PrefixAssignment, 0, len(d.in.Held))
	for i := range d.in.Held {
		if h := &d.in.Held[i]; h.Host == d.in.Host || h.Host == "" {
			held = append(held, h)
		}
	}
	slices.SortStableFunc(held, func(a, b *vnet.PrefixAssignment) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Prefix.Compare(b.Prefix))
	})
	for _, at := range held {
		h := *at
		s := d.bySubnet[h.Subnet]
		if r := d.reachOf[h.Subnet]; r != nil {
			r.held = append(r.held, h)
			continue
		}
		switch {
		case h.State == vnet.PrefixExpired, !h.ValidUntil.IsZero() && !d.in.Now.Before(h.ValidUntil):
			d.out.Release = append(d.out.Release, h)
		case s == nil && d.elsewhere(&h):
			d.out.Held = append(d.out.Held, h) // of a source that is not decided here
		case s == nil, !h.Prefix.IsValid(), !h.Prefix.Addr().Is4():
			d.out.Release = append(d.out.Release, h)
		case h.State == vnet.PrefixDeprecated:
			d.hold(h, false)
			d.scope(s.wish.Scope).soft.Add(h.Prefix, holder{h.Subnet, "of network " + s.wish.Name})
		default:
			d.keepActive(s, h)
		}
	}
}

// elsewhere reports whether h belongs to a subnet whose prefixes are not this
// decider's to judge.
func (d *decider) elsewhere(h *vnet.PrefixAssignment) bool {
	for i := range d.wishes {
		for j := range d.wishes[i].Subnets {
			if s := &d.wishes[i].Subnets[j]; s.ID == h.Subnet {
				return s.Source.Moves() && s.Source != vnet.SourceAuto
			}
		}
	}
	return false
}

// keepActive keeps an active prefix if it can stay.
func (d *decider) keepActive(s *slot, h vnet.PrefixAssignment) {
	sc, who := d.scope(s.wish.Scope), holder{h.Subnet, "of network " + s.wish.Name}
	if s.wish.Stopped && s.active == nil {
		s.active = &h
		sc.soft.Add(h.Prefix, who)
		d.hold(h, false)
		return
	}
	why := ""
	if s.active != nil {
		why = "is one too many beside " + s.active.Prefix.String()
	} else if e, ok := clash(&sc.firm, h.Prefix, h.Subnet); ok {
		why = overlaps(e)
	} else if e, ok := clash(&sc.ours, h.Prefix, ""); ok {
		why = overlaps(e)
	}
	if why != "" {
		d.deprecate(s, h, why)
		return
	}
	sc.ours.Add(h.Prefix, who)
	rung := d.decisions[s.wish.Network].Rung4
	changed := h.Rung != rung || h.State != vnet.PrefixActive || scopeOr(h.Scope) != s.wish.scope() || h.Network != s.wish.Network
	h.Rung, h.State, h.Scope, h.Network = rung, vnet.PrefixActive, s.wish.scope(), s.wish.Network
	s.active = &h
	d.hold(h, changed)
}

// deprecate gives an active prefix its end.
func (d *decider) deprecate(s *slot, h vnet.PrefixAssignment, why string) {
	m := Move{Network: s.wish.Network, Subnet: h.Subnet, From: h.Prefix, Because: why}
	if s.moved == nil {
		s.moved = &m
	} else {
		d.out.Moves = append(d.out.Moves, m)
	}
	h.State, h.Since = vnet.PrefixDeprecated, d.in.Now
	h.PreferredUntil, h.ValidUntil = d.in.Now, d.in.Now.Add(grace(s.wish, s.subnet))
	d.scope(s.wish.Scope).soft.Add(h.Prefix, holder{h.Subnet, "of network " + s.wish.Name})
	d.hold(h, true)
}

// grace is how long guests keep what they have of a prefix that had to go: until
// their leases end, and with IPv6 at least for as long as no word of ours can
// take an address away (RFC 4862 section 5.5.3 e) and at most, unless more was
// promised, that long (RFC 9096 section 3.5).
func grace(w *Wish, s *vnet.Subnet) time.Duration {
	if s.Family == vnet.IPv4 {
		return max(MoveGrace, w.LeaseTime)
	}
	d := max(DeprecatedFor, s.Advertise.Valid.Std())
	if s.Guests == vnet.GuestsStateful || s.Guests == vnet.GuestsSLAACStateful {
		d = max(d, w.LeaseTime)
	}
	return d
}

// choose finds prefixes for the started subnets that have none.
func (d *decider) choose() {
	for _, s := range d.slots {
		if s.active == nil && !s.wish.Stopped {
			d.chooseFor(s)
		}
		if s.moved != nil {
			if s.active != nil {
				s.moved.To = s.active.Prefix
			}
			d.out.Moves = append(d.out.Moves, *s.moved)
		}
	}
}

func (d *decider) chooseFor(s *slot) {
	sc := d.scope(s.wish.Scope)
	p, ok := free(d.in.Host, s.wish, s.subnet, &sc.firm, &sc.ours, &sc.soft)
	if !ok {
		d.problem(s.wish, s.subnet, vnet.ErrExhausted, "no private IPv4 prefix is free on this host",
			fmt.Sprintf("say `sextant network set %s ipv4=nat ipv4.address=` with a prefix of your choice, or give up a route that takes all", s.wish.Name))
		return
	}
	a := vnet.PrefixAssignment{
		Meta:    vnet.Meta{Project: s.subnet.Project},
		Network: s.wish.Network, Subnet: s.subnet.ID, Host: d.in.Host, Family: vnet.IPv4, Prefix: p,
		Scope: s.wish.scope(), Rung: d.decisions[s.wish.Network].Rung4, State: vnet.PrefixActive, Since: d.in.Now,
	}
	sc.ours.Add(p, holder{s.subnet.ID, "of network " + s.wish.Name})
	s.active = &a
	d.hold(a, true)
}

func (d *decider) hold(a vnet.PrefixAssignment, changed bool) {
	d.out.Held = append(d.out.Held, a)
	if changed {
		d.out.Claim = append(d.out.Claim, a)
	}
	if !a.ValidUntil.IsZero() && (d.out.Next.IsZero() || a.ValidUntil.Before(d.out.Next)) {
		d.out.Next = a.ValidUntil
	}
}

// output puts everything in order.
func (d *decider) output() Output {
	d.claimMoved()
	d.out.Held = inOrder(d.out.Held)
	d.out.Claim = inOrder(d.out.Claim)
	d.out.Release = inOrder(d.out.Release)
	d.out.Networks = make(map[vnet.ID]Decision, len(d.decisions))
	for id, dec := range d.decisions {
		d.out.Networks[id] = *dec
	}
	return d.out
}

// inOrder sorts assignments by network, subnet and age. They are large: what is
// moved about while sorting is where they are.
func inOrder(list []vnet.PrefixAssignment) []vnet.PrefixAssignment {
	at := make([]*vnet.PrefixAssignment, len(list))
	for i := range list {
		at[i] = &list[i]
	}
	slices.SortStableFunc(at, func(a, b *vnet.PrefixAssignment) int {
		if c := cmp.Compare(a.Network, b.Network); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Subnet, b.Subnet), a.Since.Compare(b.Since), a.Prefix.Compare(b.Prefix))
	})
	out := slices.Clone(list)
	for i, a := range at {
		out[i] = *a
	}
	return out
}
