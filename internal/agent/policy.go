package agent

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/sextant-net/sextant/internal/uplink"
	"github.com/sextant-net/sextant/internal/vnet"
)

// saidOf is what was last reported of an uplink's policy, and the link's name:
// a policy that is gone does not tell it any more.
type saidOf struct {
	name   string
	status *vnet.Status
}

// markPolicies marks the policies of this host of which there is something new
// to report: they depend on what is heard and read, not on plans.
func (a *Agent) markPolicies() {
	mark := func(id vnet.ID, revision int64) {
		ref := vnet.Ref{Kind: vnet.KindUplink, ID: id}
		last, now := a.up.said[id].status, a.statusOf(ref)
		if last == nil || last.Applied < revision || last.State != now.State || !reflect.DeepEqual(last.Problems, now.Problems) {
			a.changed[ref] = true
		}
	}
	for _, p := range a.policies() {
		mark(p.ID, p.Revision)
	}
	for id, s := range a.up.said {
		if a.snap.Get(s.status.Target) == nil {
			mark(id, 0)
		}
	}
}

// saidPolicy notes what is reported. Of one that is gone and left nothing behind
// there is nothing more to say.
func (a *Agent) saidPolicy(s *vnet.Status) {
	if s.Target.Kind != vnet.KindUplink {
		return
	}
	if s.State == vnet.StateStopped {
		delete(a.up.said, s.Target.ID)
		return
	}
	said := saidOf{a.up.said[s.Target.ID].name, s}
	if p, ok := a.snap.Get(s.Target).(*vnet.UplinkPolicy); ok {
		said.name = p.Name
	}
	a.up.said[s.Target.ID] = said
}

// policyStatus says how far what is wished of an uplink is done: pending while
// its NIC is moved, or until what is to give prefixes was read once, and failed
// if the host does not share the NIC.
func (a *Agent) policyStatus(s *vnet.Status) {
	p, _ := a.snap.Get(s.Target).(*vnet.UplinkPolicy)
	name := a.up.said[s.Target.ID].name
	if p != nil {
		name, s.State = p.Name, vnet.StateRunning
		if p.Host != a.cfg.Host || p.Deleting != nil {
			p, s.State = nil, vnet.StateStopped
		}
	}
	if name == "" {
		return // nothing was ever done for it
	}
	var heard uplink.Facts // asked for once: files and commands are read beside us
	if u, there := a.wayOf(name); there || name == vnet.AnyUplink {
		heard = a.up.links.Facts(u.Name)
	}
	shared := a.sharedAs(name, p)
	if p != nil {
		s.Problems = append(a.policyProblems(name), lackingProblems(heard)...)
	} else if shared == vnet.StateFailed {
		s.Problems = a.shareProblems(name)
	}
	switch {
	case shared != vnet.StateRunning:
		s.State = shared
	case p != nil && heard.Unread:
		s.State = vnet.StatePending
	}
}

// sharedAs is how far a NIC is shared, or not, as its policy wishes; p is nil if
// it wishes nothing.
func (a *Agent) sharedAs(nic string, p *vnet.UplinkPolicy) vnet.State {
	if a.cfg.Sharer == nil || nic == vnet.AnyUplink {
		return vnet.StateRunning
	}
	now, is := a.cfg.Now(), find(a.cfg.Sharer.Shared(), nic)
	want := wantShared(p, is, now)
	switch {
	case a.share.busy: // this one, or what was found out before another is moved
		return vnet.StatePending
	case is.Holds(want):
		return vnet.StateRunning
	case a.failedLately(nic, want, now):
		return vnet.StateFailed
	}
	return vnet.StatePending
}

// wayOf is the link that a policy is about as it was last reported: the bridge
// of a NIC that is shared.
func (a *Agent) wayOf(name string) (u vnet.Uplink, there bool) {
	for _, u := range a.up.reported {
		if cmp.Or(u.Lower, u.Name) == name {
			return u, true
		}
	}
	return vnet.Uplink{}, false
}

// policyProblems are what keeps an uplink from being used as it is wished, but
// for what is read.
func (a *Agent) policyProblems(name string) []vnet.Problem {
	if name == vnet.AnyUplink {
		return nil
	}
	if u, there := a.wayOf(name); there {
		return slices.Clone(u.Problems)
	}
	p := vnet.Problem{Kind: vnet.ErrNotFound, Field: "name", Msg: fmt.Sprintf("there is no link %s on this host now", name),
		Hint: "see sextant uplink list"}
	if _, there := a.facts.Links[name]; there {
		p.Kind, p.Msg = vnet.ErrUnsupported, fmt.Sprintf("%s is no link that leads out of this host", name)
	}
	return append(a.shareProblems(name), p)
}

// lackingProblems say what a file and a command that are to give prefixes do
// not, or not well.
func lackingProblems(f uplink.Facts) []vnet.Problem {
	var out []vnet.Problem
	for _, text := range f.Lacking {
		out = append(out, vnet.Problem{Kind: vnet.ErrUnavailable, Family: vnet.IPv6, Msg: text})
	}
	return out
}
