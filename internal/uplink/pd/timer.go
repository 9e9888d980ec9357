package pd

import (
	"math/rand/v2"
	"time"
)

// schedule is how a message is repeated (RFC 9915 section 15).
type schedule struct {
	irt, mrt, mrd time.Duration // initial, most, and in all; 0: no end
	mrc           int           // how often; 0: no end
}

// RFC 9915 section 7.6.
var (
	soliciting = schedule{irt: time.Second, mrt: 3600 * time.Second}
	requesting = schedule{irt: time.Second, mrt: 30 * time.Second, mrc: 10}
	renewing   = schedule{irt: 10 * time.Second, mrt: 600 * time.Second}
	rebinding  = schedule{irt: 10 * time.Second, mrt: 600 * time.Second}
	releasing  = schedule{irt: time.Second, mrc: 4}
	// After a restart the provider may be another one: a Rebind that nobody
	// answers for as long as a Confirm takes (CNF_MAX_RD) is followed by a
	// Solicit, while what is held goes on.
	confirming = schedule{irt: time.Second, mrt: 4 * time.Second, mrd: 10 * time.Second}
)

// solicitDelay is SOL_MAX_DELAY: a host that starts with many others does not
// ask in the same moment.
const solicitDelay = time.Second

// retransmission is one message being repeated.
type retransmission struct {
	schedule
	rand  *rand.Rand
	first time.Duration // when it was first sent
	rt    time.Duration // the wait in force; 0: not sent yet
	count int
	next  time.Duration // when it is due
}

// start begins anew: the message is due at a moment.
func (r *retransmission) start(s schedule, at time.Duration) {
	r.schedule, r.first, r.rt, r.count, r.next = s, at, 0, 0, at
}

// sent says that the message went out, and winds the timer.
func (r *retransmission) sent(now time.Duration) {
	if r.count == 0 {
		r.first = now
	}
	r.count++
	switch {
	case r.rt == 0 && r.mrc == 0 && r.mrd == 0 && r.schedule.irt == soliciting.irt:
		// Section 18.2.1: the first wait of a Solicit is no shorter than IRT,
		// so that all servers have it to answer.
		r.rt = r.irt + time.Duration(r.rand.Float64()*0.1*float64(r.irt))
	case r.rt == 0:
		r.rt = r.irt + r.jitter(r.irt)
	default:
		r.rt = 2*r.rt + r.jitter(r.rt)
	}
	if r.mrt > 0 && r.rt > r.mrt {
		r.rt = r.mrt + r.jitter(r.mrt)
	}
	r.next = now + r.rt
	if r.mrd > 0 && r.next > r.first+r.mrd {
		r.next = r.first + r.mrd
	}
}

// spent reports whether the message was sent as often, or for as long, as it
// may be.
func (r *retransmission) spent(now time.Duration) bool {
	return r.mrc > 0 && r.count >= r.mrc || r.mrd > 0 && r.count > 0 && now >= r.first+r.mrd
}

// jitter is a tenth of d at most, either way.
func (r *retransmission) jitter(d time.Duration) time.Duration {
	return time.Duration((r.rand.Float64()*0.2 - 0.1) * float64(d))
}

// elapsed is what goes into the Elapsed Time option (section 21.9).
func (r *retransmission) elapsed(now time.Duration) time.Duration {
	if r.count == 0 {
		return 0
	}
	return min(now-r.first, 65535*10*time.Millisecond)
}
