// Package topo makes small worlds of network namespaces: an upstream router, a
// host that runs Sextant, guests. Each node also has its own /etc and /run, so
// that unmodified programs (dhclient, dhcpcd, the daemon with its defaults)
// run in it as on a machine of their own and change nothing outside.
//
// Everything carries the lab's prefix in its name: Down removes it all, also
// after the program that made it was killed.
package topo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Lab is a world.
type Lab struct {
	Prefix string    // of namespaces and directories, for example "sxt-demo-"
	Dir    string    // its files
	Log    io.Writer // what happens, for those who want to know; nil: nowhere

	mu      sync.Mutex // nodes may be made side by side
	nodes   []*Node
	closers []func() error
}

// New makes an empty lab. There must be none of that prefix.
func New(prefix string) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("namespaces are made by root: run as root")
	}
	old, err := leftovers(prefix)
	if err != nil {
		return nil, err
	}
	if len(old) > 0 {
		return nil, fmt.Errorf("there is a lab %s already (%s)", prefix, strings.Join(old, ", "))
	}
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	// The clients' own users (dnsmasq, _dhcpcd) must get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	return &Lab{Prefix: prefix, Dir: dir}, nil
}

// Defer has f called by Close, last in first out.
func (l *Lab) Defer(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// Close ends the lab and removes everything of it.
func (l *Lab) Close() error {
	var errs []error
	for _, f := range slices.Backward(l.closers) {
		errs = append(errs, f())
	}
	return errors.Join(append(errs, Down(l.Prefix))...)
}

// Logs is what the background programs of all nodes printed, for a report of
// failure: the last lines of each.
func (l *Lab) Logs(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, n := range l.nodes {
		b.WriteString(n.Logs(lines))
	}
	return b.String()
}

// leftovers lists the namespaces of a prefix.
func leftovers(prefix string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join("/run/netns", prefix+"*"))
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names, err
}

// Down removes what a lab of the prefix left: the processes in its namespaces,
// the namespaces, its files. It is no error if there is nothing.
func Down(prefix string) error {
	if len(prefix) < 4 {
		return fmt.Errorf("prefix %q would match too much", prefix)
	}
	names, err := leftovers(prefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, empty(name))
	}
	for _, name := range names {
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("delete namespace %s: %w: %s", name, err, out))
		}
	}
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	errs = append(errs, err)
	for _, d := range dirs {
		errs = append(errs, os.RemoveAll(d))
	}
	return errors.Join(errs...)
}

// empty kills every process in a namespace, again until none is left, because
// a supervisor may start new ones meanwhile.
func empty(netns string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		out, err := exec.Command("ip", "netns", "pids", netns).Output()
		if err != nil {
			return nil // a file of that name without a namespace
		}
		// A test that opened sockets there may have left its first thread behind,
		// by which the program as a whole is judged to be in it.
		pids := slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return p == strconv.Itoa(os.Getpid()) })
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("namespace %s: processes %s do not end", netns, strings.Join(pids, " "))
		}
		for _, p := range pids {
			if pid, err := strconv.Atoi(p); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Link joins two nodes with a pair of devices, both up.
func (l *Lab) Link(a *Node, aDev string, b *Node, bDev string) error {
	for _, args := range [][]string{
		{"-n", a.Netns, "link", "add", aDev, "type", "veth", "peer", "name", bDev, "netns", b.Netns},
		{"-n", a.Netns, "link", "set", aDev, "up"},
		{"-n", b.Netns, "link", "set", bDev, "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// Until calls f until it returns nil, ctx ends or the time is up; then it
// returns f's last error.
func Until(ctx context.Context, limit time.Duration, what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
