package rpc

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// queue is what waits to be written to one client. How many replies there can
// be is bounded by the calls that a client may have outstanding, since they are
// counted until the replies are written. What else is sent has a bound in
// bytes; and when all queues together have become too much, those with
// something in them take no more. Whoever reads finds neither.
type queue struct {
	most  int64         // bytes of messages that are no replies
	total *atomic.Int64 // bytes in every queue of the server
	limit int64         // of total
	full  func()        // called once, when too much waits
	wake  chan struct{} // has one element when the writer may have work

	mu       sync.Mutex
	messages [][]byte
	replies  []bool // beside messages: whether each is a reply
	bytes    int64  // of those that are none
	last     bool   // nothing comes behind what is there
}

func newQueue(most int64, total *atomic.Int64, limit int64, full func()) *queue {
	return &queue{most: most, total: total, limit: limit, full: full, wake: make(chan struct{}, 1)}
}

// put adds a message and never blocks.
func (q *queue) put(m []byte, reply bool) {
	if !q.add(m, reply) {
		q.full()
	}
	q.rouse()
}

// add reports whether there is room; what is added behind the end is dropped.
func (q *queue) add(m []byte, reply bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last {
		return true
	}
	size := int64(len(m))
	if q.total.Load()+size > q.limit && len(q.messages) > 0 || !reply && q.bytes+size > q.most {
		q.last = true
		return false
	}
	if !reply {
		q.bytes += size
	}
	q.total.Add(size)
	q.messages = append(q.messages, m)
	q.replies = append(q.replies, reply)
	return true
}

// finish lets the writer end when everything is written.
func (q *queue) finish() {
	q.mu.Lock()
	q.last = true
	q.mu.Unlock()
	q.rouse()
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the first message, and whether more can come.
func (q *queue) take() (m []byte, reply, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.messages) == 0 {
		q.messages, q.replies = nil, nil
		return nil, false, !q.last
	}
	m, reply = q.messages[0], q.replies[0]
	q.messages[0] = nil
	q.messages, q.replies = q.messages[1:], q.replies[1:]
	if !reply {
		q.bytes -= int64(len(m))
	}
	return m, reply, true
}

// write writes what comes until it is finished, an error, or done. Each chunk
// of a message must go within the timeout. written is called after each reply.
func (q *queue) write(c net.Conn, timeout time.Duration, done <-chan struct{}, written func()) error {
	for {
		m, reply, more := q.take()
		switch {
		case m != nil:
			err := writeAll(c, m, timeout)
			q.total.Add(-int64(len(m)))
			if err != nil {
				return err
			}
			if reply {
				written()
			}
		case !more:
			return nil
		default:
			select {
			case <-q.wake:
			case <-done:
				return nil
			}
		}
	}
}

// writeAll writes a message in chunks, so that only a client that takes
// nothing at all runs into the timeout.
func writeAll(c net.Conn, m []byte, timeout time.Duration) error {
	const chunk = 64 << 10
	for len(m) > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		n, err := c.Write(m[:min(len(m), chunk)])
		if err != nil {
			return err
		}
		m = m[n:]
	}
	return nil
}

// clear forgets what was not written.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		q.total.Add(-int64(len(m)))
	}
	q.messages, q.replies, q.last = nil, nil, true
}
