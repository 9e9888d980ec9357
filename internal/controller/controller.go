// Package controller holds the few loops that one process of an installation
// runs for all of it. What they do to wishes goes through control; so far there
// is only the collecting of what nobody needs any more.
package controller

import (
	"context"
	"log/slog"
	"time"
)

// Collector removes what nobody needs any more: old events, statuses of objects
// that are gone. It may be called by several processes at once.
type Collector interface {
	Collect(ctx context.Context, now time.Time) error
}

// collectEvery is how often there is something to collect.
const collectEvery = time.Minute

// Run collects until ctx ends. A store that is away is tried again the next
// time.
func Run(ctx context.Context, c Collector, log *slog.Logger) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := c.Collect(ctx, now); err != nil && ctx.Err() == nil {
				log.Debug("nothing collected", "err", err)
			}
		}
	}
}
