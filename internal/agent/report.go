package agent

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// reporter carries observations to the store: the newest of each object, as
// fast as the store takes them, and only when they say something new.
type reporter struct {
	store Store
	log   *slog.Logger
	wake  chan struct{}

	mu     sync.Mutex
	queue  map[vnet.ID]vnet.Object // statuses and the host, by ID
	events []vnet.Object
	facts  *vnet.HostFacts
}

func newReporter(store Store, log *slog.Logger) *reporter {
	return &reporter{store: store, log: log, wake: make(chan struct{}, 1), queue: map[vnet.ID]vnet.Object{}}
}

func (r *reporter) status(s *vnet.Status) {
	s.ID, s.Updated = vnet.StatusID(s.Target, s.Host), time.Now()
	r.put(s)
}

func (r *reporter) put(o vnet.Object) {
	r.mu.Lock()
	r.queue[o.GetMeta().ID] = o
	r.mu.Unlock()
	poke(r.wake)
}

// event tells people what happened.
func (r *reporter) event(e *vnet.Event) {
	r.mu.Lock()
	if len(r.events) < 1000 { // while the store is away, the oldest count
		r.events = append(r.events, e)
	}
	r.mu.Unlock()
	poke(r.wake)
}

// host reports the host's facts if they changed.
func (r *reporter) host(name string, facts vnet.HostFacts) {
	r.mu.Lock()
	same := r.facts != nil && reflect.DeepEqual(*r.facts, facts)
	r.facts = &facts
	r.mu.Unlock()
	if same {
		return
	}
	r.put(&vnet.Host{Meta: vnet.Meta{ID: vnet.ID(name), Name: name}, Facts: facts, Seen: time.Now()})
}

// run sends until ctx ends; while the store is away it keeps the newest.
func (r *reporter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		batch := r.take()
		if len(batch) == 0 {
			continue
		}
		if err := r.store.Observe(ctx, batch); err != nil {
			r.log.Debug("report not taken, will try again", "error", err)
			r.putBack(batch)
			pause := time.NewTimer(time.Second)
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
				poke(r.wake)
			}
		}
	}
}

func (r *reporter) take() []vnet.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := slices.Collect(maps.Values(r.queue))
	batch = append(batch, r.events...)
	r.queue, r.events = map[vnet.ID]vnet.Object{}, nil
	return batch
}

// putBack queues again what has not been overtaken meanwhile.
func (r *reporter) putBack(batch []vnet.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range batch {
		if _, event := o.(*vnet.Event); event {
			r.events = append(r.events, o)
			continue
		}
		switch newer := r.queue[o.GetMeta().ID].(type) {
		case nil:
			r.queue[o.GetMeta().ID] = o
		case *vnet.LeaseHistory:
			newer.Merge(o.(*vnet.LeaseHistory))
		}
	}
}

// hostFacts is what other parts need to know of the host.
func (a *Agent) hostFacts(f *plan.Facts) vnet.HostFacts {
	out := vnet.HostFacts{Version: a.cfg.Version, Features: a.cfg.Features}
	out.Prefixes, out.Uses = foreignPrefixes(f)
	out.Uplinks = a.reported(f)
	return out
}

// hostPrefixes bounds what is reported; a full routing table is not.
const hostPrefixes = 1000

// foreignPrefixes are the prefixes in use on the host that are not ours, and
// what uses them: an address rather than its route.
func foreignPrefixes(f *plan.Facts) ([]netip.Prefix, map[string]string) {
	set, what := map[netip.Prefix]bool{}, map[string]string{}
	before := func(a, b string) bool {
		x, y := strings.HasPrefix(a, addressLabel), strings.HasPrefix(b, addressLabel)
		return x && !y || x == y && a < b
	}
	for _, u := range usesOf(f) {
		if len(set) >= hostPrefixes {
			break
		}
		set[u.Prefix] = true
		// Links come in no order: the same facts must give the same words.
		key := u.Prefix.String()
		if now := what[key]; now == "" || before(u.Label, now) {
			what[key] = u.Label
		}
	}
	out := slices.Collect(maps.Keys(set))
	slices.SortFunc(out, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return out, what
}

// sameForPlans reports whether two states of the facts give the same plans.
func sameForPlans(a, b *plan.Facts) bool {
	strip := func(f *plan.Facts) plan.Facts {
		c := *f
		c.Revision, c.Routes, c.Resolvers, c.Rungs, c.Defaults, c.Delegated = 0, nil, nil, nil, nil, nil
		c.Contested = nil // who has them is marked by itself
		c.Links = map[string]plan.Link{}
		c.Uplinks = forPlans(f.Uplinks)
		for name, l := range f.Links {
			if strings.HasPrefix(l.Alias, plan.AliasPrefix) {
				continue // our own links are what plans make, not what they depend on
			}
			l.Carrier = false
			c.Links[name] = l
		}
		return c
	}
	for _, family := range vnet.Families { // of the routes only where they lead
		x, y := a.Answering(family), b.Answering(family)
		for name := range a.Links {
			if !strings.HasPrefix(a.Links[name].Alias, plan.AliasPrefix) && x[name] != y[name] {
				return false
			}
		}
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// hostAddresses are the addresses of the host itself, of links that are not
// ours.
func hostAddresses(f *plan.Facts) []netip.Addr {
	var out []netip.Addr
	for _, l := range f.Links {
		if strings.HasPrefix(l.Alias, plan.AliasPrefix) {
			continue
		}
		for _, p := range l.Addresses {
			out = append(out, p.Addr())
		}
	}
	return out
}
