package dhcp6

import (
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// confirm says whether the client's addresses fit this link (RFC 9915 section
// 18.3.3). Without an address there is nothing to say.
func (e *engine) confirm(r *request) dhcp.Effects {
	status, seen := iana.StatusSuccess, false
	for _, x := range r.ias {
		for _, a := range x.addrs {
			seen = true
			if e.SubnetOf(a) == nil {
				status = iana.StatusNotOnLink
			}
		}
	}
	if !seen {
		return dhcp.Effects{}
	}
	return dhcp.Effects{Send: e.statusReply(r, status, nil)}
}

// release ends the leases that the client names (RFC 9915 section 18.3.7).
func (e *engine) release(r *request, now time.Time) dhcp.Effects {
	var out dhcp.Effects
	var answers []answer
	for _, x := range r.ias {
		found := false
		for _, a := range x.addrs {
			en := e.Table().At(a)
			found = found || e.Owned(a)
			if en == nil || en.State != lease.Bound || en.Client != clientName(r.duid, x.iaid) {
				continue
			}
			found = true
			out.Release = append(out.Release, e.End(en, now))
		}
		if !found {
			answers = append(answers, answer{ia: x, status: iana.StatusNoBinding})
		}
	}
	for port, h := range e.holdsOf(r) {
		if slices.ContainsFunc(r.ias, func(x ia) bool { return x.iaid == h.iaid }) {
			delete(e.holds, port)
		}
	}
	out.Send = e.statusReply(r, iana.StatusSuccess, answers)
	return out
}

// holdsOf returns the hold of the client's port, if there is one.
func (e *engine) holdsOf(r *request) map[vnet.ID]hold {
	port, _ := e.portOf(r)
	if h, ok := e.holds[port]; ok && h.duid == r.duid {
		return map[vnet.ID]hold{port: h}
	}
	return nil
}

// decline keeps back addresses that the client found in use elsewhere (RFC
// 9915 section 18.3.8).
func (e *engine) decline(r *request, c client, now time.Time) dhcp.Effects {
	var out dhcp.Effects
	var answers []answer
	for _, x := range r.ias {
		found := false
		for _, a := range x.addrs {
			if slices.Contains(c.kept, a) || slices.Contains(c.going, a) {
				found = true
				e.Conflict(a, now)
				continue
			}
			en := e.Table().At(a)
			if en == nil || en.Client != clientName(r.duid, x.iaid) || len(e.pending) >= lease.MaxPending {
				continue
			}
			found = true
			e.token++
			e.pending[e.token] = &pending{req: r, quiet: true}
			out.Claim = append(out.Claim, dhcp.Claim{Token: e.token, Lease: e.Decline(en, now)})
		}
		if !found {
			answers = append(answers, answer{ia: x, status: iana.StatusNoBinding})
		}
	}
	out.Send = e.statusReply(r, iana.StatusSuccess, answers)
	return out
}

// inform tells options to a client that wants no address (RFC 9915 section
// 18.3.6).
func (e *engine) inform(r *request) dhcp.Effects {
	return dhcp.Effects{Send: e.reply(r, dhcpv6.MessageTypeReply, nil)}
}
