package store

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// spans say which host gives which parts of a network's ranges.
type spans map[string][]vnet.Range

// Hold says which parts of a network's ranges a host gives to guests by itself:
// claims of others for addresses in them are refused from then on. Choose is
// told what every host has and returns all that this one is to have, which may
// not meet what others have. It may be called several times.
//
// A host that holds an address gives it without asking; what it gave it claims
// when it can.
func (s *Store) Hold(ctx context.Context, host string, network vnet.ID, choose func(held map[string][]vnet.Range) []vnet.Range) ([]vnet.Range, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	key := spanKey(network)
	for range commitAttempts {
		v := newView()
		if err := s.fetch(ctx, v, []string{key}); err != nil {
			return nil, err
		}
		held, err := decodeSpans(v.kvs[key])
		if err != nil {
			return nil, err
		}
		mine := choose(held)
		if reflect.DeepEqual(mine, held[host]) {
			return mine, nil
		}
		for other, theirs := range held {
			if other != host && slices.ContainsFunc(mine, func(r vnet.Range) bool { return meets(theirs, r) }) {
				return nil, vnet.Errorf(vnet.ErrExists, "host %s gives addresses of that range", other)
			}
		}
		held[host] = mine
		raw, err := json.Marshal(held)
		if err != nil {
			return nil, err
		}
		t := &txn{}
		t.unchanged(key, v.kvs[key])
		t.present(presenceKey(vnet.Ref{Kind: vnet.KindNetwork, ID: network}))
		t.put(key, string(raw))
		if _, ok, err := s.run(ctx, t); err != nil || ok {
			return mine, err
		}
		if o, err := s.Get(ctx, vnet.Ref{Kind: vnet.KindNetwork, ID: network}); err != nil || o == nil {
			return nil, err
		}
	}
	return nil, vnet.Errorf(vnet.ErrConflict, "others keep taking parts of the same ranges").WithHint("try again")
}

// unchanged compares that a key is as it was read; nil: not there.
func (t *txn) unchanged(key string, kv *mvccpb.KeyValue) {
	if kv == nil {
		t.absent(key)
		return
	}
	t.when(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision))
}

func decodeSpans(kv *mvccpb.KeyValue) (spans, error) {
	out := spans{}
	if kv == nil {
		return out, nil
	}
	if err := json.Unmarshal(kv.Value, &out); err != nil {
		return nil, &vnet.Error{Kind: vnet.ErrInternal, Msg: "who gives which addresses cannot be read from the store", Err: err}
	}
	return out, nil
}

func meets(ranges []vnet.Range, r vnet.Range) bool {
	return slices.ContainsFunc(ranges, func(x vnet.Range) bool {
		return x.First.BitLen() == r.First.BitLen() && x.First.Compare(r.Last) <= 0 && r.First.Compare(x.Last) <= 0
	})
}

// dynamicLease returns the item's lease if it is of an address that its host
// chose, nil otherwise: guests choose addresses of their own wherever they like.
func (it *item) dynamicLease() *vnet.Lease {
	l, ok := it.put.(*vnet.Lease)
	if !ok || l.Subnet == "" || l.Length > 0 || l.How != vnet.HowDHCPv4 && l.How != vnet.HowDHCPv6 {
		return nil
	}
	return l
}

// loadSpans reads who gives which addresses, for the items that need it.
func (b *builder) loadSpans(ctx context.Context, items []*item) error {
	var keys []string
	for _, it := range items {
		if l := it.dynamicLease(); l != nil {
			keys = append(keys, spanKey(l.Network))
		}
	}
	return b.s.fetch(ctx, b.v, keys)
}

// mayGive refuses the claim of an address that another host gives.
func (b *builder) mayGive(t *txn, it *item) error {
	l := it.dynamicLease()
	if l == nil {
		return nil
	}
	key := spanKey(l.Network)
	held, err := decodeSpans(b.v.kvs[key])
	if err != nil {
		return err
	}
	for host, ranges := range held {
		if host != l.Host && meets(ranges, vnet.Range{First: l.Address, Last: l.Address}) {
			return vnet.Errorf(vnet.ErrExists, "%v is in a part of the range that host %s gives", l.Address, host)
		}
	}
	t.unchanged(key, b.v.kvs[key])
	return nil
}
