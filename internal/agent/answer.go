package agent

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Answer answers control's questions. It is called from many goroutines; what
// needs the loop's state is asked of the loop.
func (a *Agent) Answer(ctx context.Context, verb string, args json.RawMessage) (json.RawMessage, error) {
	switch verb {
	case "ready":
		return a.inLoop(ctx, a.ready)
	case "facts":
		return a.inLoop(ctx, func() (any, error) { return a.hostFacts(a.facts), nil })
	case "import":
		return a.inLoop(ctx, func() (any, error) { return a.tryImport(args) })
	case "cleanup":
		return a.inLoop(ctx, func() (any, error) { return a.cleanup(ctx) })
	}
	return nil, vnet.Errorf(vnet.ErrUnsupported, "this agent does not know the question %q", verb).
		WithHint("agent and control may be of different versions: restart the daemon")
}

// ready answers once the agent knows what is wished and has made it so, as far
// as it goes: before, nobody is served.
func (a *Agent) ready() (any, error) {
	if !a.settled {
		return nil, vnet.Errorf(vnet.ErrUnavailable, "the agent of host %s has not heard from the store yet", a.cfg.Host)
	}
	return true, nil
}

// inLoop runs f in the loop and encodes what it returns.
func (a *Agent) inLoop(ctx context.Context, f func() (any, error)) (json.RawMessage, error) {
	type result struct {
		raw json.RawMessage
		err error
	}
	done := make(chan result, 1)
	run := func() {
		v, err := f()
		if err != nil {
			done <- result{err: err}
			return
		}
		raw, err := json.Marshal(v)
		done <- result{raw, err}
	}
	select {
	case a.calls <- run:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case r := <-done:
		return r.raw, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Cleaned is the answer to "cleanup".
type Cleaned struct {
	Removed int    `json:"removed"` // kernel objects
	Failed  int    `json:"failed"`
	Why     string `json:"why,omitempty"` // one of the failures
}

// Clean removes everything with our mark from the kernel, and gives the
// settings that were changed their values back. It needs no agent, but there
// must be none at work.
func Clean(ctx context.Context, k Kernel) (Cleaned, error) {
	k.Want(nil)
	res, err := k.Resync(ctx, true)
	if err != nil {
		return Cleaned{}, vnet.Errorf(vnet.ErrHost, "not everything could be looked at: %w", err)
	}
	out := Cleaned{Removed: len(res.Deleted), Failed: len(res.Failed)}
	for key, err := range res.Failed {
		if why := fmt.Sprintf("%s: %v", key, err); out.Why == "" || why < out.Why {
			out.Why = why
		}
	}
	return out, nil
}
