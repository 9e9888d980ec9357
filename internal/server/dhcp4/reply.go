package dhcp4

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// everybody is the limited broadcast address.
var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// broadcastMAC is everybody's on a link.
var broadcastMAC = vnet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// reply builds an answer and addresses it. It is good until the next one.
func (e *engine) reply(r *request, k kind, g grant, d time.Duration) []dhcp.Reply {
	if g.sub == nil {
		g.sub = r.sub
	}
	from := e.identifier(g.sub)
	if !from.IsValid() {
		return nil
	}
	w, tail := &e.writer, 0
	relay := r.opts.get(optRelay)
	if relay != nil {
		tail = sizeOf(len(relay))
	}
	if fixedSize+tail+endSize+overloadSize > r.room {
		return nil // RFC 3046 section 2.2: it could not be sent back
	}
	w.begin(r, r.room, tail)
	w.addByte(optType, byte(k))
	w.addAddr(optServer, from)
	if k == kindAck && e.rapid(r) {
		w.add(optRapidCommit, nil)
	}
	if k == kindNak {
		w.add(optMessage, []byte("this address is not yours on this network"))
		if r.giaddr.IsValid() { // RFC 2131 section 4.3.2
			w.buf[offFlags] |= flagBroadcast
		}
	} else {
		w.setAddr(offYiaddr, g.address)
		if k == kindAck {
			w.setAddr(offCiaddr, r.ciaddr)
		}
		e.configure(r, g, d)
	}
	if id := r.opts.get(optClient); len(id) > 0 {
		w.add(optClient, id) // RFC 6842, also with a NAK
	}
	e.out[0] = e.address(r, k, g)
	e.out[0].From, e.out[0].Data = from, w.end(relay)
	return e.out[:]
}

// address says where a reply goes (RFC 2131 section 4.1).
func (e *engine) address(r *request, k kind, g grant) dhcp.Reply {
	switch {
	case r.giaddr.IsValid():
		return dhcp.Reply{To: r.giaddr, Port: serverPort}
	case k == kindNak:
		return dhcp.Reply{To: everybody, MAC: broadcastMAC}
	case r.ciaddr.IsValid() && !g.sub.Gateway.IsValid():
		// It is behind a router that the host may have no route over: back to
		// where the message came from, if that is known.
		return dhcp.Reply{To: r.ciaddr, MAC: r.at.MAC}
	case r.ciaddr.IsValid():
		return dhcp.Reply{To: r.ciaddr}
	case r.broadcast() || !g.address.IsValid():
		return dhcp.Reply{To: everybody, MAC: broadcastMAC}
	}
	return dhcp.Reply{To: g.address, MAC: r.mac}
}

// lifetimes writes how long an address is good for, and when the client asks
// for more: T1 and T2 (RFC 2131 section 4.4.5).
func (e *engine) lifetimes(w *writer, d time.Duration) {
	t1, t2 := d/2, d*7/8
	if p := e.Service().DHCP.Rebind.Std(); p > 0 && p < d {
		t2 = p
	}
	if p := e.Service().DHCP.Renew.Std(); p > 0 && p < d {
		t1 = p
	}
	w.addSeconds(optLeaseTime, d)
	for _, code := range [...]byte{optRenew, optRebind} {
		if v := e.told.own[code]; v != nil {
			w.add(code, v)
		}
	}
	w.addSeconds(optRenew, min(t1, t2))
	w.addSeconds(optRebind, t2)
}
