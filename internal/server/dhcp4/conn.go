package dhcp4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// RFC 2131 section 4.1.
const (
	serverPort = 67
	clientPort = 68
)

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
	// Send sends a reply; src is the MAC of frames.
	Send(index int, src vnet.MAC, r reply) error
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
	packet int // AF_PACKET, only sends; -1: none
}

// socket is one UDP socket on port 67.
type socket struct {
	pc net.PacketConn
	p  *ipv4.PacketConn
}

// open makes the sockets where inNS runs it and reads until Close.
func open(inNS func(func() error) error, recv receiver) (transport, error) {
	c := &conn{inNS: inNS, recv: recv, links: make(map[int]*socket), packet: -1}
	err := inNS(func() error {
		var err error
		// Protocol 0: it receives nothing.
		if c.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			c.packet = -1
			return fmt.Errorf("open a packet socket: %w", err)
		}
		// Without SO_REUSEADDR, so that we learn whether anybody is there.
		if c.shared, err = listen(""); errors.Is(err, unix.EADDRINUSE) {
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
func listen(link string) (*socket, error) {
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
	pc, err := lc.ListenPacket(context.Background(), "udp4", ":"+strconv.Itoa(serverPort))
	if err != nil {
		return nil, err
	}
	s := &socket{pc, ipv4.NewPacketConn(pc)}
	if err := s.p.SetControlMessage(ipv4.FlagInterface, true); err != nil {
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
		if err != nil || cm == nil {
			continue
		}
		if a, ok := src.(*net.UDPAddr); ok {
			c.recv(cm.IfIndex, a.AddrPort().Addr().Unmap(), buf[:n])
		}
	}
}

// Index asks through the packet socket, which is in the right namespace.
func (c *conn) Index(link string) (int, error) {
	ifr, err := unix.NewIfreq(link)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.packet, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}

func (c *conn) Join(link string, index int) error {
	if c.shared != nil || c.links[index] != nil {
		return nil
	}
	var s *socket
	err := c.inNS(func() (err error) {
		if s, err = listen(link); errors.Is(err, unix.EADDRINUSE) {
			err = &portError{portOwners(serverPort)}
		}
		return err
	})
	if err != nil {
		return err
	}
	c.links[index] = s
	go c.read(s)
	return nil
}

func (c *conn) Leave(index int) {
	if s := c.links[index]; s != nil {
		delete(c.links, index)
		s.pc.Close()
	}
}

func (c *conn) Send(index int, src vnet.MAC, r reply) error {
	if !r.mac.IsZero() {
		to := &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: index, Halen: 6} // ETH_P_IP in network order
		copy(to.Addr[:], r.mac[:])
		return unix.Sendto(c.packet, frame(src, r.mac, r.from, r.to, r.data), 0, to)
	}
	s := c.shared
	if s == nil {
		s = c.links[index]
	}
	if s == nil {
		return unix.ENODEV
	}
	_, err := s.p.WriteTo(r.data, &ipv4.ControlMessage{IfIndex: index, Src: r.from.AsSlice()},
		&net.UDPAddr{IP: r.to.AsSlice(), Port: clientPort})
	return err
}

// Close stops reading. A receiver that is running may still finish.
func (c *conn) Close() error {
	var errs []error
	if c.packet >= 0 {
		errs = append(errs, unix.Close(c.packet))
		c.packet = -1
	}
	if c.shared != nil {
		errs = append(errs, c.shared.pc.Close())
	}
	for i, s := range c.links {
		errs = append(errs, s.pc.Close())
		delete(c.links, i)
	}
	return errors.Join(errs...)
}
