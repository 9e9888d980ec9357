package hear

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Probe asks one guest whether it still uses an address.
type Probe struct {
	Link   int        // index of the port device; the frame goes to this guest alone
	Target netip.Addr // the address in question
	// MAC is the guest's, to which the frame is sent: multicast goes to this
	// guest alone as well (RFC 6085).
	MAC vnet.MAC
	// Gateway is our own MAC on the network, to which the guest answers.
	Gateway vnet.MAC
	// Source is our own address: the gateway's link-local address for IPv6,
	// where it must not be unspecified, for that would be duplicate address
	// detection; the gateway's IPv4 address, or the zero Addr.
	Source netip.Addr
}

// Prober sends probes in one namespace. Its methods may be called from any
// goroutine.
type Prober struct {
	mu     sync.Mutex
	fd     int
	closed bool
}

// NewProber opens a packet socket in the namespace, which hears nothing.
func NewProber(inNS InNS, ns string) (*Prober, error) {
	p := &Prober{}
	err := inNS(ns, func() (err error) {
		// Protocol 0: nothing is received.
		p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrHost, "open a packet socket to probe guests: %w", err)
	}
	return p, nil
}

// Send sends one probe. The answer, if any, is heard by a Listener.
func (p *Prober) Send(q Probe) error {
	frame, err := q.frame()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return unix.EBADF
	}
	if q.Link <= 0 || q.Link > math.MaxInt32 {
		return fmt.Errorf("hear: no link with index %d", q.Link)
	}
	if err := unix.Sendto(p.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: q.Link}); err != nil {
		return fmt.Errorf("hear: probe %s on link %d: %w", q.Target, q.Link, err)
	}
	return nil
}

// Close ends the prober.
func (p *Prober) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return unix.Close(p.fd)
}

// frame returns the Ethernet frame of the probe.
func (q Probe) frame() ([]byte, error) {
	switch {
	case !q.MAC.IsUnicast() || !q.Gateway.IsUnicast():
		return nil, fmt.Errorf("hear: probe of %s needs the guest's and the gateway's MAC", q.Target)
	case q.Target.Is4():
		return q.arp(), nil
	case q.Target.Is6() && q.Source.Is6() && !q.Source.IsUnspecified():
		return q.solicitation(), nil
	}
	return nil, fmt.Errorf("hear: probe of %s from %s: no such probe", q.Target, q.Source)
}

func (q Probe) ethernet(etherType uint16) []byte {
	b := make([]byte, 0, 86)
	b = append(b, q.MAC[:]...)
	b = append(b, q.Gateway[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

func (q Probe) arp() []byte {
	src := [4]byte{} // a probe of RFC 5227, which every stack answers
	if q.Source.Is4() {
		src = q.Source.As4()
	}
	dst := q.Target.As4()
	b := append(q.ethernet(EtherARP), 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(b, q.Gateway[:]...)
	b = append(b, src[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, dst[:]...)
}

func (q Probe) solicitation() []byte {
	src, dst, group := q.Source.As16(), q.Target.As16(), SolicitedNode(q.Target).As16()
	const length = 32
	ip := append(q.ethernet(EtherIPv6), 0x60, 0, 0, 0, 0, length, protoICMPv6, 255)
	ip = append(ip, src[:]...)
	ip = append(ip, group[:]...)
	icmp := append([]byte{typeNS, 0, 0, 0, 0, 0, 0, 0}, dst[:]...)
	icmp = append(icmp, optSource, 1)
	icmp = append(icmp, q.Gateway[:]...)
	binary.BigEndian.PutUint16(icmp[2:], checksum(src, group, icmp))
	return append(ip, icmp...)
}

// checksum is ICMPv6's (RFC 8200 section 8.1); the message has an even length.
func checksum(src, dst [16]byte, msg []byte) uint16 {
	sum := uint32(len(msg)) + protoICMPv6
	for _, b := range [][]byte{src[:], dst[:], msg} {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
