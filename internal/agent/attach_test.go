package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/attach"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// sharer shares NICs in memory, as attach.Host does.
type sharer struct {
	mu     sync.Mutex
	shared map[string]attach.Shared
	calls  []string
	refuse error
	ended  []attach.Shared
}

func (s *sharer) Recover() ([]attach.Shared, error) { return s.ended, nil }

func (s *sharer) Shared() []attach.Shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []attach.Shared
	for _, x := range s.shared {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b attach.Shared) int { return strings.Compare(a.NIC, b.NIC) })
	return out
}

func (s *sharer) Set(_ context.Context, nic string, want attach.Want) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf("%s %v %v", nic, want.Shared, !want.Until.IsZero()))
	was := s.shared[nic]
	switch {
	case s.refuse != nil:
		return s.refuse
	case want.Shared:
		s.shared[nic] = attach.Shared{NIC: nic, Bridge: "br-" + nic, Until: want.Until}
	case was.Until.IsZero() || was.Ended:
		delete(s.shared, nic)
	default:
		s.shared[nic] = attach.Shared{NIC: nic, Until: was.Until, Ended: true, Why: want.Why}
	}
	return nil
}

// took returns what was asked of the sharer, and forgets it.
func (s *sharer) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.calls
	s.calls = nil
	return out
}

// played is an agent whose loop the test plays.
type played struct {
	*Agent
	t   *testing.T
	s   *sharer
	log *bytes.Buffer
	now time.Time
}

func newPlayed(t *testing.T, speaker Speaker) *played {
	t.Helper()
	p := &played{t: t, s: &sharer{shared: map[string]attach.Shared{}}, log: &bytes.Buffer{}, now: time.Now()}
	q := &quiet{facts: plan.Facts{Features: map[string]bool{vnet.FeatureIPv6: true}, Links: map[string]plan.Link{}}}
	a, err := New(Config{
		Host: "h1", Kernel: obedient{}, Finder: q, Store: forgetful{}, DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1},
		InNS: func(string, func() error) error { return nil }, Sharer: p.s, Speaker: speaker,
		Log: slog.New(slog.NewTextHandler(p.log, nil)), Now: func() time.Time { return p.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.srv.close()...); err != nil {
			t.Error(err)
		}
	})
	p.Agent, a.settled = a, true
	return p
}

// tend lets the agent look at NICs until it has nothing more to do, and expects
// what it asked of the sharer.
func (p *played) tend(calls ...string) {
	p.t.Helper()
	for p.tendShares(context.Background()); p.share.busy; p.tendShares(context.Background()) {
		(<-p.calls)()
	}
	if got := p.s.took(); !slices.Equal(got, calls) {
		p.t.Errorf("asked for %q, want %q", got, calls)
	}
}

// told expects one event with the words, and nothing else since the last time.
func (p *played) told(words ...string) {
	p.t.Helper()
	var events []string
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, " event=") {
			events = append(events, line)
		}
	}
	p.log.Reset()
	if len(words) == 0 && len(events) == 0 {
		return
	}
	if len(events) != 1 {
		p.t.Errorf("%d events, want %q:\n%s", len(events), words, strings.Join(events, ""))
		return
	}
	for _, w := range words {
		if !strings.Contains(events[0], w) {
			p.t.Errorf("no %q in %s", w, events[0])
		}
	}
}

// wish puts a policy of a NIC into the snapshot.
func (p *played) wish(nic string, shared bool, until time.Time, before bool) {
	p.snap.Put(&vnet.UplinkPolicy{Meta: vnet.Meta{ID: vnet.ID("up-" + nic), Name: nic}, Host: "h1", Shared: shared, Until: until, Before: before})
}

// TestShares: a NIC is shared as its policy wishes, with the policy's deadline,
// until that is confirmed, and no longer than it is wished; each is told once.
func TestShares(t *testing.T) {
	p := newPlayed(t, nil)
	until := p.now.Add(time.Minute)
	p.wish("eth0", true, until, false)
	p.wish(vnet.AnyUplink, true, time.Time{}, false)
	p.snap.Put(&vnet.UplinkPolicy{Meta: vnet.Meta{ID: "other", Name: "eth1"}, Host: "h2", Shared: true})
	p.settled = false
	p.tend()
	p.settled = true
	p.tend("eth0 true true")
	p.told("event=shared", "eth0 is in the bridge br-eth0", "until", "uplink=eth0")
	p.tend()
	p.wish("eth0", true, time.Time{}, false)
	p.tend("eth0 true false")
	p.told("event=shared", "confirmed: eth0 stays")
	p.wish("eth0", false, until, true)
	p.tend("eth0 false false")
	p.told("event=unshared", "it is wished so")
	p.now = until // that it ends was not confirmed
	p.tend("eth0 true false")
	p.told("event=shared", "eth0 is in the bridge br-eth0")
	p.snap.Delete(vnet.Ref{Kind: vnet.KindUplink, ID: "up-eth0"})
	p.tend("eth0 false false")
	p.told("event=unshared", "no longer wished")
	p.tend()
	p.told()
}

