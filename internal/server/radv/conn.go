package radv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// allRouters is where solicitations go.
var allRouters = netip.MustParseAddr("ff02::2")

// receiver is told of every solicitation that arrives.
type receiver func(index int, from netip.Addr, hopLimit int, b []byte)

// transport is what the server needs of a namespace's socket.
type transport interface {
	// Index returns the index of a link, or an error of unix.ENODEV.
	Index(link string) (int, error)
	// Join makes solicitations on the link arrive; joining twice is no error.
	Join(index int) error
	// Leave undoes Join, also for a link that is gone.
	Leave(index int)
	Send(index int, to netip.Addr, b []byte) error
	Close() error
}

// conn is the raw ICMPv6 socket of one network namespace.
type conn struct {
	inNS func(func() error) error
	pc   net.PacketConn
	p    *ipv6.PacketConn
	raw  syscall.RawConn
	// groups are the sockets that hold memberships, the last one with room. A
	// socket holds as many as net.core.optmem_max allows; any socket's
	// membership makes the frames arrive at all of them.
	groups []*ipv6.PacketConn
	joined map[int]*ipv6.PacketConn
}

// open makes the socket where inNS runs it and reads until Close.
func open(inNS func(func() error) error, recv receiver) (transport, error) {
	c := &conn{inNS: inNS, joined: make(map[int]*ipv6.PacketConn)}
	if err := inNS(c.listen); err != nil {
		return nil, fmt.Errorf("open an ICMPv6 socket: %w", err)
	}
	c.groups = []*ipv6.PacketConn{c.p}
	go c.read(recv)
	return c, nil
}

func (c *conn) listen() error {
	pc, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	c.pc, c.p = pc, ipv6.NewPacketConn(pc)
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	err = errors.Join(
		c.p.SetICMPFilter(&filter),
		c.p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true),
		c.p.SetHopLimit(255),
		c.p.SetMulticastHopLimit(255),
		c.p.SetMulticastLoopback(false),
	)
	if err == nil {
		c.raw, err = pc.(*net.IPConn).SyscallConn()
	}
	if err != nil {
		pc.Close()
	}
	return err
}

func (c *conn) read(recv receiver) {
	buf := make([]byte, 2048)
	for {
		n, cm, src, err := c.p.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || cm == nil {
			continue
		}
		ip, ok := src.(*net.IPAddr)
		if !ok {
			continue
		}
		from, ok := netip.AddrFromSlice(ip.IP)
		if !ok {
			continue
		}
		recv(cm.IfIndex, from, cm.HopLimit, buf[:n])
	}
}

// Index asks through the socket, which is in the right namespace.
func (c *conn) Index(link string) (int, error) {
	ifr, err := unix.NewIfreq(link)
	if err != nil {
		return 0, err
	}
	var ioErr error
	err = c.raw.Control(func(fd uintptr) { ioErr = unix.IoctlIfreq(int(fd), unix.SIOCGIFINDEX, ifr) })
	if err := errors.Join(err, ioErr); err != nil {
		return 0, err
	}
	return int(ifr.Uint32()), nil
}

func (c *conn) Join(index int) error {
	if c.joined[index] != nil {
		return nil
	}
	last := c.groups[len(c.groups)-1]
	err := join(last, index)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
		if last, err = c.addGroup(); err == nil {
			err = join(last, index)
		}
	}
	if err != nil {
		return err
	}
	c.joined[index] = last
	return nil
}

func join(p *ipv6.PacketConn, index int) error {
	err := p.JoinGroup(&net.Interface{Index: index}, &net.IPAddr{IP: allRouters.AsSlice()})
	if errors.Is(err, unix.EADDRINUSE) { // already a member
		return nil
	}
	return err
}

// addGroup opens one more socket that holds memberships and receives nothing.
func (c *conn) addGroup() (*ipv6.PacketConn, error) {
	var p *ipv6.PacketConn
	err := c.inNS(func() error {
		pc, err := net.ListenPacket("ip6:ipv6-icmp", "::")
		if err != nil {
			return err
		}
		p = ipv6.NewPacketConn(pc)
		var filter ipv6.ICMPFilter
		filter.SetAll(true)
		return p.SetICMPFilter(&filter)
	})
	if err != nil {
		return nil, err
	}
	c.groups = append(c.groups, p)
	return p, nil
}

func (c *conn) Leave(index int) {
	if p := c.joined[index]; p != nil {
		delete(c.joined, index)
		// A link that is gone took its membership along.
		_ = p.LeaveGroup(&net.Interface{Index: index}, &net.IPAddr{IP: allRouters.AsSlice()})
	}
}

func (c *conn) Send(index int, to netip.Addr, b []byte) error {
	_, err := c.p.WriteTo(b, &ipv6.ControlMessage{IfIndex: index, HopLimit: 255}, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// Close stops reading. A receiver that is running may still finish.
func (c *conn) Close() error {
	var errs []error
	for _, p := range c.groups {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
