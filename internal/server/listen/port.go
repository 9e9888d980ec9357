package listen

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// PortError says that other programs hold the port.
type PortError struct {
	Port   int
	Owners string // as Holders says
}

func (e *PortError) Error() string {
	if e.Owners == "" {
		return fmt.Sprintf("UDP port %d is taken by another program", e.Port)
	}
	return fmt.Sprintf("UDP port %d is taken by %s", e.Port, e.Owners)
}

// PortConfig says which UDP port is listened on.
type PortConfig struct {
	IPv6 bool // else IPv4
	Port int
	// Groups are the IPv6 multicast groups that guests write to: they are
	// joined on each link.
	Groups []netip.Addr
	// MaxMessage is the longest message that is told in full.
	MaxMessage int
}

// Port is a UDP port on many links of one namespace: one socket for all of
// them or, while another program holds the port without sharing it, one for
// each link.
type Port struct {
	cfg    PortConfig
	inNS   func(func() error) error
	recv   func(...Packet)
	shared *udpConn // nil: each link has a socket of its own
	links  map[int]*udpConn
	// members are those of Groups; nil: none.
	members *Members
	ctl     int // for questions about links
	spoken  []*Outbox
}

// OpenPort opens the port where inNS runs functions, and tells recv what
// arrives until Close.
func OpenPort(cfg PortConfig, inNS func(func() error) error, recv func(...Packet)) (*Port, error) {
	p := &Port{cfg: cfg, inNS: inNS, recv: recv, links: make(map[int]*udpConn), ctl: -1}
	if err := inNS(p.open); err != nil {
		p.Close()
		return nil, err
	}
	if p.shared != nil {
		go p.read(p.shared)
	}
	return p, nil
}

// open runs in the namespace.
func (p *Port) open() (err error) {
	// A family that every kernel has.
	if p.ctl, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		p.ctl = -1
		return fmt.Errorf("open a socket to ask about links: %w", err)
	}
	// Without SO_REUSEADDR, so that we learn whether anybody is there.
	p.shared, err = p.listen("", p.cfg.Port)
	if errors.Is(err, unix.EADDRINUSE) {
		p.shared, err = nil, nil
	}
	if err != nil {
		return err
	}
	if len(p.cfg.Groups) > 0 {
		var first *ipv6.PacketConn
		if p.shared != nil {
			first = p.shared.p6
		}
		p.members = NewMembers(p.cfg.Groups[0], first, p.another, p.cfg.Groups[1:]...)
	}
	if p.shared == nil {
		return nil
	}
	// From here on others may share the port on links of their own, as
	// libvirt's dnsmasq does.
	return p.shared.control(reuse)
}

// listen opens a socket on one link or on all of them.
func (p *Port) listen(link string, port int) (*udpConn, error) {
	return listenUDP(p.cfg.IPv6, link, port, p.cfg.MaxMessage)
}

// another opens a socket for more memberships, on any port: nobody sends to it.
func (p *Port) another() (*ipv6.PacketConn, error) {
	var c *udpConn
	err := p.inNS(func() (err error) { c, err = p.listen("", 0); return err })
	if err != nil {
		return nil, err
	}
	return c.p6, nil
}

func (p *Port) read(c *udpConn) {
	for {
		packets, err := c.in.Read()
		if err != nil {
			return
		}
		if len(packets) > 0 {
			p.recv(packets...)
		}
	}
}

// Index returns the index of a link, or an error of unix.ENODEV.
func (p *Port) Index(link string) (int, error) { return IndexOf(p.ctl, link) }

// Join makes messages on the link arrive; a *PortError says who is in the way.
func (p *Port) Join(link string, index int) error {
	if p.shared != nil {
		if p.members == nil {
			return nil
		}
		return p.members.Join(index)
	}
	if p.links[index] != nil {
		return nil
	}
	var c *udpConn
	if err := p.inNS(func() (err error) { c, err = p.listenOn(link, index); return err }); err != nil {
		return err
	}
	p.links[index] = c
	go p.read(c)
	return nil
}

// listenOn opens the socket of one link; it runs in the namespace.
func (p *Port) listenOn(link string, index int) (*udpConn, error) {
	c, err := p.listen(link, p.cfg.Port)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, &PortError{p.cfg.Port, Holders(BoundTo(uint16(p.cfg.Port), UDP4, UDP6))}
	}
	if err != nil || p.members == nil {
		return c, err
	}
	if err := p.members.joinOn(c.p6, index); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Leave undoes Join, also for a link that is gone.
func (p *Port) Leave(index int) {
	if p.members != nil {
		p.members.Leave(index)
	}
	if c := p.links[index]; c != nil {
		delete(p.links, index)
		c.out.Flush(nil)
		c.Close()
	}
}

// Send queues a message for a link, until Flush. An invalid from leaves the
// choice to the kernel.
func (p *Port) Send(index int, from netip.Addr, to netip.AddrPort, b []byte) error {
	c := p.shared
	if c == nil {
		c = p.links[index]
	}
	if c == nil {
		return unix.ENODEV
	}
	if !slices.Contains(p.spoken, c.out) {
		p.spoken = append(p.spoken, c.out)
	}
	return c.out.Send(index, from, to, b)
}

// Spoken is of Speaker.
func (p *Port) Spoken(to []*Outbox) []*Outbox {
	to = append(to, p.spoken...)
	p.spoken = p.spoken[:0]
	return to
}

// Close sends what is queued and stops reading. A receiver that is running may
// still finish.
func (p *Port) Close() error {
	var errs []error
	for _, o := range p.Spoken(nil) {
		o.Flush(nil)
	}
	if p.ctl >= 0 {
		errs = append(errs, unix.Close(p.ctl))
		p.ctl = -1
	}
	if p.shared != nil {
		errs = append(errs, p.shared.Close())
	}
	if p.members != nil {
		errs = append(errs, p.members.Close())
	}
	for i, c := range p.links {
		errs = append(errs, c.Close())
		delete(p.links, i)
	}
	return errors.Join(errs...)
}
