package attach

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The offsets of rtmsg.
const (
	routeFamily   = 0
	routeDstLen   = 1
	routeTable    = 4
	routeProtocol = 5
	routeType     = 7
	routeFlags    = 8
)

// rtaNexthop names the nexthop object that a route goes by (RTA_NH_ID).
const rtaNexthop = 30

// protocolRA marks routes that the kernel made from router advertisements.
const protocolRA = 9

// ticks is how many of the kernel's units of time a second has for programs
// (USER_HZ), the same on all architectures that matter here.
const ticks = 100

// route is a route as the kernel described it, and what of it matters here.
type route struct {
	msg      []byte
	family   byte
	protocol byte
	kind     byte
	table    uint32
	dst      netip.Prefix
	gateway  netip.Addr
	metric   uint32
	index    int    // of its only next hop, 0: several or none
	via      []int  // the links of several next hops
	nexthop  uint32 // the nexthop object that it goes by
	expires  uint32 // in ticks, 0: never
	pref     byte   // RFC 4191, as the kernel has it in two bits
}

// readRoute takes an RTM_NEWROUTE message apart.
func readRoute(msg []byte) (route, error) {
	head, attrs, err := cut(msg, unix.SizeofRtMsg)
	if err != nil {
		return route{}, err
	}
	r := route{msg: msg, family: head[routeFamily], protocol: head[routeProtocol], kind: head[routeType], table: uint32(head[routeTable])}
	dst := netip.IPv4Unspecified()
	if r.family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		switch a.typ() {
		case unix.RTA_DST:
			if d, ok := netip.AddrFromSlice(a.value); ok {
				dst = d
			}
		case unix.RTA_GATEWAY:
			r.gateway, _ = netip.AddrFromSlice(a.value)
		case unix.RTA_VIA: // family and address: an IPv4 route over an IPv6 gateway (RFC 5549)
			if len(a.value) > 2 {
				r.gateway, _ = netip.AddrFromSlice(a.value[2:])
			}
		case unix.RTA_OIF:
			r.index = int(word(a.value))
		case unix.RTA_TABLE:
			r.table = word(a.value)
		case unix.RTA_PRIORITY:
			r.metric = word(a.value)
		case rtaNexthop:
			r.nexthop = word(a.value)
		case unix.RTA_PREF:
			if len(a.value) > 0 {
				r.pref = a.value[0]
			}
		case unix.RTA_CACHEINFO: // rta_expires is its third word
			if len(a.value) >= 12 {
				r.expires = binary.NativeEndian.Uint32(a.value[8:])
			}
		case unix.RTA_MULTIPATH:
			if err := eachHop(a.value, func(hop []byte) {
				r.via = append(r.via, int(binary.NativeEndian.Uint32(hop[4:])))
			}); err != nil {
				return r, err
			}
		}
	}
	r.dst = netip.PrefixFrom(dst, int(head[routeDstLen]))
	if !r.dst.IsValid() {
		return r, errMessage
	}
	return r, nil
}

// eachHop calls f with each next hop of a RTA_MULTIPATH, head included.
func eachHop(b []byte, f func(hop []byte)) error {
	for len(b) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return errMessage
		}
		f(b[:size])
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

// over reports whether the route leads over the link.
func (r *route) over(index int) bool {
	if r.index == index {
		return true
	}
	for _, i := range r.via {
		if i == index {
			return true
		}
	}
	return false
}

// advertised reports whether the kernel made the route from an advertisement
// and will refresh or remove it by the next one.
func (r *route) advertised() bool {
	return r.family == unix.AF_INET6 && r.protocol == protocolRA && r.gateway.IsValid() && r.index != 0
}

// moves reports whether the route is one that somebody made: local and
// broadcast ones come with the addresses.
func (r *route) moves() bool {
	switch r.kind {
	case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST:
		return r.protocol != unix.RTPROT_KERNEL
	case unix.RTN_MULTICAST:
		return false
	}
	return r.nexthop == 0
}

// replaced reports whether the moved route takes the place of this one, and is
// not put beside it: of IPv6 the hops over other links would be there twice.
func (r *route) replaced() bool { return r.family == unix.AF_INET6 && len(r.via) > 0 }

// same reports whether two routes are the same but for the link.
func (r *route) same(o *route) bool {
	return r.family == o.family && r.table == o.table && r.dst == o.dst && r.metric == o.metric && r.gateway == o.gateway && r.kind == o.kind
}

// moveRoute makes of a route over one link the same over another, in the form
// in which the kernel takes it.
func moveRoute(msg []byte, s swap) ([]byte, error) {
	r, err := readRoute(msg)
	if err != nil {
		return nil, err
	}
	head, attrs, err := cut(msg, unix.SizeofRtMsg)
	if err != nil {
		return nil, err
	}
	// Of the flags only "the gateway is on the link" is a wish.
	binary.NativeEndian.PutUint32(head[routeFlags:], binary.NativeEndian.Uint32(head[routeFlags:])&unix.RTNH_F_ONLINK)
	out := attrs[:0:0]
	for _, a := range attrs {
		switch a.typ() {
		case unix.RTA_CACHEINFO, unix.RTA_IIF:
			continue
		case unix.RTA_OIF:
			a.value = asWord(s.index(word(a.value)))
		case unix.RTA_MULTIPATH:
			if a.value, err = moveHops(a.value, s); err != nil {
				return nil, err
			}
		}
		out = append(out, a)
	}
	if r.family == unix.AF_INET6 && r.expires > 0 && int32(r.expires) > 0 {
		out = append(out, attribute{unix.RTA_EXPIRES, asWord(max(1, r.expires/ticks))})
	}
	return paste(head, out), nil
}

func moveHops(b []byte, s swap) ([]byte, error) {
	out := append([]byte(nil), b...)
	err := eachHop(out, func(hop []byte) {
		hop[2] &= unix.RTNH_F_ONLINK
		binary.NativeEndian.PutUint32(hop[4:], s.index(binary.NativeEndian.Uint32(hop[4:])))
	})
	return out, err
}

// apart returns the route without its next hops over a link. The kernel makes
// one route of several next hops of two that differ in nothing but their link,
// as they do while they are moved.
func apart(msg []byte, index int) ([]byte, error) {
	head, attrs, err := cut(msg, unix.SizeofRtMsg)
	if err != nil {
		return nil, err
	}
	out := attrs[:0:0]
	for _, a := range attrs {
		if a.typ() != unix.RTA_MULTIPATH {
			out = append(out, a)
			continue
		}
		var hops [][]byte
		if err := eachHop(a.value, func(hop []byte) {
			if binary.NativeEndian.Uint32(hop[4:]) != uint32(index) {
				hops = append(hops, hop)
			}
		}); err != nil {
			return nil, err
		}
		if len(hops) != 1 {
			a.value = nil
			for _, hop := range hops {
				a.value = append(a.value, hop...)
			}
			out = append(out, a)
			continue
		}
		inner, err := attributes(hops[0][unix.SizeofRtNexthop:])
		if err != nil {
			return nil, err
		}
		head[routeFlags] |= hops[0][2] & unix.RTNH_F_ONLINK
		out = append(append(out, attribute{unix.RTA_OIF, hops[0][4:8]}), inner...)
	}
	return paste(head, out), nil
}
