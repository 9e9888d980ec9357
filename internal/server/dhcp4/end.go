package dhcp4

import (
	"time"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// decline keeps an address back that the client found in use elsewhere (RFC
// 2131 section 4.3.3).
func (e *engine) decline(r *request, now time.Time) dhcp.Effects {
	a := r.requested
	if e.another(r) || !a.IsValid() {
		return dhcp.Effects{}
	}
	if g, ok := e.fixed(r); ok && g.address == a {
		e.Conflict(a, now)
		return dhcp.Effects{}
	}
	en := e.Table().At(a)
	if en == nil || !e.Table().IsOf(en, r.client()) || en.State == lease.Idle || len(e.pending) >= lease.MaxPending {
		return dhcp.Effects{}
	}
	return e.ask(&pending{req: r.keep(), lease: e.Decline(en, now), quiet: true})
}

// release ends a lease (RFC 2131 section 4.3.4); the client is not answered,
// and keeps the address as long as nobody else needs it.
func (e *engine) release(r *request, now time.Time) dhcp.Effects {
	en := e.Table().At(r.ciaddr)
	if e.another(r) || en == nil || !e.Table().IsOf(en, r.client()) || en.State != lease.Bound {
		return dhcp.Effects{}
	}
	return dhcp.Effects{Release: []vnet.Lease{e.End(en, now)}}
}

// inform tells options to a client that has an address (RFC 2131 section
// 4.3.5): no lease, no yiaddr. Some leave ciaddr empty and only send from
// their address.
func (e *engine) inform(r *request) dhcp.Effects {
	if !r.ciaddr.IsValid() && r.sub == nil && r.from.Is4() && !r.from.IsUnspecified() {
		r.ciaddr = r.from
	}
	sub := e.SubnetOf(r.ciaddr)
	if sub == nil || !e.reaches(r, sub) {
		return dhcp.Effects{}
	}
	if _, known := e.fixed(r); !known && !e.admitted(r) {
		return dhcp.Effects{}
	}
	return dhcp.Effects{Send: e.reply(r, kindAck, grant{sub: sub}, 0)}
}
