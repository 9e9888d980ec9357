package store

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Defaults of the free-space reserve: the smaller of 64 MiB and 2 % of the file
// system, but room for what etcd writes without being asked (the next segment
// of its log, a snapshot).
const (
	reserveMost  = 64 << 20
	reserveLeast = 3 * walSegment
)

// space refuses writes while the file system of the store is nearly full or
// read-only. etcd itself dies of a failed write, so it must not come to one.
type space struct {
	dir     string
	reserve uint64 // bytes; 0: the default

	mu   sync.Mutex
	at   time.Time
	last error
}

// spaceFor is how long one look at the file system is good for. Within it no
// more than a few MB can be written.
const spaceFor = 20 * time.Millisecond

func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.at) > spaceFor {
		s.at, s.last = now, s.look()
	}
	return s.last
}

func (s *space) look() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return &vnet.Error{Kind: vnet.ErrExhausted, Msg: "the state directory cannot be read", Err: err}
	}
	const readOnly = 1 // ST_RDONLY
	if st.Flags&readOnly != 0 {
		return vnet.Errorf(vnet.ErrExhausted, "the file system of %s is read-only: the store takes no writes", s.dir).
			WithHint("mount it read-write again; reads and guests go on")
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
	return nil
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
