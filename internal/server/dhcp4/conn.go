package dhcp4

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// RFC 2131 section 4.1.
const (
	serverPort = 67
	clientPort = 68
)

// conn is the sockets of one network namespace.
type conn struct {
	*listen.Port
	packet int // AF_PACKET, only sends
}

// open makes the sockets where inNS runs functions and reads until Close.
func open(inNS func(func() error) error, recv func(listen.Packet)) (dhcp.Transport, error) {
	c := &conn{packet: -1}
	err := inNS(func() (err error) {
		// Protocol 0: it receives nothing.
		c.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	if c.Port, err = listen.OpenPort(listen.PortConfig{Port: serverPort, MaxMessage: maxMessage}, inNS, recv); err != nil {
		_ = unix.Close(c.packet)
		return nil, err
	}
	return c, nil
}

func (c *conn) Send(index int, src vnet.MAC, r dhcp.Reply) error {
	if r.MAC.IsZero() {
		return c.Port.Send(index, r.From, netip.AddrPortFrom(r.To, clientPort), r.Data)
	}
	to := &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: index, Halen: 6} // ETH_P_IP in network order
	copy(to.Addr[:], r.MAC[:])
	return unix.Sendto(c.packet, frame(src, r.MAC, r.From, r.To, r.Data), 0, to)
}

// Close stops reading. A receiver that is running may still finish.
func (c *conn) Close() error { return errors.Join(unix.Close(c.packet), c.Port.Close()) }
