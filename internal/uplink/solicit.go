package uplink

import (
	"math/rand/v2"
	"time"
)

// Router solicitations of our own: RFC 4861 section 6.3.7, repeated as RFC
// 7559 section 2 has it.
const (
	solicitDelay    = time.Second // MAX_RTR_SOLICITATION_DELAY
	solicitInterval = 4 * time.Second
	solicitMost     = time.Hour
	// confirmWithin is for how long, after a link was down or the host
	// asleep, its routers may take to be heard again: three solicitations,
	// and the 3.5 seconds that a router may wait with its answer (section
	// 6.2.6).
	confirmWithin = 12 * time.Second
)

// solicitor says when to ask for routers. Its zero value does not ask.
type solicitor struct {
	asking bool
	next   time.Duration // since boot
	wait   time.Duration // 0: not asked yet
}

// begin starts to ask, after a short wait in which the kernel's own question,
// or that of whoever manages the link, may be answered.
func (s *solicitor) begin(now time.Duration) {
	*s = solicitor{asking: true, next: now + time.Duration(rand.Int64N(int64(solicitDelay)))}
}

// due reports whether to ask now.
func (s *solicitor) due(now time.Duration) bool { return s.asking && now >= s.next }

// sent says that it was asked.
func (s *solicitor) sent(now time.Duration) {
	jitter := func(d time.Duration) time.Duration { return time.Duration((rand.Float64()*0.2 - 0.1) * float64(d)) }
	if s.wait == 0 {
		s.wait = solicitInterval + jitter(solicitInterval)
	} else {
		s.wait = 2*s.wait + jitter(s.wait)
	}
	if s.wait > solicitMost {
		s.wait = solicitMost + jitter(solicitMost)
	}
	s.next = now + s.wait
}

// heard ends the asking: a default router advertised itself.
func (s *solicitor) heard() { s.asking = false }

// solicitation is the ICMPv6 message (RFC 4861 section 4.1), without its
// checksum. A link without MACs has no source option.
func solicitation(mac []byte) []byte {
	b := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	if len(mac) == 6 {
		b = append(append(b, 1, 1), mac...)
	}
	return b
}
