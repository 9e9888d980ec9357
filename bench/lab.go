package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// namePrefix begins the names of all namespaces, directories and cgroups that
// the program makes; its process ID follows.
const namePrefix = "sxb-"

// lab is where hosts are made, and what is to be removed at the end.
type lab struct {
	dir     string // on the disk
	logs    string // where logs are kept; "" is nowhere
	cgroups string // a directory of the unified hierarchy
	count   int    // of hosts so far
	undo    []func() error
}

func newLab(dir, logs string) (_ *lab, err error) {
	for _, name := range []string{"ip", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, err
		}
	}
	l := &lab{logs: logs}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp(dir, namePrefix+strconv.Itoa(os.Getpid())+"-"); err != nil {
		return nil, err
	}
	l.defers(func() error { return os.RemoveAll(l.dir) })
	if l.cgroups, err = l.unified(); err != nil {
		return nil, err
	}
	return l, sweep(dir)
}

// keep copies the logs of a host that goes.
func (l *lab) keep(h *host) error {
	if l.logs == "" {
		return nil
	}
	logs, err := filepath.Glob(filepath.Join(h.dir, "*.log"))
	if err != nil {
		return err
	}
	for _, from := range logs {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		to := filepath.Join(l.logs, filepath.Base(h.dir)+"-"+filepath.Base(from))
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// defers has f called when the lab is closed, last first.
func (l *lab) defers(f func() error) { l.undo = append(l.undo, f) }

func (l *lab) close() error {
	var errs []error
	for i := len(l.undo) - 1; i >= 0; i-- {
		errs = append(errs, l.undo[i]())
	}
	l.undo = nil
	return errors.Join(errs...)
}

// sweep removes what runs left behind that were killed; their processes went
// with their groups.
func sweep(dir string) error {
	var errs []error
	spaces, _ := os.ReadDir("/run/netns")
	for _, e := range spaces {
		if abandoned(e.Name()) {
			errs = append(errs, command(context.Background(), "ip", "netns", "delete", e.Name()))
		}
	}
	dirs, _ := os.ReadDir(dir)
	for _, e := range dirs {
		if abandoned(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// abandoned reports whether a name is one of ours, of a process that is gone.
func abandoned(name string) bool {
	rest, ok := strings.CutPrefix(name, namePrefix)
	pid, _, _ := strings.Cut(rest, "-")
	if _, err := strconv.Atoi(pid); err != nil || !ok {
		return false
	}
	_, err := os.Stat(filepath.Join("/proc", pid))
	return os.IsNotExist(err)
}

// command runs a command; its error holds what it printed.
func command(ctx context.Context, args ...string) error {
	return commandIn(ctx, "", args...)
}

// commandIn does so with some standard input.
func commandIn(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	// Ctrl-C is for this program, which then clears up in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 6)], " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// setnsNumber is the number of setns(2), which the frozen package syscall
// lacks.
func setnsNumber() (uintptr, error) {
	switch runtime.GOARCH {
	case "amd64":
		return 308, nil
	case "arm64":
		return 268, nil
	}
	return 0, fmt.Errorf("the number of setns is not known on %s", runtime.GOARCH)
}

// within runs f on a thread inside the network namespace. Sockets opened there
// stay there.
func within(ns string, f func() error) error {
	number, err := setnsNumber()
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		// Never unlocked: the thread dies with the goroutine.
		runtime.LockOSThread()
		file, err := os.Open("/run/netns/" + ns)
		if err != nil {
			failed <- err
			return
		}
		defer file.Close()
		if _, _, errno := syscall.RawSyscall(number, file.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
			failed <- fmt.Errorf("enter %s: %w", ns, errno)
			return
		}
		failed <- f()
	}()
	return <-failed
}

// until polls f until it says done, every so often, for as long as limit.
func until(ctx context.Context, limit, every time.Duration, what string, f func(context.Context) error) error {
	deadline := time.Now().Add(limit)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
