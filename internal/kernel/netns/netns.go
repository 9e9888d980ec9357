// Package netns opens, enters, makes and removes network namespaces by the
// names that plans use: "" for the host's own, a name under Dir, or an
// absolute path.
//
// Work inside a namespace is done by Do, on a thread that dies with it, so
// that no other goroutine ever runs in the wrong namespace; /proc/sys/net and
// /dev/net/tun follow that thread. Netlink sockets are opened once per
// namespace and kept: a socket stays in the namespace it was opened in.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Dir is where named namespaces are, as ip-netns(8) has it.
const Dir = "/run/netns"

// Set is the namespaces that one host's plans may name. It is safe for
// concurrent use.
type Set struct {
	own *os.File // the namespace that "" stands for

	mu    sync.Mutex
	conns map[string]*Conn
}

// New returns a set in which "" is the namespace the process is in now.
func New() (*Set, error) {
	// thread-self, not self: the main thread may have died in another
	// namespace (a locked goroutine that ends parks it there).
	return At("/proc/thread-self/ns/net")
}

// At returns a set in which "" is the namespace with that file. Tests use it
// to stand on a host of their own.
func At(path string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrHost, "open the host's network namespace: %w", err)
	}
	return &Set{own: f, conns: map[string]*Conn{}}, nil
}

// Close releases every socket and file of the set.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ns, c := range s.conns {
		c.close()
		delete(s.conns, ns)
	}
	return s.own.Close()
}

// Path returns the file of a namespace other than the host's.
func Path(ns string) string {
	if filepath.IsAbs(ns) {
		return ns
	}
	return filepath.Join(Dir, ns)
}

// Open opens the namespace's file; the caller closes it. A namespace that is
// not there is an ErrNotFound that names it.
func (s *Set) Open(ns string) (*os.File, error) {
	if ns == "" {
		fd, err := unix.FcntlInt(s.own.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, vnet.Errorf(vnet.ErrHost, "open the host's network namespace: %w", err)
		}
		return os.NewFile(uintptr(fd), "host's network namespace"), nil
	}
	f, err := os.Open(Path(ns))
	if err != nil {
		return nil, openError(ns, err)
	}
	// A file left behind by a namespace that was unmounted is a plain one.
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err == nil && st.Type != unix.NSFS_MAGIC && st.Type != unix.PROC_SUPER_MAGIC {
		f.Close()
		return nil, openError(ns, fs.ErrNotExist)
	}
	return f, nil
}

func openError(ns string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		e := vnet.Errorf(vnet.ErrNotFound, "network namespace %q does not exist", ns)
		if filepath.IsAbs(ns) {
			return e.WithHint("start the guest that it belongs to")
		}
		return e.WithHint("make it: ip netns add %s", ns)
	}
	return vnet.Errorf(vnet.ErrHost, "open network namespace %q: %w", ns, err)
}

// Exists reports whether the namespace can be opened.
func (s *Set) Exists(ns string) bool {
	f, err := s.Open(ns)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// Do runs f on a thread inside the namespace and returns its error. Sockets
// opened there stay there, commands started there run there; f must not rely
// on goroutines it starts being inside.
func (s *Set) Do(ns string, f func() error) error {
	file, err := s.Open(ns)
	if err != nil {
		return err
	}
	defer file.Close()
	errc := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			errc <- enterError(ns, err)
			return
		}
		errc <- f()
	}()
	return <-errc
}

func enterError(ns string, err error) error {
	e := vnet.Errorf(vnet.ErrHost, "enter network namespace %q: %w", ns, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return e.WithHint("run as root, or with CAP_SYS_ADMIN")
	case errors.Is(err, unix.EINVAL):
		return e.WithHint("%s is no network namespace", Path(ns))
	}
	return e
}

// Scratch runs f on a thread in a new namespace without a name, which is gone
// with everything in it when f returns.
func Scratch(f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			errc <- vnet.Errorf(vnet.ErrHost, "make a network namespace: %w", err)
			return
		}
		errc <- f()
	}()
	return <-errc
}

// Create makes a named namespace with loopback up, as `ip netns add` does. An
// existing one is an ErrExists.
func (s *Set) Create(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := shareDir(); err != nil {
		return vnet.Errorf(vnet.ErrHost, "make network namespace %q: %w", name, err)
	}
	path := Path(name)
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0)
	if errors.Is(err, fs.ErrExist) {
		if s.Exists(name) {
			return vnet.Errorf(vnet.ErrExists, "network namespace %q exists", name)
		}
		// What an interrupted Create left: a file with nothing mounted on it.
		f, err = os.Open(path)
	}
	if err != nil {
		return vnet.Errorf(vnet.ErrHost, "make network namespace %q: %w", name, err)
	}
	f.Close()
	if err := mountNew(path); err != nil {
		_ = os.Remove(path)
		return vnet.Errorf(vnet.ErrHost, "make network namespace %q: %w", name, err)
	}
	return nil
}

// mountNew binds a new namespace, with loopback up, to path.
func mountNew(path string) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			errc <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := loopbackUp(); err != nil {
			errc <- fmt.Errorf("set loopback up: %w", err)
			return
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			errc <- fmt.Errorf("mount: %w", err)
			return
		}
		errc <- nil
	}()
	return <-errc
}

// Delete removes a named namespace and everything in it that no process
// holds. One that is not there is no error.
func (s *Set) Delete(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	s.Forget(name)
	path := Path(name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return vnet.Errorf(vnet.ErrHost, "remove network namespace %q: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return vnet.Errorf(vnet.ErrHost, "remove network namespace %q: %w", name, err)
	}
	return nil
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return vnet.Invalid("netns", "%q is no name of a network namespace", name)
	}
	return nil
}

// shareDir makes Dir a shared mount, so that namespaces bound there are seen
// and released in other mount namespaces too.
func shareDir() error {
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	// EINVAL: Dir is no mount point yet.
	if err := unix.Mount(Dir, Dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
}

// loopbackUp sets lo up in the calling thread's namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil { // a kernel without IPv6
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
