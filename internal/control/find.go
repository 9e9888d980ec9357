package control

import (
	"cmp"
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Selector names one object.
type Selector struct {
	Kind vnet.Kind
	// Project and Network are names or IDs; "" is the default project and any
	// network.
	Project, Network string
	// Host is that of an uplink; "" is this one.
	Host string
	// Name is a name or an ID; of a lease, its address.
	Name string
}

// Query asks for a page of objects.
type Query struct {
	Kind vnet.Kind
	// Project and Network are names or IDs; "" is the default project and any
	// network.
	Project, Network string
	// Host narrows uplinks to those of one host.
	Host string
	// Limit is how many objects a page has at most; 0: all.
	Limit int
	// After is the Next of the page before.
	After       string
	AllProjects bool
}

// Page is a part of the answer to a Query.
type Page struct {
	Items    []vnet.Object
	Next     string // "" on the last page
	Revision int64
}

// find reads the object as it is stored.
func (c *Control) find(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	if sel.Name == "" {
		return nil, vnet.Invalid("name", "which %s is not said", sel.Kind)
	}
	switch sel.Kind {
	case vnet.KindHost, vnet.KindStatus, vnet.KindInstallation, vnet.KindEvent:
		return c.findByID(ctx, who, sel)
	case vnet.KindUplink:
		if !isID(sel.Name) {
			sel.Name = string(uplinkID(cmp.Or(sel.Host, c.host), sel.Name))
		}
		return c.findByID(ctx, who, sel)
	case vnet.KindProject:
		p, err := c.project(ctx, who, sel.Name)
		if err != nil {
			return nil, err
		}
		return p, nil
	case vnet.KindLease:
		if a, err := netip.ParseAddr(sel.Name); err == nil {
			return c.findLease(ctx, who, sel, a)
		}
	}
	if isID(sel.Name) {
		o, err := c.findByID(ctx, who, sel)
		if !vnet.Is(err, vnet.ErrNotFound) {
			return o, err
		}
	}
	return c.findByName(ctx, who, sel)
}

func missing(sel Selector) *vnet.Error {
	e := vnet.Errorf(vnet.ErrNotFound, "there is no %s %q", sel.Kind, sel.Name)
	if sel.Network != "" {
		e = vnet.Errorf(vnet.ErrNotFound, "there is no %s %q on network %s", sel.Kind, sel.Name, sel.Network)
	}
	return e.WithHint("see `sextant %s list`", sel.Kind)
}

func (c *Control) findByID(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	o, err := c.store.Get(ctx, vnet.Ref{Kind: sel.Kind, ID: vnet.ID(sel.Name)})
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil, missing(sel)
	}
	if err != nil {
		return nil, err
	}
	ok, err := c.visible(ctx, who, o)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, missing(sel)
	}
	return o, nil
}

func (c *Control) findByName(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	q, err := c.query(ctx, who, Query{Kind: sel.Kind, Project: sel.Project, Network: sel.Network})
	if err != nil {
		return nil, err
	}
	q.Name = sel.Name
	l, err := c.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	switch len(l.Items) {
	case 0:
		if sel.Kind == vnet.KindPool {
			return c.findSharedPool(ctx, sel)
		}
		return nil, missing(sel)
	case 1:
		return l.Items[0], nil
	}
	return nil, vnet.Invalid("network", "several networks have a %s %q", sel.Kind, sel.Name).WithHint("say which: network=NAME")
}

// query resolves the names in q.
func (c *Control) query(ctx context.Context, who Identity, q Query) (vnet.Query, error) {
	out := vnet.Query{Kind: q.Kind, Host: q.Host, Limit: q.Limit, After: q.After}
	if !q.AllProjects && hasProject(q.Kind) {
		p, err := c.project(ctx, who, q.Project)
		if err != nil {
			return out, err
		}
		out.Project = p.ID
	}
	if q.Network != "" {
		n, err := c.network(ctx, who, q.Project, q.Network)
		if err != nil {
			return out, err
		}
		out.Network = n.ID
		out.Project = "" // the network's
	}
	return out, nil
}

// hasProject says whether objects of the kind carry their project.
func hasProject(k vnet.Kind) bool {
	switch k {
	case vnet.KindNetwork, vnet.KindSubnet, vnet.KindPool, vnet.KindRouter, vnet.KindPort, vnet.KindReservation:
		return true
	}
	return false
}

// network finds a network by name or ID. The error speaks of the key network.
func (c *Control) network(ctx context.Context, who Identity, project, name string) (*vnet.Network, error) {
	o, err := c.find(ctx, who, Selector{Kind: vnet.KindNetwork, Project: project, Name: name})
	if err != nil {
		return nil, inField(err, "network")
	}
	return o.(*vnet.Network), nil
}

func (c *Control) getNetwork(ctx context.Context, id vnet.ID) (*vnet.Network, error) {
	o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindNetwork, ID: id})
	if err != nil {
		return nil, err
	}
	return o.(*vnet.Network), nil
}

// inField says which key an error is about.
func inField(err error, field string) error {
	if e, ok := err.(*vnet.Error); ok && e.Field == "" {
		c := *e
		c.Field = field
		return &c
	}
	return err
}

// Get returns one object, completed for reading.
func (c *Control) Get(ctx context.Context, who Identity, sel Selector) (vnet.Object, error) {
	o, err := c.find(ctx, who, sel)
	if err != nil {
		return nil, err
	}
	return o, c.fill(ctx, o)
}

// List returns a page of objects, completed for reading.
func (c *Control) List(ctx context.Context, who Identity, q Query) (*Page, error) {
	if vnet.NewObject(q.Kind) == nil {
		return nil, vnet.Invalid("kind", "%q is no kind of object", q.Kind)
	}
	if q.Limit < 0 {
		return nil, vnet.Invalid("limit", "%d is below 0", q.Limit)
	}
	sq, err := c.query(ctx, who, q)
	if err != nil {
		return nil, err
	}
	only, err := c.networksOf(ctx, who, q)
	if err != nil {
		return nil, err
	}
	page := &Page{}
	for {
		l, err := c.store.List(ctx, sq)
		if err != nil {
			return nil, err
		}
		page.Revision, page.Next = l.Revision, l.Next
		for _, o := range l.Items {
			if only != nil && !only[networkID(o)] {
				continue
			}
			ok, err := c.visible(ctx, who, o)
			if err != nil {
				return nil, err
			}
			if ok {
				page.Items = append(page.Items, o)
			}
		}
		// A page of which nothing may be seen is not the end.
		if len(page.Items) > 0 || page.Next == "" {
			break
		}
		sq.After = page.Next
	}
	return page, c.fill(ctx, page.Items...)
}

// networksOf returns the networks whose claims the query asks for, nil for all:
// claims do not carry their project, their networks do.
func (c *Control) networksOf(ctx context.Context, who Identity, q Query) (map[vnet.ID]bool, error) {
	if q.AllProjects || q.Network != "" || q.Kind != vnet.KindLease && q.Kind != vnet.KindAssignment {
		return nil, nil
	}
	p, err := c.project(ctx, who, q.Project)
	if err != nil {
		return nil, err
	}
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindNetwork, Project: p.ID})
	if err != nil {
		return nil, err
	}
	out := map[vnet.ID]bool{}
	for _, o := range l.Items {
		out[o.GetMeta().ID] = true
	}
	return out, nil
}
