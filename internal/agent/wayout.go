package agent

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/ladder"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// withUplinks adds to the kernel's facts what is heard on the uplinks and
// wished of them.
func (a *Agent) withUplinks(f *plan.Facts) {
	a.up.policies = lifted(a.policies(), f.Links)
	f.Uplinks = maps.Clone(f.Uplinks)
	if f.Uplinks == nil {
		f.Uplinks = map[string]vnet.Uplink{}
	}
	for name, u := range f.Uplinks {
		f.Uplinks[name] = a.describe(f, u)
	}
	for _, fam := range vnet.Families {
		a.pin(f, fam)
	}
	a.tellSwitch(a.facts, f)
}

// pin makes the pinned uplink of a family the one in use, if it has a way out.
func (a *Agent) pin(f *plan.Facts, fam vnet.Family) {
	active, hop := &f.Uplink4, &f.Pinned4
	if fam == vnet.IPv6 {
		active, hop = &f.Uplink6, &f.Pinned6
	}
	for _, d := range f.Defaults {
		p := a.up.policies[d.Link]
		if d.Family != fam || p == nil || !slices.Contains(p.Pins(), fam) {
			continue
		}
		*active, *hop = d.Link, d.Hop
		for name, u := range f.Uplinks {
			if fam == vnet.IPv4 {
				u.V4 = name == d.Link
			} else {
				u.V6 = name == d.Link
			}
			u.Pinned = u.Pinned || name == d.Link
			f.Uplinks[name] = u
		}
		return
	}
}

// describe completes what is known of an uplink.
func (a *Agent) describe(f *plan.Facts, u vnet.Uplink) vnet.Uplink {
	l, heard := f.Links[u.Name], a.up.newest(u.Name)
	u.Down = !l.Up || !l.Carrier
	u.Manager, u.Lower = managerOf(l), plan.SharedNIC(l)
	u.Problems = append(slices.Clone(u.Problems), a.shareProblems(cmp.Or(u.Lower, u.Name))...)
	u.Routers, u.Delegations = heard.Routers, heard.Delegations
	if heard.Problem != "" {
		u.Problems = append(slices.Clone(u.Problems), vnet.Problem{Kind: vnet.ErrHost, Msg: heard.Problem})
	}
	p := a.up.policies[u.Name]
	if held, used := inUseByHost(f); used && (p == nil || p.Ask == "" || p.Ask == vnet.AskAuto) && a.up.links.Held(u.Name) == nil && u.V6 {
		u.Problems = append(slices.Clone(u.Problems), vnet.Problem{Kind: vnet.ErrConflict, Field: "ask", Family: vnet.IPv6,
			Msg:  fmt.Sprintf("a DHCPv6 client of the host holds %v and gives pieces of it to other links: no prefix is asked for beside it", held),
			Hint: fmt.Sprintf("say `sextant uplink set %s prefixes=` with a part of it that is free, or ask=on", u.Name)})
	}
	if p != nil {
		for _, fam := range p.Pins() {
			if !slices.ContainsFunc(f.Defaults, func(d plan.DefaultRoute) bool { return d.Link == u.Name && d.Family == fam }) {
				u.Problems = append(slices.Clone(u.Problems), vnet.Problem{Kind: vnet.ErrUnavailable, Field: "pinned", Family: fam,
					Msg: fmt.Sprintf("it is pinned for %s but has no default route: guests leave as the host does", fam)})
			}
		}
	}
	return u
}

// tellSwitch notes which links are the ways out, and since when, and tells when
// that changes.
func (a *Agent) tellSwitch(was, now *plan.Facts) {
	for _, fam := range vnet.Families {
		old, new := was.Uplink4, now.Uplink4
		if fam == vnet.IPv6 {
			old, new = was.Uplink6, now.Uplink6
		}
		if old == new && was.Links != nil {
			continue
		}
		a.up.since[fam] = a.cfg.UplinkClock().Boot
		host := plan.HostOwner(a.cfg.Host)
		label := map[vnet.Family]string{vnet.IPv4: "IPv4", vnet.IPv6: "IPv6"}[fam]
		switch {
		case was.Links == nil: // the first facts are no news
		case new == "":
			a.event(host, "uplink", "no uplink has %s any more: %s was the last", label, old)
		case old == "":
			a.event(host, "uplink", "%s leaves by %s", label, new)
		default:
			a.event(host, "uplink", "%s leaves by %s now, no longer by %s", label, new, old)
		}
	}
}

// atOneMoment reads the clocks and the uplinks for the ladder. Were the wall
// clock set back between the two, all that is offered would seem over.
func (a *Agent) atOneMoment(in *ladder.Input) {
	for {
		in.Now, in.Uplink = a.cfg.Now(), a.wayOut()
		a.up.clockSet += a.up.clocks.Follow(a.cfg.UplinkClock())
		if in.ClockSet = a.up.clockSet; !a.cfg.Now().Round(0).Before(in.Now.Round(0)) {
			return
		}
	}
}

