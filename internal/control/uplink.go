package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The bounds of the time in which sharing an uplink is to be confirmed.
const (
	confirmLeast = time.Second
	confirmMost  = time.Hour
)

// uplinks: a host finds its uplinks by itself; what is stored is only what
// somebody wishes of one, under the name of its link.
type uplinks struct {
	c *Control
	// confirm is how long a change of Shared waits to be confirmed; 0: it needs
	// not be.
	confirm time.Duration
}

// uplinkSpace makes the IDs of policies: one per host and link.
var uplinkSpace = uuid.MustParse("0a2c7a52-83f5-4b0c-a7f9-2f3c4f2a9b6d")

func uplinkID(host, link string) vnet.ID {
	return vnet.ID(uuid.NewSHA1(uplinkSpace, []byte(link+"@"+host)).String())
}

// SetUplink changes what is wished of an uplink; where nothing was yet, change
// gets an empty policy. Without a host it is this one. A change of Shared that
// is not confirmed within the time is taken back; 0 is a change for good. For
// ifMatch see Update: 0 and vnet.AnyRevision match anything.
func (c *Control) SetUplink(ctx context.Context, who Identity, host, link string, ifMatch int64, confirm time.Duration,
	change func(*vnet.UplinkPolicy) error) (*vnet.UplinkPolicy, error) {
	const op = "uplink set"
	if err := adminOnly(who, op); err != nil {
		return nil, err
	}
	host = cmp.Or(host, c.host)
	w := uplinks{c, confirm}
	d := &draft{who: who}
	done, err := c.run(ctx, d, func(d *draft) error {
		err := c.load(ctx, d, Selector{Kind: vnet.KindUplink, Host: host, Name: link}, ifMatch)
		if vnet.Is(err, vnet.ErrNotFound) {
			return w.first(ctx, d, host, link, ifMatch, change)
		}
		if err != nil {
			return err
		}
		m := *d.o.GetMeta()
		if err := change(d.o.(*vnet.UplinkPolicy)); err != nil {
			return err
		}
		c.edited(d.o, m)
		return w.update(ctx, d)
	})
	if err != nil {
		return nil, inOp(err, op)
	}
	return done.(*vnet.UplinkPolicy), nil
}

// first makes the policy of a link that has none yet.
func (w uplinks) first(ctx context.Context, d *draft, host, link string, ifMatch int64, change func(*vnet.UplinkPolicy) error) error {
	p := &vnet.UplinkPolicy{Host: host}
	if ifMatch > 0 {
		return changedMeanwhile(&vnet.UplinkPolicy{Meta: vnet.Meta{Name: link}}, ifMatch)
	}
	if err := change(p); err != nil {
		return err
	}
	p.Name = link
	d.old, d.o = nil, p
	d.chosen[""] = true // that there is none: somebody may make it meanwhile
	w.c.begin(d)
	return w.create(ctx, d)
}

func (w uplinks) create(ctx context.Context, d *draft) error {
	p := d.o.(*vnet.UplinkPolicy)
	p.Host, p.Project = cmp.Or(p.Host, w.c.host), ""
	p.ID = uplinkID(p.Host, p.Name)
	if err := w.share(p, &vnet.UplinkPolicy{}); err != nil {
		return err
	}
	return w.admit(ctx, p)
}

func (w uplinks) update(ctx context.Context, d *draft) error {
	p, old := d.o.(*vnet.UplinkPolicy), d.old.(*vnet.UplinkPolicy)
	p.Host, p.Name = old.Host, old.Name
	if err := w.share(p, old); err != nil {
		return err
	}
	return w.admit(ctx, p)
}

// remove: the uplink is used as it is found from then on.
func (uplinks) remove(context.Context, *draft) error { return nil }

// share says until when a change of Shared waits to be confirmed, and what is
// in force again if it is not. What waits already goes on waiting, unless it is
// taken back.
func (w uplinks) share(p, old *vnet.UplinkPolicy) error {
	if w.confirm != 0 && (w.confirm < confirmLeast || w.confirm > confirmMost) {
		return vnet.Invalid("confirm", "%s is not between %s and %s", vnet.Duration(w.confirm), vnet.Duration(confirmLeast), vnet.Duration(confirmMost))
	}
	now := w.c.now()
	waits := !old.Until.IsZero() && now.Before(old.Until)
	settled := old.SharedAt(now)
	if waits {
		settled = old.Before
	}
	p.Until, p.Before = time.Time{}, false
	switch {
	case p.Shared == settled:
		if w.confirm != 0 && !waits {
			return vnet.Invalid("confirm", "only sharing an uplink, or its end, can wait to be confirmed").WithHint("leave it out")
		}
	case w.confirm != 0:
		p.Until, p.Before = now.Add(w.confirm).UTC(), settled
	case waits && p.Shared == old.Shared:
		p.Until, p.Before = old.Until, old.Before
	}
	return nil
}

