package dhcp6

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/server/listen"
)

// request is a client's message, read. Byte slices are the packet's.
type request struct {
	listen.Sender // who a direct message is from, if that was seen

	kind byte
	id   [3]byte    // of the transaction
	peer netip.Addr // the client's address, towards the relay if there is one
	// from and port are where answers go: the client or the outermost relay.
	from netip.Addr
	port uint16

	hops    []hop      // outermost first; none: from the client itself
	link    netip.Addr // of the client as relays say; invalid: our own
	trusted bool       // whether the relays are believed

	raw    ipam.DUID // the client's DUID; "": none
	duid   string    // the same in hex with colons
	server []byte    // the server's DUID it names; nil: none
	ias    []ia
	asked  []byte // option codes; nil: it asks for nothing in particular
	rapid  bool
	accept bool // reconfigure messages

	fqdn      bool // it told a name, with these flags
	fqdnFlags byte
	name      string // the first label, if it is a host's

	address           registration
	arch, user, class []byte // bodies of options 61, 15 and 16; nil: none
}

// ia is an identity association of a message.
type ia struct {
	prefixes bool // IA_PD, else IA_NA
	iaid     uint32
	wishes   []wish
	key      string // of the client, once it was needed
}

// wish is an address or prefix that a client names in an IA.
type wish struct {
	address netip.Addr // unspecified: any prefix of the length
	length  int        // of a prefix; 0: an address
}

// registration is an address that a client made itself (RFC 9686).
type registration struct {
	count            int
	body             []byte // of the IA Address option
	address          netip.Addr
	preferred, valid uint32 // seconds
}

// Errors about messages: they are dropped without an answer.
var (
	errSize     = errors.New("not a DHCPv6 message by its size")
	errOptions  = errors.New("too many or broken options")
	errPeer     = errors.New("not from a link-local address")
	errUnicast  = errors.New("from a client to our own address")
	errIgnored  = errors.New("of no kind that a server answers")
	errIdentity = errors.New("client or server identifier missing, too many or not ours")
	errHops     = errors.New("through too many relays")
	errRelay    = errors.New("from a relay that the network does not name")
	errLink     = errors.New("a relay's for a link that the network does not have")
	errUnheard  = errors.New("from a stranger who was not heard at any port yet")
	errAddress  = errors.New("registers no address of its sender's")
)

