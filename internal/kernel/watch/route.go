package watch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// publicMost is how many routes outside of the private ranges are kept. A
// host that carries a full routing table has a million; what networks are
// made from is private, and of that every route is kept.
const publicMost = 4096

// private are the ranges that networks may take prefixes from by themselves.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
	netip.MustParsePrefix("fc00::/7"),      // RFC 4193
}

// routes is what is kept of the routing tables.
type routes struct {
	all      []plan.Route // not ours, defaults aside
	defaults []hop
	held     []netip.Prefix // of a DHCPv6 client of the host
	public   int            // how many public routes there are, kept or not
}

// hop is a default route, or one leg of it.
type hop struct {
	v6     bool
	index  int
	metric int
	pref   int        // of the router that advertised it (RFC 4191 section 2.1): -1, 0 or 1
	via    netip.Addr // not valid: none
}

// before orders default routes as the kernel uses them: among those of one
// metric, which all advertised routes have, preferred routers come first (RFC
// 4191 section 3.2).
func (h hop) before(o hop) int { return cmp.Or(h.metric-o.metric, o.pref-h.pref) }

// routeMsg is a decoded RTM_NEWROUTE or RTM_DELROUTE.
type routeMsg struct {
	prefix  netip.Prefix
	table   int
	proto   uint8
	kind    uint8
	cloned  bool
	metric  int
	pref    int
	links   []int        // live ones
	vias    []netip.Addr // theirs
	via     netip.Addr   // of a route with one leg
	anyLink int          // live or not
}

// parseRoute decodes a route message.
func parseRoute(msg []byte) (routeMsg, bool) {
	if len(msg) < unix.SizeofRtMsg {
		return routeMsg{}, false
	}
	head := nl.DeserializeRtMsg(msg)
	r := routeMsg{
		table: int(head.Table), proto: head.Protocol, kind: head.Type,
		cloned: head.Flags&unix.RTM_F_CLONED != 0,
	}
	dst := netip.IPv4Unspecified()
	switch head.Family {
	case unix.AF_INET:
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return r, false
	}
	err := link.EachAttr(msg[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_TABLE:
			r.table = number(v)
		case unix.RTA_PRIORITY:
			r.metric = number(v)
		case unix.RTA_PREF:
			r.pref = prefOf(v)
		case unix.RTA_GATEWAY:
			r.via, _ = netip.AddrFromSlice(v)
		case unix.RTA_VIA:
			r.via = viaOf(v)
		case unix.RTA_OIF:
			r.leg(number(v), uint32(head.Flags), netip.Addr{})
		case unix.RTA_MULTIPATH:
			r.legs(v)
		}
	})
	for i := range r.vias { // a single leg's may come before or after it
		if !r.vias[i].IsValid() {
			r.vias[i] = r.via
		}
	}
	r.prefix = netip.PrefixFrom(dst, int(head.Dst_len))
	return r, err == nil && r.prefix.IsValid()
}

// leg takes in one next hop; a dead one leads nowhere.
func (r *routeMsg) leg(index int, flags uint32, via netip.Addr) {
	r.anyLink = index
	if flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) == 0 {
		r.links, r.vias = append(r.links, index), append(r.vias, via)
	}
}

// prefOf reads RTA_PREF: two bits with a sign (RFC 4191 section 2.1), of which
// the reserved value means none.
func prefOf(v []byte) int {
	if len(v) != 1 {
		return 0
	}
	return map[byte]int{1: 1, 3: -1}[v[0]]
}

// viaOf reads RTA_VIA, a next hop of another family (RFC 5549).
func viaOf(v []byte) netip.Addr {
	if len(v) < 2 {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(v[2:])
	return a
}

// legs reads RTA_MULTIPATH: a row of struct rtnexthop.
func (r *routeMsg) legs(b []byte) {
	for len(b) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return
		}
		var via netip.Addr
		_ = link.EachAttr(b[unix.SizeofRtNexthop:size], func(kind uint16, v []byte) {
			switch kind {
			case unix.RTA_GATEWAY:
				via, _ = netip.AddrFromSlice(v)
			case unix.RTA_VIA:
				via = viaOf(v)
			}
		})
		r.leg(int(binary.NativeEndian.Uint32(b[4:])), uint32(b[2]), via)
		b = b[min(len(b), (size+3)&^3):]
	}
}

// rtProtDHCP is RTPROT_DHCP.
const rtProtDHCP = 16

// holds reports whether a route is what a DHCPv6 client puts in for a prefix
// that was delegated to it (RFC 7084 WPD-5): systemd-networkd and dhcpcd do.
func (r routeMsg) holds() bool {
	a := r.prefix.Addr()
	return !r.cloned && r.proto == rtProtDHCP && (r.kind == unix.RTN_UNREACHABLE || r.kind == unix.RTN_BLACKHOLE) &&
		a.Is6() && a.IsGlobalUnicast() && r.prefix.Bits() <= 64 && r.prefix.Bits() > 0
}

// counts reports whether a route bears on facts at all.
func (r routeMsg) counts() bool {
	a := r.prefix.Addr()
	return !r.cloned && r.proto != plan.RouteProtocol && r.kind == unix.RTN_UNICAST && r.table != unix.RT_TABLE_LOCAL &&
		!a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsLoopback()
}

func (r routeMsg) isPrivate() bool {
	return slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Overlaps(r.prefix) })
}

// readRoutes reads the routing tables; the caller holds mu.
func (w *Watcher) readRoutes() error {
	c, err := w.spaces.Conn("")
	if err != nil {
		return err
	}
	var found routes
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		before := found
		err := c.Each(func() *nl.NetlinkRequest {
			req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
			msg := &nl.RtMsg{}
			msg.Family = family
			req.AddData(msg)
			return req
		}, unix.RTM_NEWROUTE, func() {
			found = routes{slices.Clone(before.all), slices.Clone(before.defaults), slices.Clone(before.held), before.public}
		}, func(msg []byte) {
			switch r, ok := parseRoute(msg); {
			case ok && r.holds():
				found.held = append(found.held, r.prefix.Masked())
			case ok && r.counts():
				w.take(r, &found)
			}
		})
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return vnet.Errorf(vnet.ErrHost, "list routes: %w", err)
		}
	}
	if found.public > publicMost && w.routes.public <= publicMost {
		w.opt.Log.Info("the host has many routes: only private ones are all looked at", "routes", found.public)
	}
	slices.SortFunc(found.all, func(a, b plan.Route) int {
		if c := comparePrefix(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		if a.Table != b.Table {
			return a.Table - b.Table
		}
		return strings.Compare(a.Link, b.Link)
	})
	found.all = slices.Compact(found.all)
	slices.SortFunc(found.held, netip.Prefix.Compare)
	found.held = slices.Compact(found.held)
	w.routes, w.stale = found, false
	return nil
}

// take adds a route to what was found.
func (w *Watcher) take(r routeMsg, found *routes) {
	out := w.table.links[r.anyLink]
	if out.ours() {
		return // the kernel's own for an address of ours
	}
	if r.prefix.Bits() == 0 {
		if r.table == unix.RT_TABLE_MAIN {
			for i, index := range r.links {
				found.defaults = append(found.defaults, hop{r.prefix.Addr().Is6(), index, r.metric, r.pref, r.vias[i]})
			}
		}
		return
	}
	if !r.isPrivate() {
		if found.public++; found.public > publicMost {
			return
		}
	}
	found.all = append(found.all, plan.Route{Prefix: r.prefix, Table: r.table, Link: out.Name})
}
