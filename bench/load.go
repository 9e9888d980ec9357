package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// load is a closed loop of clients: so many at a time are in the middle of
// their exchange, and when one has its answer the next one begins. Each client
// has a MAC of its own behind the one device.
type load struct {
	netns, device string
	flight        int           // exchanges at a time
	clients       int           // exchange number n is of client n modulo clients
	limit         int           // of exchanges
	time          time.Duration // after which no more begin
	giveUp        time.Duration // without any answer; 0: ten times patience
	// stalls says that a server which falls silent after a while has not
	// failed: what it did until then counts.
	stalls bool
	talk   talk
}

// talk is what clients of one protocol say and expect.
type talk interface {
	etherType() uint16
	// open appends the first frame of exchange n of a client.
	open(frame []byte, n uint32, client int) []byte
	// hear works a frame in. Unless it is for nobody (ok false), it returns
	// which exchange it belongs to and appends to frame what the client says
	// next; nothing means that the exchange is done, with the address that
	// the client was given, if it was given one.
	hear(heard, frame []byte, client func(n uint32) (int, bool)) (n uint32, next []byte, given netip.Addr, ok bool, err error)
}

// loadResult is what a load came to.
type loadResult struct {
	done     int
	repeated int           // messages that were not answered in time
	elapsed  time.Duration // until the last answer
	waits    []time.Duration
	given    map[netip.Addr]int // address to client
	first    int                // number of the first client
}

// rate is exchanges a second.
func (r *loadResult) rate() float64 { return float64(r.done) / r.elapsed.Seconds() }

// wait is the quantile of how long exchanges took, in seconds.
func (r *loadResult) wait(quantile float64) float64 {
	if len(r.waits) == 0 {
		return 0
	}
	slices.Sort(r.waits)
	return r.waits[min(len(r.waits)-1, int(quantile*float64(len(r.waits))))].Seconds()
}

// patience is how long a client waits before it repeats itself: RFC 9915
// section 7.6 says one second.
const patience = time.Second

// exchange is one that is under way.
type exchange struct {
	n           uint32
	free        bool
	frame       []byte // the last one sent
	begun, sent time.Time
}

// running is a load at work.
type running struct {
	*load
	w      *wire
	slots  []exchange
	slotOf []int32 // of exchanges; -1: not under way
	idle   []int32 // slots
	next   int
	open   int
	result loadResult
}

// run returns an error when a client is told what is wrong: an address that
// another client has, or none.
func (l *load) run(ctx context.Context) (_ *loadResult, err error) {
	w, err := openWire(l.netns, l.device, l.talk.etherType())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := &running{load: l, w: w, slots: make([]exchange, l.flight), slotOf: make([]int32, l.limit)}
	r.result.given = make(map[netip.Addr]int, l.clients)
	for i := range r.slotOf {
		r.slotOf[i] = -1
	}
	if l.giveUp == 0 {
		l.giveUp = 10 * patience
	}
	for i := range r.slots {
		r.slots[i].free = true
		r.idle = append(r.idle, int32(i))
	}
	r.result.waits = make([]time.Duration, 0, l.limit)
	return &r.result, r.loop(ctx)
}

func (r *running) loop(ctx context.Context) error {
	begun := time.Now()
	last, looked := begun, begun
	for {
		now := time.Now()
		if err := r.begin(now, begun); err != nil {
			return err
		}
		if r.open == 0 {
			break
		}
		n, err := r.w.hear()
		if err != nil {
			return err
		}
		now = time.Now()
		for i := range n {
			done, err := r.take(r.w.heard(i), now)
			if err != nil {
				return err
			}
			if done {
				last = now
			}
		}
		if now.Sub(looked) > patience/10 {
			looked = now
			if r.stalls && r.result.done > 0 && now.Sub(last) > r.giveUp {
				break
			}
			if now.Sub(last) > r.giveUp || ctx.Err() != nil {
				return errors.Join(ctx.Err(), fmt.Errorf("no answer for %v, %d of %d exchanges are done", now.Sub(last).Round(time.Millisecond), r.result.done, r.next))
			}
			if err := r.repeat(now); err != nil {
				return err
			}
		}
	}
	r.result.elapsed = last.Sub(begun)
	if t, ok := r.talk.(*talk4); ok {
		r.result.repeated += t.refused
		r.result.first = t.first
	}
	return nil
}

// begin has clients begin as long as there is room for them.
func (r *running) begin(now, begun time.Time) error {
	for len(r.idle) > 0 && r.next < r.limit && now.Sub(begun) < r.time {
		slot := r.idle[len(r.idle)-1]
		r.idle = r.idle[:len(r.idle)-1]
		n := uint32(r.next)
		r.next++
		r.open++
		r.slotOf[n] = slot
		x := &r.slots[slot]
		x.n, x.begun, x.free = n, now, false
		x.frame = r.talk.open(x.frame[:0], n, r.client(n))
		if err := r.say(x, now); err != nil {
			return err
		}
	}
	return r.w.flush()
}

func (r *running) client(n uint32) int { return int(n) % r.clients }

func (r *running) say(x *exchange, now time.Time) error {
	x.sent = now
	return r.w.queue(x.frame)
}

// take works a frame in, and reports whether it ended an exchange.
func (r *running) take(frame []byte, now time.Time) (bool, error) {
	n, next, given, ok, err := r.talk.hear(frame, r.w.room(), func(n uint32) (int, bool) {
		return r.client(n), int(n) < r.limit && r.slotOf[n] >= 0
	})
	if err != nil || !ok {
		return false, err
	}
	slot := r.slotOf[n]
	x := &r.slots[slot]
	if len(next) > 0 {
		x.frame = append(x.frame[:0], next...)
		return false, r.say(x, now)
	}
	if given.IsValid() {
		client := r.client(n)
		if other, taken := r.result.given[given]; taken && other != client {
			return false, fmt.Errorf("clients %d and %d were both given %v", other, client, given)
		}
		r.result.given[given] = client
	}
	r.result.done++
	r.result.waits = append(r.result.waits, now.Sub(x.begun))
	r.slotOf[n], x.free = -1, true
	r.idle = append(r.idle, slot)
	r.open--
	return true, nil
}

// repeat repeats what was not answered in time.
func (r *running) repeat(now time.Time) error {
	for i := range r.slots {
		if x := &r.slots[i]; !x.free && now.Sub(x.sent) > patience {
			r.result.repeated++
			if err := r.say(x, now); err != nil {
				return err
			}
		}
	}
	return r.w.flush()
}
