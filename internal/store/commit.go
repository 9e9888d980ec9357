package store

import (
	"context"

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

func (t *txn) do(op ...clientv3.Op) { t.ops = append(t.ops, op...) }

func (t *txn) put(key, value string) { t.do(clientv3.OpPut(key, value)) }

func (t *txn) absent(key string) { t.when(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)) }

func (t *txn) present(key string) { t.when(clientv3.Compare(clientv3.CreateRevision(key), ">", 0)) }

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
