package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/ladder"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// claimTimeout bounds how long the loop waits for the store to take prefix
// assignments; after it, guests keep what they have and the loop tries again.
const claimTimeout = 3 * time.Second

// scoped is a prefix in an address scope.
type scoped struct {
	scope  vnet.Scope
	prefix netip.Prefix
}

// askLadder decides anew which prefixes the host holds and on which rung each
// network stands. A prefix is claimed before anything is planned with it.
func (a *Agent) askLadder(ctx context.Context) {
	in := a.ladderInput()
	out := ladder.Decide(in)
	a.claimPrefixes(ctx, out)
	if now := aggregates(&in, out.Held); !slices.Equal(a.facts.Aggregates, now) && (len(now) > 0 || !in.Uplink.UnheardDelegated) {
		a.facts.Aggregates = now
		a.dirty[plan.HostOwner(a.cfg.Host)] = true
	}
	for id, d := range out.Networks {
		now := plan.Rung{V4: d.Rung4, V6: d.Rung6, Why4: d.Why4, Why6: d.Why6, Problems: d.Problems}
		if reflect.DeepEqual(a.rungs[id], now) {
			continue
		}
		a.tellRung(id, a.rungs[id], now)
		a.rungs[id] = now
		ref := vnet.Ref{Kind: vnet.KindNetwork, ID: id}
		if n := a.snap.Networks[id]; n != nil {
			for _, r := range plan.Affected(a.snap, n) {
				a.dirty[r] = true
			}
		}
		a.changed[ref] = true
	}
	for id := range a.rungs {
		if _, still := out.Networks[id]; !still {
			delete(a.rungs, id)
		}
	}
	a.facts.Rungs = a.rungs
	a.climbAt = time.Time{}
	a.askAgain(out.Next)
	if left := a.up.hearing(a.cfg.UplinkClock().Boot); left > 0 {
		a.askAgain(a.cfg.Now().Add(left))
	}
}

// askAgain has the ladder asked at a moment, unless that is over or an earlier
// one is due; zero: never.
func (a *Agent) askAgain(at time.Time) {
	now := a.cfg.Now()
	if at.IsZero() || !at.After(now) || !a.climbAt.IsZero() && !at.Before(a.climbAt) {
		return
	}
	a.climbAt = at
	if a.alarm != nil {
		a.alarm.Stop()
	}
	a.alarm = time.AfterFunc(at.Sub(now)+time.Millisecond, func() { a.do(func() { a.climb = true }) })
}

