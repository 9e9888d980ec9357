package native

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Fake is Verbs in memory, for tests of this dialect and of its clients. It
// knows one host, host1, that does at once whatever is wished; it checks
// little: judging wishes is control's. IDs and times are always the same.
type Fake struct {
	// Broken makes the host fail for objects of these names.
	Broken map[string]error
	// Slow makes Wait block until its context ends, for objects of these names.
	Slow map[string]bool

	mu       sync.Mutex
	objects  []vnet.Object
	revision int64
	events   []vnet.Event
	// Cleaned counts the questions for a cleanup.
	Cleaned int
}

// fakeTime is when everything in a Fake happens.
var fakeTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// NewFake returns a Fake with the default project and host1.
func NewFake() *Fake {
	f := &Fake{Broken: map[string]error{}, Slow: map[string]bool{}}
	p := &vnet.Project{}
	p.Name = vnet.DefaultProject
	h := &vnet.Host{Seen: fakeTime}
	h.ID, h.Name = "host1", "host1"
	h.Facts.Uplinks = []vnet.Uplink{{Name: "eth0", V4: true, V6: true, MTU: 1500, Type: "ethernet"}}
	f.Put(p)
	f.Put(h)
	return f
}

// Put stores an object as it is, with an ID and a revision of its own.
func (f *Fake) Put(o vnet.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(o, "created")
}

func (f *Fake) put(o vnet.Object, what string) {
	f.revision++
	m := o.GetMeta()
	if m.ID == "" {
		m.ID = vnet.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", f.revision))
		m.Created = fakeTime
	}
	m.Generation, m.Updated, m.Revision = m.Generation+1, fakeTime, f.revision
	f.objects = slices.DeleteFunc(f.objects, func(x vnet.Object) bool { return vnet.RefOf(x) == vnet.RefOf(o) })
	f.objects = append(f.objects, clone(o))
	f.note(o, what)
	if n, ok := o.(*vnet.Network); ok && f.Broken[n.Name] == nil {
		f.report(n)
	}
}

// report does as the host's agent does once it has worked a network in.
func (f *Fake) report(n *vnet.Network) {
	st := f.statusOf(n)
	st.ID, st.Revision = vnet.StatusID(st.Target, st.Host), f.revision
	f.objects = slices.DeleteFunc(f.objects, func(x vnet.Object) bool { return vnet.RefOf(x) == vnet.RefOf(st) })
	f.objects = append(f.objects, st)
}

func (f *Fake) statusOf(n *vnet.Network) *vnet.Status {
	st := &vnet.Status{Target: vnet.RefOf(n), Host: "host1", Applied: f.revision, State: vnet.StateRunning}
	if n.Started != nil && !*n.Started {
		st.State = vnet.StateStopped
		return st
	}
	st.Bridge, st.MTU = n.Bridge, 1500
	st.Rung4, st.Why4 = vnet.EgressNAT, "the uplink eth0 has IPv4"
	st.Rung6, st.Why6 = vnet.EgressULA, "the host has no IPv6 uplink"
	st.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.150.1/24"), netip.MustParsePrefix("fd00:1:2:3::1/64")}
	return st
}

func (f *Fake) note(o vnet.Object, what string) {
	e := vnet.Event{Time: fakeTime, Host: "host1", Target: vnet.RefOf(o), What: what}
	e.Revision = f.revision
	e.Msg = fmt.Sprintf("%s %s %s", o.Kind(), o.GetMeta().Name, what)
	f.events = append(f.events, e)
}

// clone copies an object through its JSON form, and keeps the revision.
func clone(o vnet.Object) vnet.Object {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	c := vnet.NewObject(o.Kind())
	if err := json.Unmarshal(b, c); err != nil {
		panic(err)
	}
	return c
}

func networkOf(o vnet.Object) vnet.ID {
	switch o := o.(type) {
	case *vnet.Lease:
		return o.Network
	case *vnet.PrefixAssignment:
		return o.Network
	}
	for _, r := range references(o) {
		if r.kind == vnet.KindNetwork {
			return *r.id
		}
	}
	return ""
}

