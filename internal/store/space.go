package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Defaults of the free-space reserve: the smaller of 64 MiB and 2 % of the file
// system, but room for what etcd writes without being asked (the next segment
// of its log, a snapshot).
const (
	reserveMost  = 64 << 20
	reserveLeast = 3 * walSegment
)

// ballastSize is what a file beside the store takes up, in bytes, so that the
// store can be started, and read, on a disk that somebody filled to the last
// byte: the file is given up for it.
const ballastSize = 8 << 20

// space refuses writes while the file system of the store is nearly full or
// takes no writes. etcd itself dies of a failed write, so it must not come to
// one.
type space struct {
	dir     string
	reserve uint64 // bytes; 0: the default

	mu    sync.Mutex
	probe *os.File
}

// check is called before each write; it costs a few microseconds.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return &vnet.Error{Kind: vnet.ErrExhausted, Msg: "the state directory cannot be read", Err: err}
	}
	free, size := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	reserve := s.reserve
	if reserve == 0 {
		reserve = max(min(reserveMost, size/50), reserveLeast)
	}
	if free < reserve {
		return vnet.Errorf(vnet.ErrExhausted, "disk full: %s has %s free and the store keeps %s in reserve", s.dir, mib(free), mib(reserve)).
			WithHint("make room on that file system; reads and guests go on")
	}
	return s.try()
}

// try writes one byte: a file system that turned read-only after an error says
// so only then.
func (s *space) try() error {
	var err error
	if s.probe == nil {
		s.probe, err = os.OpenFile(filepath.Join(s.dir, "probe"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	}
	if err == nil {
		_, err = s.probe.WriteAt([]byte{'.'}, 0)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EROFS):
		return vnet.Errorf(vnet.ErrExhausted, "the file system of %s is read-only: the store takes no writes", s.dir).
			WithHint("see the kernel's log for the reason and mount it read-write again; reads and guests go on")
	}
	return &vnet.Error{Kind: vnet.ErrExhausted, Msg: "the disk takes no writes", Err: err,
		Hint: "mend the file system of the state directory; reads and guests go on"}
}

func (s *space) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe != nil {
		_ = s.probe.Close()
		s.probe = nil
	}
}

// loadBallast takes the ballast on board if there is room for it beside the
// reserve.
func (s *space) loadBallast() {
	name := filepath.Join(s.dir, "ballast")
	if _, err := os.Stat(name); err == nil || s.check() != nil {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	err = syscall.Fallocate(int(f.Fd()), 0, 0, ballastSize)
	if errors.Join(err, f.Close()) != nil || s.check() != nil {
		_ = os.Remove(name)
	}
}

// dropBallast makes the room that starting a store needs on a full disk.
func (s *space) dropBallast() {
	if s.check() != nil {
		_ = os.Remove(filepath.Join(s.dir, "ballast"))
	}
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
