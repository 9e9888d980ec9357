// Package netnstest gives tests hosts of their own: network namespaces that
// the test made, that vanish with it, and in which it can run commands and
// open sockets. Only tests import it.
package netnstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// StrictEnv, when set, turns every skip into a failure.
const StrictEnv = "SEXTANT_NO_SKIP"

// Skip skips the test with the reason, or fails it where a skip is a failure.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(StrictEnv) != "" {
		t.Fatalf("would skip, and "+StrictEnv+" is set: "+format, args...)
	}
	t.Skipf(format, args...)
}

// NeedRoot skips the test unless it may make namespaces.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root to make network namespaces")
	}
}

// NeedCommands skips the test unless every command is installed.
func NeedCommands(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			Skip(t, "needs the command %q: run `make deps`", n)
		}
	}
}

// NS is a namespace that a test owns.
type NS struct {
	Name string // under /run/netns
	t    testing.TB
}

var counter atomic.Int64

// New makes a namespace with loopback up. Its name is unique to the process
// and begins with "sxt-"; it is removed when the test ends, and so is whatever
// still runs in it.
func New(t testing.TB, hint string) *NS {
	t.Helper()
	NeedRoot(t)
	ns := &NS{Name: fmt.Sprintf("sxt-%s-%d-%d", hint, os.Getpid(), counter.Add(1)), t: t}
	run(t, "ip", "netns", "add", ns.Name)
	t.Cleanup(func() {
		if err := empty(ns.Name); err != nil {
			t.Error(err)
		}
		if out, err := exec.Command("ip", "netns", "delete", ns.Name).CombinedOutput(); err != nil {
			t.Errorf("netns delete %s: %v: %s", ns.Name, err, out)
		}
	})
	ns.Run("ip", "link", "set", "lo", "up")
	return ns
}

// Path is the namespace's file.
func (ns *NS) Path() string { return "/run/netns/" + ns.Name }

// Command prepares a command that runs in the namespace.
func (ns *NS) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Run runs a command in the namespace, fails the test if it fails, and returns
// what it printed.
func (ns *NS) Run(name string, args ...string) string {
	ns.t.Helper()
	return run(ns.t, "ip", append([]string{"netns", "exec", ns.Name, name}, args...)...)
}

// Try runs a command in the namespace and returns what it printed and how it
// ended.
func (ns *NS) Try(name string, args ...string) (string, error) {
	out, err := ns.Command(name, args...).CombinedOutput()
	return string(out), err
}

// Start runs a command in the background until the test ends; what it printed
// is logged if the test failed.
func (ns *NS) Start(name string, args ...string) *exec.Cmd {
	ns.t.Helper()
	cmd := ns.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		ns.t.Fatalf("start %s: %v", name, err)
	}
	ns.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if ns.t.Failed() {
			ns.t.Logf("%s %s:\n%s", name, strings.Join(args, " "), out.String())
		}
	})
	return cmd
}

// Veth links two namespaces with a pair of devices, both up.
func Veth(a *NS, aName string, b *NS, bName string) {
	a.t.Helper()
	a.Run("ip", "link", "add", aName, "type", "veth", "peer", "name", bName, "netns", b.Name)
	a.Run("ip", "link", "set", aName, "up")
	b.Run("ip", "link", "set", bName, "up")
}

// Do runs f on a thread inside the namespace. Sockets opened there stay there;
// f must not start goroutines that are to be inside.
func (ns *NS) Do(f func() error) error { return Do(ns.Path(), f) }

// Do runs f on a thread inside the namespace with that file.
func Do(path string, f func() error) error {
	errc := make(chan error, 1)
	go func() {
		// The thread is not unlocked: it dies with the goroutine, so no other
		// goroutine can ever run in the wrong namespace.
		runtime.LockOSThread()
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			errc <- fmt.Errorf("open namespace %s: %w", path, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			errc <- fmt.Errorf("enter namespace %s: %w", path, err)
			return
		}
		errc <- f()
	}()
	return <-errc
}

// Eventually polls f until it returns nil and fails the test with its last
// error when the time is up.
func Eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	if InVM() {
		limit *= 10
	}
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-tick.C
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
