// Package xdr reads and writes XDR (RFC 4506) as libvirt's remote protocol
// uses it.
//
// A type of the protocol describes itself once, in a method XDR that names its
// fields in order; the Stream it is given either reads or writes them, as the
// C library's xdr_ functions do. Whatever a length says is compared with what
// is left of the message and with the protocol's own maximum before memory is
// taken for it.
package xdr

import (
	"errors"
	"fmt"
)

// Value is something that the protocol knows how to carry. XDR visits its
// fields in the order of the wire; it must do the same for reading and for
// writing, and look at no field before it has visited it.
type Value interface {
	XDR(s *Stream)
}

// The errors of this package. What is returned wraps one of them.
var (
	ErrShort = errors.New("the message ends too early")      // less is there than a length or a type needs
	ErrLong  = errors.New("longer than the protocol allows") // a string, an array or opaque data beyond its maximum
	ErrValue = errors.New("not a value of the protocol")     // a number that names nothing, a string with a NUL
	ErrSpace = errors.New("the message becomes too long")    // writing beyond the limit of Append
)

// Stream is one message being read or being written. The first error stops it:
// what is visited afterwards stays as it is.
type Stream struct {
	writing bool
	buf     []byte // what was written, or all there is to read
	off     int    // how much of it was read
	limit   int    // how long buf may become
	err     error
}

// Decode reads v from the beginning of data. What is left over is ignored, as
// libvirt does. v keeps nothing of data.
func Decode(data []byte, v Value) error {
	s := &Stream{buf: data}
	v.XDR(s)
	return s.err
}

// Append writes v behind buf, which may become limit bytes long; without a
// limit (0) there is none. On an error buf is returned as it was.
func Append(buf []byte, limit int, v Value) ([]byte, error) {
	s := &Stream{writing: true, buf: buf, limit: limit}
	v.XDR(s)
	if s.err != nil {
		return buf, s.err
	}
	return s.buf, nil
}

// Writing reports whether the stream writes.
func (s *Stream) Writing() bool { return s.writing }

// Err is the first error.
func (s *Stream) Err() error { return s.err }

// Left is how many bytes have not been read yet.
func (s *Stream) Left() int { return len(s.buf) - s.off }

// Fail stops the stream for a reason of the type that is visited; the reason
// should wrap an error of this package.
func (s *Stream) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// take reads n bytes; nil if they are not there.
func (s *Stream) take(n int) []byte {
	if s.err != nil {
		return nil
	}
	if n > s.Left() {
		s.Fail(fmt.Errorf("%d bytes wanted, %d left: %w", n, s.Left(), ErrShort))
		return nil
	}
	b := s.buf[s.off : s.off+n]
	s.off += n
	return b
}

// room makes sure that n more bytes may be written.
func (s *Stream) room(n int) bool {
	if s.err == nil && s.limit > 0 && len(s.buf)+n > s.limit {
		s.Fail(fmt.Errorf("%d bytes and %d more, %d allowed: %w", len(s.buf), n, s.limit, ErrSpace))
	}
	return s.err == nil
}

// pad is how many zero bytes follow n bytes, so that everything begins at a
// multiple of four (RFC 4506 section 3).
func pad(n int) int { return -n & 3 }
