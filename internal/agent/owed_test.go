package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// slowStore is a store that says what it is asked, and nothing while it is away.
type slowStore struct {
	*FakeStore
	mu     sync.Mutex
	away   bool
	claims []vnet.Lease
	refuse error
}

func (s *slowStore) Claim(ctx context.Context, put []vnet.Object, release []vnet.Ref) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := make([]error, len(put)+len(release))
	for i := range errs {
		if s.away {
			errs[i] = vnet.Errorf(vnet.ErrUnavailable, "away")
		} else if i < len(put) {
			errs[i] = s.refuse
			s.claims = append(s.claims, *put[i].(*vnet.Lease))
		}
	}
	return errs
}

func (s *slowStore) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *slowStore) got() []vnet.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims
}

// owedClaims are claims of a network whose range is held but for its second
// half.
func owedClaims(store Store, dir string) *claims {
	x := newIndex()
	x.setNetwork("n", []plan.Subnet{{ID: "s", Family: vnet.IPv4, Prefix: netip.MustParsePrefix("10.0.0.0/16")}})
	x.setHeld("n", []vnet.Range{{First: netip.MustParseAddr("10.0.0.0"), Last: netip.MustParseAddr("10.0.127.255")}})
	return newClaims(store, x, "h", dir, slog.New(slog.DiscardHandler), time.Now)
}

func dynamic(a string) vnet.Lease {
	return vnet.Lease{Network: "n", Subnet: "s", Address: netip.MustParseAddr(a), How: vnet.HowDHCPv4, MAC: vnet.MAC{2, 5: 1},
		Expires: time.Now().Add(time.Hour)}
}

// committed waits for the answer to a claim.
func committed(c *claims, l vnet.Lease) error {
	done := make(chan error, 1)
	quick{c}.Commit(l, func(err error) { done <- err })
	return <-done
}

// TestGivenWithoutTheStore: in our part of a range a guest is answered while the
// store is away, and elsewhere only with its word; the store is told when it is
// back, and by a process that comes after a killed one.
func TestGivenWithoutTheStore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{FakeStore: NewFakeStore(), away: true}
		ctx, kill := context.WithCancel(t.Context())
		c := owedClaims(store, dir)
		go c.run(ctx)
		if err := committed(c, dynamic("10.0.1.1")); err != nil {
			t.Errorf("in our part: %v", err)
		}
		if err := committed(c, dynamic("10.0.200.1")); !vnet.Is(err, vnet.ErrUnavailable) {
			t.Errorf("elsewhere: %v, want the store's word", err)
		}
		if got := c.owed.of("n"); len(got) != 1 || got[0].Subnet != "s" || got[0].HostPart != 0x101 {
			t.Errorf("owed: %+v", got)
		}
		kill()
		synctest.Wait()

		store.set(false)
		ctx, kill = context.WithCancel(t.Context())
		defer kill()
		after := owedClaims(store, dir)
		if got := after.owed.of("n"); len(got) != 1 || got[0].Address != netip.MustParseAddr("10.0.1.1") || after.holder("n", got[0].Address) != got[0].ID {
			t.Errorf("after the crash: %+v", got)
		}
		go after.run(ctx)
		poke(after.wake)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := store.got(); len(got) != 1 || got[0].Address != netip.MustParseAddr("10.0.1.1") || len(after.owed.of("n")) != 0 {
			t.Errorf("the store was told %+v, owed %+v", got, after.owed.of("n"))
		}
		kill()
		synctest.Wait()
		if last := owedClaims(store, dir); len(last.owed.of("n")) != 0 {
			t.Errorf("what the store has is owed again: %+v", last.owed.of("n"))
		}
	})
}

// TestGivenBackWhileOwed: an address that was given back is not claimed later,
// nor found again after a crash.
func TestGivenBackWhileOwed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{FakeStore: NewFakeStore(), away: true}
		ctx, kill := context.WithCancel(t.Context())
		c := owedClaims(store, dir)
		go c.run(ctx)
		if err := committed(c, dynamic("10.0.1.1")); err != nil {
			t.Fatal(err)
		}
		c.Release(dynamic("10.0.1.1"))
		synctest.Wait()
		store.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		kill()
		synctest.Wait()
		if got := store.got(); len(got) != 0 {
			t.Errorf("claimed: %+v", got)
		}
		if got := owedClaims(store, dir).owed.of("n"); len(got) != 0 {
			t.Errorf("after the crash: %+v", got)
		}
	})
}

