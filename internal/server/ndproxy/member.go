package ndproxy

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// members holds an uplink's memberships of solicited-node groups, so that its
// network card and the switches let them through (the kernel reports them by
// MLD). A socket holds as many as net.core.optmem_max allows: when one is full,
// the next is opened. None of them receives anything.
type members struct {
	inNS    func(func() error) error
	index   int
	sockets []int
	joined  map[netip.Addr]int // the socket
}

func newMembers(index int, inNS func(func() error) error) *members {
	return &members{inNS: inNS, index: index, joined: map[netip.Addr]int{}}
}

// join joins a group; joining twice is no error.
func (m *members) join(group netip.Addr) error {
	if _, ok := m.joined[group]; ok {
		return nil
	}
	if n := len(m.sockets); n > 0 {
		if err := m.joinOn(m.sockets[n-1], group); !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENOMEM) {
			return err
		}
	}
	fd := -1
	if err := m.inNS(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		return err
	}
	m.sockets = append(m.sockets, fd)
	return m.joinOn(fd, group)
}

func (m *members) joinOn(fd int, group netip.Addr) error {
	err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, m.request(group))
	if err == nil {
		m.joined[group] = fd
	}
	return err
}

func (m *members) request(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(m.index)}
}

// leave leaves a group.
func (m *members) leave(group netip.Addr) {
	if fd, ok := m.joined[group]; ok {
		delete(m.joined, group)
		_ = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, m.request(group))
	}
}

// Close leaves all groups.
func (m *members) Close() error {
	var errs []error
	for _, fd := range m.sockets {
		errs = append(errs, unix.Close(fd))
	}
	m.sockets, m.joined = nil, nil
	return errors.Join(errs...)
}
