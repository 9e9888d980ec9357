package dhcp4

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// kind is the DHCP message type (RFC 2132 section 9.6).
type kind byte

// The kinds of message.
const (
	kindDiscover kind = 1 + iota
	kindOffer
	kindRequest
	kindDecline
	kindAck
	kindNak
	kindRelease
	kindInform
)

// Where the fields of a message are (RFC 2131 section 2).
const (
	offXID    = 4
	offFlags  = 10
	offCiaddr = 12
	offYiaddr = 16
	offSiaddr = 20
	offGiaddr = 24
	offChaddr = 28
	offSname  = 44
	offFile   = 108
	offCookie = 236
	fixedSize = 240

	bootRequest, bootReply = 1, 2
	ethernet               = 1
	flagBroadcast          = 0x80
	cookie                 = 0x63825363
)

// request is a client's message, read. It points into the message.
type request struct {
	data []byte
	from netip.Addr // that the packet came from; unspecified of a client without address
	at   listen.Sender
	opts options
	kind kind
	mac  vnet.MAC // chaddr
	// Zero where the message has none.
	ciaddr, giaddr, requested, server netip.Addr
	asked                             codes // option 55
	saysAsked                         bool
	room                              int // bytes that a reply may have

	// What identify found out.
	guest *plan.Guest // nil: no port
	sub   *plan.Subnet
	line  line
	key   string // what a dynamic lease belongs to; "": not yet asked for
	tries int    // addresses that turned out to be somebody else's
}

// codes is a set of option codes.
type codes [4]uint64

func (s *codes) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *codes) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

// Errors about messages: they are dropped without an answer.
var (
	errSize    = errors.New("not a DHCP message by its size")
	errOptions = errors.New("too many or broken options")
	errNotOurs = errors.New("no request of an Ethernet client")
	errUnheard = errors.New("of a stranger that was not heard at any port")
	errBOOTP   = errors.New("BOOTP, which has no leases, is not served")
	errRelay   = errors.New("a relay that dhcp.relays does not name")
	errSubnet  = errors.New("a relay of no subnet that guests get addresses of")
)

// parse reads a message from a client, without copying it.
func (r *request) parse(p listen.Packet) error {
	b := p.Data
	if len(b) < fixedSize || len(b) > maxMessage {
		return errSize
	}
	if binary.BigEndian.Uint32(b[offCookie:]) != cookie {
		return errBOOTP
	}
	*r = request{data: b, from: p.From, at: p.Sender, room: minMaxMessage - headers}
	if err := r.opts.readOptions(b); err != nil {
		return err
	}
	copy(r.mac[:], b[offChaddr:])
	if b[0] != bootRequest || b[1] != ethernet || b[2] != 6 || !r.mac.IsUnicast() {
		return errNotOurs
	}
	v := r.opts.get(optType)
	if len(v) != 1 {
		return errBOOTP
	}
	r.kind = kind(v[0])
	r.ciaddr, r.giaddr = addr(b[offCiaddr:offYiaddr]), addr(b[offGiaddr:offChaddr])
	r.requested, r.server = addr(r.opts.get(optRequested)), addr(r.opts.get(optServer))
	for _, c := range r.opts.get(optAsked) {
		r.asked.add(c)
		r.saysAsked = true
	}
	if v := r.opts.get(optMaxSize); len(v) == 2 {
		if n := int(binary.BigEndian.Uint16(v)); n > minMaxMessage {
			r.room = min(n, maxMessage) - headers
		}
	}
	return nil
}

// keep returns a request of its own, for later.
func (r *request) keep() *request {
	c := new(request)
	p := listen.Packet{From: r.from, Sender: r.at, Data: slices.Clone(r.data)}
	if err := c.parse(p); err != nil {
		panic("a message that was read cannot be read again: " + err.Error())
	}
	c.key, c.tries = r.key, r.tries
	c.guest, c.sub = r.guest, r.sub
	return c
}

// addr reads an address; none and the unspecified one are zero.
func addr(b []byte) netip.Addr {
	if len(b) != 4 || b[0]|b[1]|b[2]|b[3] == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}

// broadcast reports whether the client can only hear broadcasts (RFC 2131
// section 4.1).
func (r *request) broadcast() bool { return r.data[offFlags]&flagBroadcast != 0 }

// id is the client identifier in hex, or "" (RFC 2132 section 9.14: at least
// two bytes).
func (r *request) id() string {
	id := r.opts.get(optClient)
	if len(id) < 2 || len(id) > 255 {
		return ""
	}
	return hex.EncodeToString(id)
}

// wants reports whether the client is to be told an option; unasked says
// whether one that did not say what it wants is told it.
func (r *request) wants(code byte, unasked bool) bool {
	if !r.saysAsked {
		return unasked
	}
	return r.asked.has(code)
}

// leaseTime is what the client asks for, within what the network gives.
func (r *request) leaseTime(limit time.Duration) time.Duration {
	d := limit
	if v := r.opts.get(optLeaseTime); len(v) == 4 {
		d = time.Duration(binary.BigEndian.Uint32(v)) * time.Second
	}
	return min(max(d, lease.MinTime), limit)
}

// hostname returns the name that the client gives itself (RFC 4702 before
// option 12), as one DNS label in lower case, or "".
func (r *request) hostname() string {
	if f := r.opts.get(optFQDN); len(f) > 3 {
		if f[0]&fqdnN != 0 { // it wants no name anywhere
			return ""
		}
		if s := dhcp.Label(fqdnName(f)); s != "" {
			return s
		}
	}
	return dhcp.Label(string(r.opts.get(optHostname)))
}
