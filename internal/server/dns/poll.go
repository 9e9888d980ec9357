package dns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// perTurn is how many datagrams one socket may have served before the
	// others' turn.
	perTurn = 32
	events  = 64
)

// poller waits for all sockets of all namespaces at once: an epoll set of our
// own, which the runtime's poller watches. One goroutine and one buffer serve
// thousands of sockets.
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

// change adds or removes (unix.EPOLL_CTL_*) a descriptor.
func (p *poller) change(op, fd int) error {
	var err error
	e := p.raw.Control(func(ep uintptr) {
		err = unix.EpollCtl(int(ep), op, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	return errors.Join(e, err)
}

// wait blocks until some are ready and returns how many; an error means the
// poller is closed.
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
	return n, errors.Join(e, err)
}

// poll serves until the poller is closed.
func (s *sockets) poll(p *poller) {
	ready := make([]unix.EpollEvent, events)
	buf := make([]byte, maxQuery)
	for {
		n, err := p.wait(ready)
		if err != nil {
			return
		}
		for _, e := range ready[:n] {
			switch sock := s.find(int(e.Fd)); {
			case sock == nil:
			case sock.tcp:
				s.acceptAll(sock)
			default:
				s.readAll(sock, buf)
			}
		}
	}
}

func (s *sockets) readAll(sock *socket, buf []byte) {
	for range perTurn {
		n, from, err := sock.receive(buf)
		if err != nil {
			return // nothing more, or an ICMP error of an earlier answer
		}
		s.packet(sock, from, buf[:n])
	}
}

func (s *sockets) acceptAll(sock *socket) {
	for range perTurn {
		fd, from, err := sock.accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) {
			s.rest(sock)
			return
		}
		if err != nil {
			return
		}
		f := os.NewFile(uintptr(fd), "dns")
		conn, err := net.FileConn(f) // a duplicate that the runtime watches
		_ = f.Close()
		if err == nil {
			s.stream(sock, from, conn)
		}
	}
}
