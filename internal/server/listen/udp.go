package listen

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// udpConn is a UDP socket of either family that knows the links of its packets.
type udpConn struct {
	*net.UDPConn
	p6  *ipv6.PacketConn // for memberships; nil: IPv4
	in  *Inbox
	out *Outbox
}

// listenUDP opens a socket on a port, on one link, which it then shares, or on
// all of them; messages are told up to a size.
func listenUDP(v6 bool, link string, port, size int) (*udpConn, error) {
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
	c := &udpConn{UDPConn: pc.(*net.UDPConn)}
	if err := c.prepare(v6, size); err != nil {
		pc.Close()
		return nil, err
	}
	return c, nil
}

// prepare has the kernel tell the links of packets.
func (c *udpConn) prepare(v6 bool, size int) error {
	// Best effort: a burst of guests that start together should fit.
	_ = c.SetReadBuffer(1 << 20)
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	c.in, c.out = NewInbox(raw, size), NewOutbox(raw)
	if !v6 {
		return ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true)
	}
	c.p6 = ipv6.NewPacketConn(c)
	return errors.Join(
		c.p6.SetControlMessage(ipv6.FlagInterface|ipv6.FlagDst, true),
		c.p6.SetMulticastLoopback(false),
	)
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

func (c *udpConn) control(f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return controlRaw(raw, f)
}
