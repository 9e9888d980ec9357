package dhcp4

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// told is what all guests of a network are told, made ready when the network
// is set: the values of options, nil for those that it does not have.
type told struct {
	// own are the options that the operator wrote, which take the place of
	// ours, and ownCodes their codes in order.
	own      map[byte][]byte
	ownCodes []byte

	dns, ntp, search, encrypted []byte
	domain, portal              []byte
	routes                      []vnet.Route // IPv4 only
}

// bounds of lists that guests are told.
const maxDNS, maxNTP = 4, 4

// tell makes ready what guests of a network are told.
func tell(svc *plan.Service) (t told) {
	for _, o := range svc.DHCP.Options {
		v, err := o.Bytes()
		if o.Family != vnet.IPv4 || err != nil || o.Code == optPad || o.Code >= optEnd {
			continue
		}
		if t.own == nil {
			t.own = map[byte][]byte{}
		}
		t.own[byte(o.Code)] = append([]byte{}, v...)
		t.ownCodes = append(t.ownCodes, byte(o.Code))
	}
	t.dns = addresses(svc.DNS.Servers, maxDNS)
	var ntp []netip.Addr
	for _, s := range svc.NTP {
		if a, err := netip.ParseAddr(s); err == nil { // option 42 has no names
			ntp = append(ntp, a)
		}
	}
	t.ntp = addresses(ntp, maxNTP)
	for _, n := range dhcp.SearchList(svc.DNS.Search) {
		t.search = vnet.AppendName(t.search, n)
	}
	for _, r := range svc.DNS.Encrypted {
		t.encrypted = appendEncrypted(t.encrypted, r)
	}
	if svc.Domain != "" {
		t.domain = []byte(svc.Domain)
	}
	if svc.CaptivePortal != "" {
		t.portal = []byte(svc.CaptivePortal)
	}
	for _, r := range svc.Routes {
		if r.Prefix.Addr().Is4() {
			t.routes = append(t.routes, r)
		}
	}
	return t
}

// addresses joins the IPv4 addresses of a list.
func addresses(list []netip.Addr, most int) (b []byte) {
	for _, a := range list {
		if a.Is4() && len(b) < 4*most {
			b = append(b, a.AsSlice()...)
		}
	}
	return b
}

// appendEncrypted appends a resolver as option 162 has it (RFC 9463 section
// 5.1). One with addresses of the other family only is left out: guests would
// look for them under its name, which needs a resolver.
func appendEncrypted(b []byte, r vnet.EncryptedDNS) []byte {
	v := binary.BigEndian.AppendUint16(nil, r.Priority)
	name := vnet.AppendName(nil, r.Name)
	v = append(append(v, byte(len(name))), name...)
	list := addresses(r.Addresses, maxDNS)
	switch {
	case len(list) > 0:
		v = append(append(v, byte(len(list))), list...)
		v = append(v, r.Params()...)
	case len(r.Addresses) > 0:
		return b
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
}

// outward are the options that only the guest's default network tells it (for
// 121 see routes).
var outward = []byte{optRouter, optDNS, optDomain, optSearch, optPortal, optEncryptedDNS}

// tells reports whether the client is to be told an option that we have a
// value for; the operator's own is written here.
func (e *engine) tells(r *request, code byte, unasked bool) bool {
	if v := e.told.own[code]; v != nil {
		e.writer.add(code, v)
		return false
	}
	return r.wants(code, unasked)
}

// configure writes the options that configure a client, what counts most
// first. d is 0 in answers to INFORM, which is about no lease.
func (e *engine) configure(r *request, g grant, d time.Duration) {
	w, sub := &e.writer, g.sub
	inside := r.guest != nil && !r.guest.DefaultRoute // its default network is another one
	if inside {
		for _, c := range outward {
			w.done.add(c) // also not the operator's
		}
	}
	if d > 0 {
		e.lifetimes(w, d)
	}
	if e.v6Only(r) {
		w.addSeconds(optV6Only, e.Service().DHCP.V6Only.Std())
	}
	if e.tells(r, optSubnetMask, true) {
		mask := ^uint32(0) << (32 - sub.Prefix.Bits())
		w.add(optSubnetMask, binary.BigEndian.AppendUint32(make([]byte, 0, 4), mask))
	}
	e.boot(r, sub)
	router := e.router(sub)
	e.tellRoutes(r, sub, router, inside)
	if e.tells(r, optRouter, true) && router.IsValid() {
		w.addAddr(optRouter, router)
	}
	e.tellNames(r, sub)
	if last := lastOf(sub.Prefix); e.tells(r, optBroadcast, true) && sub.Prefix.Bits() < 31 {
		w.addAddr(optBroadcast, last)
	}
	if mtu := e.Service().MTU; e.tells(r, optMTU, false) && mtu >= 68 && mtu <= 65535 { // RFC 2132 section 5.1
		w.addUint16(optMTU, uint16(mtu))
	}
	e.list(r, optNTP, e.told.ntp)
	e.list(r, optPortal, e.told.portal)
	e.list(r, optEncryptedDNS, e.told.encrypted)
	for _, asked := range []bool{true, false} {
		for _, c := range e.told.ownCodes {
			if r.asked.has(c) == asked {
				w.add(c, e.told.own[c])
			}
		}
	}
}

// list writes an option that only who asks is told.
func (e *engine) list(r *request, code byte, v []byte) {
	if e.tells(r, code, false) && len(v) > 0 {
		e.writer.add(code, v)
	}
}

// tellNames writes resolvers, domains and the client's own name.
func (e *engine) tellNames(r *request, sub *plan.Subnet) {
	w := &e.writer
	if e.tells(r, optDNS, true) {
		switch {
		case len(e.told.dns) > 0:
			w.add(optDNS, e.told.dns)
		case e.Service().DNS.Serve && sub.Gateway.Is4() && len(e.Service().DNS.Servers) == 0:
			w.addAddr(optDNS, sub.Gateway)
		}
	}
	if e.tells(r, optDomain, true) && e.told.domain != nil {
		w.add(optDomain, e.told.domain)
	}
	e.list(r, optSearch, e.told.search)
	name := ""
	if r.guest != nil {
		name = dhcp.Label(r.guest.Name)
	}
	if e.tells(r, optHostname, false) && name != "" {
		w.add(optHostname, []byte(name))
	}
	if r.opts.get(optFQDN) != nil && e.told.own[optFQDN] == nil { // RFC 4702 section 4: only to who sent one
		if name == "" {
			name = r.hostname()
		}
		if v := e.fqdn(r, name); v != nil {
			w.add(optFQDN, v)
		}
	}
}
