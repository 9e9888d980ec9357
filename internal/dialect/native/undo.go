package native

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// before is an object as it was before a change that is waited for.
type before struct {
	object vnet.Object
	// failed: it did not work then either, so that the change is not to blame.
	failed bool
}

// before notes how an object fares. What cannot be found out, such as of an
// object that is not there, is for the change itself to say.
func (a *api) before(ctx context.Context, sel Selector) *before {
	b := &before{}
	o, err := a.Verbs.Get(ctx, whoFrom(ctx), sel)
	if err != nil {
		return b
	}
	ns := newNames(a.Verbs, whoFrom(ctx))
	ns.learnStatuses(ctx, []vnet.Object{o})
	if st := ns.statuses[o.GetMeta().ID]; st != nil {
		b.failed = st.State == vnet.StateFailed
	}
	return b
}

// beforeUplink notes how what is wished of an uplink fares, if somebody waits.
func (a *api) beforeUplink(ctx context.Context, in *writeUplinkIn, wait time.Duration) *before {
	if wait == 0 {
		return nil
	}
	return a.before(ctx, Selector{Kind: vnet.KindUplink, Host: in.Host, Name: in.Name})
}

// keep notes the object that is about to be changed; nothing if nobody waits.
func (b *before) keep(o vnet.Object) error {
	if b == nil {
		return nil
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	b.object = vnet.NewObject(o.Kind())
	return json.Unmarshal(raw, b.object)
}

// undo takes back a change whose host could not do it, unless somebody has
// changed the object since, and returns the error with what became of it. What
// did not work before keeps the change: it may be part of the cure.
func (a *api) undo(ctx context.Context, b *before, now vnet.Object, err error) error {
	if b == nil || b.object == nil || ctx.Err() != nil {
		return err // the caller went away; the wish stands
	}
	f := *faultOf(err)
	if b.failed {
		f.Hint = joinHint(f.Hint, "the change is kept, since it did not work before either")
		return &f
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	if uerr := a.restore(undo, b.object, now); uerr != nil {
		a.Log.Warn("native: a failed change stays", "object", vnet.RefOf(now).String(), "error", uerr)
		f.Hint = joinHint(f.Hint, "the change could not be taken back: change it again")
		return &f
	}
	return err
}

// restore makes an object again what it was before.
func (a *api) restore(ctx context.Context, was, now vnet.Object) error {
	m := now.GetMeta()
	back := func(o vnet.Object) error {
		assign(o, was)
		return nil
	}
	if p, ok := now.(*vnet.UplinkPolicy); ok {
		if was.GetMeta().ID == "" { // nothing was wished of it
			_, err := a.Verbs.Delete(ctx, whoFrom(ctx), Selector{Kind: vnet.KindUplink, Host: p.Host, Name: p.Name}, m.Revision)
			return err
		}
		_, err := a.Verbs.SetUplink(ctx, whoFrom(ctx), p.Host, p.Name, m.Revision, 0, func(o *vnet.UplinkPolicy) error { return back(o) })
		return err
	}
	sel := Selector{Kind: now.Kind(), Project: string(m.Project), Name: string(m.ID)}
	_, err := a.Verbs.Update(ctx, whoFrom(ctx), sel, m.Revision, back)
	return err
}

// joinHint adds a sentence to a hint.
func joinHint(hint, more string) string {
	if hint == "" {
		return more
	}
	return hint + "; " + more
}
