package control

import (
	"context"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Condition is what Wait waits for.
type Condition string

// The conditions.
const (
	// Applied: the host has worked the revision in, whatever came of it.
	Applied Condition = "applied"
	// Running: and the object works, at least in part.
	Running Condition = "running"
	// Gone: and nothing of the object is left on the host.
	Gone Condition = "gone"
)

// Wait returns once the host ("" is this one) reports that it has worked in the
// revision of the object and the condition holds. Agents report by status
// objects (vnet.StatusID). Gone is satisfied by a status that says stopped, and
// for an object that never had a status by the host's own status (target
// host/NAME) at the revision.
//
// A host that reports that it failed is ErrHost with the text of its problem.
// A ctx that ends first is ErrUnavailable that says so.
func (c *Control) Wait(ctx context.Context, ref vnet.Ref, revision int64, host string, cond Condition) (*vnet.Status, error) {
	switch cond {
	case Applied, Running, Gone:
	default:
		return nil, vnet.Invalid("wait", "%q is no condition", cond).WithHint("say applied, running or gone")
	}
	if host == "" {
		host = c.host
	}
	w := &waiter{own: vnet.StatusID(ref, host), host: vnet.StatusID(vnet.Ref{Kind: vnet.KindHost, ID: vnet.ID(host)}, host), revision: revision, cond: cond}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := vnet.Query{Kind: vnet.KindStatus, Host: host, ID: w.own}
	if cond == Gone {
		q.ID = "" // the host's own status counts too
	}
	updates, err := c.store.Watch(ctx, q, 0)
	if err != nil {
		return nil, err
	}
	for u := range updates {
		if st, done, err := w.take(u); done {
			return st, err
		}
	}
	e := vnet.Errorf(vnet.ErrUnavailable, "host %s did not report in time that %s is %s", host, ref, cond)
	e.Err = ctx.Err()
	return w.last, e.WithHint("see `sextant status`: the agent may be away")
}

// waiter looks at what the host reports.
type waiter struct {
	own, host vnet.ID
	revision  int64
	cond      Condition
	last      *vnet.Status // the object's, nil while there is none
	hostAt    int64        // what the host has worked in altogether
}

func (w *waiter) take(u vnet.Update) (st *vnet.Status, done bool, err error) {
	if u.Reset {
		w.last, w.hostAt = nil, 0
	}
	for _, o := range u.Put {
		s, ok := o.(*vnet.Status)
		if !ok {
			continue
		}
		switch s.ID {
		case w.own:
			w.last = s
		case w.host:
			w.hostAt = s.Applied
		}
	}
	for _, r := range u.Delete {
		if r.ID == w.own {
			if w.cond == Gone && w.last != nil {
				return w.last, true, nil
			}
			w.last = nil
		}
	}
	return w.judge()
}

func (w *waiter) judge() (*vnet.Status, bool, error) {
	if w.last == nil {
		return nil, w.cond == Gone && w.hostAt >= w.revision, nil
	}
	if w.last.Applied < w.revision {
		return nil, false, nil
	}
	switch w.last.State {
	case vnet.StateFailed:
		return w.last, true, hostFailed(w.last)
	case vnet.StateRunning, vnet.StateDegraded:
		return w.last, w.cond != Gone, nil
	case vnet.StateStopped:
		return w.last, w.cond != Running, nil
	}
	return w.last, w.cond == Applied, nil
}

// hostFailed is the error of an object that does not work on its host.
func hostFailed(s *vnet.Status) error {
	e := vnet.Errorf(vnet.ErrHost, "host %s could not do it", s.Host).WithHint("see `sextant status`")
	if len(s.Problems) > 0 {
		p := s.Problems[0]
		e.Msg, e.Field, e.Hint = p.Msg, p.Field, p.Hint
	}
	e.Ref = &s.Target
	return e
}

// Withdraw takes back the creation of an object whose host could not do it.
// What was changed since is ErrConflict: then somebody else counts on it.
func (c *Control) Withdraw(ctx context.Context, who Identity, ref vnet.Ref, revision int64) error {
	const op = "withdraw"
	o, err := c.find(ctx, who, Selector{Kind: ref.Kind, Name: string(ref.ID)})
	if err != nil {
		return inOp(err, op)
	}
	if m := o.GetMeta(); m.Generation > 1 || m.Revision != revision {
		return inOp(changedMeanwhile(o, revision), op)
	}
	_, err = c.Delete(ctx, who, Selector{Kind: ref.Kind, Name: string(ref.ID)}, revision)
	return err
}
