package daemon

import (
	"context"
	"slices"
	"time"
)

// keeper keeps one child alive. Only its own goroutine changes p while keep
// runs.
type keeper struct {
	s     *supervisor
	child Child
	p     *process // nil: to be started
}

// outdated reports whether the process that was found is of another build or
// was started with other arguments than it would be now.
func (k *keeper) outdated(self record) bool {
	if k.p == nil || k.p.record.Apart {
		return false
	}
	return k.p.record.Exe != self.Exe || !slices.Equal(k.p.record.Args, k.child.Args)
}

// keep runs until ctx ends and leaves the process as it is.
func (k *keeper) keep(ctx context.Context) {
	log := k.s.Log.With("process", k.child.Name)
	if k.p != nil {
		log.Info("adopted", "pid", k.p.p.Pid)
	}
	delay := firstBackoff
	for ctx.Err() == nil {
		begun := time.Now()
		why := ""
		if k.p == nil {
			p, err := k.s.start(k.child)
			if err != nil {
				why = err.Error()
			} else {
				log.Info("started", "pid", p.p.Pid)
				k.p = p
			}
		}
		if k.p != nil && !k.follow(ctx) {
			return
		}
		if k.p != nil {
			why, k.p = k.p.how, nil
		}
		if time.Since(begun) >= settled {
			delay = firstBackoff
		}
		log.Error("not running, starting again", "why", why, "in", delay)
		k.s.notify.set(k, "restarting: "+why)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, maxBackoff)
	}
}

// follow waits for the process to be ready and to end. It returns false when
// ctx ended first.
func (k *keeper) follow(ctx context.Context) bool {
	k.s.notify.set(k, "starting")
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		if k.untilReady(asking) {
			k.s.notify.set(k, readyState)
		}
	}()
	defer func() { cancel(); <-ready }() // no late word about a process that ended
	select {
	case <-k.p.exited:
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *keeper) untilReady(ctx context.Context) bool {
	if k.child.Ready == nil {
		return true
	}
	for {
		if k.child.Ready(ctx) == nil {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollEvery):
		}
	}
}
