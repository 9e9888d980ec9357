package main

import (
	"context"
	"errors"
	"time"
)

// candidate is a program that makes networks on a host.
type candidate interface {
	// name is for the page.
	name() string
	// start starts it and waits until it takes orders.
	start(ctx context.Context) error
	// define has all networks of the host defined and started; it need not
	// wait until they serve.
	define(ctx context.Context) error
}

// sample is one measurement of one candidate.
type sample struct {
	wall   time.Duration
	cpu    time.Duration
	memory []memory
}

// serveLimit bounds one measurement.
func serveLimit(networks int) time.Duration {
	return 30*time.Second + time.Duration(networks)*time.Second
}

// measure makes all networks of the host and waits until they serve guests.
func measure(ctx context.Context, h *host, c candidate) (s sample, err error) {
	j, err := h.newJudge()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	before, err := h.group.cpu()
	if err != nil {
		return s, err
	}
	begun := time.Now()
	if err := h.defineAndJudge(ctx, c, j); err != nil {
		return s, err
	}
	s.wall = time.Since(begun)
	after, err := h.group.cpu()
	if err != nil {
		return s, err
	}
	s.cpu = after - before
	say("%s: %s", c.name(), j.progress(begun))
	s.memory, err = h.group.memory()
	return s, err
}

// defineAndJudge has networks made, plugs guests into each at once, and
// returns when all of them are served.
func (h *host) defineAndJudge(ctx context.Context, c candidate, j *judge) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := h.newPlugger()
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	along := func(f func() error) {
		err := f()
		if err != nil {
			cancel(err)
		}
		ended <- err
	}
	begun := time.Now()
	go along(func() error { return p.plug(ctx, h.nets, j.plugged) })
	go along(func() error {
		err := c.define(ctx)
		say("%s: defined after %.3f s", c.name(), time.Since(begun).Seconds())
		return err
	})
	err = j.wait(ctx, serveLimit(len(h.nets)))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		cancel(err)
	}
	if others := errors.Join(<-ended, <-ended); err == nil {
		err = others
	}
	return errors.Join(err, p.close())
}
