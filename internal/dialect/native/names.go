package native

import (
	"context"

	"github.com/sextant-net/sextant/internal/vnet"
)

// names turns the IDs in objects into names and back, for one request.
type names struct {
	verbs Verbs
	who   Identity
	seen  map[vnet.Ref]string
	// statuses are what hosts report, by the ID of what they report of.
	statuses map[vnet.ID]*vnet.Status
	// found are the prefixes that hosts found, by network.
	found map[vnet.ID][]NetworkPrefix
}

func newNames(v Verbs, who Identity) *names {
	return &names{verbs: v, who: who, seen: map[vnet.Ref]string{}, statuses: map[vnet.ID]*vnet.Status{}, found: map[vnet.ID][]NetworkPrefix{}}
}

// reference is a field of an object that names another object.
type reference struct {
	kind  vnet.Kind
	field string
	id    *vnet.ID
}

// references lists the fields of o that users write as names.
func references(o vnet.Object) []reference {
	switch o := o.(type) {
	case *vnet.Network:
		return []reference{{vnet.KindRouter, "router", &o.Router}}
	case *vnet.Subnet:
		return []reference{{vnet.KindNetwork, "network", &o.Network}, {vnet.KindPool, "pool", &o.Pool}}
	case *vnet.Port:
		return []reference{{vnet.KindNetwork, "network", &o.Network}}
	case *vnet.Reservation:
		return []reference{{vnet.KindNetwork, "network", &o.Network}}
	}
	return nil
}

// name returns the name of an object, or its ID if it has none or is gone.
func (n *names) name(ctx context.Context, kind vnet.Kind, project, id vnet.ID) string {
	if id == "" {
		return ""
	}
	ref := vnet.Ref{Kind: kind, ID: id}
	if s, ok := n.seen[ref]; ok {
		return s
	}
	s := string(id)
	sel := Selector{Kind: kind, Project: string(project), Name: string(id)}
	if o, err := n.verbs.Get(ctx, n.who, sel); err == nil && o.GetMeta().Name != "" {
		s = o.GetMeta().Name
	}
	n.seen[ref] = s
	return s
}

// learn reads the names of all objects of a kind at once: cheaper than one by
// one for long lists.
func (n *names) learn(ctx context.Context, q Query) {
	for q.Limit, q.After = pageMax, ""; ; {
		p, err := n.verbs.List(ctx, n.who, q)
		if err != nil {
			return // the IDs are shown
		}
		for _, o := range p.Items {
			if name := o.GetMeta().Name; name != "" {
				n.seen[vnet.RefOf(o)] = name
			}
		}
		if q.After = p.Next; q.After == "" {
			return
		}
	}
}

// learnStatuses reads what the hosts report of the objects: of a single one by
// its key, of many by reading all. Where several hosts report, the first does.
func (n *names) learnStatuses(ctx context.Context, items []vnet.Object) {
	if len(items) == 0 {
		return
	}
	if len(items) > 1 {
		n.eachStatus(ctx, func(s *vnet.Status) { n.statuses[s.Target.ID] = s })
		return
	}
	hosts, err := n.verbs.List(ctx, n.who, Query{Kind: vnet.KindHost, Limit: pageMax})
	if err != nil {
		return // it is shown without
	}
	ref := vnet.RefOf(items[0])
	for _, h := range hosts.Items {
		id := vnet.StatusID(ref, string(h.GetMeta().ID))
		o, err := n.verbs.Get(ctx, n.who, Selector{Kind: vnet.KindStatus, Name: string(id)})
		if s, ok := o.(*vnet.Status); ok && err == nil {
			n.statuses[ref.ID] = s
			return
		}
	}
}

func (n *names) eachStatus(ctx context.Context, f func(*vnet.Status)) {
	q := Query{Kind: vnet.KindStatus, Limit: pageMax, AllProjects: true}
	for {
		p, err := n.verbs.List(ctx, n.who, q)
		if err != nil {
			return
		}
		for _, o := range p.Items {
			if s, ok := o.(*vnet.Status); ok && n.statuses[s.Target.ID] == nil {
				f(s)
			}
		}
		if q.After = p.Next; q.After == "" {
			return
		}
	}
}

// show replaces the IDs in o, which is the caller's own, by names.
func (n *names) show(ctx context.Context, o vnet.Object) {
	m := o.GetMeta()
	for _, r := range references(o) {
		*r.id = vnet.ID(n.name(ctx, r.kind, m.Project, *r.id))
	}
	m.Project = vnet.ID(n.name(ctx, vnet.KindProject, "", m.Project))
}

// remember takes down by what names the caller called the objects that made
// refers to, so that they need not be looked up.
func (n *names) remember(said []reference, made vnet.Object) {
	for i, r := range references(made) {
		if name := *said[i].id; name != "" && !isID(string(name)) {
			n.seen[vnet.Ref{Kind: r.kind, ID: *r.id}] = string(name)
		}
	}
}

// resolve replaces the names in o by IDs. New objects do without: control
// takes names in them.
func (n *names) resolve(ctx context.Context, project string, o vnet.Object) error {
	for _, r := range references(o) {
		if *r.id == "" || isID(string(*r.id)) {
			continue
		}
		got, err := n.verbs.Get(ctx, n.who, Selector{Kind: r.kind, Project: project, Name: string(*r.id)})
		if err != nil {
			return inField(err, r.field)
		}
		*r.id = got.GetMeta().ID
		n.seen[vnet.RefOf(got)] = got.GetMeta().Name
	}
	return nil
}

// inField says which key named the object that an error is about.
func inField(err error, field string) error {
	f := *faultOf(err)
	if f.Kind == vnet.ErrNotFound {
		// The object in the path is there; what a key names is not: that is
		// the request's fault.
		f.Kind = vnet.ErrInvalid
	}
	f.Field = field
	return &f
}

// isID reports whether s is a UUID in its canonical form.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
