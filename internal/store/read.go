package store

import (
	"context"
	"sort"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// view is a set of keys as they were at one revision. A key that was asked for
// and is not there is nil.
type view struct {
	rev int64
	kvs map[string]*mvccpb.KeyValue
}

// fetch reads keys into v, all at v's revision; the first fetch sets it.
func (s *Store) fetch(ctx context.Context, v *view, keys []string) error {
	todo := make([]string, 0, len(keys))
	for _, k := range keys {
		if _, have := v.kvs[k]; !have {
			v.kvs[k] = nil
			todo = append(todo, k)
		}
	}
	for len(todo) > 0 {
		n := min(len(todo), MaxOps)
		ops := make([]clientv3.Op, n)
		for i, k := range todo[:n] {
			ops[i] = clientv3.OpGet(k, clientv3.WithRev(v.rev))
		}
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		resp, err := s.etcd.Txn(ctx).Then(ops...).Commit()
		cancel()
		if err != nil {
			return storeError("read", err)
		}
		if v.rev == 0 {
			v.rev = resp.Header.Revision
		}
		for i, r := range resp.Responses {
			if kvs := r.GetResponseRange().Kvs; len(kvs) > 0 {
				v.kvs[todo[i]] = kvs[0]
			}
		}
		todo = todo[n:]
	}
	return nil
}

func newView() *view { return &view{kvs: map[string]*mvccpb.KeyValue{}} }

// locate returns the key of each object in refs, "" for one that is not there.
func (s *Store) locate(ctx context.Context, v *view, refs []vnet.Ref) ([]string, error) {
	keys := make([]string, len(refs))
	var where []string
	for i, r := range refs {
		if k, ok := directKey(r); ok {
			keys[i] = k
		} else {
			where = append(where, whereKey(r))
		}
	}
	if err := s.fetch(ctx, v, where); err != nil {
		return nil, err
	}
	for i, r := range refs {
		if keys[i] == "" {
			if kv := v.kvs[whereKey(r)]; kv != nil {
				keys[i] = root + string(kv.Value)
			}
		}
	}
	return keys, nil
}

// Get returns the object, or ErrNotFound.
func (s *Store) Get(ctx context.Context, ref vnet.Ref) (vnet.Object, error) {
	v := newView()
	keys, err := s.locate(ctx, v, []vnet.Ref{ref})
	if err != nil {
		return nil, err
	}
	if keys[0] != "" {
		if err := s.fetch(ctx, v, keys); err != nil {
			return nil, err
		}
		if kv := v.kvs[keys[0]]; kv != nil {
			return decode(ref.Kind, kv.Value, kv.ModRevision)
		}
	}
	return nil, notFound(ref)
}

func notFound(ref vnet.Ref) *vnet.Error {
	e := vnet.Errorf(vnet.ErrNotFound, "there is no %s %s", ref.Kind, ref.ID)
	e.Ref = &ref
	return e
}

// List answers a query as of one revision. Items are ordered by ID.
func (s *Store) List(ctx context.Context, q vnet.Query) (*vnet.List, error) {
	if q.Name != "" {
		if l, done, err := s.listByName(ctx, q); done || err != nil {
			return l, err
		}
	}
	r := s.rangeOf(q)
	out := &vnet.List{}
	from, err := r.after(q)
	if err != nil {
		return nil, err
	}
	for {
		page, err := s.listPage(ctx, r, q, from, out.Revision)
		if err != nil {
			return nil, err
		}
		out.Revision = page.Revision
		for _, o := range page.Items {
			if !matches(q, o) {
				continue
			}
			if q.Limit > 0 && len(out.Items) == q.Limit {
				out.Next = string(out.Items[q.Limit-1].GetMeta().ID)
				return out, nil
			}
			out.Items = append(out.Items, o)
		}
		if page.Next == "" {
			return out, nil
		}
		from = page.Next
	}
}

// matches applies what the range of keys did not.
func matches(q vnet.Query, o vnet.Object) bool {
	m := o.GetMeta()
	name := m.Name
	if l, ok := o.(*vnet.Lease); ok {
		name = l.Address.String() // it has no other
	}
	if q.Project != "" && m.Project != q.Project || q.Name != "" && name != q.Name {
		return false
	}
	network, host := vnet.ID(""), ""
	switch o := o.(type) {
	case *vnet.Subnet:
		network = o.Network
	case *vnet.Port:
		network = o.Network
		if o.Binding != nil {
			host = o.Binding.Host
		}
	case *vnet.Reservation:
		network = o.Network
	case *vnet.Lease:
		network, host = o.Network, o.Host
	case *vnet.PrefixAssignment:
		network, host = o.Network, o.Host
	case *vnet.LeaseOrder:
		network, host = o.Network, o.Host
	case *vnet.LeaseHistory:
		network = o.Network
	case *vnet.Activation:
		network, host = o.Network, o.Host
	case *vnet.Status:
		host = o.Host
	case *vnet.UplinkPolicy:
		host = o.Host
	case *vnet.Event:
		host = o.Host
	}
	return (q.Network == "" || network == q.Network) && (q.Host == "" || host == q.Host)
}

// listByName uses the unique name where the query's fields make one up.
func (s *Store) listByName(ctx context.Context, q vnet.Query) (*vnet.List, bool, error) {
	var u string
	switch q.Kind {
	case vnet.KindProject:
		u = "project/" + q.Name
	case vnet.KindNetwork, vnet.KindRouter, vnet.KindPool:
		if q.Project == "" {
			return nil, false, nil
		}
		u = "name/" + string(q.Project) + "/" + string(q.Kind) + "/" + q.Name
	case vnet.KindSubnet, vnet.KindPort, vnet.KindReservation:
		if q.Network == "" {
			return nil, false, nil
		}
		u = vnet.NetworkUniques(q.Network) + "name/" + string(q.Kind) + "/" + q.Name
	case vnet.KindUplink:
		if q.Host == "" {
			return nil, false, nil
		}
		u = vnet.UplinkUnique(q.Host, q.Name)
	case vnet.KindLease:
		if q.Network == "" {
			return nil, false, nil
		}
		u = vnet.NetworkUniques(q.Network) + "lease/" + q.Name
	default:
		return nil, false, nil
	}
	v := newView()
	key := uniqKey(u)
	if err := s.fetch(ctx, v, []string{key}); err != nil {
		return nil, false, err
	}
	l := &vnet.List{Revision: v.rev}
	kv := v.kvs[key]
	if kv == nil {
		return l, true, nil
	}
	ref, ok := parseRef(string(kv.Value))
	if !ok || ref.Kind != q.Kind {
		return l, true, nil
	}
	keys, err := s.locate(ctx, v, []vnet.Ref{ref})
	if err != nil || keys[0] == "" {
		return l, true, err
	}
	if err := s.fetch(ctx, v, keys); err != nil {
		return nil, false, err
	}
	if kv := v.kvs[keys[0]]; kv != nil {
		o, err := decode(ref.Kind, kv.Value, kv.ModRevision)
		if err != nil {
			return nil, false, err
		}
		if matches(q, o) {
			l.Items = append(l.Items, o)
		}
	}
	return l, true, nil
}

// keyRange is the range of keys in which a query's objects lie.
type keyRange struct {
	prefix string
	index  bool // the values are keys of objects, not objects
	filter bool // other kinds lie there too
}

func (s *Store) rangeOf(q vnet.Query) keyRange {
	switch {
	case q.Kind == vnet.KindStatus && q.Host != "":
		return keyRange{prefix: root + "host/" + q.Host + "/applied/"}
	case q.Kind == vnet.KindStatus:
		return keyRange{prefix: root + "host/", filter: true}
	case q.Kind == vnet.KindActivation && q.Host != "":
		return keyRange{prefix: root + "host/" + q.Host + "/activation/"}
	case q.Kind == vnet.KindUplink && q.Host != "":
		return keyRange{prefix: root + "host/" + q.Host + "/uplink/"}
	case q.Kind == vnet.KindEvent:
		return keyRange{prefix: root + "event/"}
	case q.Kind == vnet.KindHistory && q.Network != "":
		return keyRange{prefix: pastPrefix(q.Network)}
	case q.Kind == vnet.KindHistory:
		return keyRange{prefix: root + "past/"}
	case q.Network != "" && q.Kind != vnet.KindActivation && hasWhere(q.Kind):
		return keyRange{prefix: networkPrefix(q.Network) + string(q.Kind) + "/"}
	case hasWhere(q.Kind):
		return keyRange{prefix: root + "where/" + string(q.Kind) + "/", index: true}
	}
	return keyRange{prefix: root + "all/" + string(q.Kind) + "/"}
}

const pageSize = 1000

// after is the first key that can follow the query's After.
func (r keyRange) after(q vnet.Query) (string, error) {
	if q.After == "" {
		return r.prefix, nil
	}
	if !r.filter && q.Kind != vnet.KindStatus && q.Kind != vnet.KindHistory {
		return r.prefix + q.After + "\x00", nil
	}
	key, ok := directKey(vnet.Ref{Kind: q.Kind, ID: vnet.ID(q.After)})
	if !ok || !strings.HasPrefix(key, r.prefix) {
		return "", vnet.Invalid("after", "%q is no place to go on from", q.After)
	}
	return key + "\x00", nil
}

// listPage reads the next page of the range; its Next is the key to go on from,
// "" at the end of the range. A page may hold only objects of other kinds.
func (s *Store) listPage(ctx context.Context, r keyRange, q vnet.Query, from string, rev int64) (*vnet.List, error) {
	limit := pageSize
	if q.Limit > 0 && !r.filter {
		limit = min(limit, q.Limit+1)
	}
	tctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	resp, err := s.etcd.Get(tctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(r.prefix)),
		clientv3.WithLimit(int64(limit)), clientv3.WithRev(rev))
	if err != nil {
		return nil, storeError("list", err)
	}
	out := &vnet.List{Revision: rev}
	if rev == 0 {
		out.Revision = resp.Header.Revision
	}
	kvs := resp.Kvs
	if r.index {
		if kvs, err = s.follow(ctx, kvs, out.Revision); err != nil {
			return nil, err
		}
	}
	for _, kv := range kvs {
		ref, ok := parseKey(string(kv.Key))
		if !ok || ref.Kind != q.Kind {
			continue
		}
		o, err := decode(q.Kind, kv.Value, kv.ModRevision)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, o)
	}
	if resp.More && len(resp.Kvs) > 0 {
		out.Next = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	return out, nil
}

