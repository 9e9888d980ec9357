package agent

import (
	"context"
	"reflect"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// foreignEvery is how often other programs' rules are looked at without
// cause.
const foreignEvery = 30 * time.Second

// check does what no event announces: servers that came to serve or ceased to,
// items to try again, other programs' rules, the kept snapshot.
func (a *Agent) check(ctx context.Context) {
	now := a.cfg.Now()
	a.tendTentative(now)
	a.keep.tick(a.snap, a.tentative)
	if !a.climbAt.IsZero() && !now.Before(a.climbAt) {
		a.climb = true // timers do not count the host's sleep, nor follow a clock that is set
	}
	a.lookForTranslator()
	if p := a.problems(); !reflect.DeepEqual(p, a.troubles) {
		for _, m := range []map[vnet.ID][]vnet.Problem{p, a.troubles} {
			for id := range m {
				a.changed[vnet.Ref{Kind: vnet.KindNetwork, ID: id}] = true
			}
		}
	}
	a.tendShares(ctx)
	a.ears.tick(now)
	a.adopt(ctx)
	a.expire(now)
	a.tellPast(now)
	if a.spoken {
		a.srv.accepts.only(func(network vnet.ID) bool { return a.snap.Networks[network] != nil })
	}
	a.retry(ctx)
	if a.cfg.Foreign != nil && now.After(a.lookAt) {
		a.lookForeign(ctx, now)
	}
}

// retry tries failed items again, when each is due.
func (a *Agent) retry(ctx context.Context) {
	if len(a.failed) == 0 {
		return
	}
	before := a.failed
	if res := a.cfg.Kernel.Reconcile(ctx, nil, nil); !res.Changed() && len(res.Failed) == 0 {
		return
	}
	a.failed = a.cfg.Kernel.Errors()
	a.report(nil, before)
}

// lookForeign asks whether other programs' rules would stop our guests, and
// says so once.
func (a *Agent) lookForeign(ctx context.Context, now time.Time) {
	a.lookAt = now.Add(foreignEvery)
	var links []string
	for _, svc := range a.srv.services {
		if svc.NS == "" {
			links = append(links, svc.Link)
		}
	}
	if len(links) > 0 && a.facts.Translator.Runs() {
		links = append(links, plan.TranslatorLink)
	}
	var found []vnet.Problem
	if len(links) > 0 {
		found = a.cfg.Foreign(ctx, links)
	}
	if reflect.DeepEqual(found, a.foreign) {
		return
	}
	for _, p := range found {
		a.log.Warn("another firewall is in the way", "problem", p.Msg, "mend", p.Hint)
	}
	a.foreign = found
	for id, svc := range a.srv.services {
		if svc.NS == "" {
			a.changed[vnet.Ref{Kind: vnet.KindNetwork, ID: id}] = true
		}
	}
}
