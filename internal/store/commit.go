package store

import (
	"context"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// commitAttempts bounds how often a transaction is built anew because others
// changed what it was built from, without being in its way.
const commitAttempts = 16

// Commit makes the change, all of it or nothing, and returns its revision.
//
// The transaction compares everything that the change was admitted from:
// expected revisions, that each unique name gained is free, that each object
// referred to is there, that nothing refers to what is deleted, and the
// generations of scopes. Errors: ErrConflict (a revision or scope changed),
// ErrNotFound, ErrExists (which unique name, held by which object), ErrInUse
// (who refers), ErrInvalid (more than MaxOps keys), ErrExhausted (disk full),
// ErrUnavailable; after the last the change may have happened.
func (s *Store) Commit(ctx context.Context, c *vnet.Change) (int64, error) {
	if err := s.writable(); err != nil {
		return 0, err
	}
	items, err := itemsOf(c)
	if err != nil {
		return 0, err
	}
	for attempt := range commitAttempts {
		t, err := s.build(ctx, items, attempt == 0 && onlyNew(items))
		if err != nil {
			return 0, err
		}
		if err := s.addScopes(ctx, t, c.Scopes, attempt > 0); err != nil {
			return 0, err
		}
		rev, ok, err := s.run(ctx, t)
		if err != nil {
			return 0, err
		}
		if ok {
			s.sweep(t.leftovers)
			return rev, nil
		}
	}
	return 0, vnet.Errorf(vnet.ErrConflict, "others keep changing the same objects").WithHint("try again")
}

// item is one object of a change.
type item struct {
	ref    vnet.Ref
	put    vnet.Object // nil: delete
	expect int64
	key    string

	old      vnet.Object
	oldRaw   []byte
	oldRev   int64
	gained   []string   // unique names
	lost     []string   // unique names
	refers   []vnet.Ref // new references
	unrefers []vnet.Ref // references given up
}

// txn is a transaction in the making.
type txn struct {
	cmps []clientv3.Cmp
	ops  []clientv3.Op
	rev  int64 // what was read to build it
	// leftovers are keys of the index that may go once it has happened.
	leftovers []string
}

func (t *txn) when(c ...clientv3.Cmp) { t.cmps = append(t.cmps, c...) }
func (t *txn) do(op ...clientv3.Op)   { t.ops = append(t.ops, op...) }
func (t *txn) put(key, value string)  { t.do(clientv3.OpPut(key, value)) }
func (t *txn) absent(key string)      { t.when(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)) }
func (t *txn) present(key string)     { t.when(clientv3.Compare(clientv3.CreateRevision(key), ">", 0)) }
func (t *txn) holds(key, value string) {
	t.when(clientv3.Compare(clientv3.Value(key), "=", value))
}

func itemsOf(c *vnet.Change) ([]*item, error) {
	items := make([]*item, 0, len(c.Put)+len(c.Delete))
	seen := map[vnet.Ref]bool{}
	for _, o := range c.Put {
		key, err := objectKey(o)
		if err != nil {
			return nil, err
		}
		items = append(items, &item{ref: vnet.RefOf(o), put: o, expect: o.GetMeta().Revision, key: key})
	}
	for _, d := range c.Delete {
		items = append(items, &item{ref: d.Ref, expect: d.Revision})
	}
	for _, it := range items {
		if seen[it.ref] {
			return nil, vnet.Errorf(vnet.ErrInternal, "%s is twice in one change", it.ref)
		}
		seen[it.ref] = true
	}
	return items, nil
}

func onlyNew(items []*item) bool {
	for _, it := range items {
		if it.put == nil || it.expect != 0 {
			return false
		}
		if _, shares := vnet.SharesUniques(it.put); shares {
			return false
		}
	}
	return true
}

// build makes the transaction for the items. When blind, nothing is read: the
// objects are new and the comparisons say whether they can be. A transaction
// that then fails is built again with open eyes, which finds the reason.
func (s *Store) build(ctx context.Context, items []*item, blind bool) (*txn, error) {
	b := &builder{s: s, v: newView(), blind: blind, holders: map[string]*item{}, gained: map[string]bool{}, gone: map[vnet.Ref]bool{}, puts: map[vnet.Ref]bool{}}
	if err := b.load(ctx, items); err != nil {
		return nil, err
	}
	t := &txn{rev: b.v.rev}
	for _, it := range items {
		if err := b.add(ctx, t, it); err != nil {
			return nil, err
		}
	}
	if len(t.cmps) > MaxOps || len(t.ops) > MaxOps {
		return nil, vnet.Invalid("", "the change touches %d keys, more than the %d of one transaction", max(len(t.cmps), len(t.ops)), MaxOps).
			WithHint("make it in smaller parts")
	}
	return t, nil
}

