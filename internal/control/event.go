package control

import (
	"context"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Events sends what happened after the revision (0: all that is still known,
// negative: nothing of the past), and then what happens, until ctx ends; then
// the channel is closed. Each event's Revision is where to go on from. Those
// who are no administrators see the events of their projects.
func (c *Control) Events(ctx context.Context, who Identity, after int64) (<-chan vnet.Event, error) {
	past, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindEvent})
	if err != nil {
		return nil, err
	}
	updates, err := c.store.Watch(ctx, vnet.Query{Kind: vnet.KindEvent}, past.Revision)
	if err != nil {
		return nil, err
	}
	out := make(chan vnet.Event)
	go func() {
		defer close(out)
		seen := after
		send := func(o vnet.Object) bool {
			e, ok := o.(*vnet.Event)
			if !ok || e.Revision <= seen || !who.Admin && !who.may(e.Project) {
				return true
			}
			select {
			case out <- *e:
				return true
			case <-ctx.Done():
				return false
			}
		}
		if after >= 0 {
			for _, o := range past.Items {
				if !send(o) {
					return
				}
			}
		}
		seen = max(after, past.Revision)
		for u := range updates {
			for _, o := range u.Put {
				if !send(o) {
					return
				}
			}
			seen = max(seen, u.Revision)
		}
	}()
	return out, nil
}
