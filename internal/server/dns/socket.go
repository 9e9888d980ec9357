package dns

import (
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// port is the domain name service's (RFC 1035 section 4.2).
const port = 53

// socket is a bound UDP socket or a listening TCP socket. It is a bare file
// descriptor, for the runtime's own sockets would need a goroutine each.
type socket struct {
	network vnet.ID
	link    string
	tcp     bool
	index   uint32 // of the link that a link-local address is bound to

	mu     sync.RWMutex // held for reading while fd is in use
	fd     int
	closed bool
}

// peer is the other end of a query.
type peer struct {
	addr  netip.Addr // without scope
	local bool       // link-local, and on the network's own link
	sa    unix.Sockaddr
}

// bind opens a socket for the address, in the namespace of the calling thread.
// shared lets it stand beside a wildcard socket that allows that.
func bind(a netip.AddrPort, index uint32, tcp, shared bool) (int, error) {
	kind, family := unix.SOCK_DGRAM, unix.AF_INET
	if tcp {
		kind = unix.SOCK_STREAM
	}
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := prepare(fd, a, index, tcp, shared); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepare(fd int, a netip.AddrPort, index uint32, tcp, shared bool) error {
	options := [][3]int{{unix.IPPROTO_IP, unix.IP_FREEBIND, 1}}
	if a.Addr().Is6() {
		options = [][3]int{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}, {unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1}}
	}
	if tcp || shared {
		// For TCP: connections of a predecessor may linger. Two listeners
		// are refused all the same.
		options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fmt.Errorf("set socket option %d: %w", o[1], err)
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(a.Port())}
	if a.Addr().Is6() {
		sa = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: index}
	} else {
		sa.(*unix.SockaddrInet4).Addr = a.Addr().As4()
	}
	if err := unix.Bind(fd, sa); err != nil {
		return fmt.Errorf("bind %s: %w", a, err)
	}
	if tcp {
		if err := unix.Listen(fd, 64); err != nil {
			return fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return nil
}

// receive reads a datagram without waiting.
func (s *socket) receive(buf []byte) (int, *peer, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, nil, unix.EBADF
	}
	n, sa, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		return 0, nil, err
	}
	return n, s.peer(sa), nil
}

// accept takes a connection without waiting.
func (s *socket) accept() (int, *peer, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return -1, nil, unix.EBADF
	}
	fd, sa, err := unix.Accept4(s.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, nil, err
	}
	return fd, s.peer(sa), nil
}

// send answers a datagram; nil is no answer. UDP promises nothing, so neither
// does it.
func (s *socket) send(b []byte, to *peer) {
	if b == nil {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.closed {
		_ = unix.Sendto(s.fd, b, unix.MSG_DONTWAIT, to.sa)
	}
}

// peer reads a source address. The caller holds mu.
func (s *socket) peer(sa unix.Sockaddr) *peer {
	p := &peer{sa: sa}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		p.addr = netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		p.addr = netip.AddrFrom16(sa.Addr).Unmap()
		if p.addr.IsLinkLocalUnicast() {
			name := linkName(s.fd, sa.ZoneId)
			p.local = name == s.link || name == "lo"
		}
	}
	return p
}

// close ends the socket; closing twice is harmless.
func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return unix.Close(s.fd)
}

// linkName returns the name of a link in the socket's namespace, "" if there
// is none.
func linkName(fd int, index uint32) string {
	r, err := unix.NewIfreq("none")
	if err != nil {
		return ""
	}
	r.SetUint32(index)
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, r) != nil {
		return ""
	}
	return r.Name()
}

// linkIndex returns the index of a link in the socket's namespace, 0 if there
// is none.
func linkIndex(fd int, name string) uint32 {
	r, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r) != nil {
		return 0
	}
	return r.Uint32()
}