// parse reads a message from a client or a relay into r, whose slices are used
// again. It looks at the bounds before the options are unpacked.
func (r *request) parse(p listen.Packet) error {
	*r = request{Sender: p.Sender, from: p.From.WithZone(""), hops: r.hops[:0], ias: r.ias[:0]}
	if len(p.Data) < 4 || len(p.Data) > maxMessage {
		return errSize
	}
	data, hops, err := unwrap(p.Data, r.hops)
	if err != nil {
		return err
	}
	if r.hops = hops; len(hops) > 0 {
		if r.Sender = (listen.Sender{}); hops[0].port != nil {
			r.port = p.FromPort
		} else {
			r.port = serverPort
		}
	}
	if r.peer = r.from; len(data) < 4 {
		return errSize
	}
	r.kind, r.id = data[0], [3]byte(data[1:4])
	if err := r.checkWay(p.To); err != nil {
		return err
	}
	count := 0
	if err := checkOptions(data[4:], 0, &count); err != nil {
		return err
	}
	for b := data[4:]; len(b) > 0; {
		code, body, rest, _ := next(b)
		if err := r.read(code, body); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// checkWay checks that the message is a client's, and that it came as RFC 9915
// sections 16 and 18.4 have it: from a link-local address to everybody, or
// through a relay.
func (r *request) checkWay(to netip.Addr) error {
	switch r.kind {
	case kindSolicit, kindRequest, kindConfirm, kindRenew, kindRebind, kindRelease, kindDecline, kindInform:
		if len(r.hops) == 0 && !r.from.IsLinkLocalUnicast() {
			return errPeer
		}
	case kindRegister: // RFC 9686 section 4.2: from the address itself
	default:
		return errIgnored
	}
	if len(r.hops) == 0 && to.IsValid() && !to.IsMulticast() {
		return errUnicast
	}
	return nil
}

// read takes in one option.
func (r *request) read(code uint16, body []byte) error {
	switch code {
	case optClientID:
		if r.raw != "" || len(body) < minDUID || len(body) > maxDUID {
			return errIdentity
		}
		r.raw = ipam.DUID(body)
		r.duid = r.raw.String()
	case optServerID:
		if r.server != nil {
			return errIdentity
		}
		r.server = body
	case optIANA, optIAPD:
		r.readIA(code == optIAPD, body)
	case optIAAddr:
		r.address.read(body)
	case optRequested:
		r.asked = body
	case optRapidCommit:
		r.rapid = true
	case optAccept:
		r.accept = true
	case optFQDN:
		r.readName(body)
	case optArch:
		r.arch = body
	case optUserClass:
		r.user = body
	case optVendorClass:
		r.class = body
	}
	return nil
}

// readIA takes in an IA_NA or IA_PD, each IAID once.
func (r *request) readIA(prefixes bool, body []byte) {
	iaid := binary.BigEndian.Uint32(body)
	for i := range r.ias {
		if r.ias[i].iaid == iaid && r.ias[i].prefixes == prefixes {
			return
		}
	}
	if len(r.ias) == maxIAs {
		return
	}
	var wishes []wish
	if n := len(r.ias); n < cap(r.ias) {
		wishes = r.ias[:n+1][n].wishes[:0]
	}
	for b := body[12:]; len(b) > 0 && len(wishes) < maxAddresses; {
		code, body, rest, _ := next(b)
		b = rest
		var w wish
		switch {
		case code == optIAAddr && !prefixes:
			if w.address = netip.AddrFrom16([16]byte(body)); w.address.IsUnspecified() {
				continue
			}
		case code == optIAPrefix && prefixes:
			if w.length = int(body[8]); w.length > 128 {
				continue
			}
			w.address = netip.PrefixFrom(netip.AddrFrom16([16]byte(body[9:])), w.length).Masked().Addr()
		default:
			continue
		}
		if !(&ia{wishes: wishes}).names(w.address, w.length) {
			wishes = append(wishes, w)
		}
	}
	r.ias = append(r.ias, ia{prefixes: prefixes, iaid: iaid, wishes: wishes})
}

// names reports whether the client names an address or prefix in the IA.
func (x *ia) names(a netip.Addr, length int) bool {
	for _, w := range x.wishes {
		if w.address == a && w.length == length {
			return true
		}
	}
	return false
}

// read takes in an IA Address option outside of any IA.
func (g *registration) read(body []byte) {
	g.count++
	g.body, g.address = body, netip.AddrFrom16([16]byte(body))
	g.preferred, g.valid = binary.BigEndian.Uint32(body[16:]), binary.BigEndian.Uint32(body[20:])
}

// wants reports whether the client is to be told an option; unasked says
// whether one that asks for nothing in particular is told it.
func (r *request) wants(code uint16, unasked bool) bool {
	if len(r.asked) < 2 {
		return unasked
	}
	for i := 0; i+1 < len(r.asked); i += 2 {
		if binary.BigEndian.Uint16(r.asked[i:]) == code {
			return true
		}
	}
	return false
}

// prolongs reports whether the message asks for no new binding.
func (r *request) prolongs() bool { return r.kind == kindRenew || r.kind == kindRebind }

// has reports whether an IA_NA with that IAID is in the message.
func (r *request) has(prefixes bool, iaid uint32) bool {
	for i := range r.ias {
		if r.ias[i].iaid == iaid && r.ias[i].prefixes == prefixes {
			return true
		}
	}
	return false
}

// checkIdentity holds the rules about identifiers of RFC 9915 section 16.
func (e *engine) checkIdentity(r *request) error {
	ours := bytes.Equal(r.server, e.duid)
	switch r.kind {
	case kindSolicit, kindConfirm, kindRebind, kindRegister:
		if r.raw == "" || r.server != nil {
			return errIdentity
		}
	case kindInform:
		if r.server != nil && !ours || len(r.ias) > 0 {
			return errIdentity
		}
	default:
		if r.raw == "" || !ours {
			return errIdentity
		}
	}
	return nil
}
