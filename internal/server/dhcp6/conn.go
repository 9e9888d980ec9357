package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// RFC 9915 section 7.2.
const (
	serverPort = 547
	clientPort = 546
)

// allServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
var allServers = netip.MustParseAddr("ff02::1:2")

// receiver is told of every message that arrives. It must not keep b.
type receiver func(index int, from netip.Addr, b []byte)

// transport is what the server needs of a namespace's sockets.
type transport interface {
	// Index returns the index of a link, or an error of unix.ENODEV.
	Index(link string) (int, error)
	// Join makes messages on the link arrive; a *portError says who is in the
	// way.
	Join(link string, index int) error
	// Leave undoes Join, also for a link that is gone.
	Leave(index int)
	Send(index int, r reply) error
	Close() error
}

// portError says that other programs hold the port.
type portError struct{ owners string }

func (e *portError) Error() string {
	if e.owners == "" {
		return fmt.Sprintf("UDP port %d is taken by another program", serverPort)
	}
	return fmt.Sprintf("UDP port %d is taken by %s", serverPort, e.owners)
}

// conn is the sockets of one network namespace.
type conn struct {
	inNS func(func() error) error
	recv receiver
	// shared serves every link; nil if another program has the port, and then
	// each link has a socket of its own.
	shared *socket
	links  map[int]*socket
	// groups are sockets that only hold memberships, made when shared holds
	// as many as net.core.optmem_max allows: any socket's membership makes the
	// frames arrive at all of them.
	groups []*socket
	joined map[int]*socket
	ctl    int // for questions about links
}

// socket is one UDP socket.
type socket struct {
	pc net.PacketConn
	p  *ipv6.PacketConn
}

// open makes the sockets where inNS runs it and reads until Close.
func open(inNS func(func() error) error, recv receiver) (transport, error) {
	c := &conn{inNS: inNS, recv: recv, links: make(map[int]*socket), joined: make(map[int]*socket), ctl: -1}
	err := inNS(func() error {
		var err error
		if c.ctl, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			c.ctl = -1
			return err
		}
		// Without SO_REUSEADDR, so that we learn whether anybody is there.
		if c.shared, err = listen("", serverPort); errors.Is(err, unix.EADDRINUSE) {
			return nil
		}
		if err != nil {
			return err
		}
		// From here on others may share the port on links of their own, as
		// libvirt's dnsmasq does.
		return control(c.shared.pc, reuse)
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	if c.shared != nil {
		go c.read(c.shared)
	}
	return c, nil
}

// listen opens a UDP socket on the port, on one link or on all of them.
func listen(link string, port int) (*socket, error) {
	lc := net.ListenConfig{}
	if link != "" {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var opt error
			err := raw.Control(func(fd uintptr) {
				opt = errors.Join(reuse(int(fd)), unix.BindToDevice(int(fd), link))
			})
			return errors.Join(err, opt)
		}
	}
	pc, err := lc.ListenPacket(context.Background(), "udp6", "[::]:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	s := &socket{pc, ipv6.NewPacketConn(pc)}
	err = errors.Join(
		s.p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true),
		s.p.SetMulticastLoopback(false),
	)
	if err != nil {
		pc.Close()
		return nil, err
	}
	// Best effort: a burst of guests that start together should fit.
	_ = pc.(*net.UDPConn).SetReadBuffer(1 << 20)
	return s, nil
}

// reuse lets others bind the port too: dnsmasq sets SO_REUSEPORT where the
// kernel has it, most others SO_REUSEADDR.
func reuse(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
	)
}

func control(pc net.PacketConn, f func(fd int) error) error {
	raw, err := pc.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

func (c *conn) read(s *socket) {
	buf := make([]byte, maxMessage+1)
	for {
		n, cm, src, err := s.p.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// RFC 9915 section 16: clients multicast, always.
		if err != nil || cm == nil || !cm.Dst.IsMulticast() {
			continue
		}
		if a, ok := src.(*net.UDPAddr); ok {
			c.recv(cm.IfIndex, a.AddrPort().Addr().WithZone(""), buf[:n])
		}
	}
}

// Index asks through a socket that is in the right namespace.
func (c *conn) Index(link string) (int, error) {
	ifr, err := unix.NewIfreq(link)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.ctl, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}

func (c *conn) Join(link string, index int) error {
	if c.joined[index] != nil {
		return nil
	}
	if c.shared != nil {
		return c.joinShared(index)
	}
	var s *socket
	err := c.inNS(func() (err error) {
		if s, err = listen(link, serverPort); errors.Is(err, unix.EADDRINUSE) {
			return &portError{portOwners(serverPort)}
		}
		if err == nil {
			if err = join(s, index); err != nil {
				s.pc.Close()
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	c.links[index], c.joined[index] = s, s
	go c.read(s)
	return nil
}

// joinShared joins on the shared socket or, when that is full, on one of
// groups.
func (c *conn) joinShared(index int) error {
	last := c.shared
	if n := len(c.groups); n > 0 {
		last = c.groups[n-1]
	}
	err := join(last, index)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
		// Any port will do: nobody sends to it.
		if err = c.inNS(func() (err error) { last, err = listen("", 0); return err }); err == nil {
			c.groups = append(c.groups, last)
			err = join(last, index)
		}
	}
	if err == nil {
		c.joined[index] = last
	}
	return err
}

func join(s *socket, index int) error {
	err := s.p.JoinGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: allServers.AsSlice()})
	if errors.Is(err, unix.EADDRINUSE) { // already a member
		return nil
	}
	return err
}

func (c *conn) Leave(index int) {
	if s := c.joined[index]; s != nil {
		// A link that is gone took its membership along.
		_ = s.p.LeaveGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: allServers.AsSlice()})
		delete(c.joined, index)
	}
	if s := c.links[index]; s != nil {
		delete(c.links, index)
		s.pc.Close()
	}
}

func (c *conn) Send(index int, r reply) error {
	s := c.shared
	if s == nil {
		s = c.links[index]
	}
	if s == nil {
		return unix.ENODEV
	}
	_, err := s.p.WriteTo(r.data, &ipv6.ControlMessage{IfIndex: index}, &net.UDPAddr{IP: r.to.AsSlice(), Port: clientPort})
	return err
}

// Close stops reading. A receiver that is running may still finish.
func (c *conn) Close() error {
	var errs []error
	if c.ctl >= 0 {
		errs = append(errs, unix.Close(c.ctl))
		c.ctl = -1
	}
	if c.shared != nil {
		errs = append(errs, c.shared.pc.Close())
	}
	for _, s := range c.groups {
		errs = append(errs, s.pc.Close())
	}
	for i, s := range c.links {
		errs = append(errs, s.pc.Close())
		delete(c.links, i)
	}
	return errors.Join(errs...)
}
