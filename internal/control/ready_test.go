package control

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// asker answers every question with its error.
type asker struct {
	err   error
	asked Question
}

func (a *asker) Ask(_ context.Context, q Question) (json.RawMessage, error) {
	a.asked = q
	return json.RawMessage("true"), a.err
}

// TestReady: ready is what this host's agent says now, not what it once
// reported.
func TestReady(t *testing.T) {
	r := newRig(t)
	agent := &asker{}
	c, err := New(Config{Store: r.store, Asker: agent, Host: "h1"})
	if err != nil {
		t.Fatal(err)
	}
	const unseen = "the agent of host h1 has not reported yet; wait, or see the daemon's log: journalctl -u sextant"
	if err := c.Ready(t.Context()); err == nil || err.Error() != unseen {
		t.Errorf("before the first report: %v", err)
	}
	if err := r.store.Observe(t.Context(), []vnet.Object{&vnet.Host{Meta: vnet.Meta{ID: "h1", Name: "h1"}}}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		answer error
		want   string
	}{
		{nil, ""},
		{vnet.Errorf(vnet.ErrUnsupported, "this agent does not know the question"), ""},
		{vnet.Errorf(vnet.ErrUnavailable, "ready: the agent cannot be reached"), "the agent of host h1 is away; wait, or see the daemon's log: journalctl -u sextant"},
		{errors.New("something else"), "the agent of host h1 is away; wait, or see the daemon's log: journalctl -u sextant"},
	} {
		agent.err = tc.answer
		got := ""
		if err := c.Ready(t.Context()); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("the agent answers %v: %q, want %q", tc.answer, got, tc.want)
		}
		ov, err := c.Status(t.Context(), admin)
		if err != nil || ov.Ready != (tc.want == "") {
			t.Errorf("the agent answers %v: status is %+v, %v", tc.answer, ov, err)
		}
	}
	if agent.asked.Host != "h1" || agent.asked.Verb != "ready" {
		t.Errorf("asked %+v", agent.asked)
	}
}
