package store

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Claim writes what a host's agent claims (leases, prefix assignments) and
// releases what it no longer does. There is one result for each of put, then
// one for each of release. Each is independent: ErrExists for an address that
// somebody else has, ErrNotFound for a claim on what is gone. A claim that is
// there already is renewed; releasing what is not there succeeds.
//
// Many go in one transaction, so a thousand renewals are a few writes.
func (s *Store) Claim(ctx context.Context, put []vnet.Object, release []vnet.Ref) []error {
	results := make([]error, len(put)+len(release))
	items := make([]*item, len(results))
	for i, o := range put {
		items[i], results[i] = s.claimItem(ctx, o)
	}
	for i, r := range release {
		items[len(put)+i] = &item{ref: r, expect: vnet.AnyRevision}
	}
	if err := s.writable(); err != nil {
		for i := range results {
			results[i] = err
		}
		return results
	}
	const batch = 24 // of about five keys each
	for from := 0; from < len(items); from += batch {
		to := min(from+batch, len(items))
		s.claimBatch(ctx, items[from:to], results[from:to])
	}
	return results
}

func (s *Store) claimItem(ctx context.Context, o vnet.Object) (*item, error) {
	switch o := o.(type) {
	case *vnet.Lease:
		if !o.Address.IsValid() {
			return nil, vnet.Invalid("address", "a lease needs one")
		}
		o.Family = familyOf(o.Address)
		if err := s.fillHostPart(ctx, o); err != nil {
			return nil, err
		}
	case *vnet.PrefixAssignment:
		if !o.Prefix.IsValid() {
			return nil, vnet.Invalid("prefix", "a prefix assignment needs one")
		}
		o.Family = familyOf(o.Prefix.Addr())
	case *vnet.Port:
		// A device that somebody else put into our bridge makes a port, or is
		// one's binding; that is the host's to see.
		if o.Binding != nil && o.Binding.Plug != vnet.PlugAdopted {
			return nil, vnet.Invalid("binding.plug", "an agent claims no port but an adopted one")
		}
	default:
		return nil, vnet.Invalid("kind", "a %s is not claimed", o.Kind())
	}
	key, err := objectKey(o)
	if err != nil {
		return nil, err
	}
	return &item{ref: vnet.RefOf(o), put: o, expect: vnet.AnyRevision, key: key}, nil
}

func familyOf(a netip.Addr) vnet.Family {
	if a.Is4() {
		return vnet.IPv4
	}
	return vnet.IPv6
}

// fillHostPart completes an IPv4 lease whose claimer did not say which host
// number of its subnet the address is.
func (s *Store) fillHostPart(ctx context.Context, l *vnet.Lease) error {
	if !l.Address.Is4() || l.HostPart != 0 || l.Subnet == "" {
		return nil
	}
	o, err := s.Get(ctx, vnet.Ref{Kind: vnet.KindSubnet, ID: l.Subnet})
	if err != nil {
		return err
	}
	bits := vnet.AutoPrefixLen4
	if p := o.(*vnet.Subnet).Prefix; p.IsValid() {
		bits = p.Bits()
	}
	a := l.Address.As4()
	n := uint64(a[0])<<24 | uint64(a[1])<<16 | uint64(a[2])<<8 | uint64(a[3])
	l.HostPart = n & (1<<(32-bits) - 1)
	return nil
}

// claimBatch writes all the items that can be written in one transaction. If
// it does not come about because something changed meanwhile, it is built
// again; items that lose drop out with their reason.
func (s *Store) claimBatch(ctx context.Context, items []*item, results []error) {
	open := make([]int, 0, len(items))
	for i := range items {
		if results[i] == nil {
			open = append(open, i)
		}
	}
	blind := allNew(items)
	for range commitAttempts {
		if len(open) == 0 {
			return
		}
		t, in, err := s.buildClaims(ctx, items, open, results, blind)
		if err == nil && len(t.ops) > 0 {
			var ok bool
			if _, ok, err = s.run(ctx, t); err == nil && !ok {
				blind = false
				continue
			}
		}
		if err != nil {
			for _, i := range open {
				results[i] = err
			}
			return
		}
		open = slices.DeleteFunc(open, func(i int) bool { return results[i] != nil || slices.Contains(in, i) })
	}
	for _, i := range open {
		results[i] = vnet.Errorf(vnet.ErrConflict, "others keep changing the same addresses").WithHint("try again")
	}
}

// allNew reports whether all items are leases that their claimer says it has
// just made. They are written without looking first: whatever speaks against
// one makes the transaction fail, and then we look.
func allNew(items []*item) bool {
	for _, it := range items {
		if it == nil {
			continue
		}
		if l, ok := it.put.(*vnet.Lease); !ok || l.Created.IsZero() || !l.Created.Equal(l.Updated) {
			return false
		}
	}
	return true
}

