package native

import (
	"context"
	"net/http"
	"net/netip"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sextant-net/sextant/internal/vnet"
)

// leases shows claims with the names of what they belong to.
func leases() noun[Lease] {
	return noun[Lease]{
		kind: vnet.KindLease, plural: "leases",
		prepare: learnNames,
		view:    func(ctx context.Context, n *names, o vnet.Object) Lease { return n.lease(ctx, o.(*vnet.Lease)) },
	}
}

// fewNames is up to how many names are read one by one rather than all of their
// kind at once.
const fewNames = 16

// learnNames reads the names of what a page of leases belongs to. Ports there
// may be as many as leases: all of them are read only within one network.
func learnNames(ctx context.Context, n *names, q Query, items []vnet.Object) {
	nets, ports := map[vnet.ID]bool{}, map[vnet.ID]bool{}
	for _, o := range items {
		l := o.(*vnet.Lease)
		nets[l.Network] = true
		if l.Port != "" {
			ports[l.Port] = true
		}
	}
	if len(nets) > fewNames {
		n.learn(ctx, Query{Kind: vnet.KindNetwork, Project: q.Project, AllProjects: q.AllProjects})
	}
	if len(ports) > fewNames && q.Network != "" {
		n.learn(ctx, Query{Kind: vnet.KindPort, Project: q.Project, Network: q.Network, AllProjects: q.AllProjects})
	}
}

// lease is a lease with names instead of IDs.
func (n *names) lease(ctx context.Context, l *vnet.Lease) Lease {
	out := Lease{
		ID: l.ID, MAC: l.MAC, Address: l.Address, Prefix: l.Prefix(), Via: l.Via, Family: l.Family, How: l.How,
		Name: l.Hostname, Port: n.name(ctx, vnet.KindPort, l.Project, l.Port),
		Network: n.name(ctx, vnet.KindNetwork, l.Project, l.Network),
		Project: n.name(ctx, vnet.KindProject, "", l.Project),
		Host:    l.Host, DUID: l.DUID, Temporary: l.Temporary, Declined: l.Declined, Revision: l.Revision,
		Since: said(l.Created), Expires: said(l.Expires),
	}
	if out.Name == "" {
		out.Name = out.Port
	}
	return out
}