// builder holds what was read to build one transaction.
type builder struct {
	s       *Store
	v       *view
	blind   bool
	holders map[string]*item // unique names that items of this change give up or gain
	gained  map[string]bool  // unique names that some item gains
	gone    map[vnet.Ref]bool
	puts    map[vnet.Ref]bool
}

// load reads the objects as they are and works out what each item changes.
func (b *builder) load(ctx context.Context, items []*item) error {
	if !b.blind {
		if err := b.read(ctx, items); err != nil {
			return err
		}
	}
	var more []string
	for _, it := range items {
		it.difference()
		if it.put == nil {
			b.gone[it.ref] = true
		} else {
			b.puts[it.ref] = true
		}
		for _, u := range append(it.gained, it.lost...) {
			more = append(more, uniqKey(u))
		}
		for _, r := range it.needs() {
			more = append(more, presenceKey(r))
		}
		for _, u := range it.lost {
			b.holders[u] = it
		}
		for _, u := range it.gained {
			b.gained[u] = true
		}
	}
	if b.blind {
		return nil
	}
	return b.s.fetch(ctx, b.v, more)
}

func (b *builder) read(ctx context.Context, items []*item) error {
	var refs []vnet.Ref
	for _, it := range items {
		if it.key == "" {
			refs = append(refs, it.ref)
		}
	}
	found, err := b.s.locate(ctx, b.v, refs)
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(items))
	for _, it := range items {
		if it.key == "" {
			it.key, found = found[0], found[1:]
		}
		if it.key != "" {
			keys = append(keys, it.key)
		}
	}
	if err := b.s.fetch(ctx, b.v, keys); err != nil {
		return err
	}
	for _, it := range items {
		it.old, it.oldRaw, it.oldRev = nil, nil, 0
		kv := b.v.kvs[it.key]
		if kv == nil {
			if it.put == nil {
				it.key = ""
			}
			continue
		}
		if it.old, err = decode(it.ref.Kind, kv.Value, kv.ModRevision); err != nil {
			return err
		}
		it.oldRaw, it.oldRev = kv.Value, kv.ModRevision
	}
	return nil
}

// difference works out which names and references the item gains and gives up.
func (it *item) difference() {
	var was, is []string
	var wasRefs, isRefs []vnet.Ref
	if it.old != nil {
		was, wasRefs = vnet.Uniques(it.old), vnet.References(it.old)
	}
	if it.put != nil {
		is, isRefs = vnet.Uniques(it.put), vnet.References(it.put)
	}
	it.gained, it.lost = minus(is, was), minus(was, is)
	it.refers, it.unrefers = minus(isRefs, wasRefs), minus(wasRefs, isRefs)
}

// needs returns what must be there when the item is written.
func (it *item) needs() []vnet.Ref {
	if it.put == nil {
		return nil
	}
	return append(append([]vnet.Ref{}, it.refers...), vnet.Owners(it.put)...)
}

func minus[T comparable](a, b []T) []T {
	var out []T
	for _, x := range a {
		found := false
		for _, y := range b {
			found = found || x == y
		}
		if !found {
			out = append(out, x)
		}
	}
	return out
}

// add puts the item's comparisons and writes into t, or says why it cannot be.
func (b *builder) add(ctx context.Context, t *txn, it *item) error {
	if err := b.addRevision(t, it); err != nil {
		return err
	}
	if it.put == nil {
		return b.addDelete(ctx, t, it)
	}
	raw, err := encode(it.put, it.oldRaw)
	if err != nil {
		return err
	}
	t.put(it.key, string(raw))
	if it.oldRev == 0 && hasWhere(it.ref.Kind) {
		t.put(whereKey(it.ref), strings.TrimPrefix(it.key, root))
	}
	if err := b.addUniques(ctx, t, it); err != nil {
		return err
	}
	return b.addReferences(t, it)
}

