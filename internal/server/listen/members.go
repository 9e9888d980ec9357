package listen

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Members holds the memberships of IPv6 multicast groups on many links. A
// socket holds as many as net.core.optmem_max allows, but any socket's
// membership makes the frames arrive at all sockets of the namespace: when one
// is full, the next is opened, which receives nothing itself.
type Members struct {
	groups []*net.IPAddr
	more   func() (*ipv6.PacketConn, error)
	// sockets are those that more opened; last is the one with room.
	sockets []*ipv6.PacketConn
	last    *ipv6.PacketConn
	joined  map[int]*ipv6.PacketConn
}

// NewMembers starts on the socket first, which stays the caller's; more opens
// another one.
func NewMembers(group netip.Addr, first *ipv6.PacketConn, more func() (*ipv6.PacketConn, error), others ...netip.Addr) *Members {
	m := &Members{more: more, last: first, joined: make(map[int]*ipv6.PacketConn)}
	for _, g := range append([]netip.Addr{group}, others...) {
		m.groups = append(m.groups, &net.IPAddr{IP: g.AsSlice()})
	}
	return m
}

// Join joins on a link; joining twice is no error.
func (m *Members) Join(index int) error {
	if m.joined[index] != nil {
		return nil
	}
	err := m.joinOn(m.last, index)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
		var p *ipv6.PacketConn
		if p, err = m.more(); err == nil {
			m.sockets, m.last = append(m.sockets, p), p
			err = m.joinOn(p, index)
		}
	}
	return err
}

// joinOn joins on a link with a given socket.
func (m *Members) joinOn(p *ipv6.PacketConn, index int) error {
	for i, g := range m.groups {
		err := p.JoinGroup(&net.Interface{Index: index}, g)
		if err != nil && !errors.Is(err, unix.EADDRINUSE) { // already a member
			m.leaveOn(p, index, m.groups[:i])
			return err
		}
	}
	m.joined[index] = p
	return nil
}

// Leave leaves on a link, also on one that is gone.
func (m *Members) Leave(index int) {
	if p := m.joined[index]; p != nil {
		delete(m.joined, index)
		m.leaveOn(p, index, m.groups)
	}
}

// leaveOn leaves groups on a link. One that is gone took its membership along.
func (m *Members) leaveOn(p *ipv6.PacketConn, index int, groups []*net.IPAddr) {
	for _, g := range groups {
		_ = p.LeaveGroup(&net.Interface{Index: index}, g)
	}
}

// Close closes the sockets that were opened for more memberships.
func (m *Members) Close() error {
	var errs []error
	for _, p := range m.sockets {
		errs = append(errs, p.Close())
	}
	m.sockets = nil
	return errors.Join(errs...)
}