// follow reads the objects that the entries of an index point at. An entry
// whose object is gone is passed over: Collect removes it.
func (s *Store) follow(ctx context.Context, index []*mvccpb.KeyValue, rev int64) ([]*mvccpb.KeyValue, error) {
	keys := make([]string, len(index))
	for i, kv := range index {
		keys[i] = root + string(kv.Value)
	}
	v := newView()
	v.rev = rev
	if err := s.fetch(ctx, v, keys); err != nil {
		return nil, err
	}
	out := make([]*mvccpb.KeyValue, 0, len(keys))
	for _, k := range keys {
		if kv := v.kvs[k]; kv != nil {
			out = append(out, kv)
		}
	}
	return out, nil
}

// Generation returns the generation of the scope's set of prefixes, as
// vnet.Change.Scopes wants it; 0 for a scope that was never written.
func (s *Store) Generation(ctx context.Context, scope vnet.Scope) (int64, error) {
	v := newView()
	if err := s.fetch(ctx, v, []string{scopeKey(scope)}); err != nil {
		return 0, err
	}
	if kv := v.kvs[scopeKey(scope)]; kv != nil {
		return kv.ModRevision, nil
	}
	return 0, nil
}

// nameOf describes an object for people: "port vm1", or its reference.
func (s *Store) nameOf(ctx context.Context, ref vnet.Ref) string {
	o, err := s.Get(ctx, ref)
	if err != nil || o.GetMeta().Name == "" {
		return ref.String()
	}
	return string(ref.Kind) + " " + o.GetMeta().Name
}

// namesOf lists objects for people, at most five.
func (s *Store) namesOf(ctx context.Context, refs []vnet.Ref) string {
	var names []string
	for _, r := range refs[:min(len(refs), 5)] {
		names = append(names, s.nameOf(ctx, r))
	}
	sort.Strings(names)
	if len(refs) > 5 {
		names = append(names, "and others")
	}
	return strings.Join(names, ", ")
}
