package control

import (
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// findLease finds the lease of an address, by its unique name in each network
// that may be meant: there may be very many leases.
func (c *Control) findLease(ctx context.Context, who Identity, sel Selector, a netip.Addr) (vnet.Object, error) {
	nets, err := c.meant(ctx, who, sel.Project, sel.Network)
	if err != nil {
		return nil, err
	}
	var found vnet.Object
	for _, n := range nets {
		l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindLease, Network: n.ID, Name: a.WithZone("").Unmap().String()})
		if err != nil {
			return nil, err
		}
		if len(l.Items) == 0 {
			continue
		}
		if found != nil {
			return nil, vnet.Invalid("network", "several networks have a lease of %s", a).WithHint("say which: network=NAME")
		}
		found = l.Items[0]
	}
	if found == nil {
		return nil, missing(sel)
	}
	return found, nil
}

// meant lists the networks within which something is looked for: the one that
// is named, or all of the project.
func (c *Control) meant(ctx context.Context, who Identity, project, network string) ([]*vnet.Network, error) {
	if network != "" {
		n, err := c.network(ctx, who, project, network)
		if err != nil {
			return nil, err
		}
		return []*vnet.Network{n}, nil
	}
	p, err := c.project(ctx, who, project)
	if err != nil {
		return nil, err
	}
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindNetwork, Project: p.ID})
	if err != nil {
		return nil, err
	}
	out := make([]*vnet.Network, len(l.Items))
	for i, o := range l.Items {
		out[i] = o.(*vnet.Network)
	}
	return out, nil
}

// LeaseChange is what became of a lease.
type LeaseChange struct {
	// Lease is the lease now; of one that ended only ID and Revision are known.
	Lease vnet.Lease
	Ended bool
}

// WatchLeases sends what becomes of leases after the revision (0: from now on),
// until ctx ends; then the channel is closed. Where the store no longer knows
// all that happened since, every lease comes once more as it is.
func (c *Control) WatchLeases(ctx context.Context, who Identity, q Query, after int64) (<-chan LeaseChange, error) {
	q.Kind = vnet.KindLease
	sq, err := c.query(ctx, who, q)
	if err != nil {
		return nil, err
	}
	projects := map[vnet.ID]bool{}
	if q.Network == "" && !q.AllProjects {
		p, err := c.project(ctx, who, q.Project)
		if err != nil {
			return nil, err
		}
		projects[p.ID] = true
	}
	if after <= 0 {
		l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindLease, Network: sq.Network, Limit: 1})
		if err != nil {
			return nil, err
		}
		after = l.Revision
	}
	updates, err := c.store.Watch(ctx, sq, after)
	if err != nil {
		return nil, err
	}
	out := make(chan LeaseChange)
	go func() {
		defer close(out)
		send := func(x LeaseChange) bool {
			select {
			case out <- x:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for u := range updates {
			for _, o := range u.Put {
				l, ok := o.(*vnet.Lease)
				if !ok || !who.may(l.Project) || len(projects) > 0 && !projects[l.Project] {
					continue
				}
				if !send(LeaseChange{Lease: *l}) {
					return
				}
			}
			for _, r := range u.Delete {
				gone := LeaseChange{Ended: true}
				gone.Lease.ID, gone.Lease.Revision = r.ID, u.Revision
				if !send(gone) {
					return
				}
			}
		}
	}()
	return out, nil
}