// said is a time of which zero means that there is none.
func said(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type releaseIn struct {
	Named
	Wait string `query:"wait" doc:"wait this long until the host has done it, for example 10s; else 202 says that it is ordered"`
}

type importIn struct {
	Scope
	Wait   string `query:"wait" doc:"wait this long until the host has done it, for example 10s; else 202 says that it is ordered"`
	DryRun bool   `query:"dry-run" doc:"say what it would come to, and change nothing"`
}

type orderOut struct {
	Status int
	Body   *OrderResult
}

// registerLeases adds the verbs of leases.
func (a *api) registerLeases() {
	release := a.op(http.MethodPost, "/v1/leases/{name}/release", "release", "lease",
		"Release a lease, named by its ID or address: its host's agent frees the address")
	register(a, release, func(ctx context.Context, in *releaseIn) (*orderOut, error) {
		wait, err := parseWait(in.Wait)
		if err != nil {
			return nil, err
		}
		o, err := a.Verbs.ReleaseLease(ctx, whoFrom(ctx), leases().selector(&in.Named))
		if err != nil {
			return nil, err
		}
		out, err := a.ordered(ctx, o, wait)
		if err == nil && len(out.Body.Problems) > 0 {
			return nil, problemError(out.Body.Problems[0])
		}
		return out, err
	})

	take := a.op(http.MethodPost, "/v1/leases/import", "import", "lease",
		"Take over leases that another server gave; each by itself, and what is in the way of some is told")
	register(a, take, func(ctx context.Context, in *importIn) (*orderOut, error) {
		wait, err := parseWait(in.Wait)
		if err != nil {
			return nil, err
		}
		var req ImportRequest
		if err := vnet.DecodeJSON(bodyFrom(ctx), &req); err != nil {
			return nil, err
		}
		who := whoFrom(ctx)
		if in.DryRun {
			r, err := a.Verbs.TryImport(ctx, who, in.Project, in.Network, req.Leases)
			return &orderOut{http.StatusOK, r}, err
		}
		o, err := a.Verbs.ImportLeases(ctx, who, in.Project, in.Network, req.Leases)
		if err != nil {
			return nil, err
		}
		return a.ordered(ctx, o, wait)
	})
	a.takes(take, "application/json", reflect.TypeFor[ImportRequest]())
	a.registerLeaseWatch()
	a.registerHistory()
}

// ordered says what came of an order, or that it stands.
func (a *api) ordered(ctx context.Context, o *vnet.LeaseOrder, wait time.Duration) (*orderOut, error) {
	if wait == 0 {
		return &orderOut{http.StatusAccepted, &OrderResult{Host: o.Host, Pending: true}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r, err := a.Verbs.Ordered(ctx, o)
	return &orderOut{http.StatusOK, r}, err
}

// problemError is the error of something that one problem kept from being done.
func problemError(p vnet.Problem) error {
	e := vnet.Errorf(p.Kind, "%s: %s", p.Field, p.Msg)
	e.Hint = p.Hint
	return e
}

type watchIn struct {
	Scope
	AllProjects bool   `query:"all-projects" doc:"of every project"`
	LastEventID string `header:"Last-Event-ID" doc:"go on after this revision (server-sent events do so by themselves)"`
	After       string `query:"after" doc:"the same, as a parameter: the revision of a list; default: from now on"`
}

// namesKept bounds how many names a stream remembers.
const namesKept = 4096

// registerLeaseWatch adds the stream of what becomes of leases.
func (a *api) registerLeaseWatch() {
	op := a.op(http.MethodGet, "/v1/leases/watch", "watch", "lease",
		"Follow what becomes of leases, as server-sent events: lease is a lease as it is now, ended one that is no more")
	schemas := a.huma.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{"200": {
		Description: "the id of each is where to go on; the data of ended has only id and revision",
		Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: schemas.Schema(reflect.TypeFor[Lease](), true, "Lease")},
		},
	}}
	register(a, op, func(ctx context.Context, in *watchIn) (*huma.StreamResponse, error) {
		after, err := eventID(&eventsIn{LastEventID: in.LastEventID, After: in.After})
		if err != nil {
			return nil, err
		}
		who := whoFrom(ctx)
		ctx, cancel := context.WithCancel(ctx)
		changes, err := a.Verbs.WatchLeases(ctx, who, Query{Project: in.Project, Network: in.Network, AllProjects: in.AllProjects}, after)
		if err != nil {
			cancel()
			return nil, err
		}
		ns := newNames(a.Verbs, who)
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer cancel()
			_, w := humago.Unwrap(hc)
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
			stream(ctx, w, "leases follow", changes, func(x LeaseChange) []byte {
				if len(ns.seen) > namesKept {
					ns = newNames(a.Verbs, who)
				}
				if x.Ended {
					return sentEvent(x.Lease.Revision, "ended", EndedLease{x.Lease.ID, x.Lease.Revision})
				}
				return sentEvent(x.Lease.Revision, "lease", ns.lease(ctx, &x.Lease))
			})
		}}, nil
	})
}

type historyIn struct {
	Scope
	Of    string `query:"of" doc:"whose: a port, a MAC, or an address; default: everybody's"`
	After string `query:"after" doc:"next of the page before"`
}

// registerHistory adds who had which address when.
func (a *api) registerHistory() {
	register(a, a.op(http.MethodGet, "/v1/leases/history", "history", "lease", "Say who had which address when, and who has it now"),
		func(ctx context.Context, in *historyIn) (*bodyOut[List[Stay]], error) {
			who := whoFrom(ctx)
			p, err := a.Verbs.History(ctx, who, HistoryQuery{Project: in.Project, Network: in.Network, Of: in.Of, After: in.After})
			if err != nil {
				return nil, err
			}
			ns := newNames(a.Verbs, who)
			out := List[Stay]{Items: make([]Stay, len(p.Items)), Next: p.Next}
			for i := range p.Items {
				e := &p.Items[i]
				s := Stay{
					Address: e.Address, MAC: e.MAC, DUID: e.DUID, Name: e.Hostname, How: e.How, From: said(e.From), Until: said(e.Until),
					Port: ns.name(ctx, vnet.KindPort, e.Project, e.Port), Network: ns.name(ctx, vnet.KindNetwork, e.Project, e.Network),
					Project: ns.name(ctx, vnet.KindProject, "", e.Project),
				}
				if e.Length > 0 {
					s.Prefix = netip.PrefixFrom(e.Address, e.Length)
				}
				if s.Name == "" {
					s.Name = s.Port
				}
				out.Items[i] = s
			}
			return &bodyOut[List[Stay]]{out}, nil
		})
}
