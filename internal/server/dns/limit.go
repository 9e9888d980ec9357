package dns

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// rate and burst bound the queries of one client per second.
	rate  = 500
	burst = 1000
	// clients bounds how many clients are remembered.
	clients = 4096
	// flightsPerClient, flightsPerNetwork and flights bound the questions
	// that wait for an upstream.
	flightsPerClient  = 64
	flightsPerNetwork = 256
	flights           = 1024
)

// limiter holds a token bucket for each client. A zero Time is never now.
type limiter struct {
	mu      sync.Mutex
	buckets map[netip.Addr]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter() *limiter { return &limiter{buckets: map[netip.Addr]bucket{}} }

// take reports whether the client may ask once more now.
func (l *limiter) take(now time.Time, a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[a]
	if !known {
		if len(l.buckets) >= clients {
			l.forget(now)
		}
		b = bucket{burst, now}
	}
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(burst, b.tokens+d.Seconds()*rate)
	}
	b.at = now
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	l.buckets[a] = b
	return ok
}

// forget drops the clients whose bucket is full again, and if that is too few
// some others: a client that is forgotten only gets a fresh burst.
func (l *limiter) forget(now time.Time) {
	for a, b := range l.buckets {
		if now.Sub(b.at).Seconds()*rate+b.tokens >= burst {
			delete(l.buckets, a)
		}
	}
	for a := range l.buckets {
		if len(l.buckets) < clients*3/4 {
			return
		}
		delete(l.buckets, a)
	}
}