func (f *Fake) find(sel Selector) (vnet.Object, error) {
	for _, o := range f.objects {
		m := o.GetMeta()
		if o.Kind() != sel.Kind || m.Name != sel.Name && string(m.ID) != sel.Name {
			continue
		}
		if !f.within(o, sel.Project, sel.Network) {
			continue
		}
		if p, ok := o.(*vnet.UplinkPolicy); ok && p.Host != cmp.Or(sel.Host, "host1") {
			continue
		}
		return o, nil
	}
	if l := f.findLease(sel); l != nil {
		return l, nil
	}
	return nil, vnet.Errorf(vnet.ErrNotFound, "there is no %s %q", sel.Kind, sel.Name)
}

func (f *Fake) findLease(sel Selector) vnet.Object {
	for _, o := range f.objects {
		if l, ok := o.(*vnet.Lease); ok && sel.Kind == vnet.KindLease && l.Address.String() == sel.Name {
			return l
		}
	}
	return nil
}

// within reports whether o is in the project and on the network, each a name
// or an ID or empty.
func (f *Fake) within(o vnet.Object, project, network string) bool {
	if p := o.GetMeta().Project; project != "" && p != "" && !f.named(vnet.KindProject, p, project) {
		return false
	}
	return network == "" || f.named(vnet.KindNetwork, networkOf(o), network)
}

func (f *Fake) named(kind vnet.Kind, id vnet.ID, name string) bool {
	for _, o := range f.objects {
		if o.Kind() == kind && o.GetMeta().ID == id {
			return string(id) == name || o.GetMeta().Name == name
		}
	}
	return false
}

// Create stores o under a name that is free.
func (f *Fake) Create(_ context.Context, _ Identity, project string, o vnet.Object) (vnet.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := o.GetMeta()
	if m.Name == "" {
		return nil, vnet.Invalid("name", "a %s needs a name", o.Kind())
	}
	if o.Kind() != vnet.KindProject {
		p, err := f.find(Selector{Kind: vnet.KindProject, Name: cmp.Or(project, vnet.DefaultProject)})
		if err != nil {
			return nil, err
		}
		m.Project = p.GetMeta().ID
	}
	for _, r := range references(o) {
		if *r.id == "" {
			continue
		}
		to, err := f.find(Selector{Kind: r.kind, Project: project, Name: string(*r.id)})
		if err != nil {
			return nil, inField(err, r.field)
		}
		*r.id = to.GetMeta().ID
	}
	if old, err := f.find(Selector{Kind: o.Kind(), Project: string(m.Project), Network: string(networkOf(o)), Name: m.Name}); err == nil {
		ref := vnet.RefOf(old)
		e := vnet.Errorf(vnet.ErrExists, "%s %q is there already", o.Kind(), m.Name).WithHint("choose another name")
		e.Field, e.Ref = "name", &ref
		return nil, e
	}
	if n, ok := o.(*vnet.Network); ok {
		n.Bridge, n.Domain = cmp.Or(n.Bridge, "sx-"+n.Name), cmp.Or(n.Domain, n.Name+".internal")
		n.IPv4.Mode, n.IPv6.Mode = cmp.Or(n.IPv4.Mode, vnet.EgressAuto), cmp.Or(n.IPv6.Mode, vnet.EgressAuto)
		if n.Started == nil {
			n.Started = new(bool)
			*n.Started = true
		}
	}
	f.put(o, "created")
	return clone(o), nil
}

