package dhcp4

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

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
	packet  *os.File // AF_PACKET, only sends
	frames  *listen.Outbox
	frame   []byte // that is being queued; the networks' lock guards it
	framed  bool   // since Spoken
}

// open makes the sockets where inNS runs functions and reads until Close.
func open(inNS func(func() error) error, recv func(...listen.Packet)) (dhcp.Transport, error) {
	c := &conn{}
	err := inNS(func() (err error) {
		if err := c.openFrames(); err != nil {
			return fmt.Errorf("open a packet socket: %w", err)
		}
		if c.finder, err = openFinder(); err != nil {
			return err
		}
		c.senders, err = openSenders()
		return err
	})
	if err == nil {
		c.Port, err = listen.OpenPort(listen.PortConfig{Port: serverPort, MaxMessage: maxMessage}, inNS, func(ps ...listen.Packet) {
			for i := range ps {
				ps[i].MAC, _ = c.senders.of(ps[i].Index, ps[i].Data)
			}
			recv(ps...)
		})
	}
	if err != nil {
		if c.packet != nil {
			_ = c.packet.Close()
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

// openFrames runs in the namespace.
func (c *conn) openFrames() error {
	// Protocol 0: it receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	c.packet = os.NewFile(uintptr(fd), "packet socket")
	raw, err := c.packet.SyscallConn()
	c.frames = listen.NewOutbox(raw)
	return err
}

func (c *conn) Send(index int, src vnet.MAC, r dhcp.Reply) error {
	port := r.Port
	if port == 0 {
		port = clientPort
	}
	if r.MAC.IsZero() {
		return c.Port.Send(index, r.From, netip.AddrPortFrom(r.To, port), r.Data)
	}
	c.frame = appendFrame(c.frame[:0], src, r.MAC, r.From, r.To, r.Data)
	c.framed = true
	return c.frames.SendFrame(index, r.MAC, r.To, c.frame)
}

// Spoken is of listen.Speaker.
func (c *conn) Spoken(to []*listen.Outbox) []*listen.Outbox {
	if to = c.Port.Spoken(to); c.framed {
		to = append(to, c.frames)
	}
	c.framed = false
	return to
}

// Find is of dhcp.Finder.
func (c *conn) Find(index int, src vnet.MAC, a netip.Addr, done func(by vnet.MAC)) {
	c.finder.find(index, src, a, done)
}

// Close sends what is queued and stops reading. A receiver that is running may
// still finish.
func (c *conn) Close() error {
	c.frames.Flush(nil)
	return errors.Join(c.Port.Close(), c.finder.close(), c.senders.close(), c.packet.Close())
}
