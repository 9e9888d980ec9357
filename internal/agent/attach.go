package agent

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/attach"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Sharer puts NICs of the host into bridges of ours: an attach.Host.
type Sharer interface {
	// Recover ends what an earlier process left half done or unconfirmed.
	Recover() ([]attach.Shared, error)
	// Shared says what is shared, and which attempts ended.
	Shared() []attach.Shared
	// Set makes the NIC as it is wished; nothing to do is no error.
	Set(ctx context.Context, nic string, want attach.Want) error
}

// sharing is what the loop knows of shared NICs.
type sharing struct {
	busy   bool             // one is moved, by a goroutine of its own
	failed map[string]tried // by NIC
}

// tried is an attempt that failed.
type tried struct {
	want attach.Want
	err  error
	at   time.Time
}

// shareAgain is when a confirmed wish that failed is tried again.
const shareAgain = 5 * time.Minute

// recoverShares comes before anything else: the host may be half way.
func (a *Agent) recoverShares() {
	if a.cfg.Sharer == nil {
		return
	}
	ended, err := a.cfg.Sharer.Recover()
	if err != nil {
		a.log.Error("a NIC could not get back what it had", "error", err)
	}
	for _, s := range ended {
		a.event(plan.HostOwner(a.cfg.Host), "uplink", "%s has its addresses back: %s", s.NIC, s.Why)
	}
}

// tendShares makes NICs shared or not, as policies wish it at the moment: one at
// a time, and beside the loop, since gateways are waited for.
func (a *Agent) tendShares(ctx context.Context) {
	if a.cfg.Sharer == nil || a.share.busy || !a.settled {
		return
	}
	now := a.cfg.Now()
	policies, shared := a.policies(), map[string]attach.Shared{}
	for _, s := range a.cfg.Sharer.Shared() {
		shared[s.NIC] = s
		if policies[s.NIC] == nil {
			policies[s.NIC] = nil
		}
	}
	for nic := range a.share.failed {
		if policies[nic] == nil && shared[nic].NIC == "" {
			delete(a.share.failed, nic) // nothing is wished of it any more
		}
	}
	for nic, p := range policies {
		if nic == vnet.AnyUplink {
			continue
		}
		s := shared[nic]
		want := wantShared(p, s, now)
		if a.resting {
			want = attach.Want{Why: "everything is cleaned up"}
		}
		if s.Holds(want) {
			delete(a.share.failed, nic) // what failed is not wished any more
			continue
		}
		if a.failedLately(nic, want, now) {
			continue
		}
		a.share.busy = true
		go a.setShared(ctx, nic, p, want)
		return
	}
}

// wantShared is what a policy wishes at a moment. What was to be confirmed and
// was undone is not done again under the same deadline.
func wantShared(p *vnet.UplinkPolicy, s attach.Shared, now time.Time) attach.Want {
	switch {
	case p == nil:
		return attach.Want{Why: "it is no longer wished"}
	case !p.Shared && p.SharedAt(now):
		return attach.Want{Shared: true} // that it is not shared was not confirmed
	case !p.Shared:
		return attach.Want{Why: "it is wished so"}
	case p.Until.IsZero():
		return attach.Want{Shared: true}
	case !p.SharedAt(now), s.Until.Equal(p.Until) && s.Lapsed:
		return attach.Want{Why: "it was not confirmed in time", Until: p.Until}
	case s.Until.Equal(p.Until) && s.Ended:
		return attach.Want{Why: s.Why, Until: p.Until}
	}
	return attach.Want{Shared: true, Until: p.Until}
}

// shareSettle is how long the finder may take to see what was moved.
const shareSettle = 300 * time.Millisecond

func (a *Agent) failedLately(nic string, want attach.Want, now time.Time) bool {
	f, ok := a.share.failed[nic]
	return ok && f.want == want && now.Before(f.at.Add(shareAgain))
}

// setShared does it, and tells what came of it.
func (a *Agent) setShared(ctx context.Context, nic string, p *vnet.UplinkPolicy, want attach.Want) {
	was := find(a.cfg.Sharer.Shared(), nic)
	err := a.cfg.Sharer.Set(ctx, nic, want)
	is := find(a.cfg.Sharer.Shared(), nic)
	if was.Bridge != is.Bridge {
		pause := time.NewTimer(shareSettle)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
	a.do(func() {
		a.share.busy = false
		ref := plan.HostOwner(a.cfg.Host)
		if p != nil {
			ref = vnet.RefOf(p)
		}
		delete(a.share.failed, nic)
		switch {
		case err != nil:
			a.share.failed[nic] = tried{want, err, a.cfg.Now()}
			a.event(ref, "problem", "%v", err)
		case is.Bridge != "" && is.Until.IsZero() && was.Bridge == is.Bridge && !was.Until.IsZero():
			a.event(ref, "shared", "confirmed: %s stays in the bridge %s", nic, is.Bridge)
		case is.Bridge != "" && was.Bridge == "" && !is.Until.IsZero():
			a.event(ref, "shared", "%s is in the bridge %s, which has its addresses; until %s it waits to be confirmed", nic, is.Bridge, is.Until.Format(time.RFC3339))
		case is.Bridge != "" && was.Bridge == "":
			a.event(ref, "shared", "%s is in the bridge %s, which has its addresses", nic, is.Bridge)
		case is.Bridge == "" && was.Bridge != "":
			a.event(ref, "unshared", "%s has its addresses back: %s", nic, want.Why)
		}
		a.takeFacts()
	})
}

func find(all []attach.Shared, nic string) attach.Shared {
	for _, s := range all {
		if s.NIC == nic {
			return s
		}
	}
	return attach.Shared{NIC: nic}
}

// shareProblems says what is not as wished of an uplink's sharing.
func (a *Agent) shareProblems(name string) []vnet.Problem {
	if a.cfg.Sharer == nil {
		return nil
	}
	if f, ok := a.share.failed[name]; ok {
		p := vnet.Problem{Kind: kindOr(f.err, vnet.ErrHost), Field: "shared", Msg: f.err.Error()}
		var e *vnet.Error
		if errors.As(f.err, &e) && e.Hint != "" {
			p.Msg, p.Hint = strings.TrimSuffix(p.Msg, "; "+e.Hint), e.Hint
		}
		return []vnet.Problem{p}
	}
	p := a.policies()[name]
	s := find(a.cfg.Sharer.Shared(), name)
	if p != nil && s.Ended && p.Shared && s.Until.Equal(p.Until) {
		return []vnet.Problem{{Kind: vnet.ErrUnavailable, Field: "shared", Msg: name + " is not shared: " + s.Why,
			Hint: "say `sextant uplink set " + name + " shared=true` again, and `sextant confirm` when all is well"}}
	}
	return nil
}

// lifted gives the policies of shared NICs to the bridges that they are in: they
// are the uplinks now.
func lifted(policies map[string]*vnet.UplinkPolicy, links map[string]plan.Link) map[string]*vnet.UplinkPolicy {
	for _, l := range links {
		nic := plan.SharedNIC(l)
		if p := policies[nic]; nic != "" && p != nil {
			if policies[l.Name] == nil {
				policies[l.Name] = p
			}
			delete(policies, nic)
		}
	}
	return policies
}
