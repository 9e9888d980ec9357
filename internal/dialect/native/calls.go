package native

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The lengths of a page of a list.
const (
	pageDefault = 500
	pageMax     = 5000
)

// Scope says (it is exported since huma looks into exported fields only) within what names are meant.
type Scope struct {
	Project string `query:"project" doc:"name or ID of the project; default: default"`
	Network string `query:"network" doc:"name or ID of the network, where names are unique within networks only"`
}

type listIn struct {
	Scope
	Limit       int    `query:"limit" minimum:"1" maximum:"5000" doc:"how many at most; default 500"`
	After       string `query:"after" doc:"next of the page before"`
	AllProjects bool   `query:"all-projects" doc:"of every project"`
}

// Named names one object.
type Named struct {
	Scope
	Name string `path:"name" doc:"name or ID"`
}

type createIn struct {
	Scope
	Wait string `query:"wait" doc:"wait this long until it is done on its host, for example 10s; if that fails, nothing is created"`
}

type writeIn struct {
	Named
	IfMatch string `header:"If-Match" doc:"the ETag that was read: 412 if the object has changed since"`
	Wait    string `query:"wait" doc:"wait this long until it is done on its host, for example 10s"`
}

type objectOut[V any] struct {
	Status int
	ETag   string `header:"ETag" doc:"the object's revision"`
	Body   V
}

type bodyOut[V any] struct{ Body V }

// noun is one kind of object under /v1: V is its form on the wire.
type noun[V any] struct {
	kind   vnet.Kind
	plural string
	// view turns the caller's own copy of an object into its wire form.
	view func(context.Context, *names, vnet.Object) V
	// decode reads the wire form; nil for nouns that are not written.
	decode func([]byte) (vnet.Object, error)
	// prepare reads what the views of these objects need; may be nil.
	prepare func(context.Context, *names, Query, []vnet.Object)
}

// own is the noun whose wire form is the vnet type itself.
func own[V any, P interface {
	*V
	vnet.Object
}](kind vnet.Kind, plural string) noun[V] {
	return noun[V]{
		kind: kind, plural: plural,
		view: func(ctx context.Context, n *names, o vnet.Object) V {
			c := *o.(P)
			n.show(ctx, P(&c))
			return c
		},
		decode: func(b []byte) (vnet.Object, error) {
			v := P(new(V))
			return v, vnet.DecodeJSON(b, v)
		},
	}
}

func (a *api) registerNouns() {
	networks := a.networks()
	registerReads(a, networks)
	registerWrites(a, networks)
	a.registerSwitches(networks)
	both(a, own[vnet.Subnet](vnet.KindSubnet, "subnets"))
	both(a, own[vnet.Pool](vnet.KindPool, "pools"))
	both(a, own[vnet.Router](vnet.KindRouter, "routers"))
	both(a, own[vnet.Port](vnet.KindPort, "ports"))
	both(a, own[vnet.Reservation](vnet.KindReservation, "reservations"))
	both(a, own[vnet.Project](vnet.KindProject, "projects"))
	registerReads(a, leases())
	registerReads(a, own[vnet.Host](vnet.KindHost, "hosts"))
}

func both[V any](a *api, n noun[V]) {
	registerReads(a, n)
	registerWrites(a, n)
}

// op describes an operation. Verb and noun make its ID and the Op of errors;
// verbs that have no noun on the command line have none here.
func (a *api) op(method, path, verb, noun, summary string) huma.Operation {
	op := huma.Operation{OperationID: verb, Method: method, Path: path, Summary: summary}
	if noun != "" {
		op.OperationID, op.Tags = verb+"-"+noun, []string{noun}
	}
	return op
}

// takes adds the body to an operation's description. It is done after the
// registration because huma would decode a body that it knows of.
func (a *api) takes(op huma.Operation, contentType string, t reflect.Type) {
	item := a.huma.OpenAPI().Paths[op.Path]
	for _, o := range []*huma.Operation{item.Post, item.Put, item.Patch} {
		if o == nil || o.Method != op.Method {
			continue
		}
		schema := a.huma.OpenAPI().Components.Schemas.Schema(t, true, op.OperationID)
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{contentType: {Schema: schema}}}
	}
}

// register adds a call. Its errors get the verb and the noun as their Op.
func register[I, O any](a *api, op huma.Operation, call func(context.Context, *I) (*O, error)) {
	name := op.OperationID
	if len(op.Tags) > 0 {
		name = op.Tags[0] + " " + strings.TrimSuffix(op.OperationID, "-"+op.Tags[0])
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := call(ctx, in)
		if err == nil {
			return out, nil
		}
		f := *faultOf(err)
		if f.Op == "" {
			f.Op = name
		}
		if f.Kind == vnet.ErrInternal {
			a.Log.Error("native: a call failed", "op", name, "error", err)
		}
		return nil, &f
	})
}

