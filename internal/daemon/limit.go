package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit raises the number of files that this process and its children
// may open to n, or as near as it may. It returns the limit that holds.
func RaiseFileLimit(n uint64) (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if l.Cur >= n && l.Max >= n {
		return l.Cur, nil
	}
	want := unix.Rlimit{Cur: max(l.Cur, n), Max: max(l.Max, n)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want); err == nil {
		return want.Cur, nil
	}
	// Not privileged: up to the hard limit.
	want = unix.Rlimit{Cur: min(n, l.Max), Max: l.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		return l.Cur, fmt.Errorf("raise the limit of open files to %d: %w", want.Cur, err)
	}
	return want.Cur, nil
}
