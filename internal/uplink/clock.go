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