// TestShareLapses: what is not confirmed is undone, by whichever clock, stays
// undone under its deadline and says so; another deadline is another wish.
func TestShareLapses(t *testing.T) {
	for _, clock := range []string{"wall", "boot"} {
		p := newPlayed(t, nil)
		until := p.now.Add(time.Minute)
		p.wish("eth0", true, until, false)
		p.tend("eth0 true true")
		p.told("event=shared")
		if clock == "wall" {
			p.now = until.Add(time.Second)
		} else {
			x := p.s.shared["eth0"]
			x.Lapsed = true
			p.s.shared["eth0"] = x
		}
		p.tend("eth0 false true")
		p.told("event=unshared", "eth0 has its addresses back: it was not confirmed in time")
		p.tend()
		got := p.shareProblems("eth0")
		if len(got) != 1 || got[0].Field != "shared" || !strings.Contains(got[0].Msg, "not confirmed in time") || !strings.Contains(got[0].Hint, "sextant confirm") {
			t.Errorf("%s: %+v", clock, got)
		}
		p.wish("eth0", true, p.now.Add(time.Hour), false)
		p.tend("eth0 true true")
		p.told("event=shared")
		if got := p.shareProblems("eth0"); len(got) != 0 {
			t.Errorf("%s: %+v", clock, got)
		}
	}
}

