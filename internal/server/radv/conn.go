package radv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// allRouters is where solicitations go.
var allRouters = netip.MustParseAddr("ff02::2")

// transport is what the server needs of a namespace's socket.
type transport interface {
	listen.Transport
	Send(index int, to netip.Addr, b []byte) error
}

// opener opens a transport where inNS runs functions, and tells recv of every
// solicitation until it is closed.
type opener func(inNS func(func() error) error, recv func(...listen.Packet)) (transport, error)

// conn is the raw ICMPv6 socket of one network namespace.
type conn struct {
	pc      net.PacketConn
	p       *ipv6.PacketConn
	raw     syscall.RawConn
	members *listen.Members

	in     *listen.Inbox
	out    *listen.Outbox
	spoken bool // since Spoken; the networks' lock guards it
}

// open is an opener.
func open(inNS func(func() error) error, recv func(...listen.Packet)) (transport, error) {
	c := &conn{}
	if err := inNS(c.listen); err != nil {
		return nil, fmt.Errorf("open an ICMPv6 socket: %w", err)
	}
	c.members = listen.NewMembers(allRouters, c.p, func() (p *ipv6.PacketConn, err error) {
		err = inNS(func() (err error) { p, err = deaf(); return err })
		return p, err
	})
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
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement) // of others
	err = errors.Join(
		c.p.SetICMPFilter(&filter),
		c.p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface|ipv6.FlagDst, true),
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
	c.in, c.out = listen.NewInbox(c.raw, maxSolicitation), listen.NewOutbox(c.raw)
	return err
}

// deaf opens a socket that only holds memberships.
func deaf() (*ipv6.PacketConn, error) {
	pc, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, err
	}
	p := ipv6.NewPacketConn(pc)
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	if err := p.SetICMPFilter(&filter); err != nil {
		pc.Close()
		return nil, err
	}
	return p, nil
}

func (c *conn) read(recv func(...listen.Packet)) {
	for {
		packets, err := c.in.Read()
		if err != nil {
			return
		}
		if len(packets) > 0 {
			recv(packets...)
		}
	}
}

// Index asks through the socket, which is in the right namespace.
func (c *conn) Index(link string) (index int, err error) {
	var ioErr error
	err = c.raw.Control(func(fd uintptr) { index, ioErr = listen.IndexOf(int(fd), link) })
	return index, errors.Join(err, ioErr)
}

func (c *conn) Join(_ string, index int) error { return c.members.Join(index) }

func (c *conn) Leave(index int) { c.members.Leave(index) }

// Send sends a message with the socket's hop limit of 255: one for everybody at
// once, since the network's engine wants to know how that went, one for a guest
// with the others of the moment.
func (c *conn) Send(index int, to netip.Addr, b []byte) error {
	if !to.IsMulticast() {
		c.spoken = true
		return c.out.Send(index, netip.Addr{}, netip.AddrPortFrom(to, 0), b)
	}
	c.out.Flush(nil)
	info := unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(index)})
	var sent error
	err := c.raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), b, info, &unix.SockaddrInet6{Addr: to.As16(), ZoneId: uint32(index)}, unix.MSG_DONTWAIT)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// Spoken is of listen.Speaker.
func (c *conn) Spoken(to []*listen.Outbox) []*listen.Outbox {
	if c.spoken {
		to = append(to, c.out)
	}
	c.spoken = false
	return to
}

// Close sends what is queued and stops reading. A receiver that is running may
// still finish.
func (c *conn) Close() error {
	c.out.Flush(nil)
	return errors.Join(c.pc.Close(), c.members.Close())
}
