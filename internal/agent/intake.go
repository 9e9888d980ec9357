package agent

import (
	"sync"

	"github.com/sextant-net/sextant/internal/vnet"
)

// intakeMost bounds how many updates wait for the loop; the store keeps the
// rest.
const intakeMost = 1 << 14

// intake gathers the store's updates while the loop works, so that what came
// meanwhile is worked in one pass. Without it a burst of a thousand networks
// would be a thousand passes: a channel hands over one update at a time.
type intake struct {
	wake chan struct{} // has something whenever updates wait

	mu    sync.Mutex
	room  sync.Cond
	queue []vnet.Update
	ended bool // no more updates will come
}

func newIntake() *intake {
	i := &intake{wake: make(chan struct{}, 1)}
	i.room.L = &i.mu
	return i
}

// run gathers until updates is closed, or stop is called.
func (i *intake) run(updates <-chan vnet.Update) {
	for u := range updates {
		if !i.add(u) {
			return
		}
	}
	i.stop()
}

// add queues an update, waiting for room; it reports false after stop.
func (i *intake) add(u vnet.Update) bool {
	i.mu.Lock()
	for len(i.queue) >= intakeMost && !i.ended {
		i.room.Wait()
	}
	ok := !i.ended
	if ok {
		i.queue = append(i.queue, u)
	}
	i.mu.Unlock()
	poke(i.wake)
	return ok
}

// stop says that no more updates will come, and lets run end.
func (i *intake) stop() {
	i.mu.Lock()
	i.ended = true
	i.mu.Unlock()
	i.room.Broadcast()
	poke(i.wake)
}

// take returns what has come, oldest first; ok is false once nothing is left
// and nothing more will come.
func (i *intake) take() (all []vnet.Update, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	all, i.queue = i.queue, nil
	i.room.Broadcast()
	return all, len(all) > 0 || !i.ended
}
