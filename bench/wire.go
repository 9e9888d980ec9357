package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// wire sends and hears whole frames of one EtherType on a device, many with
// one system call, so that the clients cost little beside the server that is
// measured.
type wire struct {
	fd       int
	send     uintptr // number of sendmmsg(2)
	out, in  frames
	outgoing int
}

// wireBatch is how many frames go with one system call, frameSize their room.
const (
	wireBatch = 64
	frameSize = 2048
)

// frames is a vector of messages and their room.
type frames struct {
	headers [wireBatch]mmsghdr
	vectors [wireBatch]syscall.Iovec
	room    []byte
}

// mmsghdr is struct mmsghdr of linux/socket.h.
type mmsghdr struct {
	header syscall.Msghdr
	length uint32
}

func (f *frames) prepare() {
	f.room = make([]byte, wireBatch*frameSize)
	for i := range f.headers {
		f.vectors[i].Base = &f.room[i*frameSize]
		f.vectors[i].SetLen(frameSize)
		f.headers[i].header.Iov, f.headers[i].header.Iovlen = &f.vectors[i], 1
	}
}

// frame is the room of message i.
func (f *frames) frame(i int) []byte { return f.room[i*frameSize : (i+1)*frameSize] }

// EtherTypes.
const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
)

// openWire opens the socket in a namespace.
func openWire(netns, device string, etherType uint16) (*wire, error) {
	w := &wire{fd: -1}
	switch runtime.GOARCH {
	case "amd64":
		w.send = 307
	case "arm64":
		w.send = 269
	default:
		return nil, fmt.Errorf("sendmmsg: its number on %s is not known", runtime.GOARCH)
	}
	w.out.prepare()
	w.in.prepare()
	err := within(netns, func() error { return w.open(device, etherType) })
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *wire) open(device string, etherType uint16) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	var protocol [2]byte
	binary.BigEndian.PutUint16(protocol[:], etherType)
	inOrder := binary.NativeEndian.Uint16(protocol[:])
	if w.fd, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	const receiveBufferForce = 33 // SO_RCVBUFFORCE, which package syscall lacks
	wait := syscall.NsecToTimeval(int64(5 * time.Millisecond))
	return errors.Join(
		syscall.SetsockoptInt(w.fd, syscall.SOL_SOCKET, receiveBufferForce, 16<<20),
		syscall.SetsockoptTimeval(w.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait),
		os.NewSyscallError("bind", syscall.Bind(w.fd, &syscall.SockaddrLinklayer{Protocol: inOrder, Ifindex: link.Index})),
	)
}

func (w *wire) close() error {
	if w.fd < 0 {
		return nil
	}
	return syscall.Close(w.fd)
}

// room returns where the next frame to be sent is to be written.
func (w *wire) room() []byte { return w.out.frame(w.outgoing)[:0] }

// queue has a frame sent with the next flush, or at once when there is no more
// room.
func (w *wire) queue(frame []byte) error {
	n := copy(w.out.frame(w.outgoing), frame)
	w.out.vectors[w.outgoing].SetLen(n)
	if w.outgoing++; w.outgoing == wireBatch {
		return w.flush()
	}
	return nil
}

// flush sends what is queued. What does not fit into the device's queue is
// lost, and repeated as on any network.
func (w *wire) flush() error {
	for sent := 0; sent < w.outgoing; {
		n, _, errno := syscall.Syscall6(w.send, uintptr(w.fd), uintptr(unsafe.Pointer(&w.out.headers[sent])), uintptr(w.outgoing-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case syscall.EINTR:
		case syscall.ENOBUFS, syscall.EAGAIN:
			sent++
		default:
			return os.NewSyscallError("sendmmsg", errno)
		}
	}
	w.outgoing = 0
	return nil
}

// hear waits a few milliseconds for frames and returns how many there are.
func (w *wire) hear() (int, error) {
	const waitForOne = 0x10000 // MSG_WAITFORONE
	n, _, errno := syscall.Syscall6(syscall.SYS_RECVMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&w.in.headers[0])), wireBatch, waitForOne, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EINTR, syscall.EAGAIN, syscall.ENETDOWN:
		return 0, nil
	}
	return 0, os.NewSyscallError("recvmmsg", errno)
}

// heard is frame i of those that hear found.
func (w *wire) heard(i int) []byte {
	return w.in.frame(i)[:min(int(w.in.headers[i].length), frameSize)]
}
