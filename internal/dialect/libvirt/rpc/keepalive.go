package rpc

import "time"

// keepAlive decides when a client is asked whether it is still there, and when
// it is not (virkeepalive.c). It is told the time.
type keepAlive struct {
	interval time.Duration
	count    int // how many pings may go unanswered

	heard time.Time // when anything came, or the last ping went
	left  int
}

func newKeepAlive(interval time.Duration, count int, now time.Time) *keepAlive {
	return &keepAlive{interval: interval, count: count, heard: now, left: count}
}

// received notes that something came.
func (k *keepAlive) received(now time.Time) { k.heard, k.left = now, k.count }

// due says what is to be done now, and when to ask again.
func (k *keepAlive) due(now time.Time) (ping, dead bool, next time.Time) {
	if at := k.heard.Add(k.interval); now.Before(at) {
		return false, false, at
	}
	if k.left == 0 {
		return false, true, time.Time{}
	}
	k.left--
	k.heard = now
	return true, false, now.Add(k.interval)
}

// keepAliveMessage is a ping or a pong.
func keepAliveMessage(proc uint32) []byte {
	h := header{program: programKeepAlive, version: programVersion, proc: proc, kind: kindMessage}
	m, _ := h.encode(nil) // a header alone always fits
	return m
}

// startKeepAlive begins to ask the client whether it is there.
func (c *conn) startKeepAlive() {
	o := c.server.opts
	if o.KeepAliveInterval <= 0 {
		return
	}
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	if c.keep != nil {
		return
	}
	c.keep = newKeepAlive(o.KeepAliveInterval, o.KeepAliveCount, time.Now())
	c.keepTimer = time.AfterFunc(o.KeepAliveInterval, c.checkKeepAlive)
}

// heard notes that the client lives.
func (c *conn) heard() {
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	if c.keep != nil {
		c.keep.received(time.Now())
	}
}

func (c *conn) checkKeepAlive() {
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	if c.keep == nil {
		return
	}
	now := time.Now()
	if c.busy.Load() {
		// It is we who do not read what it may have sent.
		c.keep.received(now)
	}
	ping, dead, next := c.keep.due(now)
	switch {
	case dead:
		c.drop("it does not answer")
		return
	case ping:
		c.out.put(keepAliveMessage(procPing), false)
	}
	c.keepTimer.Reset(next.Sub(now))
}

// stopKeepAlive ends it with the connection.
func (c *conn) stopKeepAlive() {
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	if c.keep != nil {
		c.keepTimer.Stop()
		c.keep = nil
	}
}
