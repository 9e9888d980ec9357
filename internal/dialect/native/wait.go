package native

import (
	"context"
	"errors"
	"time"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// waitMax is how long a request may wait for a host.
const waitMax = 10 * time.Minute

// withdrawTime is how long taking back a wish may take after its wait failed.
const withdrawTime = 5 * time.Second

// parseWait reads ?wait=; zero means not to wait.
func parseWait(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	var d vnet.Duration
	if err := d.UnmarshalText([]byte(s)); err != nil {
		return 0, inField(err, "wait")
	}
	if d.Std() > waitMax {
		return 0, vnet.Invalid("wait", "%s is longer than %s", s, vnet.Duration(waitMax))
	}
	return d.Std(), nil
}

// concern says whose report tells that a write to o is done: the object and
// its host ("" is this one), or false if no host has anything to do.
func concern(o vnet.Object) (ref vnet.Ref, host string, ok bool) {
	switch o := o.(type) {
	case *vnet.Network, *vnet.Router, *vnet.Subnet, *vnet.Reservation:
		return vnet.RefOf(o), "", true
	case *vnet.Port:
		if o.Binding != nil {
			host = o.Binding.Host
		}
		return vnet.RefOf(o), host, true
	case *vnet.UplinkPolicy:
		return vnet.RefOf(o), o.Host, true
	}
	return vnet.Ref{}, "", false
}

// aim is the condition that a write to o has to reach: a network that is to
// run has to, and of one that is not nothing may be left; an uplink is used as it
// is wished, after a while in which its NIC is moved or a command runs.
func aim(o vnet.Object) Condition {
	if _, ok := o.(*vnet.UplinkPolicy); ok {
		return control.Running
	}
	n, ok := o.(*vnet.Network)
	switch {
	case !ok:
		return control.Applied
	case n.Started == nil || *n.Started:
		return control.Running
	}
	return control.Gone
}

// settle waits until the host has done what was wished of o. If that fails and
// the object was just created, the wish is withdrawn: nothing half-done stays.
func (a *api) settle(ctx context.Context, o vnet.Object, cond Condition, wait time.Duration, created bool) (*vnet.Status, error) {
	ref, host, ok := concern(o)
	if wait == 0 || !ok {
		return nil, nil
	}
	return a.await(ctx, ref, o.GetMeta().Revision, host, cond, wait, created)
}

func (a *api) await(ctx context.Context, ref vnet.Ref, rev int64, host string, cond Condition, wait time.Duration, created bool) (*vnet.Status, error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	st, err := a.Verbs.Wait(limited, ref, rev, host, cond)
	if err == nil {
		err = failure(st, cond)
	}
	if err == nil {
		return st, nil
	}
	if ctx.Err() != nil {
		return nil, err // the caller went away; the wish stands
	}
	if errors.Is(err, context.DeadlineExceeded) || limited.Err() != nil && !vnet.Is(err, vnet.ErrHost) {
		e := vnet.Errorf(vnet.ErrUnavailable, "the host did not answer within %s", vnet.Duration(wait))
		err = e.WithHint("see sextant status")
	}
	if !created {
		return nil, err
	}
	who := whoFrom(ctx)
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	if werr := a.Verbs.Withdraw(undo, who, ref, rev); werr != nil && !vnet.Is(werr, vnet.ErrNotFound) {
		a.Log.Warn("native: a failed wish stays", "object", ref.String(), "error", werr)
		f := *faultOf(err)
		f.Hint = "it could not be taken back: delete it"
		return nil, &f
	}
	return nil, err
}

// failure turns a report of failure into an error.
func failure(st *vnet.Status, cond Condition) error {
	if st == nil || st.State != vnet.StateFailed || cond == control.Gone {
		return nil
	}
	if len(st.Problems) == 0 {
		return vnet.Errorf(vnet.ErrHost, "host %s could not do it", st.Host).WithHint("see sextant status")
	}
	p := st.Problems[0]
	e := vnet.Errorf(p.Kind, "%s", p.Msg)
	e.Field, e.Hint = p.Field, p.Hint
	return e
}
