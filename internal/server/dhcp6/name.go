package dhcp6

import (
	"strings"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The flags of a name (RFC 4704 section 4.1): S, the server publishes it; O, it
// does other than the client would have it; N, nobody does.
const nameUpdates, nameOverrides, nameNone = 1, 2, 4

// readName takes in a client's name (RFC 4704 section 4): flags, and labels of
// which the first is the host's.
func (r *request) readName(body []byte) {
	if len(body) == 0 {
		return
	}
	r.fqdn, r.fqdnFlags = true, body[0]
	if name := body[1:]; len(name) > 1 && int(name[0]) < len(name) && name[0] < 64 {
		r.name = dhcp.Label(string(name[1 : 1+name[0]]))
	}
}

// published is the client's name if it may be published.
func (r *request) published() string {
	if r.fqdnFlags&nameNone != 0 {
		return ""
	}
	return r.name
}

// named answers a client that told a name and asks for ours (RFC 4704 section
// 6): names are published here, whatever the client would rather do itself,
// but for guests without a port that want none to be.
func (e *engine) named(w *writer, r *request) {
	if !r.fqdn || !r.wants(optFQDN, false) || e.isTold(optFQDN) {
		return
	}
	name, flags := r.name, byte(nameUpdates)
	if g := e.client.guest; g != nil && g.Name != "" {
		name = g.Name
	} else if r.fqdnFlags&nameNone != 0 {
		flags = nameNone
	}
	if flags == nameUpdates && r.fqdnFlags&nameUpdates == 0 {
		flags |= nameOverrides
	}
	w.begin(optFQDN)
	w.b = append(w.b, flags)
	if name != "" {
		if e.Service().Domain != "" {
			w.b = vnet.AppendName(w.b, name+"."+strings.TrimSuffix(e.Service().Domain, "."))
		} else {
			w.b = append(append(w.b, byte(len(name))), name...)
		}
	}
	w.end()
}
