package rpc

import (
	"encoding/binary"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// The programs of libvirt's protocol that are spoken here
// (remote_protocol.x, virkeepaliveprotocol.x), both in version 1.
const (
	programRemote    = 0x20008086
	programKeepAlive = 0x6b656570 // "keep"
	programVersion   = 1
)

// The procedures of programKeepAlive, which are messages without answer.
const (
	procPing = 1
	procPong = 2
)

// kind is the type of a message (virNetMessageType).
type kind uint32

const (
	kindCall         kind = 0
	kindReply        kind = 1
	kindMessage      kind = 2
	kindStream       kind = 3
	kindCallWithFDs  kind = 4
	kindReplyWithFDs kind = 5
	kindHole         kind = 6
)

// status says whether a reply is one (virNetMessageStatus).
type status uint32

const (
	statusOK       status = 0
	statusError    status = 1
	statusContinue status = 2
)

// Lengths in bytes (virnetprotocol.x). A message's length counts itself.
const (
	lengthSize = 4
	headerSize = 24
	maxMessage = 32<<20 + lengthSize
	// maxStranger is the longest message that is read from somebody who has
	// not opened the connection, or may only read: names and UUIDs.
	maxStranger = 64<<10 + lengthSize
	// maxDescriptors is VIR_NET_MESSAGE_NUM_FDS_MAX.
	maxDescriptors = 32
)

// header is what every message begins with, after its length.
type header struct {
	program, version, proc uint32
	kind                   kind
	serial                 uint32
	status                 status
}

func parseHeader(b []byte) header {
	u := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	return header{program: u(0), version: u(1), proc: u(2), kind: kind(u(3)), serial: u(4), status: status(u(5))}
}

// reply is the header of the answer to h.
func (h header) reply(s status) header {
	h.kind, h.status = kindReply, s
	return h
}

// encode makes a whole message. body may be nil.
func (h header) encode(body xdr.Value) ([]byte, error) {
	b := make([]byte, lengthSize, 128)
	for _, u := range [...]uint32{h.program, h.version, h.proc, uint32(h.kind), h.serial, uint32(h.status)} {
		b = binary.BigEndian.AppendUint32(b, u)
	}
	if body != nil {
		var err error
		if b, err = xdr.Append(b, maxMessage, body); err != nil {
			return nil, err
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b, nil
}
