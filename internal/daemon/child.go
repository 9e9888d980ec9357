package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that the supervisor keeps alive.
type Child struct {
	Name string   // unique, also the stem of its file in the run directory
	Args []string // arguments to this same binary
	// Ready returns nil once the process serves; nil means at once. It is
	// asked again until it does, and must obey ctx.
	Ready func(ctx context.Context) error
	// Sockets says that the child gets the sockets systemd made.
	Sockets bool
}

// process is a child that runs: one that this supervisor started, or one that
// it found.
type process struct {
	p      *os.Process
	record record
	exited chan struct{} // closed when it has ended
	how    string        // how it ended; valid after exited
}

// start runs the child with its file locked by it and nobody else.
func (s *supervisor) start(c Child) (*process, error) {
	lock, err := openLocked(lockPath(s.RunDir, c.Name))
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	cmd := exec.Command("/proc/self/exe", c.Args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Env = append(childEnv(os.Environ()), envLock+"="+strconv.Itoa(firstFD))
	if c.Sockets && len(s.sockets) > 0 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.sockets...)
		cmd.Env = append(cmd.Env, envListen+"="+strconv.Itoa(len(s.sockets)))
	}
	// A session of its own: Ctrl-C and the end of a terminal reach only the
	// supervisor, which knows the order in which to stop.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{p: cmd.Process, exited: make(chan struct{})}
	go func() {
		p.how = "exit status 0"
		if err := cmd.Wait(); err != nil {
			p.how = err.Error()
		}
		close(p.exited)
	}()
	return p, nil
}

// childEnv takes out what systemd said to the supervisor alone.
func childEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC", envLock, envListen:
			return true
		}
		return false
	})
}

// find returns the living process of the child's name, or nil if there is
// none. A process that has just been started and did not say yet who it is, is
// waited for.
func (s *supervisor) find(ctx context.Context, c Child) (*process, error) {
	path := lockPath(s.RunDir, c.Name)
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	for {
		lock, err := openLocked(path)
		if err == nil {
			return nil, lock.Close()
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		r, err := readRecord(path)
		if err == nil && r.alive() {
			return watch(r)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is locked by a process that does not say who it is", path)
		case <-time.After(pollEvery):
		}
	}
}

// watch follows a process that is not a child of this one.
func watch(r record) (*process, error) {
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", r.PID, err)
	}
	p, err := os.FindProcess(r.PID)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch process %d: %w", r.PID, err)
	}
	// The number may have been given to another process before the descriptors
	// were opened, but not since.
	if !r.alive() {
		unix.Close(fd)
		return nil, nil
	}
	w := &process{p: p, record: r, exited: make(chan struct{}), how: "exit status unknown: not our child"}
	go func() {
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				close(w.exited)
				return
			}
		}
	}()
	return w, nil
}

// stop asks the process to end and, after the time, makes it.
func (p *process) stop(patience time.Duration) error {
	if p == nil || p.record.Apart {
		return nil
	}
	if err := p.p.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", p.p.Pid, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	}
	if err := p.p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.p.Pid, err)
	}
	<-p.exited
	return fmt.Errorf("process %d did not stop within %v and was killed", p.p.Pid, patience)
}
