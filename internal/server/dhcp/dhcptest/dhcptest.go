// Package dhcptest has what the kernel tests of both DHCP servers need: a
// store that says yes to every claim, and ISC dhclient in a guest's namespace.
package dhcptest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Store says yes to every claim, a little later and from another goroutine.
type Store struct {
	mu                sync.Mutex
	claimed, released int
	declined          int
}

// Commit is of dhcp.Claims.
func (s *Store) Commit(l vnet.Lease, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed++
	if l.Declined {
		s.declined++
	}
	go done(nil)
}

// Release is of dhcp.Claims.
func (s *Store) Release(vnet.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released++
}

// Count returns how many leases were claimed and released.
func (s *Store) Count() (claimed, released int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed, s.released
}

// Declined returns how many of the claims keep an address back that a client
// found in use.
func (s *Store) Declined() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.declined
}

// Dhclient is ISC dhclient on the devices of a guest.
type Dhclient struct {
	T     *testing.T
	Guest *netnstest.NS
	Dir   string   // the test's own
	Args  []string // before those of Run
	// OnEvent is shell that the client's script runs, beside writing down its
	// environment.
	OnEvent string
}

// Run runs it on a device until it goes into the background, and returns the
// environments of its events and what it printed.
func (d *Dhclient) Run(dev string, args ...string) (string, error) {
	log, script := filepath.Join(d.Dir, "events"), filepath.Join(d.Dir, "script")
	_ = os.Remove(log)
	if err := os.WriteFile(script, []byte("#!/bin/sh\nenv >>"+log+"\n"+d.OnEvent+"\nexit 0\n"), 0o755); err != nil {
		return "", err
	}
	all := append([]string{"20", "dhclient"}, d.Args...)
	all = append(all, "-1", "-v", "-sf", script, "-lf", d.leases(dev), "-pf", d.pidFile(dev))
	out, err := d.Guest.Command("timeout", append(append(all, args...), dev)...).CombinedOutput()
	env, _ := os.ReadFile(log)
	return string(env) + string(out), err
}

func (d *Dhclient) leases(dev string) string  { return filepath.Join(d.Dir, "leases-"+dev) }
func (d *Dhclient) pidFile(dev string) string { return filepath.Join(d.Dir, "pid-"+dev) }

// Forget makes the next run on a device the first.
func (d *Dhclient) Forget(dev string) { _ = os.Remove(d.leases(dev)) }

// Stop ends the one that went into the background. It writes its pid file late,
// so it is found by the test's own directory on its command line.
func (d *Dhclient) Stop(dev string) {
	d.T.Helper()
	netnstest.Eventually(d.T, 5*time.Second, "dhclient ends", func() error {
		cmds, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		left := 0
		for _, c := range cmds {
			args, err := os.ReadFile(c)
			if err != nil || !strings.HasPrefix(string(args), "dhclient\x00") || !strings.Contains(string(args), d.pidFile(dev)+"\x00") {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(c))); err == nil {
				left++
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		if left > 0 {
			return fmt.Errorf("%d still there", left)
		}
		return nil
	})
	_ = os.Remove(d.pidFile(dev))
}

// Wants checks that a text contains others.
func Wants(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in:\n%s", w, got)
		}
	}
}
