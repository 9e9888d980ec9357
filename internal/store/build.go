package store

import (
	"context"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

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
		case other != nil && contains(other.gained, u) && vnet.SharesHostPart(it.put, u, other.ref):
			continue
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
			if vnet.SharesHostPart(it.put, u, ref) {
				t.holds(key, holder)
				continue
			}
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
