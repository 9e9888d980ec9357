package tftp

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// The opcodes (RFC 1350 section 5, RFC 2347).
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOACK  = 6
)

// code is an error code (RFC 1350, appendix; RFC 2347 for 8).
type code uint16

const (
	codeOther     code = 0
	codeNotFound  code = 1
	codeAccess    code = 2
	codeIllegal   code = 4
	codeNegotiate code = 8
)

const (
	// maxRequest bounds a request, in bytes (RFC 2347: 512).
	maxRequest = 1024
	// maxOptions bounds its options.
	maxOptions = 16
	// defaultBlock is the block size that needs no option (RFC 1350 section 2).
	defaultBlock = 512
	// leastBlock and mostBlock bound the option blksize (RFC 2348).
	leastBlock, mostBlock = 8, 65464
	// mostTimeout bounds the option timeout, in seconds (RFC 2349).
	mostTimeout = 255
	// mostWindow is the longest window that we send; RFC 7440 allows 65535.
	mostWindow = 64
)

// refusal is an ERROR packet's content.
type refusal struct {
	code code
	text string
}

func (r *refusal) Error() string { return r.text }

// packet returns the ERROR packet.
func (r *refusal) packet() []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, opError}, uint16(r.code))
	return append(append(b, r.text...), 0)
}

// option is one of a request's, its name in lower case.
type option struct{ name, value string }

// request is a read request.
type request struct {
	file    string
	ascii   bool // netascii, else octet
	options []option
}

// parseRequest reads what came to the port that is listened on. Both results
// are nil for what is to be passed over: whatever is no request.
func parseRequest(b []byte) (*request, *refusal) {
	if len(b) < 4 || len(b) > maxRequest {
		return nil, nil
	}
	op := binary.BigEndian.Uint16(b)
	if op != opRead && op != opWrite {
		return nil, nil
	}
	file, rest, ok := cutZero(b[2:])
	mode, rest, ok2 := cutZero(rest)
	if !ok || !ok2 {
		return nil, &refusal{codeIllegal, "the request has no end"}
	}
	if op == opWrite {
		return nil, &refusal{codeAccess, "files are served, not taken"}
	}
	r := &request{file: file}
	switch strings.ToLower(mode) {
	case "octet":
	case "netascii":
		r.ascii = true
	default: // mail is obsolete (RFC 1350 section 1)
		return nil, &refusal{codeIllegal, "the mode is neither octet nor netascii"}
	}
	for len(rest) > 0 && len(r.options) < maxOptions {
		var o option
		if o.name, rest, ok = cutZero(rest); !ok {
			break // a rest, such as padding, is no option
		}
		if o.value, rest, ok = cutZero(rest); !ok || o.name == "" {
			break
		}
		o.name = strings.ToLower(o.name)
		r.options = append(r.options, o)
	}
	return r, nil
}

// cutZero cuts a string off b that ends with a zero byte.
func cutZero(b []byte) (s string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

// terms are what a transfer follows.
type terms struct {
	block  int           // bytes in a block
	window uint64        // blocks that are sent before one is acknowledged
	wait   time.Duration // before what was sent is sent again
	// accepted are the options of the OACK; none: there is no OACK (RFC 2347:
	// then the first block answers the request).
	accepted []option
}

// negotiate chooses the terms: what was asked for, within our bounds. An option
// that is unknown, malformed, or there twice does not count (RFC 2347).
func (r *request) negotiate(size int64, maxBlock int) terms {
	t := terms{block: defaultBlock, window: 1, wait: firstWait}
	seen := map[string]bool{}
	for _, o := range r.options {
		n, err := strconv.ParseUint(o.value, 10, 63)
		if err != nil || seen[o.name] {
			continue
		}
		answer := n
		switch {
		case o.name == "blksize" && n >= leastBlock && n <= mostBlock:
			t.block = min(int(n), maxBlock)
			answer = uint64(t.block)
		case o.name == "timeout" && n >= 1 && n <= mostTimeout:
			t.wait = time.Duration(n) * time.Second
		case o.name == "tsize" && !r.ascii: // in netascii it is not known beforehand
			answer = uint64(size)
		case o.name == "windowsize" && n >= 1 && n <= 65535 && !r.ascii: // see asciiFile
			t.window = min(n, mostWindow)
			answer = t.window
		default:
			continue
		}
		seen[o.name] = true
		t.accepted = append(t.accepted, option{o.name, strconv.FormatUint(answer, 10)})
	}
	return t
}

// oack returns the OACK packet (RFC 2347).
func (t terms) oack() []byte {
	b := []byte{0, opOACK}
	for _, o := range t.accepted {
		b = append(append(b, o.name...), 0)
		b = append(append(b, o.value...), 0)
	}
	return b
}

// overhead is what a DATA packet has around its block: IP, UDP, TFTP.
func overhead(is6 bool) int {
	if is6 {
		return 40 + 8 + 4
	}
	return 20 + 8 + 4
}

// leastMTU is that of IPv6 (RFC 8200 section 5), and what counts where the MTU
// is not known.
const leastMTU = 1280

// maxBlock is the longest block that needs no fragments: boot ROMs put none
// together, and in IPv6 nobody but the sender could make them.
func maxBlock(mtu int, is6 bool) int {
	if mtu <= 0 {
		mtu = leastMTU
	}
	return max(leastBlock, min(mtu-overhead(is6), mostBlock))
}

// reply is what a client says during a transfer: an ACK, or an end.
type reply struct {
	ack   uint16
	ended bool // it sent an ERROR
}

// parseReply reads it; false for what is to be passed over.
func parseReply(b []byte) (reply, bool) {
	if len(b) < 4 {
		return reply{}, false
	}
	switch binary.BigEndian.Uint16(b) {
	case opAck:
		return reply{ack: binary.BigEndian.Uint16(b[2:])}, true
	case opError:
		return reply{ended: true}, true
	}
	return reply{}, false
}
