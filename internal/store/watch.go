package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Follow tells an agent what concerns its host: first an update with Reset and
// everything, then what changes, in the store's order. It survives a store
// that is away or was replaced: what was missed comes as changes if the store
// still knows them, as another Reset otherwise. The channel is closed when ctx
// ends; it is the only way to stop. Statuses, events and other hosts' objects
// are not told.
//
// The error is about the host's name or a store of a newer schema; a store
// that is away is waited for.
func (s *Store) Follow(ctx context.Context, host string) (<-chan vnet.Update, error) {
	if err := checkSegment("host", host); err != nil {
		return nil, err
	}
	first, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	if err := s.Check(first); err != nil && !vnet.Is(err, vnet.ErrUnavailable) {
		return nil, err
	}
	mine := []string{root + "host/" + host + "/activation/", root + "host/" + host + "/uplink/"}
	f := &follower{
		s: s, from: objectsFrom, to: objectsTo,
		want: func(key string) bool {
			switch {
			case strings.HasPrefix(key, root+"host/"):
				return strings.HasPrefix(key, mine[0]) || strings.HasPrefix(key, mine[1])
			case strings.HasPrefix(key, root+"event/"):
				return false
			}
			return true
		},
	}
	return f.start(ctx, 0), nil
}

// Watch tells what changes about the objects of the query (its Kind, ID and
// Host narrow, and of leases its Network; the other fields are the caller's to
// look at) after the
// revision; with revision 0 it begins with a Reset, as it does whenever it
// cannot go on without a gap. The channel is closed when ctx ends.
func (s *Store) Watch(ctx context.Context, q vnet.Query, revision int64) (<-chan vnet.Update, error) {
	f := &follower{s: s}
	f.want = func(key string) bool {
		ref, ok := parseKey(key)
		return ok && ref.Kind == q.Kind && (q.ID == "" || q.ID == ref.ID)
	}
	key, direct := directKey(vnet.Ref{Kind: q.Kind, ID: q.ID})
	switch {
	case q.ID != "" && direct:
		f.from = key
	case q.Kind == vnet.KindEvent:
		f.from = root + "event/"
	case q.Kind == vnet.KindLease && q.Network != "":
		f.from = networkPrefix(q.Network) + string(q.Kind) + "/"
	case q.Kind == vnet.KindStatus && q.Host != "":
		f.from = root + "host/" + q.Host + "/applied/"
	case q.Kind == vnet.KindStatus, q.Kind == vnet.KindActivation, q.Kind == vnet.KindHost, q.Kind == vnet.KindUplink:
		f.from = root + "host/"
	default:
		f.from, f.to = objectsFrom, objectsTo
	}
	if f.to == "" {
		f.to = clientv3.GetPrefixRangeEnd(f.from)
		if q.ID != "" && direct {
			f.to = f.from + "\x00"
		}
	}
	return f.start(ctx, revision), nil
}

// follower turns a range of keys into updates.
type follower struct {
	s        *Store
	from, to string
	want     func(key string) bool

	out     chan vnet.Update
	seen    int64  // the revision up to which everything was told
	cluster uint64 // the store that said so
}

func (f *follower) start(ctx context.Context, revision int64) <-chan vnet.Update {
	f.out = make(chan vnet.Update)
	f.seen = revision
	go f.run(ctx)
	return f.out
}

// firstLook is how long Follow waits for a store that may be away.
const firstLook = 500 * time.Millisecond

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
	// aliveEvery is how often a quiet follower makes sure that it still hears
	// the same store, and that the store was not put back in time.
	aliveEvery = 2 * time.Second
)

func (f *follower) run(ctx context.Context) {
	defer close(f.out)
	wait := retryFirst
	for ctx.Err() == nil {
		before := f.seen
		err := f.once(ctx)
		if ctx.Err() != nil {
			return
		}
		f.s.log.Debug("following the store again", "err", err, "revision", f.seen)
		if errors.Is(err, errGap) {
			f.seen = 0
		}
		if f.seen != before {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait = min(wait*2, retryMost)
		}
	}
}

// errGap says that the changes after follower.seen are not to be had.
var errGap = errors.New("the store no longer knows the changes since then")

