package dhcp4

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

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
	finder  *finder
	senders *senders
	packet  int // AF_PACKET, only sends

	mu    sync.Mutex
	frame []byte // that is being sent
}

// open makes the sockets where inNS runs functions and reads until Close.
func open(inNS func(func() error) error, recv func(listen.Packet)) (dhcp.Transport, error) {
	c := &conn{packet: -1}
	err := inNS(func() (err error) {
		// Protocol 0: it receives nothing.
		if c.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return fmt.Errorf("open a packet socket: %w", err)
		}
		if c.finder, err = openFinder(); err != nil {
			return err
		}
		c.senders, err = openSenders()
		return err
	})
	if err == nil {
		c.Port, err = listen.OpenPort(listen.PortConfig{Port: serverPort, MaxMessage: maxMessage}, inNS, func(p listen.Packet) {
			p.MAC, _ = c.senders.of(p.Index, p.Data)
			recv(p)
		})
	}
	if err != nil {
		if c.packet >= 0 {
			_ = unix.Close(c.packet)
		}
		if c.finder != nil {
			_ = c.finder.close()
		}
		if c.senders != nil {
			_ = c.senders.close()
		}
		return nil, err
	}
	return c, nil
}

func (c *conn) Send(index int, src vnet.MAC, r dhcp.Reply) error {
	port := r.Port
	if port == 0 {
		port = clientPort
	}
	if r.MAC.IsZero() {
		return c.Port.Send(index, r.From, netip.AddrPortFrom(r.To, port), r.Data)
	}
	to := &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: index, Halen: 6} // ETH_P_IP in network order
	copy(to.Addr[:], r.MAC[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frame = appendFrame(c.frame[:0], src, r.MAC, r.From, r.To, r.Data)
	return unix.Sendto(c.packet, c.frame, 0, to)
}

// Find is of dhcp.Finder.
func (c *conn) Find(index int, src vnet.MAC, a netip.Addr, done func(by vnet.MAC)) {
	c.finder.find(index, src, a, done)
}

// Close stops reading. A receiver that is running may still finish.
func (c *conn) Close() error {
	return errors.Join(c.Port.Close(), c.finder.close(), c.senders.close(), unix.Close(c.packet))
}