func (b *builder) addRevision(t *txn, it *item) error {
	switch {
	case it.expect == 0 && it.put != nil:
		if it.oldRev != 0 {
			e := vnet.Errorf(vnet.ErrExists, "%s is there already", it.ref)
			e.Ref = &it.ref
			return e
		}
		t.absent(it.key)
		return nil
	case it.oldRev == 0 && it.expect == vnet.AnyRevision && it.put != nil:
		t.absent(it.key)
		return nil
	case it.oldRev == 0:
		return notFound(it.ref)
	case it.expect != vnet.AnyRevision && it.expect != it.oldRev:
		e := vnet.Errorf(vnet.ErrConflict, "%s changed meanwhile (expected revision %d, it is at %d)", it.ref, it.expect, it.oldRev).
			WithHint("read it again and repeat the change")
		e.Ref = &it.ref
		return e
	}
	t.when(clientv3.Compare(clientv3.ModRevision(it.key), "=", it.oldRev))
	return nil
}

func (b *builder) addUniques(ctx context.Context, t *txn, it *item) error {
	self := it.ref.String()
	for _, u := range it.gained {
		key := uniqKey(u)
		other := b.holders[u]
		var holder string
		if kv := b.v.kvs[key]; kv != nil {
			holder = string(kv.Value)
		}
		switch {
		case other != nil && contains(other.gained, u):
			return b.taken(ctx, u, other.ref)
		case other != nil && holder == other.ref.String():
			t.holds(key, holder) // handed over within the change
		case holder == "":
			t.absent(key)
		case holder == self:
			t.holds(key, holder)
		default:
			if shared, ok := vnet.SharesUniques(it.put); ok && holder == shared.String() {
				t.holds(key, holder)
				continue
			}
			ref, _ := parseRef(holder)
			return b.taken(ctx, u, ref)
		}
		b.holders[u] = it
		t.put(key, self)
	}
	b.dropUniques(t, it)
	return nil
}

// dropUniques gives up the names that the item loses and really holds, unless
// another item of the change takes them over.
func (b *builder) dropUniques(t *txn, it *item) {
	for _, u := range it.lost {
		key := uniqKey(u)
		kv := b.v.kvs[key]
		if b.gained[u] || kv == nil || string(kv.Value) != it.ref.String() {
			continue
		}
		t.do(clientv3.OpDelete(key))
	}
}

func contains[T comparable](list []T, x T) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// taken is the ErrExists for a unique name that another object holds.
func (b *builder) taken(ctx context.Context, u string, holder vnet.Ref) error {
	field, value := vnet.DescribeUnique(u)
	e := vnet.Errorf(vnet.ErrExists, "%s is taken by %s", value, b.s.nameOf(ctx, holder))
	e.Field, e.Ref = field, &holder
	return e
}

func (b *builder) addReferences(t *txn, it *item) error {
	for _, r := range it.needs() {
		if b.gone[r] {
			e := vnet.Errorf(vnet.ErrInUse, "%s is needed by %s", r, it.ref)
			e.Ref = &it.ref
			return e
		}
		if b.puts[r] {
			continue // written in the same transaction
		}
		key := presenceKey(r)
		if !b.blind && b.v.kvs[key] == nil {
			return notFound(r)
		}
		t.present(key)
	}
	for _, r := range it.refers {
		t.put(refKey(r, it.ref), "")
	}
	for _, r := range it.unrefers {
		t.do(clientv3.OpDelete(refKey(r, it.ref)))
	}
	return nil
}

// addDelete removes an object that nothing outside the change refers to. The
// comparison says that no reference to it is younger than what was read.
func (b *builder) addDelete(ctx context.Context, t *txn, it *item) error {
	if err := b.unused(ctx, t, it); err != nil {
		return err
	}
	if hasWhere(it.ref.Kind) {
		t.do(clientv3.OpDelete(whereKey(it.ref)))
	}
	for _, r := range it.unrefers {
		t.do(clientv3.OpDelete(refKey(r, it.ref)))
	}
	if it.ref.Kind == vnet.KindNetwork {
		return b.addDeleteNetwork(ctx, t, it)
	}
	if n := networkOf(it.key); n == "" || !b.gone[vnet.Ref{Kind: vnet.KindNetwork, ID: n}] {
		t.do(clientv3.OpDelete(it.key))
		b.dropUniques(t, it)
	}
	return nil
}

