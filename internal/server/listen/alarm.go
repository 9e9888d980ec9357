package listen

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm rings some time later, by the time since boot: Go's timers do not count
// the host's sleep.
type Alarm struct {
	file *os.File
	c    chan struct{}
}

// NewAlarm returns an alarm that is not set.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	a := &Alarm{file: os.NewFile(uintptr(fd), "timer"), c: make(chan struct{}, 1)}
	go a.run()
	return a, nil
}

// run hands on that the alarm rang, until it is closed.
func (a *Alarm) run() {
	var times [8]byte
	for {
		if _, err := a.file.Read(times[:]); err != nil { // it is closed
			return
		}
		select {
		case a.c <- struct{}{}:
		default:
		}
	}
}

// C is where it rings. It may ring once for a moment that was set before.
func (a *Alarm) C() <-chan struct{} { return a.c }

// Set has it ring in so long, and no longer when it was to.
func (a *Alarm) Set(d time.Duration) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = SetTimer(int(fd), d) })
	return errors.Join(err, set)
}

// Close silences it.
func (a *Alarm) Close() error { return a.file.Close() }

// SetTimer has a timerfd ring in so long.
func SetTimer(fd int, d time.Duration) error {
	// Zero would disarm it.
	return unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}, nil)
}