// wayOut is the host's uplinks as the ladder sees them.
func (a *Agent) wayOut() ladder.Uplink {
	u4, u6, clocks := a.facts.Uplink4, a.facts.Uplink6, a.cfg.UplinkClock()
	out := ladder.Uplink{V4: u4 != "", V6: u6 != "", Link4: u4, Link6: u6, Since6: clocks.Wall.Add(a.up.since[vnet.IPv6] - clocks.Boot)}
	for _, p := range a.facts.Uplinks[u6].Addresses {
		if p.Addr().Is6() {
			out.Addresses6 = append(out.Addresses6, p)
		}
	}
	for _, l := range a.up.told {
		for _, d := range a.up.newest(l.Name).Delegations {
			out.Delegated = append(out.Delegated, ladder.Source{
				Prefix: d.Prefix, Exclude: d.Exclude, Link: l.Name, From: d.From, Since: d.Since,
				PreferredUntil: d.PreferredUntil, ValidUntil: d.ValidUntil,
			})
		}
	}
	if u, there := a.facts.Uplinks[u6]; there {
		u.Routers = a.up.newest(u6).Routers
		out.OnLink = ladder.OnLink(u)
	}
	hearing := a.up.hearing(clocks.Boot) > 0
	if u6 == "" && a.up.since[vnet.IPv6] > a.up.begun {
		hearing = false // an uplink that was there and has gone is nothing that is yet to be heard
	}
	out.UnheardDelegated = hearing && !slices.ContainsFunc(out.Delegated, func(s ladder.Source) bool { return s.Link == "" || s.Link == u6 })
	out.UnheardOnLink = hearing && len(a.up.newest(u6).Routers) == 0
	return out
}

// aggregates are the delegated prefixes that networks have pieces of.
func aggregates(in *ladder.Input, held []vnet.PrefixAssignment) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in.Uplink.Delegated {
		p := s.Prefix.Masked()
		uses := slices.ContainsFunc(held, func(a vnet.PrefixAssignment) bool {
			return (a.Rung == vnet.EgressDelegated || a.Rung == vnet.EgressNPTv6) && p.Bits() <= a.Prefix.Bits() && p.Contains(a.Prefix.Addr())
		})
		if uses && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}

// settle is how long auto waits before it climbs on the active uplink.
func (a *Agent) settle() time.Duration {
	p := a.up.policies[a.facts.Uplink6]
	if p == nil || p.Settle == 0 {
		return ladder.Settle
	}
	return p.Settle.Std()
}

// reported are the uplinks as they are reported: also those that have no
// default route now but are listened on. Lifetimes that were merely refreshed
// are not worth a write: they stay as they were reported until half is over.
func (a *Agent) reported(f *plan.Facts) []vnet.Uplink {
	all := maps.Clone(f.Uplinks)
	for _, l := range a.up.told {
		if _, there := all[l.Name]; there || l.Name == "" {
			continue
		}
		link := f.Links[l.Name]
		u := vnet.Uplink{Name: l.Name, MTU: link.MTU, Type: link.Type}
		for _, p := range link.Addresses {
			if !p.Addr().IsLinkLocalUnicast() {
				u.Addresses = append(u.Addresses, p)
			}
		}
		all[l.Name] = a.describe(f, u)
	}
	var out []vnet.Uplink
	now := a.cfg.Now()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		u, heard := all[name], a.up.newest(name) // which may be listened on only since it was described
		u.Routers, u.Delegations = heard.Routers, heard.Delegations
		i := slices.IndexFunc(a.up.reported, func(o vnet.Uplink) bool { return o.Name == name })
		if i >= 0 {
			u = unrefreshed(a.up.reported[i], u, now)
		}
		out = append(out, u)
	}
	a.up.reported = slices.Clone(out)
	for i := range out {
		out[i].Problems = append(slices.Clone(out[i].Problems), lackingProblems(a.up.links.Facts(out[i].Name))...)
	}
	return out
}

// unrefreshed is now, with the deadlines of was where they still tell enough.
func unrefreshed(was, now vnet.Uplink, at time.Time) vnet.Uplink {
	keep := func(old time.Time, t *time.Time) {
		if !old.IsZero() && !t.IsZero() && !old.After(t.Add(time.Minute)) && old.Sub(at) >= t.Sub(at)/2 {
			*t = old
		}
	}
	now.Routers, now.Delegations = slices.Clone(now.Routers), slices.Clone(now.Delegations)
	for i := range now.Routers {
		r := &now.Routers[i]
		j := slices.IndexFunc(was.Routers, func(o vnet.HeardRouter) bool { return o.Address == r.Address })
		if j < 0 {
			continue
		}
		keep(was.Routers[j].Until, &r.Until)
		r.Prefixes = slices.Clone(r.Prefixes)
		for k := range r.Prefixes {
			p := &r.Prefixes[k]
			for _, o := range was.Routers[j].Prefixes {
				if o.Prefix == p.Prefix {
					keep(o.PreferredUntil, &p.PreferredUntil)
					keep(o.ValidUntil, &p.ValidUntil)
				}
			}
		}
	}
	for i := range now.Delegations {
		d := &now.Delegations[i]
		for _, o := range was.Delegations {
			if o.Prefix == d.Prefix && o.From == d.From {
				keep(o.PreferredUntil, &d.PreferredUntil)
				keep(o.ValidUntil, &d.ValidUntil)
			}
		}
	}
	return now
}

// forPlans is what plans depend on of an uplink.
func forPlans(all map[string]vnet.Uplink) map[string]vnet.Uplink {
	out := make(map[string]vnet.Uplink, len(all))
	for name, u := range all {
		u.Routers, u.Delegations, u.Problems, u.Manager = nil, nil, nil, ""
		out[name] = u
	}
	return out
}

// tellRung tells that a network climbed or descended.
func (a *Agent) tellRung(id vnet.ID, was, now plan.Rung) {
	n := a.snap.Networks[id]
	if n == nil || n.IPv6.Mode != vnet.EgressAuto || was.V6 == "" || was.V6 == now.V6 || !a.snap.Started(id) {
		return
	}
	verb := "descends"
	if ladder.Higher(now.V6, was.V6) {
		verb = "climbs"
	}
	why := strings.TrimPrefix(now.Why6, string(now.V6)+": ")
	a.event(vnet.Ref{Kind: vnet.KindNetwork, ID: id}, "rung", "IPv6 %s from %s to %s: %s", verb, was.V6, now.V6, why)
}