// TestShareRefused: a refusal is told once, shown with its hint, and tried again
// after a while, or when something else is wished.
func TestShareRefused(t *testing.T) {
	p := newPlayed(t, nil)
	p.s.refuse = vnet.Errorf(vnet.ErrUnsupported, "eth0 is Wi-Fi").WithHint("share another one")
	p.wish("eth0", true, time.Time{}, false)
	p.tend("eth0 true false")
	p.told("event=problem", "eth0 is Wi-Fi")
	got := p.shareProblems("eth0")
	if len(got) != 1 || got[0].Kind != vnet.ErrUnsupported || got[0].Msg != "eth0 is Wi-Fi" || got[0].Hint != "share another one" {
		t.Errorf("%+v", got)
	}
	p.now = p.now.Add(shareAgain - time.Second)
	p.tend()
	p.now = p.now.Add(time.Second)
	p.tend("eth0 true false")
	p.told("event=problem")
	p.s.refuse = nil
	p.wish("eth0", true, p.now.Add(time.Minute), false)
	p.tend("eth0 true true")
	p.told("event=shared")
	if got := p.shareProblems("eth0"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPolicyStatus: what became of a policy is reported: pending while the NIC
// is moved, failed with the reason if it cannot be shared, and stopped when
// nothing is wished any more and the NIC is as it was.
func TestPolicyStatus(t *testing.T) {
	p := newPlayed(t, nil)
	ref := vnet.Ref{Kind: vnet.KindUplink, ID: "up-eth0"}
	says := func(state vnet.State, words string) {
		t.Helper()
		p.markPolicies()
		p.report(nil, nil)
		p.rep.mu.Lock()
		defer p.rep.mu.Unlock()
		s, ok := p.rep.queue[vnet.StatusID(ref, "h1")].(*vnet.Status)
		if !ok || s.State != state || !strings.Contains(fmt.Sprint(s.Problems), words) {
			t.Errorf("%+v, want %s %q", s, state, words)
		}
	}
	p.wish("eth0", true, time.Time{}, false)
	says(vnet.StatePending, "")
	p.s.refuse = vnet.Errorf(vnet.ErrUnsupported, "eth0 is Wi-Fi").WithHint("share another one")
	p.tend("eth0 true false")
	says(vnet.StateFailed, "eth0 is Wi-Fi")
	if got := p.statusOf(ref).Problems[0]; got.Field != "shared" || got.Hint != "share another one" {
		t.Errorf("%+v", got)
	}
	p.snap.Delete(ref) // taken back: nothing is left of it
	says(vnet.StateStopped, "")
	p.tend()
	if got := p.shareProblems("eth0"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	p.s.refuse = nil
	p.wish("eth0", true, time.Time{}, false)
	p.tendShares(t.Context())
	says(vnet.StatePending, "")
	(<-p.calls)()
	p.s.took()
	says(vnet.StateDegraded, "there is no link eth0") // the test has no kernel
	p.snap.Delete(ref)
	says(vnet.StatePending, "") // it is still in the bridge
	p.tend("eth0 false false")
	says(vnet.StateStopped, "")
	if len(p.up.said) != 0 {
		t.Errorf("kept: %+v", p.up.said)
	}
}

// TestPolicyApplied: a policy that changes nothing is reported at its revision,
// which somebody waits for; one of a link that is not there says so.
func TestPolicyApplied(t *testing.T) {
	p := newPlayed(t, nil)
	p.wish("eth9", false, time.Time{}, false)
	wish := p.snap.Uplinks["up-eth9"]
	for _, rev := range []int64{5, 9} {
		wish.Revision, p.snap.Revision = rev, rev
		p.markPolicies()
		p.report(nil, nil)
		s := p.up.said["up-eth9"].status
		if s == nil || s.Applied != rev || s.State != vnet.StateDegraded || !strings.Contains(s.Problems[0].Msg, "there is no link eth9") {
			t.Errorf("revision %d: %+v", rev, s)
		}
		if p.markPolicies(); len(p.changed) != 0 {
			t.Errorf("reported again: %v", p.changed)
		}
	}
	p.resting = true
	p.changed[vnet.RefOf(wish)] = true
	p.reportResting()
	if s := p.rep.queue[vnet.StatusID(vnet.RefOf(wish), "h1")].(*vnet.Status); s.State != vnet.StateFailed {
		t.Errorf("after a cleanup: %+v", s)
	}
}

// TestSharesOneByOne: two NICs are not moved at once; a cleanup moves all back.
func TestSharesOneByOne(t *testing.T) {
	p := newPlayed(t, nil)
	p.wish("eth0", true, time.Time{}, false)
	p.wish("eth1", true, time.Time{}, false)
	p.tendShares(t.Context())
	p.tendShares(t.Context())
	(<-p.calls)()
	if got := p.s.took(); len(got) != 1 {
		t.Errorf("at once: %q", got)
	}
	p.tendShares(t.Context())
	(<-p.calls)()
	if got := p.s.Shared(); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	p.s.took()
	p.resting = true
	p.tendShares(t.Context())
	(<-p.calls)()
	p.tendShares(t.Context())
	(<-p.calls)()
	if got := p.s.Shared(); len(got) != 0 {
		t.Errorf("after a cleanup: %+v", got)
	}
}

// TestRecovered: what an earlier process left is told.
func TestRecovered(t *testing.T) {
	p := newPlayed(t, nil)
	p.s.ended = []attach.Shared{{NIC: "eth0", Ended: true, Why: "it was interrupted"}}
	p.recoverShares()
	p.told("event=uplink", "eth0 has its addresses back: it was interrupted", "host=h1")
}

// TestLifted: the policies of a NIC are its bridge's, except where that has its
// own.
func TestLifted(t *testing.T) {
	links := map[string]plan.Link{
		"br-eth0": {Name: "br-eth0", Type: "bridge", Alias: plan.SharedPrefix + "eth0"},
		"br-eth1": {Name: "br-eth1", Type: "bridge", Alias: plan.SharedPrefix + "eth1"},
		"eth2":    {Name: "eth2", Alias: plan.SharedPrefix + "eth3"}, // no bridge
	}
	policy := func(name string) *vnet.UplinkPolicy { return &vnet.UplinkPolicy{Meta: vnet.Meta{Name: name}} }
	got := lifted(map[string]*vnet.UplinkPolicy{
		"eth0": policy("eth0"), "eth1": policy("eth1"), "br-eth1": policy("br-eth1"), "eth3": policy("eth3"),
	}, links)
	names := map[string]string{}
	for name, p := range got {
		names[name] = p.Name
	}
	if want := map[string]string{"br-eth0": "eth0", "br-eth1": "br-eth1", "eth3": "eth3"}; fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", names, want)
	}
}
