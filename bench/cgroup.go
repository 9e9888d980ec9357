package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// unified makes a directory in the unified hierarchy of cgroups, below the
// program's own place in it. It mounts the hierarchy where the machine has
// not.
func (l *lab) unified() (string, error) {
	mount, err := unifiedMount()
	if err != nil {
		return "", err
	}
	if mount == "" {
		mount = filepath.Join(l.dir, "cgroup")
		if err := os.Mkdir(mount, 0o700); err != nil {
			return "", err
		}
		if err := syscall.Mount("cgroup2", mount, "cgroup2", 0, ""); err != nil {
			return "", fmt.Errorf("mount cgroup2, which counts processor time: %w", err)
		}
		l.defers(func() error { return syscall.Unmount(mount, syscall.MNT_DETACH) })
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			mount = filepath.Join(mount, path)
		}
	}
	if err := sweepGroups(mount); err != nil {
		return "", err
	}
	dir := filepath.Join(mount, namePrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	l.defers(func() error { return os.Remove(dir) })
	return dir, nil
}

// sweepGroups ends what runs left behind that were killed, and removes its
// groups.
func sweepGroups(parent string) error {
	stale, err := filepath.Glob(filepath.Join(parent, namePrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range stale {
		if !abandoned(filepath.Base(dir)) {
			continue
		}
		children, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
		for _, c := range children {
			errs = append(errs, (&cgroup{filepath.Dir(c)}).remove())
		}
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}

// cgroup2Magic is CGROUP2_SUPER_MAGIC of linux/magic.h.
const cgroup2Magic = 0x63677270

// unifiedMount finds where the unified hierarchy is mounted; "" is nowhere.
func unifiedMount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		kind, _, _ := strings.Cut(after, " ")
		mount := strings.Fields(before)[4]
		var fs syscall.Statfs_t
		// Another mount may lie over it.
		if kind == "cgroup2" && syscall.Statfs(mount, &fs) == nil && fs.Type == cgroup2Magic {
			return mount, nil
		}
	}
	return "", lines.Err()
}

// cgroup holds all processes of one candidate, whatever they fork.
type cgroup struct{ dir string }

func (l *lab) cgroup(name string) (*cgroup, error) {
	g := &cgroup{filepath.Join(l.cgroups, name)}
	return g, os.Mkdir(g.dir, 0o755)
}

// cpu is the processor time of everything that ever ran in the group.
func (g *cgroup) cpu() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat says nothing of usage", g.dir)
}

// pids lists the processes in the group.
func (g *cgroup) pids() ([]int, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for f := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// kill ends every process in the group and waits until they are gone.
func (g *cgroup) kill() error {
	return until(context.Background(), 10*time.Second, 5*time.Millisecond, "end of processes", func(context.Context) error {
		pids, err := g.pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		return fmt.Errorf("processes %v", pids)
	})
}

// remove kills what is in the group and removes it.
func (g *cgroup) remove() error {
	if err := g.kill(); err != nil {
		return err
	}
	// A process that is dead stays in its group until it has been waited for.
	return until(context.Background(), 10*time.Second, 5*time.Millisecond, "end of processes", func(context.Context) error {
		return os.Remove(g.dir)
	})
}
