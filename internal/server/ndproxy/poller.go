package ndproxy

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// poller waits for the sockets of all links and for a moment: an epoll set of
// our own, which the runtime's poller watches. The moment is one since boot,
// which counts the host's sleep.
type poller struct {
	file  *os.File
	raw   syscall.RawConn
	timer int           // a timerfd in the set
	armed time.Duration // when it rings

	// Of wait.
	look  func(ep uintptr) bool // poll
	ready []unix.EpollEvent
	n     int
	err   error
	times [8]byte
}

func newPoller() (p *poller, err error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	p = &poller{file: os.NewFile(uintptr(fd), "epoll"), timer: -1}
	p.look = p.poll
	if p.raw, err = p.file.SyscallConn(); err == nil {
		p.timer, err = unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	}
	if err == nil {
		err = p.add(p.timer)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch epoll set: %w", err), p.Close())
	}
	return p, nil
}

// add watches a descriptor, until it is closed.
func (p *poller) add(fd int) error {
	var err error
	e := p.raw.Control(func(ep uintptr) {
		err = unix.EpollCtl(int(ep), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	return errors.Join(e, err)
}

// in has wait return at the latest in so long. It is called with the server's
// lock held.
func (p *poller) in(d, now time.Duration) error {
	if p.armed > now && p.armed <= now+d {
		return nil // it looks again then
	}
	p.armed = now + d
	return listen.SetTimer(p.timer, d)
}

// wait blocks until some are ready, and returns how many, of which the moment
// may be one that means nothing. An error means that the poller is closed. It is
// called for every few frames, and so makes no garbage.
func (p *poller) wait(ready []unix.EpollEvent) (int, error) {
	p.ready = ready
	if err := p.raw.Read(p.look); err != nil {
		return 0, err
	}
	for _, ev := range ready[:max(p.n, 0)] {
		if int(ev.Fd) == p.timer {
			_, _ = unix.Read(p.timer, p.times[:])
		}
	}
	return max(p.n, 0), p.err
}

// poll looks who is ready, and reports whether anybody is.
func (p *poller) poll(ep uintptr) bool {
	for {
		p.n, p.err = unix.EpollWait(int(ep), p.ready, 0)
		if !errors.Is(p.err, unix.EINTR) {
			return p.n > 0 || p.err != nil
		}
	}
}

func (p *poller) Close() error {
	var err error
	if p.timer >= 0 {
		err = unix.Close(p.timer)
	}
	return errors.Join(p.file.Close(), err)
}
