package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/sextant-net/sextant/internal/vnet"
)

// FakeStore is a Store in memory, for tests: what is put shows up at every
// follower, claims are accepted unless Refuse says otherwise.
type FakeStore struct {
	// Refuse, if set, is asked about each claim.
	Refuse func(o vnet.Object) error

	mu        sync.Mutex
	revision  int64
	objects   map[vnet.Ref]vnet.Object
	followers []chan vnet.Update
	observed  map[vnet.ID]vnet.Object
	events    []*vnet.Event
	held      map[vnet.ID]map[string][]vnet.Range
}

// NewFakeStore returns an empty store.
func NewFakeStore() *FakeStore {
	return &FakeStore{objects: map[vnet.Ref]vnet.Object{}, observed: map[vnet.ID]vnet.Object{}}
}

// Put stores objects and tells the followers.
func (s *FakeStore) Put(objs ...vnet.Object) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	for _, o := range objs {
		o.GetMeta().Revision = s.revision
		s.objects[vnet.RefOf(o)] = o
	}
	s.tell(vnet.Update{Revision: s.revision, Put: objs})
	return s.revision
}

// Delete removes objects and tells the followers.
func (s *FakeStore) Delete(refs ...vnet.Ref) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	for _, r := range refs {
		delete(s.objects, r)
	}
	s.tell(vnet.Update{Revision: s.revision, Delete: refs})
	return s.revision
}

// tell sends an update to every follower; the caller holds mu.
func (s *FakeStore) tell(u vnet.Update) {
	for _, c := range s.followers {
		u.Put = theirs(u.Put)
		c <- u
	}
}

// Follow implements Store.
func (s *FakeStore) Follow(context.Context, string) (<-chan vnet.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan vnet.Update, 4096)
	u := vnet.Update{Revision: s.revision, Reset: true}
	for _, o := range s.objects {
		u.Put = append(u.Put, o)
	}
	u.Put = theirs(u.Put)
	c <- u
	s.followers = append(s.followers, c)
	return c, nil
}

// Claim implements Store.
func (s *FakeStore) Claim(_ context.Context, put []vnet.Object, release []vnet.Ref) []error {
	errs := make([]error, len(put)+len(release))
	for i, o := range put {
		if s.Refuse != nil {
			errs[i] = s.Refuse(o)
		}
		if errs[i] == nil {
			s.Put(o)
		}
	}
	s.Delete(release...)
	return errs
}

// Hold implements Store.
func (s *FakeStore) Hold(_ context.Context, host string, network vnet.ID, choose func(map[string][]vnet.Range) []vnet.Range) ([]vnet.Range, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[vnet.ID]map[string][]vnet.Range{}
	}
	if s.held[network] == nil {
		s.held[network] = map[string][]vnet.Range{}
	}
	s.held[network][host] = choose(s.held[network])
	return s.held[network][host], nil
}

// Observe implements Store.
func (s *FakeStore) Observe(_ context.Context, objs []vnet.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range objs {
		if e, ok := o.(*vnet.Event); ok {
			s.events = append(s.events, e)
			continue
		}
		s.observed[o.GetMeta().ID] = o
	}
	return nil
}

// Events returns what was told, the oldest first.
func (s *FakeStore) Events() []*vnet.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Observed returns what was observed under an ID, nil if nothing was.
func (s *FakeStore) Observed(id vnet.ID) vnet.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observed[id]
}

// Status returns the newest status of an object, nil if there is none.
func (s *FakeStore) Status(r vnet.Ref, host string) *vnet.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, _ := s.observed[vnet.StatusID(r, host)].(*vnet.Status)
	return st
}

// History returns what was observed of a guest, nil if nothing was.
func (s *FakeStore) History(id vnet.ID) *vnet.LeaseHistory {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, _ := s.observed[id].(*vnet.LeaseHistory)
	return h
}

// All returns the objects of a kind.
func (s *FakeStore) All(k vnet.Kind) []vnet.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []vnet.Object
	for r, o := range s.objects {
		if r.Kind == k {
			out = append(out, o)
		}
	}
	return out
}

// theirs are the objects for one follower: leases it may change.
func theirs(objs []vnet.Object) []vnet.Object {
	out := slices.Clone(objs)
	for i, o := range out {
		if l, ok := o.(*vnet.Lease); ok {
			c := *l
			out[i] = &c
		}
	}
	return out
}
