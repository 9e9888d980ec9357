package dhcp4

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// senders knows the source MAC of the frames that messages came in, which a UDP
// socket does not tell: chaddr is what a client says, the frame is what the
// guard of its port let through. It is a socket that gets a copy of the
// beginning of each message, before the UDP socket gets the message.
type senders struct {
	mu   sync.Mutex
	fd   int                   // -1 after close: readers may be late
	seen map[frameKey]vnet.MAC // copies whose messages have not come yet
}

// frameKey finds a message's frame again.
type frameKey struct {
	index int
	xid   [4]byte
	mac   vnet.MAC // chaddr
}

// Bounds: of a copy (the longest IP header, UDP, the fields up to chaddr), and
// of the copies without a message, which a firewall dropped.
const (
	copySize  = 60 + 8 + offSname
	maxCopies = 1024
)

// senderFilter lets what is sent to the server's port through, unless it is the
// rest of a fragmented packet.
var senderFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipFalse: 6},
	bpf.LoadAbsolute{Off: 6, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
	bpf.LoadMemShift{Off: 0},
	bpf.LoadIndirect{Off: 2, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: serverPort, SkipFalse: 1},
	bpf.RetConstant{Val: copySize},
	bpf.RetConstant{Val: 0},
}

// openSenders runs in the namespace.
func openSenders() (*senders, error) {
	fd, err := openPacket(etherIPv4, senderFilter)
	if err != nil {
		return nil, fmt.Errorf("listen for senders: %w", err)
	}
	// Best effort: as much as the UDP socket holds.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	return &senders{fd: fd, seen: make(map[frameKey]vnet.MAC)}, nil
}

// openPacket opens a socket that gets what the filter lets through, of one kind
// of Ethernet frame.
func openPacket(ether uint16, filter []bpf.Instruction) (int, error) {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return -1, err
	}
	prog := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		prog[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	// It is deaf until it has its filter, and hears all links from then on.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network16(ether)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// network16 is a number in network order, as the kernel takes it.
func network16(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// of returns the source MAC of the frame that a message came in; false if its
// copy was lost.
func (s *senders) of(index int, message []byte) (mac vnet.MAC, ok bool) {
	want, ok := keyOf(index, message)
	if !ok {
		return mac, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return mac, false
	}
	if mac, ok = s.seen[want]; ok {
		delete(s.seen, want)
		return mac, true
	}
	var buf [copySize]byte
	for range maxCopies {
		n, from, err := unix.Recvfrom(s.fd, buf[:], unix.MSG_DONTWAIT)
		if err != nil {
			return vnet.MAC{}, false // mac is somebody else's by now
		}
		link, isLink := from.(*unix.SockaddrLinklayer)
		if !isLink || link.Halen != 6 {
			continue
		}
		k, ok := keyOf(link.Ifindex, payload(buf[:n]))
		if !ok {
			continue
		}
		copy(mac[:], link.Addr[:])
		if k == want {
			return mac, true
		}
		if len(s.seen) >= maxCopies {
			clear(s.seen)
		}
		s.seen[k] = mac
	}
	return vnet.MAC{}, false
}

// payload is what a UDP packet over IPv4 carries; empty if it is cut short.
func payload(b []byte) []byte {
	if len(b) == 0 || b[0]>>4 != 4 {
		return nil
	}
	n := int(b[0]&15)*4 + 8
	if n < 28 || len(b) < n {
		return nil
	}
	return b[n:]
}

func keyOf(index int, message []byte) (k frameKey, ok bool) {
	if len(message) < offChaddr+6 {
		return k, false
	}
	k.index = index
	copy(k.xid[:], message[offXID:])
	copy(k.mac[:], message[offChaddr:])
	return k, true
}

func (s *senders) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}
