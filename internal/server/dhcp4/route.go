package dhcp4

import (
	"encoding/binary"
	"net/netip"

	"github.com/sextant-net/sextant/internal/plan"
)

// lastOf is the last address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	n := binary.BigEndian.Uint32(a[:]) | uint32(1<<(32-p.Bits())-1)
	binary.BigEndian.PutUint32(a[:], n)
	return netip.AddrFrom4(a)
}

// router is the default router of a subnet: the one that the network's routes
// name for everything, else as the plan has it; zero if there is none.
func (e *engine) router(sub *plan.Subnet) netip.Addr {
	for i := range e.told.routes {
		if r := &e.told.routes[i]; r.Prefix.Bits() == 0 && r.Via.IsValid() && sub.Prefix.Contains(r.Via) {
			return r.Via
		}
	}
	if sub.Router.Is4() {
		return sub.Router
	}
	return netip.Addr{}
}

// tellRoutes writes the classless routes (RFC 3442), and among them the default
// route, since who takes option 121 passes over option 3. A next hop that is
// not in the subnet, the client could not reach.
func (e *engine) tellRoutes(r *request, sub *plan.Subnet, router netip.Addr, inside bool) {
	if own := e.told.own[optRoutes]; own != nil && inside {
		if own = withoutDefault(own); len(own) > 0 {
			e.writer.add(optRoutes, own)
		}
		e.writer.done.add(optRoutes)
	}
	asked, askedOld := e.tells(r, optRoutes, false), e.tells(r, optRoutesMicrosoft, false)
	if len(e.told.routes) == 0 || !asked && !askedOld {
		return
	}
	var b []byte
	for i := range e.told.routes {
		p, via := e.told.routes[i].Prefix, e.told.routes[i].Via
		if !via.IsValid() {
			via = sub.Gateway
		}
		if p.Bits() > 0 && via.Is4() && sub.Prefix.Contains(via) {
			b = appendRoute(b, p, via)
		}
	}
	if len(b) == 0 {
		return
	}
	if router.IsValid() && !inside {
		b = appendRoute(b, netip.PrefixFrom(netip.IPv4Unspecified(), 0), router)
	}
	if asked {
		e.writer.add(optRoutes, b)
	}
	if askedOld {
		e.writer.add(optRoutesMicrosoft, b)
	}
}

// appendRoute appends a route: length, as many bytes of the prefix as count,
// next hop.
func appendRoute(b []byte, p netip.Prefix, via netip.Addr) []byte {
	d := p.Masked().Addr().As4()
	b = append(append(b, byte(p.Bits())), d[:(p.Bits()+7)/8]...)
	return append(b, via.AsSlice()...)
}

// withoutDefault leaves the default route out of a list of routes; what is no
// such list is returned as it is.
func withoutDefault(list []byte) []byte {
	var out []byte
	for b := list; len(b) > 0; {
		n := 1 + (int(b[0])+7)/8 + 4
		if b[0] > 32 || len(b) < n {
			return list
		}
		if b[0] > 0 {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}
