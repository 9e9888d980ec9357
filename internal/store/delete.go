package store

import (
	"context"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

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
	for _, kind := range []vnet.Kind{vnet.KindLease, vnet.KindAssignment, vnet.KindOrder} {
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
		clientv3.OpDelete(pastPrefix(it.ref.ID), clientv3.WithPrefix()),
		clientv3.OpDelete(spanKey(it.ref.ID)),
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