// buildClaims makes one transaction of as many open items as fit, and returns
// which they are. Items that cannot be get their result.
func (s *Store) buildClaims(ctx context.Context, items []*item, open []int, results []error, blind bool) (*txn, []int, error) {
	b := &builder{s: s, v: newView(), blind: blind, holders: map[string]*item{}, gained: map[string]bool{}, gone: map[vnet.Ref]bool{}, puts: map[vnet.Ref]bool{}}
	todo := make([]*item, len(open))
	for i, n := range open {
		todo[i] = items[n]
		if todo[i].put == nil {
			todo[i].key = ""
		}
	}
	if err := b.load(ctx, todo); err != nil {
		return nil, nil, err
	}
	if err := b.loadSpans(ctx, todo); err != nil {
		return nil, nil, err
	}
	for _, it := range todo {
		it.sinceWhen()
	}
	// Claims are independent: one neither waits for another's name nor counts
	// on another's being written.
	clear(b.holders)
	clear(b.gained)
	clear(b.puts)
	clear(b.gone)
	t := &txn{rev: b.v.rev}
	var in []int
	for i, it := range todo {
		if it.put == nil && it.oldRev == 0 {
			in = append(in, open[i])
			continue
		}
		one := &txn{}
		err := b.mayGive(one, it)
		if err == nil {
			err = b.add(ctx, one, it)
		}
		if vnet.Is(err, vnet.ErrUnavailable) {
			return nil, nil, err
		}
		if err != nil {
			maps.DeleteFunc(b.holders, func(_ string, holder *item) bool { return holder == it })
			results[open[i]] = err
			continue
		}
		if len(t.cmps)+len(one.cmps) > MaxOps || len(t.ops)+len(one.ops) > MaxOps {
			break
		}
		t.when(one.cmps...)
		t.do(one.ops...)
		in = append(in, open[i])
	}
	return t, in, nil
}

// sinceWhen keeps in a renewed lease since when its guest has the address.
func (it *item) sinceWhen() {
	l, ok := it.put.(*vnet.Lease)
	if !ok || !l.Created.IsZero() {
		return
	}
	if old, ok := it.old.(*vnet.Lease); ok && old.SameGuest(l) {
		l.Created = old.Created
	} else {
		l.Created = l.Updated
	}
}

// eventsKept is how many events the ring holds.
const eventsKept = 2000

// Observe writes what a host's agent observes: Host, Status and Event objects,
// over whatever is there; a LeaseHistory is added to what is there. The caller chooses IDs: the host's name, StatusID,
// and for events ones that sort by time (vnet.EventID; made here when empty).
func (s *Store) Observe(ctx context.Context, objects []vnet.Object) error {
	if err := s.writable(); err != nil {
		return err
	}
	var ops []clientv3.Op
	for _, o := range objects {
		switch o := o.(type) {
		case *vnet.Host, *vnet.Status:
		case *vnet.LeaseHistory:
			if err := s.mergeHistory(ctx, o); err != nil {
				return err
			}
		case *vnet.Event:
			if o.ID == "" {
				o.ID = eventID(o.Time)
			}
		default:
			return vnet.Invalid("kind", "a %s is not observed", o.Kind())
		}
		key, err := objectKey(o)
		if err != nil {
			return err
		}
		raw, err := encode(o, nil)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(key, string(raw)))
		if ref := vnet.RefOf(o); hasWhere(ref.Kind) {
			ops = append(ops, clientv3.OpPut(whereKey(ref), strings.TrimPrefix(key, root)))
		}
	}
	for len(ops) > 0 {
		n := min(len(ops), MaxOps)
		if _, _, err := s.run(ctx, &txn{ops: ops[:n]}); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// Collect removes what nobody needs any more: the oldest events beyond the
// ring's size, statuses of objects that are gone since a while, histories that
// are too old or too many, orders that nobody came for, and entries of the
// index that point at nothing. The leader calls it now and then.
func (s *Store) Collect(ctx context.Context, now time.Time) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.trimEvents(ctx); err != nil {
		return err
	}
	if err := s.collectStatuses(ctx, now); err != nil {
		return err
	}
	if err := s.collectHistories(ctx, now, historiesKept); err != nil {
		return err
	}
	if err := s.collectOrders(ctx, now); err != nil {
		return err
	}
	for _, k := range []vnet.Kind{vnet.KindLease, vnet.KindAssignment, vnet.KindOrder} {
		if err := s.collectIndex(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) trimEvents(ctx context.Context) error {
	resp, err := s.etcd.Get(ctx, root+"event/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return storeError("trim events", err)
	}
	if len(resp.Kvs) <= eventsKept {
		return nil
	}
	oldest := string(resp.Kvs[len(resp.Kvs)-eventsKept].Key)
	_, err = s.etcd.Delete(ctx, root+"event/", clientv3.WithRange(oldest))
	return storeError("trim events", err)
}

// statusKept is for how long the status of an object outlives it, so that
// those who wait for it to be gone can see that it is.
const statusKept = time.Minute

func (s *Store) collectStatuses(ctx context.Context, now time.Time) error {
	l, err := s.List(ctx, vnet.Query{Kind: vnet.KindStatus})
	if err != nil {
		return err
	}
	v := newView()
	var keys []string
	for _, o := range l.Items {
		keys = append(keys, presenceKey(o.(*vnet.Status).Target))
	}
	if err := s.fetch(ctx, v, keys); err != nil {
		return err
	}
	for i, o := range l.Items {
		m := o.GetMeta()
		if v.kvs[keys[i]] != nil || now.Sub(m.Updated) < statusKept {
			continue
		}
		key, _ := directKey(vnet.RefOf(o))
		if _, err := s.etcd.Delete(ctx, key); err != nil {
			return storeError("collect statuses", err)
		}
	}
	return nil
}

func (s *Store) collectIndex(ctx context.Context, kind vnet.Kind) error {
	prefix := root + "where/" + string(kind) + "/"
	resp, err := s.etcd.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return storeError("collect index", err)
	}
	v := newView()
	v.rev = resp.Header.Revision
	keys := make([]string, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		keys[i] = root + string(kv.Value)
	}
	if err := s.fetch(ctx, v, keys); err != nil {
		return err
	}
	for i, kv := range resp.Kvs {
		if v.kvs[keys[i]] != nil {
			continue
		}
		t := &txn{}
		t.absent(keys[i])
		t.do(clientv3.OpDelete(string(kv.Key)))
		if _, _, err := s.run(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
