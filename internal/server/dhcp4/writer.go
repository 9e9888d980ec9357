package dhcp4

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// writer builds one reply after the other in one place.
type writer struct {
	buf  [maxMessage]byte
	n    int // written so far: fields, cookie, options
	room int // of which the message may have
	done codes
	// file and sname say how much of these fields options have taken; -1: they
	// are not free.
	file, sname int
}

// Lengths of what ends a message: option 52, the end option.
const overloadSize, endSize = 3, 1

// begin starts a reply to a request. tail is how much must stay free.
func (w *writer) begin(r *request, room, tail int) {
	b := w.buf[:fixedSize]
	clear(b)
	b[0], b[1], b[2] = bootReply, ethernet, 6
	copy(b[offXID:offXID+4], r.data[offXID:])
	copy(b[offFlags:offFlags+2], r.data[offFlags:])
	copy(b[offGiaddr:offSname], r.data[offGiaddr:offSname]) // giaddr and chaddr
	binary.BigEndian.PutUint32(b[offCookie:], cookie)
	w.n, w.room, w.done, w.file, w.sname = fixedSize, room-endSize-overloadSize-tail, codes{}, 0, 0
}

// setAddr sets an address field.
func (w *writer) setAddr(off int, a netip.Addr) {
	if a.Is4() {
		v := a.As4()
		copy(w.buf[off:], v[:])
	}
}

// setText sets the field sname or file to a text, which ends in a zero, and
// reports whether it fits.
func (w *writer) setText(off, size int, s string) bool {
	if len(s) >= size {
		return false
	}
	copy(w.buf[off:off+size], s)
	return true
}

// sizeOf is how many bytes an option needs: a long one is sent in pieces (RFC
// 3396 section 6).
func sizeOf(v int) int { return v + 2*max(1, (v+254)/255) }

// add writes an option, once. What does not fit goes into the fields file and
// sname, if these are free (RFC 2131 section 4.1), or is left out: what comes
// first counts most.
func (w *writer) add(code byte, v []byte) {
	size := sizeOf(len(v))
	if w.done.has(code) {
		return
	}
	switch {
	case w.n+size <= w.room:
		w.put(w.n, code, v)
		w.n += size
	case w.file >= 0 && w.file+size < offCookie-offFile:
		w.put(offFile+w.file, code, v)
		w.file += size
	case w.sname >= 0 && w.sname+size < offFile-offSname:
		w.put(offSname+w.sname, code, v)
		w.sname += size
	default:
		return
	}
	w.done.add(code)
}

// put writes an option somewhere.
func (w *writer) put(at int, code byte, v []byte) {
	for {
		n := min(len(v), 255)
		w.buf[at], w.buf[at+1] = code, byte(n)
		copy(w.buf[at+2:], v[:n])
		at, v = at+2+n, v[n:]
		if len(v) == 0 {
			return
		}
	}
}

func (w *writer) addByte(code, v byte) { w.add(code, []byte{v}) }

func (w *writer) addUint16(code byte, v uint16) {
	w.add(code, []byte{byte(v >> 8), byte(v)})
}

// addSeconds writes a length of time.
func (w *writer) addSeconds(code byte, d time.Duration) {
	s := min(d/time.Second, 1<<32-1)
	w.add(code, []byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)})
}

func (w *writer) addAddr(code byte, a netip.Addr) {
	v := a.As4()
	w.add(code, v[:])
}

// end finishes the message; relay is option 82, which comes back as it was
// (RFC 3046 section 2.2). The message is good until the next begin.
func (w *writer) end(relay []byte) []byte {
	over := byte(0)
	if w.file > 0 {
		w.buf[offFile+w.file] = optEnd
		over |= 1
	}
	if w.sname > 0 {
		w.buf[offSname+w.sname] = optEnd
		over |= 2
	}
	w.room += overloadSize
	if over != 0 {
		w.addByte(optOverload, over)
	}
	if relay != nil {
		w.put(w.n, optRelay, relay)
		w.n += sizeOf(len(relay))
	}
	w.buf[w.n] = optEnd
	w.n++
	if w.n < leastReply {
		clear(w.buf[w.n:leastReply])
		w.n = leastReply
	}
	return w.buf[:w.n]
}
