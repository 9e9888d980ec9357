package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// What a supervisor tells its children in the environment.
const (
	envLock   = "SEXTANT_LOCK_FD"    // descriptor of the child's locked file
	envListen = "SEXTANT_LISTEN_FDS" // number of sockets, the descriptors after the lock's
)

// firstFD is the first descriptor that is passed to a child.
const firstFD = 3

// Process is the hold of a running process on its name.
type Process struct {
	lock *os.File
}

// Close gives the name up.
func (p *Process) Close() error { return p.lock.Close() }

// Enter is the first thing that a process named control or agent does: it
// takes the name within the run directory, or confirms the hold that the
// supervisor passed on, and says who it is. It fails if another process has
// the name. The process survives writing to a standard error that nobody reads
// any more, as happens when the supervisor's terminal is gone.
func Enter(runDir, name string) (*Process, error) {
	signal.Ignore(unix.SIGPIPE)
	path := lockPath(runDir, name)
	self, err := ownRecord()
	if err != nil {
		return nil, err
	}
	lock, err := inheritedLock(path)
	if err != nil {
		return nil, err
	}
	if lock == nil {
		self.Apart = true
		if err := makeRunDir(runDir); err != nil {
			return nil, err
		}
		lock, err = openLocked(path)
		if errors.Is(err, errLocked) {
			return nil, vnet.Errorf(vnet.ErrInUse, "another %s runs with run directory %s", name, runDir).
				WithHint("stop it, or choose another --run-dir")
		}
		if err != nil {
			return nil, err
		}
	}
	if err := self.write(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &Process{lock: lock}, nil
}

// inheritedLock returns the locked file that the supervisor passed on, or nil.
func inheritedLock(path string) (*os.File, error) {
	value, ok := os.LookupEnv(envLock)
	if !ok {
		return nil, nil
	}
	os.Unsetenv(envLock)
	fd, err := strconv.Atoi(value)
	if err != nil || fd < firstFD {
		return nil, fmt.Errorf("%s=%q is no descriptor", envLock, value)
	}
	// Commands that this process runs must not hold the lock.
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), path)
	var have, want unix.Stat_t
	if err := unix.Fstat(fd, &have); err != nil {
		return nil, fmt.Errorf("%s=%d: %w", envLock, fd, err)
	}
	if err := unix.Stat(path, &want); err != nil || have.Dev != want.Dev || have.Ino != want.Ino {
		return nil, fmt.Errorf("%s=%d is not %s", envLock, fd, path)
	}
	return f, nil
}

func lockPath(runDir, name string) string { return filepath.Join(runDir, name+".pid") }

func makeRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return nil
}
