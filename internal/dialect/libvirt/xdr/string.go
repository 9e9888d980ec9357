package xdr

import (
	"bytes"
	"fmt"
	"strings"
)

// MaxString is REMOTE_STRING_MAX, the longest string of the protocol in bytes.
const MaxString = 4 << 20

// Fixed visits opaque data whose length is the type's (RFC 4506 section 4.9).
func (s *Stream) Fixed(b []byte) {
	if s.writing {
		s.write(b)
		return
	}
	if data := s.take(len(b) + pad(len(b))); data != nil {
		copy(b, data)
	}
}

// Opaque visits opaque data of at most most bytes (RFC 4506 section 4.10).
// What is read is a copy.
func (s *Stream) Opaque(b *[]byte, most int) {
	if s.writing {
		if s.length(len(*b), most) {
			s.write(*b)
		}
		return
	}
	if data := s.bytes(most); s.err == nil {
		*b = bytes.Clone(data)
	}
}

// String visits a string of at most MaxString bytes (RFC 4506 section 4.11).
// One with a NUL in it is refused: a C program would see another string than
// we do.
func (s *Stream) String(v *string) {
	if s.writing {
		if strings.IndexByte(*v, 0) >= 0 {
			s.Fail(fmt.Errorf("a NUL in a string: %w", ErrValue))
		}
		if s.length(len(*v), MaxString) && s.room(len(*v)+pad(len(*v))) {
			s.buf = append(append(s.buf, *v...), zeros[:pad(len(*v))]...)
		}
		return
	}
	data := s.bytes(MaxString)
	if bytes.IndexByte(data, 0) >= 0 {
		s.Fail(fmt.Errorf("a NUL in a string: %w", ErrValue))
	}
	if s.err == nil {
		*v = string(data)
	}
}

// StringOrNil visits an optional string, libvirt's remote_string.
func (s *Stream) StringOrNil(v **string) {
	if !present(s, v) {
		return
	}
	s.String(*v)
}

var zeros [3]byte

// write appends b and its padding.
func (s *Stream) write(b []byte) {
	if s.room(len(b) + pad(len(b))) {
		s.buf = append(append(s.buf, b...), zeros[:pad(len(b))]...)
	}
}

// length writes a length that must not be above most.
func (s *Stream) length(n, most int) bool {
	if n > most {
		s.Fail(fmt.Errorf("a length of %d, at most %d: %w", n, most, ErrLong))
		return false
	}
	u := uint32(n)
	s.Uint(&u)
	return s.err == nil
}

// count reads a length that must not be above most, and for whose elements, of
// at least size bytes each, there must be enough left.
func (s *Stream) count(most, size int) int {
	var u uint32
	s.Uint(&u)
	switch {
	case s.err != nil:
	case uint64(u) > uint64(most):
		s.Fail(fmt.Errorf("a length of %d, at most %d: %w", u, most, ErrLong))
	case uint64(u)*uint64(size) > uint64(s.Left()):
		s.Fail(fmt.Errorf("a length of %d, %d bytes left: %w", u, s.Left(), ErrShort))
	default:
		return int(u)
	}
	return 0
}

// bytes reads counted bytes and their padding, whose value does not matter.
func (s *Stream) bytes(most int) []byte {
	n := s.count(most, 1)
	data := s.take(n + pad(n))
	if data == nil {
		return nil
	}
	return data[:n]
}
