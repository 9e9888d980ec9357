package dhcp4

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// identify finds out who sent a message: the port whose line a relay names;
// without a relay the port where it came in, or whose MAC its frame had; else
// the port with the MAC in chaddr. So a port that gives itself many MACs is
// still one.
func (e *engine) identify(r *request) error {
	r.guest, r.sub, r.line = nil, nil, line{}
	if r.giaddr.IsValid() {
		if err := e.relayed(r); err != nil {
			return err
		}
		r.guest = e.lineOf(r.line)
	} else if r.guest = e.Guest(r.at.Port); r.guest == nil && !r.at.MAC.IsZero() {
		r.guest = e.Guest(e.PortOf(r.at.MAC))
	}
	if r.guest == nil {
		r.guest = e.Guest(e.PortOf(r.mac))
	}
	return nil
}

// unheard reports whether a stranger that was not heard at any port wants an
// address, on a network where others are heard. Hearing is limited for each
// port, so these are of a port that floods us with made up MACs, or they come a
// moment too early: who repeats itself is heard. Who has a lease is known by
// it, and where one may have more than by default, all are served.
func (e *engine) unheard(r *request) bool {
	if r.kind != kindDiscover && r.kind != kindRequest || r.guest != nil || r.giaddr.IsValid() ||
		e.Service().DHCP.Limit > lease.DefaultLimit {
		return false
	}
	for i := range e.Service().Subnets {
		if e.Table().Find(r.client(), e.Service().Subnets[i].ID) != nil {
			return false
		}
	}
	_, reserved := e.reserved(r)
	return !reserved
}

// port is the client's port, or "".
func (r *request) port() vnet.ID {
	if r.guest == nil {
		return ""
	}
	return r.guest.Port
}

// Where an identifier of RFC 4361 section 6.1 has its parts.
const (
	idTypeDUID = 255
	idIAID     = 1
	idDUID     = 5
)

// duid returns what an identifier of RFC 4361 is made of: the same guest says
// the same to DHCPv6.
func duid(id []byte) (d ipam.DUID, iaid uint32, ok bool) {
	if len(id) <= idDUID || id[0] != idTypeDUID {
		return "", 0, false
	}
	d, err := ipam.DUIDFromBytes(id[idDUID:])
	return d, binary.BigEndian.Uint32(id[idIAID:]), err == nil
}

// isMAC reports whether an identifier says no more than the MAC does (RFC 2132
// section 9.14: the hardware type before it).
func isMAC(id []byte, mac vnet.MAC) bool {
	return len(id) == 7 && id[0] == ethernet && bytes.Equal(id[1:], mac[:])
}

// stationKey is the key of a client that is known by its MAC.
func stationKey(mac vnet.MAC) string { return "mac:" + mac.String() }

// appendClient appends the key of a lease's client.
func appendClient(b []byte, l *pack.Lease) []byte {
	mac := l.MAC()
	if l.Port() == "" {
		n := len(b)
		b = append(b, "id:"...)
		m := len(b)
		if b = l.AppendClient(b); len(b) > m && !saysMAC(b[m:], mac) {
			return b
		}
		b = b[:n]
	}
	return mac.Append(append(b, "mac:"...))
}

// saysMAC is isMAC of an identifier in hex.
func saysMAC(id []byte, mac vnet.MAC) bool {
	var raw [7]byte
	if len(id) != 2*len(raw) {
		return false
	}
	_, err := hex.Decode(raw[:], id)
	return err == nil && isMAC(raw[:], mac)
}

// client is the key that the client's dynamic leases belong to. Ports are known
// by their MAC, whatever they call themselves, and so is firmware: what it
// calls itself is another name than that of the system it loads.
func (r *request) client() string {
	if r.key != "" {
		return r.key
	}
	r.key = stationKey(r.mac)
	if id := r.opts.get(optClient); r.guest == nil && !isMAC(id, r.mac) && !r.firmware() {
		if s := r.id(); s != "" {
			r.key = "id:" + s
		}
	}
	return r.key
}

// clientID is what a lease of ours says of the client's identifier, so that
// appendClient finds the key again.
func (r *request) clientID() string {
	if r.guest == nil && r.firmware() {
		return ""
	}
	return r.id()
}

// holder is whom the client's dynamic addresses count against.
func (e *engine) holder(r *request) string {
	return lease.Holder(&vnet.Lease{Port: r.port(), MAC: r.mac}, vnet.HowDHCPv4, r.client())
}

// adopt gives a client that is new by its name the address of its station, if
// that was had under another name that nobody goes by now: firmware before the
// system that it loaded, and the other way round after the next start.
func (e *engine) adopt(r *request) {
	key := r.client()
	for i := range e.Service().Subnets {
		if e.Table().Find(key, e.Service().Subnets[i].ID) != nil {
			return
		}
	}
	var found *lease.Entry
	for en := range e.Table().Of(e.holder(r)) {
		mine := en.Lease.MAC() == r.mac && !e.Table().IsOf(en, "") && (en.State == lease.Bound || en.State == lease.Idle)
		if mine && (r.firmware() || r.guest != nil || e.Table().IsOf(en, stationKey(r.mac))) {
			found = en
			break
		}
	}
	if found == nil {
		return
	}
	e.Rename(found, key, r.clientID())
}

// reclaim forgets that an address was seen in use where that was the client
// itself: its lease was lost here, and it goes on using it.
func (e *engine) reclaim(r *request, a netip.Addr) {
	if en := e.Table().At(a); en != nil && en.State == lease.Foreign && en.Lease.MAC() == r.mac {
		e.Table().Remove(en)
	}
}

// reservationKey is how a reservation is found: by MAC, by the DUID of an
// identifier of RFC 4361, or by name.
func reservationKey(r *vnet.Reservation) lease.Key {
	switch {
	case !r.MAC.IsZero():
		return lease.Key{MAC: r.MAC}
	case r.DUID != "":
		k := lease.Key{DUID: strings.ToLower(r.DUID)}
		if r.IAID != nil {
			k.IA, k.IAID = true, *r.IAID
		}
		return k
	}
	return lease.Key{Name: dhcp.Label(r.Client)}
}

// reservationKeys are the keys under which the client may have a reservation,
// the strongest first.
func (r *request) reservationKeys() []lease.Key {
	keys := make([]lease.Key, 1, 4)
	keys[0] = lease.Key{MAC: r.mac}
	if d, iaid, ok := duid(r.opts.get(optClient)); ok {
		keys = append(keys, lease.Key{DUID: d.String(), IA: true, IAID: iaid}, lease.Key{DUID: d.String()})
	}
	if name := r.hostname(); name != "" {
		keys = append(keys, lease.Key{Name: name})
	}
	return keys
}