func registerReads[V any](a *api, n noun[V]) {
	kind, path := string(n.kind), "/v1/"+n.plural
	register(a, a.op(http.MethodGet, path, "list", kind, "List "+n.plural),
		func(ctx context.Context, in *listIn) (*bodyOut[List[V]], error) {
			l, err := n.list(ctx, a, in)
			return &bodyOut[List[V]]{l}, err
		})
	register(a, a.op(http.MethodGet, path+"/{name}", "show", kind, "Show one "+kind),
		func(ctx context.Context, in *Named) (*objectOut[V], error) {
			who := whoFrom(ctx)
			o, err := a.Verbs.Get(ctx, who, n.selector(in))
			if err != nil {
				return nil, err
			}
			ns := newNames(a.Verbs, who)
			if n.prepare != nil {
				n.prepare(ctx, ns, Query{Kind: n.kind, Project: in.Project, Network: in.Network}, []vnet.Object{o})
			}
			return n.answer(ctx, ns, o, http.StatusOK), nil
		})
}

func (n noun[V]) list(ctx context.Context, a *api, in *listIn) (List[V], error) {
	who := whoFrom(ctx)
	q := Query{
		Kind: n.kind, Project: in.Project, Network: in.Network,
		Limit: in.Limit, After: in.After, AllProjects: in.AllProjects,
	}
	if q.Limit == 0 {
		q.Limit = pageDefault
	}
	p, err := a.Verbs.List(ctx, who, q)
	if err != nil {
		return List[V]{}, err
	}
	ns := newNames(a.Verbs, who)
	if n.prepare != nil {
		n.prepare(ctx, ns, q, p.Items)
	}
	out := List[V]{Items: make([]V, 0, len(p.Items)), Next: p.Next, Revision: p.Revision}
	for _, o := range p.Items {
		out.Items = append(out.Items, n.view(ctx, ns, o))
	}
	return out, nil
}

func registerWrites[V any](a *api, n noun[V]) {
	kind, path := string(n.kind), "/v1/"+n.plural
	wire := reflect.TypeFor[V]()

	create := a.op(http.MethodPost, path, "create", kind, "Create a "+kind)
	create.DefaultStatus = http.StatusCreated
	register(a, create, func(ctx context.Context, in *createIn) (*objectOut[V], error) { return n.create(ctx, a, in) })
	a.takes(create, "application/json", wire)

	put := a.op(http.MethodPut, path+"/{name}", "edit", kind, "Replace a "+kind+"; what is read-only is kept")
	register(a, put, func(ctx context.Context, in *writeIn) (*objectOut[V], error) {
		next, err := n.decode(bodyFrom(ctx))
		if err != nil {
			return nil, err
		}
		ns := newNames(a.Verbs, whoFrom(ctx))
		if err := ns.resolve(ctx, in.Project, next); err != nil {
			return nil, err
		}
		return n.update(ctx, a, ns, in, func(o vnet.Object) error {
			stay(next, o)
			assign(o, next)
			return nil
		})
	})
	a.takes(put, "application/json", wire)

	patch := a.op(http.MethodPatch, path+"/{name}", "set", kind, "Change a "+kind+" by a JSON merge patch (RFC 7396)")
	register(a, patch, func(ctx context.Context, in *writeIn) (*objectOut[V], error) { return n.patch(ctx, a, in) })
	a.takes(patch, "application/merge-patch+json", wire)

	remove := a.op(http.MethodDelete, path+"/{name}", "delete", kind, "Delete a "+kind)
	register(a, remove, func(ctx context.Context, in *writeIn) (*bodyOut[Deleted], error) { return n.remove(ctx, a, in) })
}

func (n noun[V]) create(ctx context.Context, a *api, in *createIn) (*objectOut[V], error) {
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	o, err := n.decode(bodyFrom(ctx))
	if err != nil {
		return nil, err
	}
	keepReadOnly(o, vnet.NewObject(n.kind))
	said := references(o)
	for _, r := range said {
		if r.kind == vnet.KindNetwork && *r.id == "" {
			*r.id = vnet.ID(in.Network)
		}
	}
	who := whoFrom(ctx)
	ns := newNames(a.Verbs, who)
	made, err := a.Verbs.Create(ctx, who, in.Project, o)
	if err != nil {
		return nil, err
	}
	ns.remember(said, made)
	o = made
	st, err := a.settle(ctx, o, aim(o), wait, true)
	if err != nil {
		return nil, err
	}
	return n.settled(ctx, ns, o, st, http.StatusCreated), nil
}

