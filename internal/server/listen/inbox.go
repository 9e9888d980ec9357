package listen

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mostIn is how many messages are taken with one system call: guests that
// start together ask together.
const mostIn = 32

// Inbox is the receiving side of a socket that tells the links of its packets
// (IP_PKTINFO, IPV6_PKTINFO). It takes many with one system call, once there
// have been many.
type Inbox struct {
	raw     syscall.RawConn
	size    int // of the longest message that is told in full
	slots   []incoming
	headers []unix.Mmsghdr
	packets []Packet
	n       int // that the last call took
}

// incoming is the room for a message.
type incoming struct {
	data   []byte
	vector unix.Iovec
	name   [unix.SizeofSockaddrInet6]byte
	info   [96]byte // control messages
}

// NewInbox returns an inbox for a socket, and messages of at most so many bytes.
func NewInbox(raw syscall.RawConn, size int) *Inbox { return &Inbox{raw: raw, size: size} }

// Read waits for messages and returns those that there are, which are good
// until the next call. It may be none. An error is the socket's end.
func (in *Inbox) Read() ([]Packet, error) {
	if in.n == len(in.slots) && in.n < mostIn { // all of its room was needed
		in.grow(max(1, 2*in.n))
	}
	for i := range in.slots {
		s := &in.slots[i]
		h := &in.headers[i].Hdr
		*h = unix.Msghdr{Name: &s.name[0], Namelen: uint32(len(s.name)), Iov: &s.vector, Control: &s.info[0]}
		h.SetIovlen(1)
		h.SetControllen(len(s.info))
	}
	if err := in.raw.Read(in.read); err != nil {
		return nil, err
	}
	in.packets = in.packets[:0]
	for i := range in.n {
		if p, ok := in.slots[i].packet(&in.headers[i]); ok {
			in.packets = append(in.packets, p)
		}
	}
	return in.packets, nil
}

// grow makes room for so many messages.
func (in *Inbox) grow(n int) {
	in.slots, in.headers = make([]incoming, n), make([]unix.Mmsghdr, n)
	for i := range in.slots {
		s := &in.slots[i]
		s.data = make([]byte, in.size+1)
		s.vector.Base = &s.data[0]
		s.vector.SetLen(len(s.data))
	}
}

// read is called again when there is something. What goes wrong is what came,
// not the socket. The call never sleeps: as with write of an Outbox.
func (in *Inbox) read(fd uintptr) (done bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.headers[0])), uintptr(len(in.headers)), unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EAGAIN {
		return false
	}
	if in.n = 0; errno == 0 {
		in.n = int(n)
	}
	return true
}

// packet is what was received; false: it does not say where.
func (s *incoming) packet(h *unix.Mmsghdr) (p Packet, ok bool) {
	p.Data = s.data[:min(int(h.Len), len(s.data))]
	switch binary.NativeEndian.Uint16(s.name[:]) {
	case unix.AF_INET:
		p.From = netip.AddrFrom4([4]byte(s.name[4:8]))
	case unix.AF_INET6:
		p.From = netip.AddrFrom16([16]byte(s.name[8:24])).Unmap()
	default:
		return p, false
	}
	p.FromPort = binary.BigEndian.Uint16(s.name[2:])
	for b := s.info[:min(int(h.Hdr.Controllen), len(s.info))]; len(b) > 0; {
		c, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		switch b = rest; {
		case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= 12:
			// struct in_pktinfo: the link, the local address, the destination.
			p.Index, ok = int(binary.NativeEndian.Uint32(data)), true
			p.To = netip.AddrFrom4([4]byte(data[8:12]))
		case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= 20:
			// struct in6_pktinfo: the destination, the link.
			p.Index, ok = int(binary.NativeEndian.Uint32(data[16:])), true
			p.To = netip.AddrFrom16([16]byte(data[:16]))
		case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			p.HopLimit = int(binary.NativeEndian.Uint32(data))
		}
	}
	return p, ok
}
