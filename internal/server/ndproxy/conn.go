package ndproxy

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// receiveBuffer holds what a provider's router asks at once when it comes back,
// in bytes: the kernel counts nearly a kilobyte for each frame.
const receiveBuffer = 4 << 20

// filter lets neighbour solicitations and advertisements through, as
// parse will look at them: the kernel drops all else before it costs anything.
var filter = []bpf.Instruction{
	// Frames that are for others come by where a link is promiscuous, and
	// those of VLANs that nobody has.
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 10},
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIPv6, SkipTrue: 8},
	bpf.LoadAbsolute{Off: etherLen + 6, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 6},
	bpf.LoadAbsolute{Off: etherLen + 7, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 255, SkipTrue: 4},
	bpf.LoadAbsolute{Off: etherLen + ipLen, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeSolicitation, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeAdvertisement, SkipTrue: 1},
	bpf.RetConstant{Val: maxFrame + 1},
	bpf.RetConstant{Val: 0},
}

// packetSocket is a packet socket for neighbour discovery on one link.
type packetSocket struct {
	fd    int
	index int // of the link it is bound to; 0: none
}

// openPacket opens a socket that hears nothing yet, in the namespace of the
// calling thread.
func openPacket() (*packetSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	raw, err := bpf.Assemble(filter)
	if err == nil {
		prog := make([]unix.SockFilter, len(raw))
		for i, r := range raw {
			prog[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("filter a packet socket: %w", err)
	}
	// Best effort: without the capability the kernel's limit holds.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	return &packetSocket{fd: fd}, nil
}

// find returns the index of a link, 0 if there is none.
func (s *packetSocket) find(link string) (int, error) {
	index, err := listen.IndexOf(s.fd, link)
	if errors.Is(err, unix.ENODEV) {
		return 0, nil
	}
	return index, err
}

// bind hears and speaks on a link.
func (s *packetSocket) bind(index int) error {
	// In network byte order, as a number of this machine.
	protocol := binary.NativeEndian.Uint16([]byte{etherIPv6 >> 8, etherIPv6 & 0xff})
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index}); err != nil {
		return err
	}
	s.index = index
	return nil
}

// hearAll has the link hear all multicast, or no longer.
func (s *packetSocket) hearAll(on bool) error {
	opt := unix.PACKET_DROP_MEMBERSHIP
	if on {
		opt = unix.PACKET_ADD_MEMBERSHIP
	}
	return unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, opt, &unix.PacketMreq{Ifindex: int32(s.index), Type: unix.PACKET_MR_ALLMULTI})
}

func (s *packetSocket) Close() error { return unix.Close(s.fd) }
