package rpc

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestQueue has what may wait: replies beyond the bound of events, nothing
// beyond what all queues together may hold, but for a queue that is empty.
func TestQueue(t *testing.T) {
	for _, tc := range []struct {
		name    string
		others  int64 // bytes in other queues
		replies []bool
		full    bool
		waiting int
	}{
		{"events", 0, []bool{false, false}, false, 2},
		{"too many events", 0, []bool{false, false, false, false}, true, 2},
		{"replies are not bounded by themselves", 0, []bool{true, true, true, true}, false, 4},
		{"all together", 0, []bool{true, true, true, true, true, true}, true, 5},
		{"the first while the others have much", 90, []bool{true}, false, 1},
		{"the second", 90, []bool{true, true}, true, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var total atomic.Int64
			total.Store(tc.others)
			full := 0
			q := newQueue(40, &total, 100, func() { full++ })
			for _, reply := range tc.replies {
				q.put(make([]byte, 20), reply)
			}
			if (full == 1) != tc.full || full > 1 || len(q.messages) != tc.waiting {
				t.Errorf("full %d times, %d messages wait", full, len(q.messages))
			}
			if q.clear(); total.Load() != tc.others {
				t.Errorf("%d bytes are still counted", total.Load()-tc.others)
			}
		})
	}
}

// TestGone has clients that go while their calls run: a change is carried to
// its end, a question is not.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		m := &memory{hold: make(chan struct{}), begun: make(chan struct{}, 1), asked: func(ctx context.Context) {
			<-ctx.Done()
			ended <- ctx.Err()
		}}
		s, _ := newPipeServer(t, Options{Handler: m, Log: quiet}, 0)
		changes, asks := pipe(t, s, false).open(), pipe(t, s, false).open()
		var web Network
		changes.must(41, &textValue{"<name>web</name>"}, &web)
		changes.send(39, &web)
		asks.send(283, &listArgs{})
		<-m.begun
		changes.Close()
		asks.Close()
		if err := <-ended; err == nil {
			t.Error("the question goes on")
		}
		synctest.Wait()
		close(m.hold)
		synctest.Wait()
		if !m.nets[0].Active {
			t.Error("the change was given up")
		}
		if n := len(s.connections()); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}