// claimPrefixes makes the decision true in the store first, then here.
func (a *Agent) claimPrefixes(ctx context.Context, out ladder.Output) {
	if len(out.Claim) == 0 { // nothing held has a deadline
		a.up.clockSet = 0
	}
	if len(out.Claim)+len(out.Release) == 0 {
		return
	}
	var put []vnet.Object
	var release []vnet.Ref
	for _, as := range out.Claim {
		if as.ID == "" {
			as.ID = vnet.ID(uuid.NewString())
			as.Created = a.cfg.Now()
		}
		as.Revision = vnet.AnyRevision
		for _, t := range []*time.Time{&as.Created, &as.Since, &as.PreferredUntil, &as.ValidUntil} {
			*t = t.Round(0).UTC() // as the store gives it back
		}
		put = append(put, &as)
	}
	for _, as := range out.Release {
		release = append(release, vnet.RefOf(&as))
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	errs := a.cfg.Store.Claim(ctx, put, release)
	again := false
	clear(a.refused)
	for i, o := range put {
		as := o.(*vnet.PrefixAssignment)
		if errs[i] != nil {
			a.log.Warn("prefix not claimed", "prefix", as.Prefix, "network", as.Network, "error", errs[i])
			again = true
			if vnet.Is(errs[i], vnet.ErrExists) {
				a.refused[scoped{as.Scope, as.Prefix}] = true
			}
			continue
		}
		a.up.clockSet = 0 // else the store is away, and the deadlines in it are as before
		a.take(vnet.Update{Put: []vnet.Object{as}})
	}
	for i, r := range release {
		if err := errs[len(put)+i]; err == nil || vnet.Is(err, vnet.ErrNotFound) {
			a.take(vnet.Update{Delete: []vnet.Ref{r}})
		}
	}
	a.climb = false // what was just taken is what was decided
	if !again {
		a.tellMoves(out.Moves)
	}
	if again {
		time.AfterFunc(time.Second, func() { a.do(func() { a.climb = true }) })
	}
}

func (a *Agent) tellMoves(moves []ladder.Move) {
	for _, m := range moves {
		to := "nothing is free to take its place"
		if m.To.IsValid() {
			to = "it is " + m.To.String() + " now"
		}
		a.event(vnet.Ref{Kind: vnet.KindNetwork, ID: m.Network}, "prefix", "%v had to go: it %s; %s", m.From, m.Because, to)
	}
}

// ladderInput is what the ladder must know.
func (a *Agent) ladderInput() ladder.Input {
	in := ladder.Input{Host: a.cfg.Host, ULA: a.snap.Installation.ULA, Used: usesOf(a.facts)}
	in.Settle, in.Present = a.settle(), map[vnet.ID]vnet.Egress{}
	a.atOneMoment(&in)
	if a.up.hearing(a.cfg.UplinkClock().Boot) == 0 { // until then every choice is a first one
		for id, r := range a.rungs {
			in.Present[id] = r.V6
		}
	}
	ids := slices.Sorted(maps.Keys(a.snap.Networks))
	for _, id := range ids {
		n := a.snap.Networks[id]
		if n.Deleting != nil {
			continue
		}
		w := ladder.Wish{Network: id, Name: n.Name, Number: n.Number, Scope: vnet.Scope(n.Router), Stopped: !a.snap.Started(id), LeaseTime: n.LeaseTime.Std(), IPv4: n.IPv4.Mode, IPv6: n.IPv6.Mode}
		a.besideOf(&w, n)
		for _, s := range a.snap.SubnetsOf(id) {
			w.Subnets = append(w.Subnets, *s)
		}
		in.Wishes = append(in.Wishes, w)
	}
	for _, id := range slices.Sorted(maps.Keys(a.snap.Assignments)) {
		if as := a.snap.Assignments[id]; as.Host == a.cfg.Host {
			in.Held = append(in.Held, *as)
		} else if as.State != vnet.PrefixExpired {
			in.Taken = append(in.Taken, ladder.Used{Prefix: as.Prefix, Scope: as.Scope, Label: "held by host " + as.Host})
		}
	}
	if t := a.facts.Translator; t.Runs() {
		in.Taken = append(in.Taken, ladder.Used{Prefix: t.Pool, Label: "the NAT64 translator's"})
	}
	for p := range a.refused {
		in.Taken = append(in.Taken, ladder.Used{Prefix: p.prefix, Scope: p.scope, Label: "refused by the store"})
	}
	return in
}

// addressLabel begins what is said of an address of the host's.
const addressLabel = "the address"

// mainTable is the routing table that has no need of being named
// (RT_TABLE_MAIN).
const mainTable = 254

// usesOf lists the prefixes that the host uses and that are not ours.
func usesOf(f *plan.Facts) []ladder.Used {
	var out []ladder.Used
	for _, l := range f.Links {
		if strings.HasPrefix(l.Alias, plan.AliasPrefix) {
			continue
		}
		for _, p := range l.Addresses {
			out = append(out, ladder.Used{Prefix: p.Masked(), Label: fmt.Sprintf("%s %s on %s", addressLabel, p.Addr(), l.Name)})
		}
	}
	for _, r := range f.Routes {
		label := fmt.Sprintf("a route over %s", r.Link)
		if r.Table != mainTable {
			label = fmt.Sprintf("a route in table %d over %s", r.Table, r.Link)
		}
		out = append(out, ladder.Used{Prefix: r.Prefix, Label: label})
	}
	for _, r := range f.Resolvers {
		a := r.Addr().WithZone("")
		out = append(out, ladder.Used{Prefix: netip.PrefixFrom(a, a.BitLen()), Label: "a name server of the host"})
	}
	return out
}
