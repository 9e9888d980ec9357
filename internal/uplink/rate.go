package uplink

import "time"

// bucket bounds how often something may happen: rate times a second, after a
// burst. Its zero value is full.
type bucket struct {
	rate, burst float64
	used        float64 // of the burst
	last        time.Duration
}

// take reports whether it may happen at a moment since boot.
func (b *bucket) take(now time.Duration) bool {
	if now > b.last {
		b.used = max(0, b.used-(now-b.last).Seconds()*b.rate)
		b.last = now
	}
	if b.used+1 > b.burst {
		return false
	}
	b.used++
	return true
}

// wait is how long until it may happen again; 0: now.
func (b *bucket) wait(now time.Duration) time.Duration {
	over := b.used + 1 - b.burst - max(0, now-b.last).Seconds()*b.rate
	return max(0, time.Duration(over/b.rate*float64(time.Second)))
}
