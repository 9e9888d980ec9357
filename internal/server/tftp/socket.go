package tftp

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// wellKnown is TFTP's port (RFC 1350 section 4).
const wellKnown = 69

// bind opens a UDP socket for the address, in the namespace of the calling
// thread; port 0 is any. shared lets it stand beside a wildcard socket that
// allows that.
func bind(at netip.AddrPort, index uint32, shared bool) (*os.File, error) {
	fd, err := bindFD(at, index, shared)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tftp"), nil
}

// dial opens a socket on any port of the local address that hears the client
// alone.
func dial(local netip.Addr, index uint32, client unix.Sockaddr) (*os.File, error) {
	fd, err := bindFD(netip.AddrPortFrom(local, 0), index, false)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, client); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connect to the client: %w", err)
	}
	return os.NewFile(uintptr(fd), "tftp"), nil
}

func bindFD(at netip.AddrPort, index uint32, shared bool) (int, error) {
	family := unix.AF_INET
	if at.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := prepare(fd, at, index, shared); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepare(fd int, at netip.AddrPort, index uint32, shared bool) error {
	// The address may come later than the network.
	options := [][3]int{{unix.IPPROTO_IP, unix.IP_FREEBIND, 1}}
	if at.Addr().Is6() {
		options = [][3]int{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}, {unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1}}
	}
	if shared {
		options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return fmt.Errorf("set socket option %d: %w", o[1], err)
		}
	}
	if err := unix.Bind(fd, sockaddr(at, index)); err != nil {
		return fmt.Errorf("bind %s: %w", at, err)
	}
	return nil
}

func sockaddr(at netip.AddrPort, index uint32) unix.Sockaddr {
	if at.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16(), ZoneId: index}
	}
	return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
}

// addrOf reads a source address, and the index of its link if it has one.
func addrOf(sa unix.Sockaddr) (netip.AddrPort, uint32) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), 0
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), sa.ZoneId
	}
	return netip.AddrPort{}, 0
}

// indexOf returns the index of a link in a socket's namespace, 0 if it is not
// there.
func indexOf(sock *os.File, link string) (index uint32) {
	if raw, err := sock.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if i, err := listen.IndexOf(int(fd), link); err == nil {
				index = uint32(i)
			}
		})
	}
	return index
}

// linkIndex returns the index of a link in the calling thread's namespace.
func linkIndex(link string) (uint32, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	i, err := listen.IndexOf(fd, link)
	return uint32(i), err
}

// netnsInode identifies the calling thread's network namespace.
func netnsInode() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}