func (n noun[V]) update(ctx context.Context, a *api, ns *names, in *writeIn, change func(vnet.Object) error) (*objectOut[V], error) {
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	rev, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	var was *before
	if wait > 0 {
		was = a.before(ctx, n.selector(&in.Named))
	}
	o, err := a.Verbs.Update(ctx, whoFrom(ctx), n.selector(&in.Named), rev, func(o vnet.Object) error {
		if err := was.keep(o); err != nil {
			return err
		}
		return change(o)
	})
	if err != nil {
		return nil, err
	}
	st, err := a.settle(ctx, o, aim(o), wait, false)
	if err != nil {
		return nil, a.undo(ctx, was, o, err)
	}
	return n.settled(ctx, ns, o, st, http.StatusOK), nil
}

func (n noun[V]) patch(ctx context.Context, a *api, in *writeIn) (*objectOut[V], error) {
	body := bodyFrom(ctx)
	// Names of other objects are looked up before the update begins: it may
	// hold the object, and be done again after a conflict. Decoding the patch
	// alone also finds its errors early.
	draft, err := n.decode(body)
	if err != nil {
		return nil, err
	}
	ns := newNames(a.Verbs, whoFrom(ctx))
	if err := ns.resolve(ctx, in.Project, draft); err != nil {
		return nil, err
	}
	return n.update(ctx, a, ns, in, func(o vnet.Object) error {
		old, err := json.Marshal(o)
		if err != nil {
			return err
		}
		merged, err := mergePatch(old, body)
		if err != nil {
			return vnet.Errorf(vnet.ErrInvalid, "the body is no JSON merge patch: %w", err)
		}
		next, err := n.decode(merged)
		if err != nil {
			return err
		}
		found := references(next)
		for i, r := range references(draft) {
			if *r.id != "" {
				*found[i].id = *r.id
			}
		}
		stay(next, o)
		assign(o, next)
		return nil
	})
}

func (n noun[V]) remove(ctx context.Context, a *api, in *writeIn) (*bodyOut[Deleted], error) {
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	rev, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	who, sel := whoFrom(ctx), n.selector(&in.Named)
	var ref vnet.Ref
	var host string
	waits := false
	if wait > 0 {
		o, err := a.Verbs.Get(ctx, who, sel)
		if err != nil {
			return nil, err
		}
		ref, host, waits = concern(o)
	}
	gone, err := a.Verbs.Delete(ctx, who, sel, rev)
	if err != nil {
		return nil, err
	}
	if waits {
		if _, err := a.await(ctx, ref, gone, host, control.Gone, wait, false); err != nil {
			return nil, err
		}
	}
	return &bodyOut[Deleted]{Deleted{Revision: gone}}, nil
}

func (n noun[V]) selector(in *Named) Selector {
	return Selector{Kind: n.kind, Project: in.Project, Network: in.Network, Name: in.Name}
}

func (n noun[V]) answer(ctx context.Context, ns *names, o vnet.Object, status int) *objectOut[V] {
	etag := strconv.Quote(strconv.FormatInt(o.GetMeta().Revision, 10))
	return &objectOut[V]{Status: status, ETag: etag, Body: n.view(ctx, ns, o)}
}

// settled is answer after a wait, which may have brought a status.
func (n noun[V]) settled(ctx context.Context, ns *names, o vnet.Object, st *vnet.Status, status int) *objectOut[V] {
	if st != nil {
		ns.statuses[st.Target.ID] = st
	}
	return n.answer(ctx, ns, o, status)
}

// parseIfMatch reads an entity tag as we write it.
func parseIfMatch(s string) (int64, error) {
	if s == "" || s == "*" {
		return vnet.AnyRevision, nil
	}
	if q, err := strconv.Unquote(s); err == nil {
		s = q
	}
	rev, err := strconv.ParseInt(s, 10, 64)
	if err != nil || rev <= 0 {
		return 0, vnet.Invalid("If-Match", "%q is no ETag of ours", s).WithHint("send the ETag of a GET")
	}
	return rev, nil
}

// stay gives next what a change of old cannot mean: its read-only fields, and
// the network that it is on, where none is said.
func stay(next, old vnet.Object) {
	keepReadOnly(next, old)
	was := references(old)
	for i, r := range references(next) {
		if r.kind == vnet.KindNetwork && *r.id == "" {
			*r.id = *was[i].id
		}
	}
}

// keepReadOnly gives next the read-only fields of old, whatever was sent.
func keepReadOnly(next, old vnet.Object) {
	copyReadOnly(reflect.ValueOf(next).Elem(), reflect.ValueOf(old).Elem())
}

func copyReadOnly(dst, src reflect.Value) {
	for i := range dst.NumField() {
		f := dst.Type().Field(i)
		switch {
		case f.Anonymous:
			copyReadOnly(dst.Field(i), src.Field(i))
		case f.Tag.Get("readOnly") == "true":
			dst.Field(i).Set(src.Field(i))
		}
	}
}

// assign makes o what next is; both are of one kind.
func assign(o, next vnet.Object) {
	reflect.ValueOf(o).Elem().Set(reflect.ValueOf(next).Elem())
}
