package control

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Start makes a network run on this host. Starting one that runs changes
// nothing.
func (c *Control) Start(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	return c.activate(ctx, who, sel, true)
}

// Stop makes a network stop on this host: its guests keep their devices, but
// lose the network.
func (c *Control) Stop(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	return c.activate(ctx, who, sel, false)
}

func (c *Control) activate(ctx context.Context, who Identity, sel Selector, on bool) (vnet.Object, error) {
	op, what := "network stop", "stopped"
	if on {
		op, what = "network start", "started"
	}
	var n *vnet.Network
	err := c.repeat(ctx, &draft{who: who}, func(d *draft) error {
		o, err := c.find(ctx, who, sel)
		if err != nil {
			return err
		}
		if err := c.mayWrite(ctx, who, o); err != nil {
			return err
		}
		n = o.(*vnet.Network)
		fam, err := c.familyOf(ctx, n.ID)
		if err != nil {
			return err
		}
		if fam.act != nil && fam.act.Started == on {
			return nil
		}
		act := c.activation(n, vnet.Activation{Autostart: true})
		if fam.act != nil {
			act = c.activation(n, *fam.act)
		}
		act.Started = on
		if on {
			if err := c.claimPrefixes(ctx, d, n, fam.subs); err != nil {
				return err
			}
			d.old = n // the cache does not know the subnets that come back
		}
		// The network is written as well, so that its revision is the one to
		// wait for, and so that it cannot go meanwhile.
		if _, err := c.retire(ctx, n, n, nil, fam.subs); err != nil {
			return err
		}
		n.Generation++
		n.Updated = c.now().UTC()
		d.change.Put = append(d.change.Put, n, act)
		d.note(c, n, what)
		rev, err := c.store.Commit(ctx, &d.change)
		if err != nil {
			return err
		}
		n.Revision = rev
		c.committed(d, rev)
		return nil
	})
	if err != nil {
		return nil, inOp(err, op)
	}
	return n, c.fill(ctx, n)
}

// removeBatch is how many dependants of a network go in one transaction.
const removeBatch = 12

// remove takes the network's subnets, reservations and activations along;
// ports are in the way. Claims go by themselves.
func (w networks) remove(ctx context.Context, d *draft) error {
	n := d.old.(*vnet.Network)
	if err := w.c.unused(ctx, n); err != nil {
		return err
	}
	var with []vnet.Deletion
	for _, k := range []vnet.Kind{vnet.KindReservation, vnet.KindSubnet} {
		l, err := w.c.store.List(ctx, vnet.Query{Kind: k, Network: n.ID})
		if err != nil {
			return err
		}
		for _, o := range l.Items {
			with = append(with, vnet.Deletion{Ref: vnet.RefOf(o), Revision: vnet.AnyRevision})
		}
	}
	hosts, err := w.c.hosts(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		ref := vnet.Ref{Kind: vnet.KindActivation, ID: activationID(n.ID, h)}
		if _, err := w.c.store.Get(ctx, ref); err == nil {
			with = append(with, vnet.Deletion{Ref: ref, Revision: vnet.AnyRevision})
		} else if !vnet.Is(err, vnet.ErrNotFound) {
			return err
		}
	}
	if len(with) > removeBatch {
		if with, err = w.removeFirst(ctx, d, n, with); err != nil {
			return err
		}
	}
	d.change.Delete = append(with, d.change.Delete...)
	w.c.freeNumber(vnet.KindNetwork, n.Number)
	return nil
}

// removeFirst marks a network that has too much for one transaction as going,
// from when on hosts do not run it, and takes away what does not fit. Cut
// short, the deletion is finished by asking for it again.
func (w networks) removeFirst(ctx context.Context, d *draft, n *vnet.Network, with []vnet.Deletion) ([]vnet.Deletion, error) {
	if n.Deleting == nil {
		now := w.c.now().UTC()
		n.Deleting = &now
		rev, err := w.c.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{n}})
		if err != nil {
			return nil, err
		}
		d.change.Delete[0].Revision = rev
	}
	for len(with) > removeBatch {
		if _, err := w.c.store.Commit(ctx, &vnet.Change{Delete: with[:removeBatch]}); err != nil {
			return nil, err
		}
		with = with[removeBatch:]
	}
	return with, nil
}

// unused makes sure that no port is on the network, and names those that are.
func (c *Control) unused(ctx context.Context, n *vnet.Network) error {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindPort, Network: n.ID, Limit: 4})
	if err != nil || len(l.Items) == 0 {
		return err
	}
	ref := vnet.RefOf(l.Items[0])
	e := vnet.Errorf(vnet.ErrInUse, "network %s is used by %s", n.Name, listNames(l.Items, l.Next != "")).
		WithHint("delete the ports first: sextant port delete NAME network=%s", n.Name)
	e.Ref = &ref
	return e
}

// listNames names a few objects: "ports vm1, vm2 and others".
func listNames(items []vnet.Object, more bool) string {
	if len(items) == 0 {
		return "nothing"
	}
	s := string(items[0].Kind())
	if len(items) > 1 || more {
		s += "s"
	}
	var names []string
	for _, o := range items {
		names = append(names, cmp.Or(o.GetMeta().Name, string(o.GetMeta().ID)))
	}
	slices.Sort(names)
	s += " " + strings.Join(names, ", ")
	if more {
		s += " and others"
	}
	return s
}

// hosts names the hosts that are known, this one among them.
func (c *Control) hosts(ctx context.Context) ([]string, error) {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindHost})
	if err != nil {
		return nil, err
	}
	out := []string{c.host}
	for _, o := range l.Items {
		if h := string(o.GetMeta().ID); h != c.host {
			out = append(out, h)
		}
	}
	return out, nil
}
