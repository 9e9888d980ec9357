package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// orderTime is for how long an order stands that no agent has begun: an agent
// that comes back later must not do what everybody has forgotten.
const orderTime = time.Minute

// withdrawTime is how long taking an order back may take.
const withdrawTime = 5 * time.Second

// OrderResult is what came of an order about leases.
type OrderResult struct {
	Host string `json:"host" doc:"the host that carries it out"`
	// Pending says that the order stands, but nobody waited for it.
	Pending bool `json:"pending,omitempty" doc:"it is not known yet what came of it"`
	Done    int  `json:"done" doc:"leases for which it was done"`
	// Problems name the leases for which it was not done (field), and why.
	Problems []vnet.Problem `json:"problems,omitempty"`
}

// ReleaseLease orders that a lease be taken back: its host's agent frees the
// address, and its servers keep it for the guest as long as nobody else needs
// it. A guest that still uses it learns so when it asks to renew. Ordered tells
// what came of it.
func (c *Control) ReleaseLease(ctx context.Context, who Identity, sel Selector) (*vnet.LeaseOrder, error) {
	const op = "lease release"
	sel.Kind = vnet.KindLease
	o, err := c.find(ctx, who, sel)
	if err != nil {
		return nil, inOp(err, op)
	}
	l := o.(*vnet.Lease)
	n, err := c.getNetwork(ctx, l.Network)
	if err != nil {
		return nil, inOp(err, op)
	}
	r := vnet.LeaseRecord{Lease: l.ID, Address: l.Address, Length: l.Length, MAC: l.MAC}
	order, err := c.order(ctx, who, n, l.Host, vnet.OrderRelease, []vnet.LeaseRecord{r})
	return order, inOp(err, op)
}

// ImportLeases orders that leases which another server gave be taken over by
// the host on which the network runs. Each is done by itself; what is in the
// way of some is told by Ordered.
func (c *Control) ImportLeases(ctx context.Context, who Identity, project, network string, records []vnet.LeaseRecord) (*vnet.LeaseOrder, error) {
	const op = "lease import"
	n, host, err := c.importer(ctx, who, project, network, records)
	if err != nil {
		return nil, inOp(err, op)
	}
	order, err := c.order(ctx, who, n, host, vnet.OrderImport, records)
	return order, inOp(err, op)
}

// TryImport asks the host what an import would come to, and changes nothing.
func (c *Control) TryImport(ctx context.Context, who Identity, project, network string, records []vnet.LeaseRecord) (*OrderResult, error) {
	const op = "lease import"
	n, host, err := c.importer(ctx, who, project, network, records)
	if err != nil {
		return nil, inOp(err, op)
	}
	args, err := json.Marshal(vnet.LeaseOrder{Network: n.ID, Host: host, Action: vnet.OrderImport, Leases: records})
	if err != nil {
		return nil, err
	}
	if c.asker == nil {
		return nil, vnet.Errorf(vnet.ErrUnavailable, "no agent can be asked").WithHint("see `sextant status`")
	}
	raw, err := c.asker.Ask(ctx, Question{Host: host, Verb: "import", Args: args})
	if err != nil {
		return nil, inOp(err, op)
	}
	out := &OrderResult{}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, vnet.Errorf(vnet.ErrInternal, "the agent's answer cannot be read: %w", err)
	}
	out.Host = host
	return out, nil
}

// importer finds the network that leases go to, and the host that serves it.
func (c *Control) importer(ctx context.Context, who Identity, project, network string, records []vnet.LeaseRecord) (*vnet.Network, string, error) {
	switch {
	case network == "":
		return nil, "", vnet.Invalid("network", "the network is missing").WithHint("say network=NAME")
	case len(records) == 0:
		return nil, "", vnet.Invalid("leases", "there are none")
	case len(records) > vnet.OrderMost:
		return nil, "", vnet.Invalid("leases", "%d at once, at most %d can be", len(records), vnet.OrderMost).WithHint("send them in parts")
	}
	n, err := c.network(ctx, who, project, network)
	if err != nil {
		return nil, "", err
	}
	if err := c.mayWrite(ctx, who, n); err != nil {
		return nil, "", err
	}
	host, err := c.runsOn(ctx, n)
	return n, host, err
}

// runsOn is the host on which a network is to run, this one if it is.
func (c *Control) runsOn(ctx context.Context, n *vnet.Network) (string, error) {
	hosts, err := c.hosts(ctx) // this one first
	if err != nil {
		return "", err
	}
	for _, h := range hosts {
		o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindActivation, ID: activationID(n.ID, h)})
		if vnet.Is(err, vnet.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		if o.(*vnet.Activation).Started {
			return h, nil
		}
	}
	e := vnet.Errorf(vnet.ErrConflict, "network %s does not run, so that nobody knows which of its addresses are free", n.Name).
		WithHint("start it: sextant network start %s", n.Name)
	e.Field = "network"
	return "", e
}

// order writes an order.
func (c *Control) order(ctx context.Context, who Identity, n *vnet.Network, host string, action vnet.OrderAction, records []vnet.LeaseRecord) (*vnet.LeaseOrder, error) {
	if err := c.mayWrite(ctx, who, n); err != nil {
		return nil, err
	}
	now := c.now().UTC()
	o := &vnet.LeaseOrder{Network: n.ID, Host: host, Action: action, Leases: records, Until: now.Add(orderTime)}
	o.Meta = vnet.Meta{ID: c.newID(), Project: n.Project, Generation: 1, Created: now, Updated: now}
	rev, err := c.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{o}})
	if err != nil {
		return nil, err
	}
	o.Revision = rev
	return o, nil
}

// Ordered waits until an order was carried out and says what came of it. If ctx
// ends first the order is withdrawn, so that it is not done when nobody counts
// on it any more: ErrUnavailable.
func (c *Control) Ordered(ctx context.Context, o *vnet.LeaseOrder) (*OrderResult, error) {
	op := "lease " + string(o.Action)
	st, err := c.Wait(ctx, vnet.RefOf(o), o.Revision, o.Host, Applied)
	if err != nil && ctx.Err() != nil {
		st, err = c.withdrawOrder(context.WithoutCancel(ctx), o)
	}
	if err != nil {
		return nil, inOp(err, op)
	}
	return &OrderResult{Host: o.Host, Done: len(o.Leases) - len(st.Problems), Problems: st.Problems}, nil
}

// withdrawOrder deletes an order that was not begun in time. It may have been
// after all: then its status says what came of it.
func (c *Control) withdrawOrder(ctx context.Context, o *vnet.LeaseOrder) (*vnet.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	ref := vnet.RefOf(o)
	_, err := c.store.Commit(ctx, &vnet.Change{Delete: []vnet.Deletion{{Ref: ref, Revision: vnet.AnyRevision}}})
	switch {
	case err == nil:
		return nil, vnet.Errorf(vnet.ErrUnavailable, "host %s did not answer in time; nothing was done", o.Host).
			WithHint("see `sextant status`, and try again")
	case !vnet.Is(err, vnet.ErrNotFound):
		return nil, err
	}
	s, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindStatus, ID: vnet.StatusID(ref, o.Host)})
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrUnavailable, "host %s has done it, but did not report what came of it", o.Host).
			WithHint("see `sextant lease list`")
	}
	return s.(*vnet.Status), nil
}
