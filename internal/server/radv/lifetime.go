package radv

import "time"

// Lifetimes and intervals.
const (
	// RFC 4861 section 6.2.1: AdvDefaultLifetime, 3 * MaxRtrAdvInterval.
	routerLifetime = 1800 * time.Second
	// RFC 9096 section 4: ND_PREFERRED_LIMIT and ND_VALID_LIMIT.
	preferredLimit = 2700 * time.Second
	validLimit     = 5400 * time.Second
	// RFC 8106 section 5.1: 3 * MaxRtrAdvInterval.
	dnsLifetime = 1800 * time.Second

	// RFC 4861 section 6.2.1: MaxRtrAdvInterval and MinRtrAdvInterval.
	maxInterval = 600 * time.Second
	minInterval = 200 * time.Second
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

	// maxPrefixes keeps an advertisement within 1280 bytes.
	maxPrefixes = 24
	// maxSearch and maxServers bound the DNS options likewise.
	maxSearch, maxServers = 6, 4
	// maxGone bounds the prefixes that are remembered to be called back.
	maxGone = 8
)

// Instant is one moment on both clocks: deadlines promised to guests are wall
// clock, timers follow the time since boot, which counts sleep and never jumps.
type Instant struct {
	Wall time.Time
	Boot time.Duration
}

// until returns the whole seconds left until the deadline, at most limit; a
// zero deadline is no bound.
func until(deadline, now time.Time, limit time.Duration) time.Duration {
	if deadline.IsZero() {
		return limit
	}
	return max(0, min(limit, deadline.Sub(now).Truncate(time.Second)))
}
