package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// udpConn is a UDP socket of either family that knows the links of its packets.
type udpConn interface {
	// read returns errUnwanted for what is not for us.
	read(buf []byte) (Packet, error)
	write(b []byte, index int, from netip.Addr, to netip.AddrPort) error
	control(f func(fd int) error) error
	Close() error
}

var errUnwanted = errors.New("not for us")

// listenUDP opens a socket on a port, on one link, which it then shares, or on
// all of them.
func listenUDP(v6 bool, link string, port int) (*net.UDPConn, error) {
	network, address := "udp4", ":"+strconv.Itoa(port)
	if v6 {
		network, address = "udp6", "[::]:"+strconv.Itoa(port)
	}
	lc := net.ListenConfig{}
	if link != "" {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			return controlRaw(raw, func(fd int) error { return errors.Join(reuse(fd), unix.BindToDevice(fd, link)) })
		}
	}
	pc, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	c := pc.(*net.UDPConn)
	// Best effort: a burst of guests that start together should fit.
	_ = c.SetReadBuffer(1 << 20)
	return c, nil
}

// reuse lets others bind the port too: dnsmasq sets SO_REUSEPORT where the
// kernel has it, most others SO_REUSEADDR.
func reuse(fd int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
	)
}

func controlRaw(raw syscall.RawConn, f func(fd int) error) error {
	var inner error
	err := raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// udp is what the sockets of both families share.
type udp struct{ *net.UDPConn }

func (c udp) control(f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return controlRaw(raw, f)
}

// source returns the address of a sender without its zone.
func source(a net.Addr) netip.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func destination(a netip.AddrPort) *net.UDPAddr {
	return &net.UDPAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())}
}

type udp4 struct {
	udp
	p *ipv4.PacketConn
}

func newUDP4(c *net.UDPConn) (udpConn, error) {
	s := &udp4{udp{c}, ipv4.NewPacketConn(c)}
	if err := s.p.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (c *udp4) read(buf []byte) (Packet, error) {
	n, cm, src, err := c.p.ReadFrom(buf)
	if err != nil {
		return Packet{}, err
	}
	from := source(src)
	if cm == nil || !from.IsValid() {
		return Packet{}, errUnwanted
	}
	return Packet{Index: cm.IfIndex, From: from, Data: buf[:n]}, nil
}

func (c *udp4) write(b []byte, index int, from netip.Addr, to netip.AddrPort) error {
	_, err := c.p.WriteTo(b, &ipv4.ControlMessage{IfIndex: index, Src: from.AsSlice()}, destination(to))
	return err
}

type udp6 struct {
	udp
	p         *ipv6.PacketConn
	multicast bool // only what was sent to a multicast address is wanted
}

func newUDP6(c *net.UDPConn, multicast bool) (udpConn, error) {
	s := &udp6{udp{c}, ipv6.NewPacketConn(c), multicast}
	err := errors.Join(
		s.p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true),
		s.p.SetMulticastLoopback(false),
	)
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (c *udp6) read(buf []byte) (Packet, error) {
	n, cm, src, err := c.p.ReadFrom(buf)
	if err != nil {
		return Packet{}, err
	}
	from := source(src)
	if cm == nil || !from.IsValid() || c.multicast && !cm.Dst.IsMulticast() {
		return Packet{}, errUnwanted
	}
	return Packet{Index: cm.IfIndex, From: from, Data: buf[:n]}, nil
}

func (c *udp6) write(b []byte, index int, from netip.Addr, to netip.AddrPort) error {
	_, err := c.p.WriteTo(b, &ipv6.ControlMessage{IfIndex: index, Src: from.AsSlice()}, destination(to))
	return err
}
