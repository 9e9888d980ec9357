package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeResolved records what resolved is told.
type fakeResolved struct {
	mu    sync.Mutex
	lines []string
	fails error
}

func (f *fakeResolved) run(_ context.Context, args ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return f.fails
	}
	f.lines = append(f.lines, strings.Join(args, " "))
	return nil
}

func (f *fakeResolved) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = err
}

func (f *fakeResolved) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.lines
	f.lines = nil
	return out
}

func TestResolved(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "sock")
	start := func() {
		if err := os.WriteFile(socket+"2", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(socket+"2", socket); err != nil { // another inode than before
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		fake := &fakeResolved{}
		r := newResolved(slog.New(slog.DiscardHandler), socket, fake.run, func() bool { return true })
		expect := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := fake.take(); !slices.Equal(got, want) {
				t.Errorf("%s: told %q, want %q", when, got, want)
			}
		}
		all := []string{
			"dns br0 192.168.150.1 fd00::1", "domain br0 ~web.internal ~150.168.192.in-addr.arpa", "default-route br0 no",
			"dnssec br0 no", "dnsovertls br0 no", "llmnr br0 no", "mdns br0 no",
		}
		set := func() {
			r.Set("br0", []netip.Addr{netip.MustParseAddr("192.168.150.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fe80::1")},
				[]string{"web.internal.", "150.168.192.in-addr.arpa"})
		}
		set()
		expect("resolved does not run")
		start()
		time.Sleep(resolvedEvery)
		expect("it starts", all...)
		set()
		time.Sleep(3 * resolvedEvery)
		expect("nothing is new")
		start()
		time.Sleep(resolvedEvery)
		expect("it restarts", all...)
		fake.fail(errors.New("no"))
		r.Set("br1", []netip.Addr{netip.MustParseAddr("fd01::1")}, []string{"b.internal"})
		expect("it refuses")
		fake.fail(nil)
		time.Sleep(resolvedEvery)
		synctest.Wait()
		if got := fake.take(); len(got) == 0 || got[0] != "dns br1 fd01::1" {
			t.Errorf("told again: %q", got)
		}
		r.Remove("br1")
		expect("a link goes", "revert br1")
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		expect("the end", "revert br0")
	})
}
