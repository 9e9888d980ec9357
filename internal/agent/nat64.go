package agent

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/translate"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Translator keeps the host's NAT64 translator running: a translate.Runner.
type Translator interface {
	// Missing says why there is none to run, nil if there is one.
	Missing() error
	// Set says what is wished, nil for no translator. The link is there.
	Set(w *translate.Wish)
	// Problems is what keeps it from running.
	Problems() []vnet.Problem
}

// ways64 is what networks were last planned with to reach IPv4 by translation.
type ways64 struct {
	heard      netip.Prefix // the provider's translator
	uplink4    bool
	translator *plan.Translator
	own        plan.Translator // what translator points to
}

// askTranslator decides anew over which translator guests without IPv4 reach
// it.
func (a *Agent) askTranslator() {
	now := ways64{heard: a.facts.Heard64(), uplink4: a.facts.Uplink4 != ""}
	if t, ok := a.chooseTranslator(); ok {
		now.own, now.translator = t, &t
	}
	was := a.ways64
	a.ways64 = now
	a.facts.Translator = now.translator
	if was.heard == now.heard && was.uplink4 == now.uplink4 && (was.translator == nil) == (now.translator == nil) && was.own == now.own {
		a.ways64.translator, a.facts.Translator = was.translator, was.translator
		return
	}
	host := plan.HostOwner(a.cfg.Host)
	a.dirty[host] = true
	for _, n := range a.snap.Networks {
		if !n.NAT64Wanted() {
			continue
		}
		for _, r := range plan.Affected(a.snap, n) {
			a.dirty[r] = true
		}
		a.changed[vnet.RefOf(n)] = true
	}
	switch old, runs := was.translator, now.translator.Runs(); {
	case runs && !old.Runs():
		a.event(host, "nat64", "IPv4 is translated for guests without any: %v stands for it, %v is theirs", now.own.Prefix, now.own.Pool)
	case !runs && old.Runs():
		a.event(host, "nat64", "IPv4 is not translated on this host any more")
	}
}

// chooseTranslator is the host's own translator, false if no network is to use
// one.
func (a *Agent) chooseTranslator() (plan.Translator, bool) {
	if !plan.NeedsTranslator(a.snap, a.facts) {
		return plan.Translator{}, false
	}
	t := plan.Translator{Prefix: plan.OwnNAT64(a.snap.Installation.ULA)}
	if a.cfg.Translator == nil {
		t.Missing = "this agent runs no translator"
		return t, true
	}
	if err := a.cfg.Translator.Missing(); err != nil {
		t.Missing = err.Error()
		if e, ok := err.(*vnet.Error); ok && e.Hint != "" {
			t.Missing, t.Hint = strings.TrimSuffix(t.Missing, "; "+e.Hint), e.Hint
		}
		return t, true
	}
	pool := a.ways64.own.Pool
	for _, p := range a.facts.Links[plan.TranslatorLink].Addresses { // of an agent before us
		if p.Addr().Is4() && !pool.IsValid() {
			pool = p.Masked()
		}
	}
	if t.Pool = plan.PoolFor(pool, a.used4()); !t.Pool.IsValid() {
		t.Missing, t.Hint = "no private IPv4 prefix is free on this host for it", "give up a route that takes all"
	}
	return t, true
}

// used4 lists the IPv4 prefixes that are in use on this host.
func (a *Agent) used4() []netip.Prefix {
	var out []netip.Prefix
	for _, u := range usesOf(a.facts) {
		out = append(out, u.Prefix)
	}
	for _, s := range a.snap.Subnets {
		out = append(out, s.Prefix)
	}
	for _, as := range a.snap.Assignments {
		if as.Host == a.cfg.Host {
			out = append(out, as.Prefix)
		}
	}
	return slices.DeleteFunc(out, func(p netip.Prefix) bool { return !p.IsValid() || !p.Addr().Is4() })
}

// runTranslator has the translator run, on the link that the kernel has by now,
// or end.
func (a *Agent) runTranslator() {
	if a.cfg.Translator == nil {
		return
	}
	t := a.facts.Translator
	if !t.Runs() || a.union.fragments[plan.HostOwner(a.cfg.Host)] == nil {
		a.cfg.Translator.Set(nil)
		return
	}
	a.cfg.Translator.Set(&translate.Wish{Link: plan.TranslatorLink, Prefix: t.Prefix, Itself: t.Itself(), Guests: t.Guests()})
}

// lookForTranslator notices that a translator was installed or is gone.
func (a *Agent) lookForTranslator() {
	if t := a.ways64.translator; t != nil && a.cfg.Translator != nil && (t.Missing == "") != (a.cfg.Translator.Missing() == nil) {
		a.climb = true
	}
}

// problems collects what keeps each network from being served.
func (a *Agent) problems() map[vnet.ID][]vnet.Problem {
	out := a.srv.problems()
	if a.cfg.Translator == nil || a.ways64.translator == nil {
		return out
	}
	if ps := a.cfg.Translator.Problems(); len(ps) > 0 {
		for id, svc := range a.srv.services {
			if svc.Translated {
				out[id] = append(out[id], ps...)
			}
		}
	}
	return out
}
