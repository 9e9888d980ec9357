package daemon

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netCaps are the capabilities that change or read the host's network.
var netCaps = [...]uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}

// caller makes the two system calls by which privileges are dropped.
type caller struct {
	prctl  func(option int, arg uintptr) error
	capset func(*unix.CapUserHeader, *[2]unix.CapUserData) error
}

// everyThread calls on all threads of the process; it fails with ENOTSUP in a
// binary with cgo, whose threads the runtime does not know all.
var everyThread = caller{
	prctl: func(option int, arg uintptr) error {
		return failure(syscall.AllThreadsSyscall6(unix.SYS_PRCTL, uintptr(option), arg, 0, 0, 0, 0))
	},
	capset: func(h *unix.CapUserHeader, d *[2]unix.CapUserData) error {
		return failure(syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(h)), uintptr(unsafe.Pointer(d)), 0))
	},
}

// thisThread calls on the calling thread alone.
var thisThread = caller{
	prctl: func(option int, arg uintptr) error { return unix.Prctl(option, arg, 0, 0, 0) },
	capset: func(h *unix.CapUserHeader, d *[2]unix.CapUserData) error {
		return unix.Capset(h, &d[0])
	},
}

func failure(_, _ uintptr, errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// DropNetPrivileges takes CAP_NET_ADMIN and CAP_NET_RAW from every thread of
// this process, for good: out of the bounding set, and with no-new-privileges,
// so that no program it runs can have them back. Everything else, such as
// access to files, stays. It must be called before the process opens anything
// it wants to keep, because a binary built with cgo has to start itself again.
func DropNetPrivileges() error {
	dropped, err := netDropped()
	if err != nil || dropped {
		return err
	}
	err = everyThread.drop()
	if !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	// One thread drops its privileges and becomes the process anew.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := thisThread.drop(); err != nil {
		return err
	}
	return fmt.Errorf("start again without network privileges: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
}

func (c caller) drop() error {
	if err := c.prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	header, data, err := capabilities()
	if err != nil {
		return err
	}
	for _, cap := range netCaps {
		// Without CAP_SETPCAP the bounding set cannot shrink; then the process
		// is not root and no-new-privileges keeps it from gaining anything.
		err := c.prctl(unix.PR_CAPBSET_DROP, cap)
		if err != nil && !errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("drop capability %d: %w", cap, err)
		}
		bit := uint32(1) << (cap % 32)
		data[cap/32].Effective &^= bit
		data[cap/32].Permitted &^= bit
		data[cap/32].Inheritable &^= bit
	}
	if err := c.capset(&header, &data); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}

// capabilities reads those of the calling thread.
func capabilities() (unix.CapUserHeader, [2]unix.CapUserData, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return header, data, fmt.Errorf("read capabilities: %w", err)
	}
	// The kernel answers for thread 0, the caller; capset wants the same.
	header.Pid = 0
	return header, data, nil
}

// netDropped reports whether the process is without network privileges and
// cannot get them.
func netDropped() (bool, error) {
	_, data, err := capabilities()
	if err != nil {
		return false, err
	}
	for _, c := range netCaps {
		if data[c/32].Permitted&(1<<(c%32)) != 0 {
			return false, nil
		}
	}
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return false, fmt.Errorf("read no-new-privileges: %w", err)
	}
	return nnp == 1, nil
}
