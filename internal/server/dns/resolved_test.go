package dns

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/sextant-net/sextant/internal/netnstest"
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
			"dnssec br0 no", "dnsovertls br0 no",
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

// TestServerRegisters: the server registers networks of the host's namespace,
// and no others.
func TestServerRegisters(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host := netnstest.New(t, "dnsz")
	fake := &fakeResolved{}
	s := New(Config{
		InNS:     func(_ string, f func() error) error { return host.Do(f) },
		Resolved: newResolved(slog.New(slog.DiscardHandler), socket, fake.run, func() bool { return true }),
	})
	z := webZone()
	z.Listen = z.Listen[:2]
	s.SetZone(z)
	z.Network, z.NS, z.Link = "other", "elsewhere", "gw2"
	s.SetZone(z)
	const want = "domain gw ~web.internal ~150.168.192.in-addr.arpa ~0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"
	netnstest.Eventually(t, 5*time.Second, "resolved is told", func() error {
		fake.mu.Lock()
		defer fake.mu.Unlock()
		if !slices.Contains(fake.lines, want) {
			return fmt.Errorf("told %q", fake.lines)
		}
		return nil
	})
	// A network whose link has another name now.
	z = webZone()
	z.Listen, z.Link, z.Prefixes = z.Listen[:2], "gw3", prefixes("192.168.150.0/25")
	s.SetZone(z)
	netnstest.Eventually(t, 5*time.Second, "resolved is told of the new link", func() error {
		fake.mu.Lock()
		defer fake.mu.Unlock()
		// No reverse zones: there would be 128.
		if !slices.Contains(fake.lines, "revert gw") || !slices.Contains(fake.lines, "domain gw3 ~web.internal") {
			return fmt.Errorf("told %q", fake.lines)
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	got := fake.take()
	if got[len(got)-1] != "revert gw3" || slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "gw2") }) {
		t.Errorf("told %q", got)
	}
}
