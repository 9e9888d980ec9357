package dhcp6

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// relayHeader is type, hop count, link-address and peer-address (RFC 9915
// section 9).
const relayHeader = 34

// hop is one relay that a message came through: what it said, and what it gets
// back. Byte slices are the packet's.
type hop struct {
	count      byte
	link, peer netip.Addr
	id         []byte // interface-id (option 18); nil: none
	remote     []byte // remote-id (option 37) with its enterprise number; nil: none
	mac        vnet.MAC
	port       []byte // relay source port (option 135); nil: none
}

// unwrap takes a message out of the relays' that are around it, the outermost
// first. Depth and options are bounded before anything is kept.
func unwrap(data []byte, hops []hop) (inner []byte, _ []hop, err error) {
	count := 0
	for len(data) > 0 && data[0] == kindRelayForw {
		if len(hops) == maxHops {
			return nil, nil, errHops
		}
		h, inside, err := readHop(data, &count)
		if err != nil {
			return nil, nil, err
		}
		hops, data = append(hops, h), inside
	}
	return data, hops, nil
}

// readHop reads a Relay-forward message (RFC 9915 section 9.1).
func readHop(b []byte, count *int) (h hop, inside []byte, err error) {
	if len(b) < relayHeader {
		return h, nil, errSize
	}
	h = hop{count: b[1], link: netip.AddrFrom16([16]byte(b[2:18])), peer: netip.AddrFrom16([16]byte(b[18:34]))}
	if h.count > hopCountLimit {
		return h, nil, errHops
	}
	for b = b[relayHeader:]; len(b) > 0; {
		code, body, rest, ok := next(b)
		if *count++; *count > maxOptions || !ok {
			return h, nil, errOptions
		}
		b = rest
		switch code {
		case optRelayMessage:
			if inside != nil {
				return h, nil, errOptions
			}
			inside = body
		case optInterfaceID:
			h.id = body
		case optRemoteID:
			h.remote = body
		case optLinkAddress: // RFC 6939 section 4: type, address
			if len(body) == 8 && body[0] == 0 && body[1] == 1 {
				copy(h.mac[:], body[2:])
			}
		case optRelayPort:
			h.port = body
		}
	}
	if len(inside) == 0 {
		return h, nil, errOptions
	}
	return h, inside, nil
}

// readRelays finds out what the relays of a message say, and whether they are
// believed: if the network names its relays, every relay of the chain must be
// one of them, the first by the address that it sends from, each other by what
// the one before says of it. If it names none, relays of strangers are served
// without being believed.
func (e *engine) readRelays(r *request, p listen.Packet) error {
	if len(r.hops) == 0 {
		return nil
	}
	relay := p.From
	for i := range r.hops {
		if !e.isRelay(relay) && len(e.Service().DHCP.Relays) > 0 {
			return errRelay
		}
		relay = r.hops[i].peer
	}
	r.peer, r.trusted = relay, len(e.Service().DHCP.Relays) > 0
	// The innermost relay that says where it stands knows the client's link
	// (RFC 9915 section 13.1).
	for i := len(r.hops) - 1; i >= 0 && !r.link.IsValid(); i-- {
		if l := r.hops[i].link; !l.IsUnspecified() && !l.IsLinkLocalUnicast() {
			r.link = l
		}
	}
	if r.link.IsValid() && e.SubnetOf(r.link) == nil {
		return errLink
	}
	return nil
}

// isRelay reports whether the network names a relay.
func (e *engine) isRelay(a netip.Addr) bool {
	for _, p := range e.Service().DHCP.Relays {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// portOfRelays finds the port that trusted relays mean: by the client's MAC
// (option 79), else by the name of its line (18, 37), each as the relay nearest
// to the client has it.
func (e *engine) portOfRelays(r *request) (vnet.ID, vnet.MAC) {
	var mac vnet.MAC
	for i := len(r.hops) - 1; i >= 0 && mac.IsZero(); i-- {
		mac = r.hops[i].mac
	}
	if port := e.PortOf(mac); port != "" {
		return port, mac
	}
	for i := len(r.hops) - 1; i >= 0; i-- {
		h := &r.hops[i]
		lines := [][]byte{h.id, h.remote, nil}
		if len(h.remote) > 4 { // as people know it: without the enterprise number
			lines[2] = h.remote[4:]
		}
		for _, line := range lines {
			if len(line) == 0 {
				continue
			}
			if port := e.PortOfLine(string(line)); port != "" {
				return port, mac
			}
		}
	}
	return "", mac
}

// wrap begins the answers of all relays (RFC 9915 section 19.3): the message
// itself follows, and the end of all that is open.
func (w *writer) wrap(hops []hop) {
	for i := range hops {
		h := &hops[i]
		w.b = append(w.b, kindRelayRepl, h.count)
		w.b = append(w.b, h.link.AsSlice()...)
		w.b = append(w.b, h.peer.AsSlice()...)
		if h.id != nil {
			w.option(optInterfaceID, h.id)
		}
		if h.port != nil { // RFC 8357 section 5.2
			w.option(optRelayPort, h.port)
		}
		w.begin(optRelayMessage)
	}
}
