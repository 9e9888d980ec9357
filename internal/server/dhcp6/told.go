package dhcp6

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// maxResolvers bounds the name servers that clients are told.
const maxResolvers = 4

// option is an option as guests of a network are told it.
type option struct {
	code uint16
	body []byte
	// unasked: also to a client that asks for nothing in particular.
	unasked bool
}

// toldBy works out the options of a network, in the order in which they are
// sent; those that its policy has written by hand take the place of ours.
func toldBy(svc *plan.Service) []option {
	var out []option
	add := func(code uint16, unasked bool, body []byte) {
		if len(body) > 0 {
			out = append(out, option{code, body, unasked})
		}
	}
	if n := svc.DHCP.Preference; n > 0 {
		add(optPreference, true, []byte{byte(n)})
	}
	add(optDNS, true, appendAddrs(nil, resolvers(svc)))
	add(optSearch, true, searchList(svc))
	var sntp []netip.Addr
	for _, s := range svc.NTP {
		body, a, ok := timeServer(s)
		if ok {
			add(optNTP, false, body)
		}
		if a.IsValid() && !a.IsMulticast() {
			sntp = append(sntp, a)
		}
	}
	add(optSNTP, false, appendAddrs(nil, sntp))
	add(optRefresh, false, appendSeconds(nil, refresh(svc)))
	add(optSolMaxRT, false, appendSeconds(nil, maxRetransmit))
	add(optInfMaxRT, false, appendSeconds(nil, maxRetransmit))
	add(optPortal, false, []byte(svc.CaptivePortal))
	for i := range svc.DNS.Encrypted {
		add(optEncryptedDNS, false, encrypted(svc.DNS.Encrypted[i]))
	}
	return withWritten(out, svc.DHCP.Options)
}

// withWritten puts the options that were written by hand in the place of ours.
func withWritten(ours []option, written []vnet.DHCPOption) []option {
	for _, o := range written {
		body, err := o.Bytes()
		if o.Family != vnet.IPv6 || err != nil {
			continue
		}
		kept := ours[:0]
		for _, x := range ours {
			if x.code != o.Code {
				kept = append(kept, x)
			}
		}
		ours = append(kept, option{o.Code, body, true})
	}
	return ours
}

// ofDefaultRoute are what a guest gets of the network of its default route
// alone.
func ofDefaultRoute(code uint16) bool {
	return code == optDNS || code == optSearch || code == optEncryptedDNS || code == optPortal
}

// configure adds the options that configure a client.
func (e *engine) configure(w *writer, r *request, kind byte) {
	guest := e.client.guest
	for i := range e.told {
		o := &e.told[i]
		switch {
		case o.code == optPreference && kind != kindAdvertise: // RFC 9915 section 21.8
		case o.code == optRefresh && r.kind != kindInform: // section 21.23
		case guest != nil && !guest.DefaultRoute && ofDefaultRoute(o.code):
		case o.code == optPreference, r.wants(o.code, o.unasked):
			w.option(o.code, o.body)
		}
	}
	e.boot(w, r)
	e.named(w, r)
	if e.reports && r.wants(optAddressReport, false) { // RFC 9686 section 4.1
		w.option(optAddressReport, nil)
	}
	e.authorise(w, r, kind)
}

// isTold reports whether the network's policy has an option.
func (e *engine) isTold(code uint16) bool {
	for i := range e.told {
		if e.told[i].code == code {
			return true
		}
	}
	return false
}

// resolvers are the IPv6 name servers that guests are told (RFC 3646): the
// network's, or ours when we serve and nothing was chosen.
func resolvers(svc *plan.Service) []netip.Addr {
	var out []netip.Addr
	for _, a := range svc.DNS.Servers {
		if a.Is6() && !a.Is4In6() && len(out) < maxResolvers {
			out = append(out, a)
		}
	}
	if svc.DNS.Serve && len(svc.DNS.Servers) == 0 {
		for i := range svc.Subnets {
			s := &svc.Subnets[i]
			if s.Family == vnet.IPv6 && s.Gateway.Is6() && !s.Deprecated && len(out) < maxResolvers {
				out = append(out, s.Gateway)
			}
		}
	}
	return out
}

// searchList is the search domains; the network's own domain if there are no
// others.
func searchList(svc *plan.Service) []byte {
	names := svc.DNS.Search
	if len(names) == 0 {
		names = []string{svc.Domain}
	}
	var b []byte
	for _, n := range dhcp.SearchList(names) {
		b = vnet.AppendName(b, n)
	}
	return b
}

// timeServer is an NTP option (RFC 5908): one for each server, by unicast or
// multicast address or by name; a is the address.
func timeServer(s string) (body []byte, a netip.Addr, ok bool) {
	const unicast, multicast, name = 1, 2, 3
	var value []byte
	kind := uint16(name)
	if addr, err := netip.ParseAddr(s); err == nil {
		if !addr.Is6() || addr.Is4In6() {
			return nil, netip.Addr{}, false
		}
		a, kind, value = addr, unicast, addr.AsSlice()
		if a.IsMulticast() {
			kind = multicast
		}
	} else {
		value = vnet.AppendName(nil, s)
	}
	body = binary.BigEndian.AppendUint16(nil, kind)
	body = binary.BigEndian.AppendUint16(body, uint16(len(value)))
	return append(body, value...), a, true
}

// refresh is when guests that only took options ask again.
func refresh(svc *plan.Service) time.Duration {
	d := svc.DHCP.Refresh.Std()
	if d == 0 {
		d = svc.LeaseTime
	}
	if d <= 0 {
		d = lease.DefaultTime
	}
	return max(minRefresh, min(d, maxRefresh))
}

// encrypted is an encrypted resolver (RFC 9463 section 4.1). One without an
// IPv6 address is told by its name alone, which guests resolve themselves
// (section 3.1.6): what follows the name is then not there.
func encrypted(d vnet.EncryptedDNS) []byte {
	b := binary.BigEndian.AppendUint16(nil, d.Priority)
	name := vnet.AppendName(nil, d.Name)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	var addrs []netip.Addr
	for _, a := range d.Addresses {
		if a.Is6() && !a.Is4In6() {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return b
	}
	if len(d.ALPN) == 0 {
		d.ALPN = []string{"dot"} // what is spoken must be said: section 3.1.5
	}
	b = binary.BigEndian.AppendUint16(b, uint16(16*len(addrs)))
	b = appendAddrs(b, addrs)
	return append(b, d.Params()...)
}

func appendAddrs(b []byte, addrs []netip.Addr) []byte {
	for _, a := range addrs {
		b = append(b, a.AsSlice()...)
	}
	return b
}

func appendSeconds(b []byte, d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(d/time.Second))
}
