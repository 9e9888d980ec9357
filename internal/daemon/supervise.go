package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Times of supervision.
const (
	pollEvery    = 50 * time.Millisecond
	adoptTime    = 5 * time.Second        // for a young process to say who it is
	firstBackoff = 100 * time.Millisecond // before the first restart
	maxBackoff   = 10 * time.Second
	settled      = time.Minute      // alive this long: the next restart is a first one
	stopPatience = 15 * time.Second // after SIGTERM
	readyTime    = 60 * time.Second // before an upgrade goes on to the next process
)

// Config is what Supervise needs.
type Config struct {
	RunDir   string // for locks and sockets, on a file system that does not outlive the boot
	StateDir string // locked against a second daemon; empty: none
	// Children in start order; they are stopped in the opposite one.
	Children []Child
	Log      *slog.Logger
}

// supervisor is a running Supervise.
type supervisor struct {
	Config
	sockets []*os.File // passed on by systemd
	keepers []*keeper
	notify  *notifier
}

// Supervise keeps the children running until ctx ends, then stops them, last
// first. Children of an earlier supervisor that still live are adopted; those
// of another build or with other arguments are restarted, one after the other.
// It fails at once if another daemon has the run or state directory.
func Supervise(ctx context.Context, c Config) error {
	if err := makeRunDir(c.RunDir); err != nil {
		return err
	}
	if c.StateDir != "" {
		lock, err := LockDir(c.StateDir)
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	path := lockPath(c.RunDir, "serve")
	lock, err := openLocked(path)
	if errors.Is(err, errLocked) {
		r, _ := readRecord(path)
		return vnet.Errorf(vnet.ErrInUse, "another daemon (process %d) runs with run directory %s", r.PID, c.RunDir).
			WithHint("stop it, or choose another --run-dir and --state-dir")
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	self, err := ownRecord()
	if err != nil {
		return err
	}
	if err := self.write(lock); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	s := &supervisor{Config: c, sockets: activation.Files(true)}
	return s.run(ctx, self)
}

func (s *supervisor) run(ctx context.Context, self record) error {
	for _, c := range s.Children {
		p, err := s.find(ctx, c)
		if err != nil {
			return err
		}
		s.keepers = append(s.keepers, &keeper{s: s, child: c, p: p})
	}
	s.notify = newNotifier(s.Log, s.keepers)
	var running sync.WaitGroup
	var old []*keeper
	for _, k := range s.keepers {
		if k.outdated(self) {
			old = append(old, k)
			continue
		}
		running.Go(func() { k.keep(ctx) })
	}
	for _, k := range old {
		s.replace(ctx, &running, k)
	}
	<-ctx.Done()
	running.Wait()
	s.notify.stopping()
	var errs []error
	for _, k := range slices.Backward(s.keepers) {
		errs = append(errs, k.p.stop(stopPatience))
	}
	return errors.Join(errs...)
}

// replace restarts a child of an earlier build and waits until it is ready.
func (s *supervisor) replace(ctx context.Context, running *sync.WaitGroup, k *keeper) {
	if ctx.Err() == nil {
		s.Log.Info("replacing a process of another build or configuration", "process", k.child.Name, "pid", k.p.p.Pid)
		if err := k.p.stop(stopPatience); err != nil {
			s.Log.Warn("replacing", "process", k.child.Name, "err", err)
		}
		k.p = nil
	}
	running.Go(func() { k.keep(ctx) })
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := s.notify.waitReady(ctx, k); err != nil {
		s.Log.Warn("replaced, and not ready yet", "process", k.child.Name, "err", err)
	}
}
