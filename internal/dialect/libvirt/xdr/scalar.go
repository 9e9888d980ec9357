package xdr

import (
	"encoding/binary"
	"math"
)

// Uint visits an unsigned int (RFC 4506 section 4.2).
func (s *Stream) Uint(v *uint32) {
	if s.writing {
		if s.room(4) {
			s.buf = binary.BigEndian.AppendUint32(s.buf, *v)
		}
		return
	}
	if b := s.take(4); b != nil {
		*v = binary.BigEndian.Uint32(b)
	}
}

// Int visits an int (RFC 4506 section 4.1).
func (s *Stream) Int(v *int32) {
	u := uint32(*v)
	s.Uint(&u)
	*v = int32(u)
}

// Uhyper visits an unsigned hyper (RFC 4506 section 4.5).
func (s *Stream) Uhyper(v *uint64) {
	if s.writing {
		if s.room(8) {
			s.buf = binary.BigEndian.AppendUint64(s.buf, *v)
		}
		return
	}
	if b := s.take(8); b != nil {
		*v = binary.BigEndian.Uint64(b)
	}
}

// Hyper visits a hyper (RFC 4506 section 4.5).
func (s *Stream) Hyper(v *int64) {
	u := uint64(*v)
	s.Uhyper(&u)
	*v = int64(u)
}

// Double visits a double (RFC 4506 section 4.7).
func (s *Stream) Double(v *float64) {
	u := math.Float64bits(*v)
	s.Uhyper(&u)
	*v = math.Float64frombits(u)
}

// Bool visits a bool (RFC 4506 section 4.4), which libvirt mostly writes as
// an int. Any number but 0 is true, as in C.
func (s *Stream) Bool(v *bool) {
	var u uint32
	if *v {
		u = 1
	}
	s.Uint(&u)
	*v = u != 0
}
