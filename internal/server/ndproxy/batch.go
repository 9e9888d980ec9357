package ndproxy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mostFrames is how many frames are taken or sent with one system call.
const mostFrames = 32

// batch is frames that are taken or sent together.
type batch struct {
	data    []byte // of all frames, one after the other
	size    [mostFrames]int
	n       int
	headers [mostFrames]unix.Mmsghdr
	vectors [mostFrames]unix.Iovec
}

// receive takes the frames that wait, and returns how many they are; none is
// also where the link is down. It does not sleep: the scheduler is not told.
func (b *batch) receive(fd int) int {
	if b.data == nil {
		b.data = make([]byte, mostFrames*(maxFrame+1))
		for i := range b.vectors {
			b.vectors[i] = unix.Iovec{Base: &b.data[i*(maxFrame+1)]}
			b.vectors[i].SetLen(maxFrame + 1)
			b.headers[i].Hdr.Iov = &b.vectors[i]
			b.headers[i].Hdr.SetIovlen(1)
		}
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), mostFrames, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// received is one of the frames that receive took.
func (b *batch) received(i int) []byte {
	start := i * (maxFrame + 1)
	return b.data[start : start+int(b.headers[i].Len)]
}

// full reports whether no frame can be added.
func (b *batch) full() bool { return b.n == mostFrames }

// add queues a frame.
func (b *batch) add(frame []byte) {
	b.data = append(b.data, frame...)
	b.size[b.n] = len(frame)
	b.n++
}

// send sends what is queued. What the kernel has no room for is lost, as frames
// are; the error is that of the last.
func (b *batch) send(fd int) (err error) {
	at := 0
	for i, size := range b.size[:b.n] {
		b.vectors[i] = unix.Iovec{Base: &b.data[at]}
		b.vectors[i].SetLen(size)
		b.headers[i].Hdr.Iov = &b.vectors[i]
		b.headers[i].Hdr.SetIovlen(1)
		at += size
	}
	for i := 0; i < b.n; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[i])), uintptr(b.n-i), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			i += int(n)
		case unix.EINTR:
		default: // it is about the first of them
			err = errno
			i++
		}
	}
	b.data, b.n = b.data[:0], 0
	return err
}
