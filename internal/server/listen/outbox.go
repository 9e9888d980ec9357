package listen

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// maxQueued is how many messages wait in an outbox while others are being
	// sent: more than that are lost, as in any full queue.
	maxQueued = 4096
	// keptQueue is for how many of them room is kept.
	keptQueue = 256
	// mostOut is how many go with one system call: a third of a millisecond, for
	// which the Go scheduler is not told of it.
	mostOut = 32
)

// Outbox is the sending side of a socket. What is queued goes out with Flush,
// in that order, many messages with one system call. Its methods may be called
// from any goroutine; who flushes while another one does has its messages sent
// by that one.
type Outbox struct {
	raw syscall.RawConn

	mu           sync.Mutex
	queue, spare []outgoing
	sending      bool
	info         []byte // control message of the link and address that were last sent from
	index        int
	from         netip.Addr

	// Of whoever is sending.
	headers []unix.Mmsghdr
	vectors []unix.Iovec
	batch   []outgoing
	sent    int // of batch
	failed  func(index int, to netip.Addr, err error)
}

// outgoing is a message that waits.
type outgoing struct {
	data  []byte
	info  []byte // control message; nil: none
	name  [unix.SizeofSockaddrInet6]byte
	size  uint32 // of name
	index int
	to    netip.Addr
}

// NewOutbox returns an outbox for a socket.
func NewOutbox(raw syscall.RawConn) *Outbox { return &Outbox{raw: raw} }

// Send queues a message for a link, for a UDP or a raw socket. An invalid from
// leaves the choice to the kernel.
func (o *Outbox) Send(index int, from netip.Addr, to netip.AddrPort, b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, err := o.enqueue(index, to.Addr(), b)
	if err != nil {
		return err
	}
	if o.info == nil || o.index != index || o.from != from {
		o.info, o.index, o.from = pktinfoOf(index, from, to.Addr().Is4()), index, from
	}
	m.info = o.info
	binary.BigEndian.PutUint16(m.name[2:], to.Port())
	if to.Addr().Is4() {
		a := to.Addr().As4()
		binary.NativeEndian.PutUint16(m.name[:], unix.AF_INET)
		copy(m.name[4:], a[:])
		m.size = unix.SizeofSockaddrInet4
		return nil
	}
	a := to.Addr().As16()
	binary.NativeEndian.PutUint16(m.name[:], unix.AF_INET6)
	copy(m.name[8:], a[:])
	binary.NativeEndian.PutUint32(m.name[24:], uint32(index))
	m.size = unix.SizeofSockaddrInet6
	return nil
}

// SendFrame queues a frame for a link, for a packet socket; to is who is named
// if it fails.
func (o *Outbox) SendFrame(index int, mac vnet.MAC, to netip.Addr, b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, err := o.enqueue(index, to, b)
	if err != nil {
		return err
	}
	binary.NativeEndian.PutUint16(m.name[:], unix.AF_PACKET)
	copy(m.name[2:], b[12:14]) // the EtherType
	binary.NativeEndian.PutUint32(m.name[4:], uint32(index))
	m.name[11] = byte(len(mac))
	copy(m.name[12:], mac[:])
	m.size = unix.SizeofSockaddrLinklayer
	return nil
}

// enqueue is called with the lock held.
func (o *Outbox) enqueue(index int, to netip.Addr, b []byte) (*outgoing, error) {
	n := len(o.queue)
	if n >= maxQueued {
		return nil, unix.ENOBUFS
	}
	if n == cap(o.queue) {
		o.queue = append(o.queue, outgoing{})
	} else {
		o.queue = o.queue[:n+1] // with the room of an earlier message
	}
	m := &o.queue[n]
	*m = outgoing{data: append(m.data[:0], b...), index: index, to: to}
	return m, nil
}

// pktinfoOf is the control message that says by which link and from which
// address a packet goes.
func pktinfoOf(index int, from netip.Addr, ipv4 bool) []byte {
	if ipv4 {
		info := unix.Inet4Pktinfo{Ifindex: int32(index)}
		if from.Is4() {
			info.Spec_dst = from.As4()
		}
		return unix.PktInfo4(&info)
	}
	info := unix.Inet6Pktinfo{Ifindex: uint32(index)}
	if from.Is6() {
		info.Addr = from.As16()
	}
	return unix.PktInfo6(&info)
}

// Flush sends what is queued; failed, if there is one, is told what could not be
// sent, while nothing is locked.
func (o *Outbox) Flush(failed func(index int, to netip.Addr, err error)) {
	o.mu.Lock()
	for !o.sending && len(o.queue) > 0 {
		all := o.queue
		o.queue, o.spare, o.sending = o.spare[:0], nil, true
		o.mu.Unlock()
		o.failed = failed
		for rest := all; len(rest) > 0; rest = rest[min(len(rest), mostOut):] {
			o.send(rest[:min(len(rest), mostOut)])
		}
		o.mu.Lock()
		if o.sending = false; cap(all) <= keptQueue {
			o.spare = all
		}
	}
	o.mu.Unlock()
}

// send sends a batch; if the socket was closed meanwhile it is lost.
func (o *Outbox) send(batch []outgoing) {
	for len(o.headers) < len(batch) {
		o.headers, o.vectors = append(o.headers, unix.Mmsghdr{}), append(o.vectors, unix.Iovec{})
	}
	for i := range batch {
		m, h := &batch[i], &o.headers[i].Hdr
		o.vectors[i] = unix.Iovec{Base: unsafe.SliceData(m.data)}
		o.vectors[i].SetLen(len(m.data))
		*h = unix.Msghdr{Name: &m.name[0], Namelen: m.size, Iov: &o.vectors[i], Control: unsafe.SliceData(m.info)}
		h.SetIovlen(1)
		h.SetControllen(len(m.info))
	}
	o.batch, o.sent = batch, 0
	_ = o.raw.Write(o.write)
	o.batch = nil
}

// write sends what is left of the batch; it is called again when the socket
// can take more. The call never sleeps, so the scheduler need not look for
// somebody who could use the processor meanwhile: it would wake threads for
// nothing, thousands of times a second.
func (o *Outbox) write(fd uintptr) (done bool) {
	for o.sent < len(o.batch) {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.headers[o.sent])),
			uintptr(len(o.batch)-o.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			o.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default: // it is about the first of them
			if o.failed != nil {
				o.failed(o.batch[o.sent].index, o.batch[o.sent].to, errno)
			}
			o.sent++
		}
	}
	return true
}
