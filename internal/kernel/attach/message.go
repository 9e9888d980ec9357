package attach

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// attribute is one attribute of a message, its type with the flags the kernel
// gave it.
type attribute struct {
	kind  uint16
	value []byte
}

// typ is the attribute's type without flags.
func (a attribute) typ() uint16 {
	return a.kind &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
}

var errMessage = errors.New("the kernel's message cannot be read")

// cut splits a message into its head and its attributes.
func cut(msg []byte, head int) ([]byte, []attribute, error) {
	if len(msg) < head {
		return nil, nil, errMessage
	}
	attrs, err := attributes(msg[head:])
	return append([]byte(nil), msg[:head]...), attrs, err
}

func attributes(b []byte) ([]attribute, error) {
	var out []attribute
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return nil, errMessage
		}
		out = append(out, attribute{binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:size]})
		b = b[min(len(b), (size+3)&^3):]
	}
	return out, nil
}

// paste is cut's inverse.
func paste(head []byte, attrs []attribute) []byte {
	out := append([]byte(nil), head...)
	for _, a := range attrs {
		out = binary.NativeEndian.AppendUint16(out, uint16(unix.SizeofRtAttr+len(a.value)))
		out = binary.NativeEndian.AppendUint16(out, a.kind)
		out = append(out, a.value...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	return out
}

func find(attrs []attribute, kind uint16) []byte {
	for _, a := range attrs {
		if a.typ() == kind {
			return a.value
		}
	}
	return nil
}

func word(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func asWord(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// swap says what becomes what when things move from one link to another.
type swap struct {
	fromIndex, toIndex int
	from, to           string
}

// back is the same the other way round.
func (s swap) back() swap { return swap{s.toIndex, s.fromIndex, s.to, s.from} }

func (s swap) index(n uint32) uint32 {
	if n == uint32(s.fromIndex) {
		return uint32(s.toIndex)
	}
	return n
}
