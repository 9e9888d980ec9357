package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// historiesKept is how many guests' histories are kept: strangers with MACs of
// their own making could fill any store.
const historiesKept = 20000

// mergeHistory adds to h what is there. Only the agent of the network's host
// writes it, so nothing comes between.
func (s *Store) mergeHistory(ctx context.Context, h *vnet.LeaseHistory) error {
	o, err := s.Get(ctx, vnet.RefOf(h))
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	h.Merge(o.(*vnet.LeaseHistory))
	return nil
}

// historiesEvery is how often all histories are looked through, if there are not
// too many before.
const historiesEvery = time.Hour

// collectHistories removes histories of which everything is too old, and of
// more than most the oldest, strangers' first.
func (s *Store) collectHistories(ctx context.Context, now time.Time, most int) error {
	type entry struct {
		key      string
		stranger bool
		last     time.Time
	}
	all, err := s.etcd.Get(ctx, root+"past/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return storeError("collect histories", err)
	}
	if last := s.historiesAt.Load(); all.Count <= int64(most) && last != 0 && now.Sub(time.Unix(last, 0)) < historiesEvery {
		return nil
	}
	s.historiesAt.Store(now.Unix())
	var kept []entry
	var gone []string
	from, end := root+"past/", clientv3.GetPrefixRangeEnd(root+"past/")
	for {
		resp, err := s.etcd.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize))
		if err != nil {
			return storeError("collect histories", err)
		}
		for _, kv := range resp.Kvs {
			o, err := decode(vnet.KindHistory, kv.Value, kv.ModRevision)
			if err != nil {
				gone = append(gone, string(kv.Key))
				continue
			}
			h := o.(*vnet.LeaseHistory)
			if now.Sub(h.Updated) > vnet.HistoryAge {
				gone = append(gone, string(kv.Key))
				continue
			}
			kept = append(kept, entry{string(kv.Key), h.Port == "", h.Updated})
		}
		if !resp.More || len(resp.Kvs) == 0 {
			break
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	if over := len(kept) - most; over > 0 {
		slices.SortFunc(kept, func(a, b entry) int {
			if a.stranger != b.stranger {
				if a.stranger {
					return -1
				}
				return 1
			}
			return cmp.Or(a.last.Compare(b.last), cmp.Compare(a.key, b.key))
		})
		for _, e := range kept[:over] {
			gone = append(gone, e.key)
		}
	}
	s.sweep(gone)
	return nil
}

// collectOrders removes orders that no agent came for.
func (s *Store) collectOrders(ctx context.Context, now time.Time) error {
	l, err := s.List(ctx, vnet.Query{Kind: vnet.KindOrder})
	if err != nil {
		return err
	}
	var void []vnet.Ref
	for _, o := range l.Items {
		if now.Sub(o.(*vnet.LeaseOrder).Until) > statusKept {
			void = append(void, vnet.RefOf(o))
		}
	}
	return errors.Join(s.Claim(ctx, nil, void)...)
}
