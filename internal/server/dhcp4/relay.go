package dhcp4

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/plan"
)

// Suboptions of option 82 that are read.
const (
	relayCircuit = 1 // RFC 3046 section 3.1
	relayRemote  = 2 // RFC 3046 section 3.2
	relayLink    = 5 // RFC 3527
)

// line is what a relay says of a client (option 82).
type line struct {
	circuit, remote []byte
	link            netip.Addr
}

// parseLine reads option 82; false if it is broken.
func parseLine(b []byte) (l line, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return line{}, false
		}
		v := b[2 : 2+int(b[1])]
		switch b[0] {
		case relayCircuit:
			l.circuit = v
		case relayRemote:
			l.remote = v
		case relayLink:
			l.link = addr(v)
		}
		b = b[2+int(b[1]):]
	}
	return l, true
}

// believed reports whether a relay may say who its clients are. It is known by
// the address that its packets come from: giaddr is what anybody can write.
func (e *engine) believed(from netip.Addr) bool {
	for _, p := range e.Service().DHCP.Relays {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// relayed takes in what a relay says: the subnet of its client, by RFC 3527 or
// by giaddr, and its line.
func (e *engine) relayed(r *request) error {
	if !e.believed(r.from) {
		return errRelay
	}
	l, ok := parseLine(r.opts.get(optRelay))
	if !ok {
		return errOptions
	}
	at := r.giaddr
	if l.link.IsValid() {
		at = l.link
	}
	sub := e.SubnetOf(at)
	if sub == nil || !e.speaks(sub) {
		return errSubnet
	}
	r.line, r.sub = l, sub
	return nil
}

// lineOf returns the port whose line a relay names: the circuit before the
// remote end, which may have several.
func (e *engine) lineOf(l line) *plan.Guest {
	for _, id := range [][]byte{l.circuit, l.remote} {
		if len(id) == 0 {
			continue
		}
		if g := e.Guest(e.PortOfLine(string(id))); g != nil {
			return g
		}
	}
	return nil
}
