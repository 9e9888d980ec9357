package radv

import "time"

// Lifetimes and intervals, where the network says nothing else.
const (
	// RFC 4861 section 6.2.1: MaxRtrAdvInterval, and what it begets: the
	// router's lifetime, those of resolvers (RFC 8106 section 5.1), of routes
	// (RFC 4191) and of the NAT64 prefix (RFC 8781 section 4.1) are three times
	// as long.
	maxInterval = 600 * time.Second
	// RFC 4861 section 6.2.1: AdvDefaultLifetime is at most this.
	mostLifetime = 9000 * time.Second
	// RFC 8781 section 4: 13 bits of units of 8 seconds.
	mostPREF64 = 65528 * time.Second
	// infinity is all ones on the wire (RFC 4861 section 4.6.2); no lifetime of
	// ours is without end.
	infinity = 0xffffffff * time.Second

	// RFC 4861 section 10: MAX_INITIAL_RTR_ADVERTISEMENTS, and an interval
	// well below MAX_INITIAL_RTR_ADVERT_INTERVAL (16 s).
	initialCount    = 3
	initialInterval = 4 * time.Second
	// RFC 4861 section 10: MIN_DELAY_BETWEEN_RAS and MAX_RA_DELAY_TIME.
	minDelay      = 3 * time.Second
	maxReplyDelay = 500 * time.Millisecond

	// retryInterval is how soon an advertisement that could not be sent (no
	// link-local address yet, as on a bridge without ports) is tried again; it
	// grows up to minDelay. A guest whose link comes up solicits anyway.
	retryInterval = 500 * time.Millisecond

	// RFC 4861 section 6.2.1: AdvCurHopLimit.
	currentHopLimit = 64
)

// Instant is one moment on both clocks: deadlines promised to guests are wall
// clock, timers follow the time since boot, which counts sleep and never jumps.
type Instant struct {
	Wall time.Time
	Boot time.Duration
}

// deadline is a promise: the wall clock's moment as it was stated, and when
// that is by the time since boot. The second is fixed when the promise is first
// heard, so that a clock that is set neither shortens nor lengthens it; a
// process that starts takes it from the first.
type deadline struct {
	wall time.Time // zero: none
	boot time.Duration
}

// newDeadline fixes a stated moment; old is what was fixed for the same
// promise before.
func newDeadline(wall time.Time, old deadline, now Instant) deadline {
	switch {
	case wall.IsZero():
		return deadline{}
	case wall.Equal(old.wall):
		return old
	}
	return deadline{wall, now.Boot + wall.Sub(now.Wall)}
}

// lifetime is what is told of a promise: what is left of it, at most so much.
type lifetime struct {
	most  time.Duration
	until deadline
}

// at returns the lifetime in whole seconds at a moment, and until when it is
// that; 0: for ever.
func (l lifetime) at(boot time.Duration) (d, until time.Duration) {
	if l.until.wall.IsZero() {
		return l.most, 0
	}
	left := l.until.boot - boot
	switch {
	case left <= 0:
		return 0, 0
	case left > l.most:
		return l.most, l.until.boot - l.most
	}
	d = left.Truncate(time.Second)
	return d, l.until.boot - d + 1
}

// over reports whether the promise has ended.
func (l lifetime) over(boot time.Duration) bool {
	return !l.until.wall.IsZero() && l.until.boot <= boot
}

// sooner is the earlier of two moments, 0 being never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
