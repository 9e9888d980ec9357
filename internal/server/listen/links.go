package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Links says when links come, go or change their names. One socket for each
// namespace serves whoever watches there.
type Links struct {
	mu     sync.Mutex
	spaces map[spaceID]*linkWatch
}

// spaceID is a namespace, whatever its name is.
type spaceID struct{ dev, ino uint64 }

// linkWatch is the watch of one namespace.
type linkWatch struct {
	file     *os.File
	watchers map[*func()]bool
	names    map[int32]string // by index; the reader's
}

// linkMessages is how much is read at once, in bytes. Of a longer message nobody
// knows what it was: it is told as a change.
const linkMessages = 1 << 13

// linksBuffer holds what the kernel says at once, in bytes. What does not fit
// is told as lost, which is a change as well.
const linksBuffer = 1 << 20

// NewLinks watches nowhere yet.
func NewLinks() *Links { return &Links{spaces: map[spaceID]*linkWatch{}} }

// Watch has changed called, with nothing locked, whenever links changed in the
// namespace that inNS runs functions in, until stop is called. It may be called
// once more after that, and for nothing.
func (l *Links) Watch(inNS func(func() error) error, changed func()) (stop func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var id spaceID
	var w *linkWatch
	err = inNS(func() (err error) {
		if id, err = thisSpace(); err != nil {
			return err
		}
		if w = l.spaces[id]; w == nil {
			w, err = openLinks()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	if l.spaces[id] == nil {
		l.spaces[id] = w
		go l.run(w)
	}
	w.watchers[&changed] = true
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(w.watchers, &changed); len(w.watchers) == 0 {
			_ = w.file.Close()
			delete(l.spaces, id)
		}
	}), nil
}

// Watcher is Watch, or nil where nobody watches.
func (l *Links) Watcher() func(inNS func(func() error) error, changed func()) (stop func(), err error) {
	if l == nil {
		return nil
	}
	return l.Watch
}

// thisSpace identifies the namespace of the calling thread.
func thisSpace() (spaceID, error) {
	var st unix.Stat_t
	// thread-self: the process's other threads are in another namespace.
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return spaceID{}, err
	}
	return spaceID{st.Dev, st.Ino}, nil
}

// openLinks opens a socket that hears of links in the namespace of the calling
// thread.
func openLinks() (*linkWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	// Best effort: what is lost is told.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, linksBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, linksBuffer)
	}
	return &linkWatch{file: os.NewFile(uintptr(fd), "links"), watchers: map[*func()]bool{}, names: map[int32]string{}}, nil
}

// run reads what the kernel says, until the watch is closed.
func (l *Links) run(w *linkWatch) {
	buf := make([]byte, linkMessages)
	for {
		n, err := w.file.Read(buf)
		switch {
		case err == nil && !w.changed(buf[:n]) || errors.Is(err, unix.EINTR):
			continue
		case err != nil && !errors.Is(err, unix.ENOBUFS): // it is closed
			return
		}
		l.mu.Lock()
		all := make([]func(), 0, len(w.watchers))
		for f := range w.watchers {
			all = append(all, *f)
		}
		l.mu.Unlock()
		for _, f := range all {
			f()
		}
	}
}

// ifNameAttr is IFLA_IFNAME of linux/if_link.h.
const ifNameAttr = 3

// changed reports whether what the kernel said is that a link came, went or has
// another name: it also says whatever else changes about links.
func (w *linkWatch) changed(b []byte) (changed bool) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return true // nobody knows what it was
		}
		if w.link(binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:size]) {
			changed = true
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return changed
}

// link takes one message about a link: its struct ifinfomsg and attributes.
func (w *linkWatch) link(kind uint16, b []byte) (changed bool) {
	// Of the family of bridges is that a link is no longer a bridge's port.
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return false
	}
	index := int32(binary.NativeEndian.Uint32(b[4:]))
	switch kind {
	case unix.RTM_DELLINK:
		delete(w.names, index)
		return true
	case unix.RTM_NEWLINK:
	default:
		return false
	}
	for b = b[unix.SizeofIfInfomsg:]; len(b) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == ifNameAttr {
			name := unix.ByteSliceToString(b[unix.SizeofRtAttr:size])
			if w.names[index] == name {
				return false
			}
			w.names[index] = name
			return true
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return true
}
