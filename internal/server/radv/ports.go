package radv

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// ports sends frames on port devices, which are all in the host's namespace.
type ports interface {
	// SendOn sends an Ethernet frame out by a device.
	SendOn(device string, frame []byte) error
	Close() error
}

// packetSocket is a packet socket that hears nothing, opened when the first
// frame is sent.
type packetSocket struct {
	inNS listen.InNS
	mu   sync.Mutex
	fd   int // 0: not open
	shut bool
}

func newPacketSocket(inNS listen.InNS) *packetSocket { return &packetSocket{inNS: inNS} }

func (p *packetSocket) SendOn(device string, frame []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil {
		return err
	}
	// A device may be made anew under its name at any time.
	index, err := listen.IndexOf(p.fd, device)
	if err != nil {
		return err
	}
	return unix.Sendto(p.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index})
}

// open is called with the lock held.
func (p *packetSocket) open() error {
	if p.shut {
		return unix.EBADF
	}
	if p.fd != 0 {
		return nil
	}
	return p.inNS("", func() (err error) {
		// Protocol 0: nothing is received.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			p.fd = fd
		}
		return err
	})
}

func (p *packetSocket) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	if p.fd == 0 {
		return nil
	}
	fd := p.fd
	p.fd = 0
	return unix.Close(fd)
}
