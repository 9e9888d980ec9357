package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// errLocked says that somebody else holds the lock.
var errLocked = errors.New("locked")

// openLocked opens the file, makes it if need be, and locks it for as long as
// any copy of the descriptor is open. It fails with errLocked if another
// process has it.
func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		case err != nil:
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		default:
			return nil
		}
	}
}

// LockDir makes the directory, for its owner alone, and locks it against a
// second daemon until the returned file is closed. The lock is on the
// directory itself, so it works on a full and on a read-only disk. The error
// names the process that has the directory.
func LockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = flock(f)
	if err == nil {
		return f, nil
	}
	defer f.Close()
	if !errors.Is(err, errLocked) {
		return nil, err
	}
	who := "another process"
	if pid := holder(f); pid > 0 {
		who = fmt.Sprintf("process %d (%s)", pid, comm(pid))
	}
	return nil, vnet.Errorf(vnet.ErrInUse, "%s uses %s already", who, dir).
		WithHint("stop it, or give this one a directory of its own")
}

// holder finds the process that holds a lock on the file; 0 if the kernel does
// not tell, as in another process namespace.
func holder(f *os.File) int {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	return parseHolder(bufio.NewScanner(locks), fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// parseHolder reads lines such as
//
//	1: FLOCK  ADVISORY  WRITE 708 00:1b:1234 0 EOF
func parseHolder(lines *bufio.Scanner, file string) int {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil {
			return pid
		}
	}
	return 0
}

// comm is the name of a process.
func comm(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "gone"
	}
	return strings.TrimSpace(string(b))
}