// unused makes sure that nothing outside the change refers to the item.
func (b *builder) unused(ctx context.Context, t *txn, it *item) error {
	switch it.ref.Kind {
	case vnet.KindProject, vnet.KindRouter, vnet.KindNetwork, vnet.KindSubnet, vnet.KindPool:
	default:
		return nil // nothing refers to the other kinds: see vnet.References
	}
	prefix := refPrefix(it.ref)
	tctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	resp, err := b.s.etcd.Get(tctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithRev(b.v.rev))
	if err != nil {
		return storeError("read references", err)
	}
	var users []vnet.Ref
	for _, kv := range resp.Kvs {
		if r, ok := parseRef(strings.TrimPrefix(string(kv.Key), prefix)); ok && !b.gone[r] {
			users = append(users, r)
		}
	}
	if len(users) > 0 {
		e := vnet.Errorf(vnet.ErrInUse, "%s is used by %s", b.s.nameOf(ctx, it.ref), b.s.namesOf(ctx, users)).
			WithHint("delete what uses it first")
		e.Ref = &users[0]
		return e
	}
	t.when(clientv3.Compare(clientv3.ModRevision(prefix), "<", b.v.rev+1).WithPrefix())
	return nil
}

// addDeleteNetwork removes everything below the network in two ranges: with it
// go its claims, however many there are.
func (b *builder) addDeleteNetwork(ctx context.Context, t *txn, it *item) error {
	for _, kind := range []vnet.Kind{vnet.KindLease, vnet.KindAssignment} {
		resp, err := b.s.etcd.Get(ctx, networkPrefix(it.ref.ID)+string(kind)+"/", clientv3.WithPrefix(), clientv3.WithRev(b.v.rev))
		if err != nil {
			return storeError("read claims", err)
		}
		for _, kv := range resp.Kvs {
			ref, ok := parseKey(string(kv.Key))
			if !ok {
				continue
			}
			t.leftovers = append(t.leftovers, whereKey(ref))
			// A prefix is unique in its scope, not in its network.
			if o, err := decode(kind, kv.Value, 0); err == nil && kind == vnet.KindAssignment {
				for _, u := range vnet.Uniques(o) {
					t.do(clientv3.OpDelete(uniqKey(u)))
				}
			}
		}
	}
	t.do(clientv3.OpDelete(networkPrefix(it.ref.ID), clientv3.WithPrefix()),
		clientv3.OpDelete(uniqKey(vnet.NetworkUniques(it.ref.ID)), clientv3.WithPrefix()))
	b.dropUniques(t, it)
	return nil
}

func networkOf(key string) vnet.ID {
	rest, ok := strings.CutPrefix(key, root+"net/")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, "/")
	return vnet.ID(id)
}

// addScopes serialises changes of a scope's prefixes.
func (s *Store) addScopes(ctx context.Context, t *txn, scopes map[vnet.Scope]int64, look bool) error {
	for scope, gen := range scopes {
		key := scopeKey(scope)
		if look {
			now, err := s.Generation(ctx, scope)
			if err != nil {
				return err
			}
			if now != gen {
				return vnet.Errorf(vnet.ErrConflict, "the prefixes of scope %s changed meanwhile", scope).WithHint("try again")
			}
		}
		t.when(clientv3.Compare(clientv3.ModRevision(key), "=", gen))
		t.put(key, "")
	}
	return nil
}

// run tries the transaction; ok says whether its comparisons held.
func (s *Store) run(ctx context.Context, t *txn) (rev int64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	resp, err := s.etcd.Txn(ctx).If(t.cmps...).Then(t.ops...).Commit()
	if err != nil {
		return 0, false, storeError("write", err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// sweep removes entries of the index whose objects are gone. It is not needed
// for correctness: readers pass over such entries, and Collect finds them too.
func (s *Store) sweep(keys []string) {
	for len(keys) > 0 {
		n := min(len(keys), MaxOps)
		ops := make([]clientv3.Op, n)
		for i, k := range keys[:n] {
			ops[i] = clientv3.OpDelete(k)
		}
		ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
		_, err := s.etcd.Txn(ctx).Then(ops...).Commit()
		cancel()
		if err != nil {
			s.log.Debug("index not swept", "err", err)
			return
		}
		keys = keys[n:]
	}
}
