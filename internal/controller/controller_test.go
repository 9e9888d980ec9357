package controller

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

type counter struct{ n int }

func (c *counter) Collect(context.Context, time.Time) error {
	c.n++
	return errors.New("away")
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &counter{}
		go Run(ctx, c, slog.New(slog.DiscardHandler))
		<-time.After(10*collectEvery + time.Second)
		cancel()
		synctest.Wait()
		if c.n != 10 {
			t.Errorf("collected %d times, want 10", c.n)
		}
	})
}
