package ndproxy

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for the sockets of all links and for a moment: an epoll set of
// our own, which the runtime's poller watches.
type poller struct {
	file *os.File
	raw  syscall.RawConn
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make epoll set: %w", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("watch epoll set: %w", err)
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

// until sets the moment at which wait returns, from any goroutine.
func (p *poller) until(t time.Time) error { return p.file.SetReadDeadline(t) }

// wait blocks until some are ready, and returns how many: none when the moment
// has come. Another error means that the poller is closed.
func (p *poller) wait(ready []unix.EpollEvent) (int, error) {
	var n int
	var err error
	e := p.raw.Read(func(ep uintptr) bool {
		for {
			n, err = unix.EpollWait(int(ep), ready, 0)
			if !errors.Is(err, unix.EINTR) {
				return n > 0 || err != nil
			}
		}
	})
	if errors.Is(e, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return max(n, 0), errors.Join(e, err)
}

func (p *poller) Close() error { return p.file.Close() }
