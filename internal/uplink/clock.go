package uplink

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/uplink/pd"
)

// Clock is the moment on both clocks. Tests have one of their own.
type Clock func() pd.Instant

// SystemClock is the clock of this machine: CLOCK_REALTIME, and CLOCK_BOOTTIME,
// which counts sleep and never jumps.
func SystemClock() pd.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return pd.Instant{Wall: time.Now().Round(0)}
	}
	// Round takes the monotonic reading off: a deadline is compared with what
	// the wall says.
	return pd.Instant{Wall: time.Now().Round(0), Boot: time.Duration(ts.Nano())}
}

// resumed is a gap between two moments of work that no load explains: the
// process was frozen, or the host slept.
const resumed = 15 * time.Second

// now is the moment, with all that is known brought up to it. Nothing that has
// a deadline may be read or taken in by any other.
func (l *Links) now() pd.Instant {
	now := l.cfg.Clock()
	l.follow(now)
	return now
}

// follow finds out whether the wall clock was set, and whether time has passed
// without us.
func (l *Links) follow(now pd.Instant) {
	passed := now.Boot - l.last.Boot
	if jump := l.last.Follow(now); jump != 0 {
		l.shift(jump)
	}
	for _, k := range l.links {
		if k.client != nil && k.client.Follow(now) {
			l.tell.Held = add(l.tell.Held, k.Name)
		}
	}
	if passed < resumed || l.ctx == nil {
		return
	}
	l.cfg.Log.Info("time has passed without us: uplinks are looked at again", "time", passed)
	for _, k := range l.links {
		if k.hear != nil {
			k.confirm(now)
		}
	}
}

// shift moves every moment with the wall clock, and tells so: whoever reckons
// with the deadlines of before must read them again.
func (l *Links) shift(by time.Duration) {
	l.cfg.Log.Info("the wall clock was set: lifetimes go on as before", "by", by)
	l.table.Shift(by)
	for name, h := range l.held {
		l.held[name] = h.Shifted(by)
		l.tell.Held = add(l.tell.Held, name)
	}
	for _, k := range l.links {
		if k.past != nil {
			k.past = k.past.Shifted(by)
			l.tell.Held = add(l.tell.Held, k.Name)
		}
		if !k.upWall.IsZero() {
			k.upWall = k.upWall.Add(by)
		}
		for p, t := range k.since {
			k.since[p] = t.Add(by)
		}
		l.tell.Facts = add(l.tell.Facts, k.Name)
	}
	l.poke()
}