// once follows until something breaks.
func (f *follower) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.seen == 0 {
		if err := f.s.Check(ctx); err != nil {
			return err
		}
		if err := f.reset(ctx); err != nil {
			return err
		}
	}
	ch := f.s.etcd.Watch(clientv3.WithRequireLeader(ctx), f.from, clientv3.WithRange(f.to), clientv3.WithRev(f.seen+1))
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := f.alive(ctx); err != nil {
				return err
			}
		case resp, ok := <-ch:
			if !ok {
				return errors.New("the watch ended")
			}
			if errors.Is(resp.Err(), rpctypes.ErrCompacted) {
				return errGap
			}
			if err := resp.Err(); err != nil {
				return err
			}
			if err := f.tell(ctx, &resp); err != nil {
				return err
			}
		}
	}
}

// reset tells everything as of one revision.
func (f *follower) reset(ctx context.Context) error {
	u := vnet.Update{Reset: true}
	from := f.from
	var cluster uint64
	for {
		tctx, cancel := context.WithTimeout(ctx, opTimeout)
		resp, err := f.s.etcd.Get(tctx, from, clientv3.WithRange(f.to), clientv3.WithLimit(pageSize), clientv3.WithRev(u.Revision))
		cancel()
		if err != nil {
			return err
		}
		if u.Revision == 0 {
			u.Revision, cluster = resp.Header.Revision, resp.Header.ClusterId
		}
		for _, kv := range resp.Kvs {
			if o := f.object(kv); o != nil {
				u.Put = append(u.Put, o)
			}
		}
		if !resp.More {
			break
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	if err := f.send(ctx, u); err != nil {
		return err
	}
	f.seen, f.cluster = u.Revision, cluster
	return nil
}

// tell turns one answer of the watch into an update. etcd keeps the events of
// one revision together; those of several revisions are merged, the last of
// each key counts.
func (f *follower) tell(ctx context.Context, resp *clientv3.WatchResponse) error {
	last := map[string]*clientv3.Event{}
	var order []string
	for _, ev := range resp.Events {
		key := string(ev.Kv.Key)
		if !f.want(key) {
			continue
		}
		if _, have := last[key]; !have {
			order = append(order, key)
		}
		last[key] = ev
	}
	u := vnet.Update{Revision: resp.Header.Revision}
	if n := len(resp.Events); n > 0 {
		u.Revision = resp.Events[n-1].Kv.ModRevision
	}
	for _, key := range order {
		ev := last[key]
		if ev.Type == clientv3.EventTypeDelete {
			if ref, ok := parseKey(key); ok {
				u.Delete = append(u.Delete, ref)
			}
		} else if o := f.object(ev.Kv); o != nil {
			u.Put = append(u.Put, o)
		}
	}
	if len(u.Put)+len(u.Delete) > 0 {
		if err := f.send(ctx, u); err != nil {
			return err
		}
	}
	f.seen = max(f.seen, u.Revision)
	if f.cluster == 0 {
		f.cluster = resp.Header.ClusterId
	}
	return nil
}

// alive notices a store that was replaced by another one or set back: a watch
// for revisions that it has not reached would be silent for ever.
func (f *follower) alive(ctx context.Context) error {
	tctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	resp, err := f.s.etcd.Get(tctx, f.from, clientv3.WithCountOnly())
	if err != nil {
		return nil //nolint:nilerr // the watch itself notices a store that is away
	}
	if f.cluster == 0 {
		f.cluster = resp.Header.ClusterId
	}
	if resp.Header.ClusterId != f.cluster || resp.Header.Revision < f.seen {
		f.cluster = 0
		return errGap
	}
	return nil
}

func (f *follower) object(kv *mvccpb.KeyValue) vnet.Object {
	key := string(kv.Key)
	ref, ok := parseKey(key)
	if !ok || !f.want(key) {
		return nil
	}
	o, err := decode(ref.Kind, kv.Value, kv.ModRevision)
	if err != nil {
		f.s.log.Error("object passed over", "key", key, "err", err)
		return nil
	}
	return o
}

func (f *follower) send(ctx context.Context, u vnet.Update) error {
	select {
	case f.out <- u:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
