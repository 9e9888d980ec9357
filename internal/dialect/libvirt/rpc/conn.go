package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one client's connection: one goroutine reads, one writes, and each
// call runs in its own.
type conn struct {
	server  *Server
	id      uint64
	net     net.Conn
	peer    Peer
	session session
	opened  atomic.Bool // no longer counted as unopened
	out     *queue
	slots   chan struct{} // a token for each call that may yet come
	busy    atomic.Bool   // reading waits until a call is answered
	calls   sync.WaitGroup
	closing bool // the client said goodbye; the reader's

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	once   sync.Once

	keepMu    sync.Mutex
	keep      *keepAlive
	keepTimer *time.Timer

	readMu  sync.Mutex
	stopped bool // the deadline for reading stays in the past
}

func newConn(s *Server, nc net.Conn, peer Peer, readOnly bool) *conn {
	c := &conn{
		server: s, id: s.nextID.Add(1), net: nc, peer: peer,
		session: session{readOnly: readOnly},
		slots:   make(chan struct{}, s.opts.MaxRequests),
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.out = newQueue(s.opts.MaxEvents, &s.written, s.opts.MaxMemory, func() { c.drop("it does not read what it is sent") })
	return c
}

func (c *conn) handler() Handler { return c.server.opts.Handler }

// serve runs the connection to its end.
func (c *conn) serve() {
	defer c.server.forget(c)
	wrote := make(chan error, 1)
	go func() {
		err := c.out.write(c.net, c.server.opts.MessageTimeout, c.ctx.Done(), func() { <-c.slots })
		if err != nil {
			c.drop("it cannot be written to: " + err.Error())
		}
		wrote <- err
	}()
	err := c.read()
	c.stopKeepAlive()
	if !c.closing && !c.isStopped() {
		// Without a goodbye nobody waits for answers; what is under way and
		// changes something goes on.
		c.drop(reason(err))
	}
	c.calls.Wait()
	c.out.finish()
	<-wrote
	c.out.clear()
	c.drop("")
}

// reason says why reading ended, "" where that is no news.
func reason(err error) string {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return ""
	}
	return err.Error()
}

// drop closes the connection at once.
func (c *conn) drop(why string) {
	c.once.Do(func() {
		if why != "" {
			c.server.opts.Log.Info("a libvirt client was dropped", "uid", c.peer.UID, "pid", c.peer.PID, "reason", why)
		}
		c.cancel()
		c.net.Close()
	})
}

// stopReading ends the reader; what was called is still answered.
func (c *conn) stopReading() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.stopped = true
	c.net.SetReadDeadline(time.Unix(1, 0))
}

func (c *conn) isStopped() bool {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.stopped
}

// readUntil sets the deadline of the next reads, none for the zero time.
func (c *conn) readUntil(t time.Time) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if !c.stopped {
		c.net.SetReadDeadline(t)
	}
}