// admit checks a policy by itself and beside those of the host's other uplinks.
func (w uplinks) admit(ctx context.Context, p *vnet.UplinkPolicy) error {
	if err := validate(p); err != nil {
		return err
	}
	hosts, err := w.c.hosts(ctx)
	if err != nil {
		return err
	}
	if p.Host != w.c.host && !slices.Contains(hosts, p.Host) {
		e := vnet.Errorf(vnet.ErrNotFound, "there is no host %q", p.Host).WithHint("see `sextant host list`")
		e.Field = "host"
		return e
	}
	l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindUplink, Host: p.Host})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		other := o.(*vnet.UplinkPolicy)
		if other.ID == p.ID {
			continue
		}
		for _, f := range p.Pins() {
			if !slices.Contains(other.Pins(), f) {
				continue
			}
			ref := vnet.RefOf(other)
			e := vnet.Errorf(vnet.ErrInUse, "guests' %s is pinned to %s already", f, other.Name).
				WithHint("let it go first: sextant uplink set %s pinned=", other.Name)
			e.Field, e.Ref = "pinned", &ref
			return e
		}
	}
	return nil
}

// Confirm keeps every change of uplinks, on every host, that waits to be
// confirmed, and returns their policies. It is ErrConflict if none waits.
func (c *Control) Confirm(ctx context.Context, who Identity) ([]*vnet.UplinkPolicy, error) {
	const op = "confirm"
	if err := adminOnly(who, op); err != nil {
		return nil, err
	}
	var kept []*vnet.UplinkPolicy
	err := c.repeat(ctx, &draft{who: who}, func(d *draft) error {
		kept = nil
		l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindUplink})
		if err != nil {
			return err
		}
		now, late := c.now(), ""
		for _, o := range l.Items {
			p := o.(*vnet.UplinkPolicy)
			switch {
			case p.Until.IsZero():
				continue
			case p.Fold(now):
				late = p.Name
			default:
				p.Until, p.Before = time.Time{}, false
				kept = append(kept, p)
				d.note(c, p, "confirmed")
			}
			p.Generation++
			p.Updated = now.UTC()
			d.change.Put = append(d.change.Put, p)
		}
		if len(d.change.Put) > 0 {
			rev, err := c.store.Commit(ctx, &d.change)
			if err != nil {
				return err
			}
			for _, p := range kept {
				p.Revision = rev
			}
		}
		if len(kept) > 0 {
			return nil
		}
		e := vnet.Errorf(vnet.ErrConflict, "nothing waits to be confirmed")
		if late != "" {
			e = vnet.Errorf(vnet.ErrConflict, "the change of uplink %s was taken back: its time to be confirmed is over", late)
		}
		e.Op = finalOp
		return e
	})
	return kept, inOp(err, op)
}

// UplinkView is an uplink as its host finds it, with what is wished of it.
type UplinkView struct {
	Host  string
	Facts vnet.Uplink
	// Absent: no default route leads over the link, or it is not there.
	Absent bool
	Policy *vnet.UplinkPolicy // nil: nothing is wished
}

// Uplinks lists the uplinks of a host ("": of all), of one link if it is named:
// those that the hosts report, and those that something is wished of. The
// revision is the store's.
func (c *Control) Uplinks(ctx context.Context, _ Identity, host, link string) ([]UplinkView, int64, error) {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindUplink, Host: host})
	if err != nil {
		return nil, 0, err
	}
	type at struct{ host, link string }
	policies := map[at]*vnet.UplinkPolicy{}
	for _, o := range l.Items {
		p := o.(*vnet.UplinkPolicy)
		p.Fold(c.now())
		policies[at{p.Host, p.Name}] = p
	}
	if l, err = c.store.List(ctx, vnet.Query{Kind: vnet.KindHost}); err != nil {
		return nil, 0, err
	}
	var out []UplinkView
	add := func(v UplinkView) {
		if link == "" || v.Facts.Name == link || v.Facts.Lower == link || v.Policy != nil && v.Policy.Name == link {
			out = append(out, v)
		}
	}
	for _, o := range l.Items {
		h := o.(*vnet.Host)
		if host != "" && string(h.ID) != host {
			continue
		}
		for _, u := range h.Facts.Uplinks {
			name := at{string(h.ID), cmp.Or(u.Lower, u.Name)}
			add(UplinkView{Host: string(h.ID), Facts: u, Policy: policies[name]})
			delete(policies, name)
		}
	}
	for name, p := range policies {
		add(UplinkView{Host: name.host, Facts: vnet.Uplink{Name: name.link}, Absent: name.link != vnet.AnyUplink, Policy: p})
	}
	slices.SortFunc(out, func(a, b UplinkView) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Facts.Name, b.Facts.Name))
	})
	return out, l.Revision, nil
}
