package agent

import (
	"time"

	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/plan"
)

// find takes a finding in; it reports whether everything must be compared.
func (a *Agent) find(f watch.Change) bool {
	switch {
	case f.Facts:
		a.takeFacts()
	default:
		a.ears.setLinks(a.cfg.Finder.Facts().Links)
	}
	if f.NFT {
		a.lookAt = time.Time{}
	}
	return f.Drift
}

// takeFacts marks everything that the new facts change. Ports depend on few of
// them; fragments that come out the same cost no kernel work. What is half moved
// between a NIC and its bridge is taken when it is done.
func (a *Agent) takeFacts() {
	if a.share.busy {
		return
	}
	old := a.facts
	now := *a.cfg.Finder.Facts()
	now.Translator = a.ways64.translator
	now.Rungs, now.Aggregates = a.rungs, old.Aggregates
	now.Contested = a.prox.contested
	a.withUplinks(&now)
	now.Index()
	a.facts = &now
	a.srv.dns.SetUpstreams(now.Resolvers)
	a.srv.dns.SetHost(hostAddresses(&now))
	a.ears.setLinks(now.Links)
	a.setUplinks()
	a.proxyUplinks()
	a.rep.host(a.cfg.Host, a.hostFacts(&now))
	a.climb = true
	if sameForPlans(old, &now) {
		return
	}
	for _, r := range plan.Owners(a.snap) {
		a.dirty[r] = true
	}
}
