package listen

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is CLOCK_BOOTTIME.
func BootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
