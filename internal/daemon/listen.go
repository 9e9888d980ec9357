package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Group is the group whose members may use the API's socket.
const Group = "sextant"

// socketMode: owner and group may connect.
const socketMode = 0o660

// Listen returns a listener on the unix socket at path: the one that systemd
// or the supervisor passed on, or else a new one with mode 0660, owned by root
// and, if there is one of that name, the group. It replaces a socket that a
// process left behind; who holds the run directory's lock may do so.
func Listen(path, group string) (net.Listener, error) {
	if l, err := inheritedListener(path); l != nil || err != nil {
		return l, err
	}
	if err := makeRunDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// Made under another name and renamed when it is complete, so that nobody
	// finds it with the wrong owner and no moment is without a socket.
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// Closing must not remove the file: its successor may have the name.
	l.SetUnlinkOnClose(false)
	if err := publish(fresh, path, group); err != nil {
		l.Close()
		return nil, errors.Join(err, os.Remove(fresh))
	}
	return &socket{UnixListener: l, path: path}, nil
}

// socket is a listener that knows its final name.
type socket struct {
	*net.UnixListener
	path string
}

// Addr is the name under which clients find it.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func publish(fresh, path, group string) error {
	if err := os.Chmod(fresh, socketMode); err != nil {
		return err
	}
	g, err := user.LookupGroup(group)
	switch {
	case errors.As(err, new(user.UnknownGroupError)):
		// Root alone, then.
	case err != nil:
		return fmt.Errorf("look up group %s: %w", group, err)
	case os.Geteuid() == 0:
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return fmt.Errorf("group %s has the number %q", group, g.Gid)
		}
		if err := os.Chown(fresh, 0, gid); err != nil {
			return err
		}
	}
	return os.Rename(fresh, path)
}

// inheritedListener finds the socket of that path among those passed on. The
// descriptors stay open for a later call with another path.
func inheritedListener(path string) (net.Listener, error) {
	n, _ := strconv.Atoi(os.Getenv(envListen))
	for fd := firstFD + 1; fd < firstFD+1+n; fd++ {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		if u, ok := sa.(*unix.SockaddrUnix); !ok || u.Name != path {
			continue
		}
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), path)
		defer f.Close()
		l, err := net.FileListener(f) // has a copy of the descriptor
		if err != nil {
			return nil, fmt.Errorf("socket %s that was passed on: %w", path, err)
		}
		return l, nil
	}
	return nil, nil
}