// Update changes an object, unless its revision is not ifMatch.
func (f *Fake) Update(_ context.Context, _ Identity, sel Selector, ifMatch int64, change func(vnet.Object) error) (vnet.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.find(sel)
	if err != nil {
		return nil, err
	}
	if ifMatch != vnet.AnyRevision && ifMatch != o.GetMeta().Revision {
		return nil, vnet.Errorf(vnet.ErrConflict, "%s %q has changed since it was read", sel.Kind, sel.Name).WithHint("read it again")
	}
	next := clone(o)
	if err := change(next); err != nil {
		return nil, err
	}
	f.put(next, "changed")
	return clone(next), nil
}

// Delete removes an object that nothing is on.
func (f *Fake) Delete(_ context.Context, _ Identity, sel Selector, ifMatch int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.find(sel)
	if err != nil {
		return 0, err
	}
	if ifMatch != vnet.AnyRevision && ifMatch != o.GetMeta().Revision {
		return 0, vnet.Errorf(vnet.ErrConflict, "%s %q has changed since it was read", sel.Kind, sel.Name).WithHint("read it again")
	}
	for _, x := range f.objects {
		if x.Kind() == vnet.KindPort && networkOf(x) == o.GetMeta().ID {
			ref := vnet.RefOf(x)
			e := vnet.Errorf(vnet.ErrInUse, "port %q is on network %q", x.GetMeta().Name, sel.Name)
			e.Ref = &ref
			return 0, e.WithHint("delete the port first: sextant port delete %s", x.GetMeta().Name)
		}
	}
	f.drop(o)
	return f.revision, nil
}

func (f *Fake) drop(o vnet.Object) {
	f.revision++
	f.objects = slices.DeleteFunc(f.objects, func(x vnet.Object) bool { return vnet.RefOf(x) == vnet.RefOf(o) })
	f.note(o, "deleted")
}

// Get returns a copy.
func (f *Fake) Get(_ context.Context, _ Identity, sel Selector) (vnet.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.find(sel)
	if err != nil {
		return nil, err
	}
	return clone(o), nil
}

// List pages through objects by name; After is the last ID of the page before.
func (f *Fake) List(_ context.Context, _ Identity, q Query) (*Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.Kind == vnet.KindEvent {
		p := &Page{Revision: f.revision}
		for i := range f.events {
			e := f.events[i]
			p.Items = append(p.Items, &e)
		}
		return p, nil
	}
	var all []vnet.Object
	for _, o := range f.objects {
		if o.Kind() == q.Kind && (q.AllProjects || f.within(o, cmp.Or(q.Project, vnet.DefaultProject), q.Network)) {
			all = append(all, clone(o))
		}
	}
	slices.SortStableFunc(all, func(a, b vnet.Object) int { return cmp.Compare(a.GetMeta().ID, b.GetMeta().ID) })
	p := &Page{Revision: f.revision}
	for _, o := range all {
		if string(o.GetMeta().ID) <= q.After {
			continue
		}
		if len(p.Items) == q.Limit {
			p.Next = string(p.Items[len(p.Items)-1].GetMeta().ID)
			break
		}
		p.Items = append(p.Items, o)
	}
	return p, nil
}

// Wait says at once that all is well, unless the object is Broken or Slow.
func (f *Fake) Wait(ctx context.Context, ref vnet.Ref, revision int64, _ string, _ Condition) (*vnet.Status, error) {
	f.mu.Lock()
	o, err := f.find(Selector{Kind: ref.Kind, Name: string(ref.ID)})
	f.mu.Unlock()
	st := &vnet.Status{Target: ref, Host: "host1", Applied: revision, State: vnet.StateRunning}
	if err != nil {
		return st, nil
	}
	name := o.GetMeta().Name
	if f.Slow[name] {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := f.Broken[name]; err != nil {
		return nil, err
	}
	if n, ok := o.(*vnet.Network); ok {
		return f.statusOf(n), nil
	}
	return st, nil
}

// Withdraw removes the object.
func (f *Fake) Withdraw(_ context.Context, _ Identity, ref vnet.Ref, _ int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.find(Selector{Kind: ref.Kind, Name: string(ref.ID)})
	if err != nil {
		return err
	}
	f.drop(o)
	return nil
}
