package listen

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// watched is networks that are told when links change, without anybody who runs
// them.
type watched struct {
	*Networks[*engine, *wire]
	*world
	now     time.Duration
	changed func() // of the namespace that was opened last
	stopped int
	refuse  bool
}

func newWatched(links map[string]int) *watched {
	s := &watched{world: &world{links: links}, now: time.Hour}
	s.Networks = newTest(s.world, nil)
	s.cfg.Boot = func() time.Duration { return s.now }
	s.cfg.Watch = func(inNS func(func() error) error, changed func()) (func(), error) {
		if s.refuse {
			return nil, errors.New("not today")
		}
		s.changed = changed
		return func() { s.stopped++ }, inNS(func() error { return nil })
	}
	return s
}

func (s *watched) set(ns, link string) {
	s.Lock()
	defer s.Unlock()
	s.Attach(s.Enter(plan.Service{Network: vnet.ID(link), NS: ns, Link: link}, func() *engine { return &engine{true} }))
}

// after looks some time later; what was done since it was last called, how
// often links were looked for, and for how long it would sleep.
func (s *watched) after(d time.Duration) (done string, looks int, wait time.Duration) {
	s.now += d
	s.looks = 0
	select {
	case <-s.wake:
	default:
	}
	wait, _ = s.pass()
	done = strings.Join(s.log, ", ")
	s.log = nil
	return done, s.looks, wait
}

// TestWatched: a link that is replaced is followed at once, one that nobody
// told of before long, and nothing is looked for else.
func TestWatched(t *testing.T) {
	s := newWatched(map[string]int{"/br0": 7})
	s.set("", "br0")
	s.after(CompareLinks)
	for _, step := range []struct {
		what   string
		change func()
		after  time.Duration
		done   string
		looks  int
		wait   time.Duration
	}{
		{"nothing", func() {}, time.Second, "", 0, CompareLinks},
		{"replaced", func() { s.links["/br0"] = 8; s.changed() }, 0, "leave 7, linked false, join br0 8, linked true", 1, CompareLinks},
		{"nothing more", func() {}, time.Second, "", 0, CompareLinks},
		{"another link", func() { s.links["/br1"] = 9; s.changed() }, 0, "", 1, CompareLinks},
		{"replaced, but not told", func() { s.links["/br0"] = 10 }, CompareLinks, "leave 8, linked false, join br0 10, linked true", 1, CompareLinks},
		{"gone", func() { delete(s.links, "/br0"); s.changed() }, 0, "leave 10, linked false", 1, CompareLinks},
		{"back", func() { s.links["/br0"] = 11; s.changed() }, 0, "join br0 11, linked true", 1, CompareLinks},
		{"something is heard", func() { s.recv(Packet{Index: 11, Data: []byte("x")}) }, 0, "br0 heard x, after 00:00:00:00:00:00", 0, PollLinks},
		{"nothing any more", func() {}, time.Second, "", 0, CompareLinks},
		{"taken", func() { s.taken, s.links["/br0"] = true, 12; s.changed() }, 0, "leave 11, linked false, join br0 12", 1, PollLinks},
	} {
		step.change()
		if done, looks, wait := s.after(step.after); done != step.done || looks != step.looks || wait != step.wait {
			t.Errorf("%s: %q, looked %d times, sleeps %v", step.what, done, looks, wait)
		}
	}
}

// TestWatchedWakes: what changes, and the first packet after a rest, wake Run;
// the next ones need not.
func TestWatchedWakes(t *testing.T) {
	s := newWatched(map[string]int{"/br0": 7})
	s.set("", "br0")
	s.after(CompareLinks)
	for _, step := range []struct {
		what  string
		do    func()
		wakes int
	}{
		{"a change", func() { s.changed() }, 1},
		{"a packet", func() { s.recv(Packet{Index: 7}) }, 1},
		{"another", func() { s.recv(Packet{Index: 7}) }, 0},
	} {
		step.do()
		if n := len(s.wake); n != step.wakes {
			t.Errorf("%s wakes %d times", step.what, n)
		}
		s.after(0)
	}
}

// TestUnwatched: where links cannot be watched they are looked for all the time,
// and a namespace that is left or made anew is no longer watched.
func TestUnwatched(t *testing.T) {
	s := newWatched(map[string]int{"/br0": 7, "red/br1": 8})
	s.refuse = true
	s.set("", "br0")
	if _, looks, wait := s.after(PollLinks); looks != 1 || wait != PollLinks {
		t.Errorf("looked %d times, sleeps %v", looks, wait)
	}
	s.refuse = false
	s.set("red", "br1")
	s.after(CompareLinks)
	delete(s.links, "red/br1") // with its namespace, maybe
	s.changed()
	if done, _, wait := s.after(0); done != "leave 8, linked false" || wait != PollLinks {
		t.Errorf("%q, sleeps %v", done, wait)
	}
	if done, _, _ := s.after(reopenAfter + PollLinks); done != "close red" || s.stopped != 1 || s.opens != 3 {
		t.Errorf("%q, opened %d times, stopped %d times", done, s.opens, s.stopped)
	}
	s.Lock()
	s.Remove("br1")
	s.Unlock()
	if s.stopped != 2 {
		t.Errorf("stopped %d times", s.stopped)
	}
}