// TestRefusedLater: a lease that the store refuses when it hears of it is told.
func TestRefusedLater(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{FakeStore: NewFakeStore(), refuse: vnet.Errorf(vnet.ErrExists, "port vm1 has it")}
		ctx, kill := context.WithCancel(t.Context())
		c := owedClaims(store, dir)
		lost := make(chan vnet.Lease, 1)
		c.lost = func(l vnet.Lease, _ error) { lost <- l }
		go c.run(ctx)
		if err := committed(c, dynamic("10.0.1.1")); err != nil {
			t.Fatal(err)
		}
		if l := <-lost; l.Address != netip.MustParseAddr("10.0.1.1") {
			t.Errorf("lost %v", l.Address)
		}
		kill()
		synctest.Wait()
	})
}

// TestBrokenJournal: when the disk fails, the store is asked.
func TestBrokenJournal(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{FakeStore: NewFakeStore()}
		ctx, kill := context.WithCancel(t.Context())
		c := owedClaims(store, dir)
		if err := c.owed.j.close(); err != nil { // as good as a disk that is gone
			t.Fatal(err)
		}
		go c.run(ctx)
		for _, a := range []string{"10.0.1.1", "10.0.1.2"} {
			if err := committed(c, dynamic(a)); err != nil {
				t.Errorf("%s: %v", a, err)
			}
		}
		if got := store.got(); len(got) != 2 {
			t.Errorf("the store was asked for %+v", got)
		}
		kill()
		synctest.Wait()
	})
}

// TestNoted: a port's lease is told to the store when it is news, not with each
// message of the guest.
func TestNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{FakeStore: NewFakeStore()}
		ctx, kill := context.WithCancel(t.Context())
		c := owedClaims(store, "")
		go c.run(ctx)
		tell := func(change func(*vnet.Lease)) int {
			before := len(store.got())
			l := dynamic("10.0.1.1")
			change(&l)
			c.owed.note(l)
			time.Sleep(time.Second)
			synctest.Wait()
			return len(store.got()) - before
		}
		same := func(*vnet.Lease) {}
		if n := tell(same); n != 1 {
			t.Errorf("a new lease: told %d times", n)
		}
		if n := tell(same); n != 0 {
			t.Errorf("the same again: told %d times", n)
		}
		if n := tell(func(l *vnet.Lease) { l.Hostname = "web" }); n != 1 {
			t.Errorf("another name: told %d times", n)
		}
		time.Sleep(30 * time.Minute) // T1
		if n := tell(func(l *vnet.Lease) { l.Hostname = "web" }); n != 1 {
			t.Errorf("a renewal: told %d times", n)
		}
		kill()
		synctest.Wait()
	})
}

// TestChooseParts: two hosts share a range without meeting, and each can have
// more.
func TestChooseParts(t *testing.T) {
	whole := vnet.Range{First: netip.MustParseAddr("fd00::"), Last: netip.MustParseAddr("fd00::ffff:ffff:ffff:ffff")}
	held := map[string][]vnet.Range{}
	choose := func(host string, more bool) {
		held[host] = chooseParts([]vnet.Range{whole}, held, host, more)
		if len(held[host]) == 0 {
			t.Fatalf("%s has nothing", host)
		}
		for other, theirs := range held {
			for _, a := range theirs {
				for _, b := range held[host] {
					if other != host && a.First.Compare(b.Last) <= 0 && b.First.Compare(a.Last) <= 0 {
						t.Fatalf("%s has %v, %s has %v", host, b, other, a)
					}
				}
			}
		}
	}
	choose("a", false)
	first := held["a"]
	choose("b", false)
	choose("a", false)
	if len(held["a"]) != len(first) || held["a"][0] != first[0] {
		t.Errorf("asking again changed %v to %v", first, held["a"])
	}
	for range 8 {
		choose("b", true)
		choose("a", true)
	}
}
