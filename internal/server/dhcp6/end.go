package dhcp6

import (
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/vnet"
)

// confirm says whether the client's addresses fit this link (RFC 9915 section
// 18.3.3). Without an address there is nothing to say.
func (e *engine) confirm(r *request) effects {
	status, seen := iana.StatusSuccess, false
	for _, x := range r.ias {
		for _, a := range x.addrs {
			seen = true
			if e.subnetOf(a) == nil {
				status = iana.StatusNotOnLink
			}
		}
	}
	if !seen {
		return effects{}
	}
	return effects{send: e.statusReply(r, status, nil)}
}

// release ends the leases that the client names (RFC 9915 section 18.3.7).
func (e *engine) release(r *request, now time.Time) effects {
	var out effects
	var answers []answer
	for _, x := range r.ias {
		found := false
		for _, a := range x.addrs {
			en := e.table.byAddress[a]
			found = found || e.owns(a)
			if en == nil || en.state != bound || en.client != clientName(r.duid, x.iaid) {
				continue
			}
			found = true
			l := en.lease
			l.Expires = now
			e.table.release(en)
			out.release = append(out.release, l)
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
	out.send = e.statusReply(r, iana.StatusSuccess, answers)
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
func (e *engine) decline(r *request, c client, now time.Time) effects {
	var out effects
	var answers []answer
	for _, x := range r.ias {
		found := false
		for _, a := range x.addrs {
			if slices.Contains(c.kept, a) || slices.Contains(c.going, a) {
				found = true
				if len(e.conflicts) < maxOffers {
					e.conflicts[a] = now
				}
				continue
			}
			en := e.table.byAddress[a]
			if en == nil || en.client != clientName(r.duid, x.iaid) || len(e.pending) >= maxPending {
				continue
			}
			found = true
			l := en.lease
			l.Network, l.Project, l.Host = e.svc.Network, e.svc.Project, e.host
			l.Family, l.How, l.Declined, l.Expires = vnet.IPv6, vnet.HowDHCPv6, true, now.Add(quarantine)
			e.table.put(&entry{lease: l, state: declined, until: l.Expires})
			e.token++
			e.pending[e.token] = &pending{req: r, quiet: true}
			out.commit = append(out.commit, commit{e.token, l})
		}
		if !found {
			answers = append(answers, answer{ia: x, status: iana.StatusNoBinding})
		}
	}
	out.send = e.statusReply(r, iana.StatusSuccess, answers)
	return out
}

// inform tells options to a client that wants no address (RFC 9915 section
// 18.3.6).
func (e *engine) inform(r *request) effects {
	return effects{send: e.reply(r, dhcpv6.MessageTypeReply, nil)}
}
