package radv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
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
type opener func(inNS func(func() error) error, recv func(listen.Packet)) (transport, error)

// conn is the raw ICMPv6 socket of one network namespace.
type conn struct {
	pc      net.PacketConn
	p       *ipv6.PacketConn
	raw     syscall.RawConn
	members *listen.Members

	mu    sync.Mutex
	links map[int][]byte     // control message for each link that was sent on
	to    unix.SockaddrInet6 // of the message that is being sent
}

// open is an opener.
func open(inNS func(func() error) error, recv func(listen.Packet)) (transport, error) {
	c := &conn{links: map[int][]byte{}}
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

// batch is how many solicitations are taken at once: guests that start together
// ask together.
const batch = 32

func (c *conn) read(recv func(listen.Packet)) {
	got := make([]ipv6.Message, batch)
	for i := range got {
		got[i].Buffers = [][]byte{make([]byte, maxSolicitation+1)}
		got[i].OOB = ipv6.NewControlMessage(ipv6.FlagHopLimit | ipv6.FlagInterface)
	}
	for {
		n, err := c.p.ReadBatch(got, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		for _, m := range got[:n] {
			var cm ipv6.ControlMessage
			ip, ok := m.Addr.(*net.IPAddr)
			if !ok || cm.Parse(m.OOB[:m.NN]) != nil {
				continue
			}
			if from, ok := netip.AddrFromSlice(ip.IP); ok {
				recv(listen.Packet{Index: cm.IfIndex, From: from, HopLimit: cm.HopLimit, Data: m.Buffers[0][:m.N]})
			}
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

func (c *conn) Leave(index int) {
	c.members.Leave(index)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, index)
}

// Send sends a message with the socket's hop limit of 255.
func (c *conn) Send(index int, to netip.Addr, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.links[index]
	if by == nil {
		by = (&ipv6.ControlMessage{IfIndex: index}).Marshal()
		c.links[index] = by
	}
	c.to = unix.SockaddrInet6{Addr: to.As16(), ZoneId: uint32(index)}
	var sent error
	err := c.raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), b, by, &c.to, unix.MSG_DONTWAIT)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

// Close stops reading. A receiver that is running may still finish.
func (c *conn) Close() error { return errors.Join(c.pc.Close(), c.members.Close()) }
