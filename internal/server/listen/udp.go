package listen

import (
	"context"
	"encoding/binary"
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

// oobSize holds the control message with the link of a packet.
const oobSize = 64

// pktinfo is what such a message says.
type pktinfo struct {
	b [20]byte
	n int
}

// receive reads one packet and its control message of the level and type that
// says its link.
func (c udp) receive(buf []byte, level, typ int32) (p Packet, info pktinfo, err error) {
	var oob [oobSize]byte
	n, oobn, _, from, err := c.ReadMsgUDPAddrPort(buf, oob[:])
	if err != nil {
		return Packet{}, pktinfo{}, err
	}
	for b := oob[:oobn]; len(b) > 0; {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		if h.Level == level && h.Type == typ {
			info.n = copy(info.b[:], data)
		}
		b = rest
	}
	return Packet{From: from.Addr().Unmap().WithZone(""), FromPort: from.Port(), Data: buf[:n]}, info, nil
}

type udp4 struct{ udp }

func newUDP4(c *net.UDPConn) (udpConn, error) {
	if err := ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true); err != nil {
		c.Close()
		return nil, err
	}
	return &udp4{udp{c}}, nil
}

func (c *udp4) read(buf []byte) (Packet, error) {
	p, info, err := c.receive(buf, unix.IPPROTO_IP, unix.IP_PKTINFO)
	if err != nil {
		return Packet{}, err
	}
	// struct in_pktinfo: the link, the local address, the destination.
	if info.n < 12 || !p.From.IsValid() {
		return Packet{}, errUnwanted
	}
	p.Index = int(binary.NativeEndian.Uint32(info.b[:]))
	p.To = netip.AddrFrom4([4]byte(info.b[8:12]))
	return p, nil
}

func (c *udp4) write(b []byte, index int, from netip.Addr, to netip.AddrPort) error {
	info := unix.Inet4Pktinfo{Ifindex: int32(index)}
	if from.Is4() {
		info.Spec_dst = from.As4()
	}
	_, _, err := c.WriteMsgUDPAddrPort(b, unix.PktInfo4(&info), to)
	return err
}

type udp6 struct {
	udp
	p *ipv6.PacketConn // for memberships
}

func newUDP6(c *net.UDPConn) (udpConn, error) {
	s := &udp6{udp{c}, ipv6.NewPacketConn(c)}
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
	p, info, err := c.receive(buf, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO)
	if err != nil {
		return Packet{}, err
	}
	// struct in6_pktinfo: the destination, the link.
	if info.n < 20 || !p.From.IsValid() {
		return Packet{}, errUnwanted
	}
	p.To = netip.AddrFrom16([16]byte(info.b[:16]))
	p.Index = int(binary.NativeEndian.Uint32(info.b[16:]))
	return p, nil
}

func (c *udp6) write(b []byte, index int, from netip.Addr, to netip.AddrPort) error {
	info := unix.Inet6Pktinfo{Ifindex: uint32(index)}
	if from.Is6() {
		info.Addr = from.As16()
	}
	_, _, err := c.WriteMsgUDPAddrPort(b, unix.PktInfo6(&info), to)
	return err
}
