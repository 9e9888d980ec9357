package link

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// route is what the kernel says of one route of ours.
type route struct {
	prefix      netip.Prefix
	via         netip.Addr
	link        int
	unreachable bool
	table       int // 0: main
	metric      int // 0: the kernel's own choice
}

// metric6 is what the kernel chooses for IPv6 (IP6_RT_PRIO_USER); for IPv4 it
// is 0.
const metric6 = 1024

// on returns r with the link that the kernel found by the gateway.
func (r route) on(link int) route {
	r.link = link
	return r
}

// makeRoute adds the route or replaces our own other one to that prefix.
func (l *Links) makeRoute(i plan.HostRoute) error {
	c, err := l.spaces.Conn(i.NS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	what := "add route " + i.Prefix.String()
	want, err := wantedRoute(c, i)
	if err != nil {
		return kernelError(what, err)
	}
	for range 2 {
		err := sendRoute(c, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, want)
		if !errors.Is(err, unix.EEXIST) {
			return kernelError(what, err)
		}
		have, err := routes(c)
		if err != nil {
			return kernelError(what, err)
		}
		old, found := find(have, i)
		if !found {
			return vnet.Errorf(vnet.ErrConflict, "%s: there is another one that is not Sextant's", what).
				WithHint("look at it: ip route show exact %s", i.Prefix)
		}
		if old == want || want.link == 0 && want.via.IsValid() && want.on(old.link) == old {
			return nil
		}
		if err := sendRoute(c, unix.RTM_DELROUTE, 0, old); err != nil && !errors.Is(err, unix.ESRCH) {
			return kernelError(what, err)
		}
	}
	return kernelError(what, unix.EEXIST)
}

func wantedRoute(c *netns.Conn, i plan.HostRoute) (route, error) {
	r := route{prefix: i.Prefix.Masked(), via: i.Via, unreachable: i.Unreachable, table: i.Table, metric: i.Metric}
	if i.Link == "" || i.Unreachable {
		return r, nil
	}
	d, found, err := lookup(c, i.Link)
	if err != nil {
		return r, err
	}
	if !found {
		return r, missing(i.NS, i.Link)
	}
	r.link = d.index
	return r, nil
}

// deleteRoute removes our route to the prefix, if it is still there.
func (l *Links) deleteRoute(i plan.HostRoute) error {
	c, err := l.spaces.Conn(i.NS)
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	// The protocol is part of what the kernel matches, so this never hits a
	// route of somebody else.
	err = sendRoute(c, unix.RTM_DELROUTE, 0, route{prefix: i.Prefix.Masked(), unreachable: i.Unreachable, table: i.Table, metric: i.Metric})
	if errors.Is(err, unix.ESRCH) || isNoDevice(err) {
		return nil
	}
	return kernelError("remove route "+i.Prefix.String(), err)
}

func find(all []route, i plan.HostRoute) (route, bool) {
	for _, r := range all {
		if r.prefix == i.Prefix.Masked() && r.table == i.Table && r.metric == i.Metric {
			return r, true
		}
	}
	return route{}, false
}

func sendRoute(c *netns.Conn, kind, flags int, r route) error {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewRtMsg()
	msg.Family = unix.AF_INET
	if r.prefix.Addr().Is6() {
		msg.Family = unix.AF_INET6
	}
	if msg.Table = unix.RT_TABLE_MAIN; r.table != 0 {
		msg.Table = unix.RT_TABLE_UNSPEC
	}
	msg.Protocol = plan.RouteProtocol
	msg.Dst_len = uint8(r.prefix.Bits())
	msg.Type = unix.RTN_UNICAST
	msg.Scope = unix.RT_SCOPE_UNIVERSE
	switch {
	case r.unreachable:
		msg.Type = unix.RTN_UNREACHABLE
	case kind == unix.RTM_DELROUTE:
		msg.Scope = unix.RT_SCOPE_NOWHERE
	case !r.via.IsValid():
		msg.Scope = unix.RT_SCOPE_LINK
	}
	req.AddData(msg)
	if r.table != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(uint32(r.table))))
	}
	if r.metric == 0 && msg.Family == unix.AF_INET6 {
		r.metric = metric6 // said, so that no other one of ours is removed
	}
	if r.metric != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(uint32(r.metric))))
	}
	if r.prefix.Bits() > 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_DST, r.prefix.Addr().AsSlice()))
	}
	if r.via.IsValid() {
		if r.via.Is6() && r.prefix.Addr().Is4() { // RFC 5549
			b := append([]byte{unix.AF_INET6, 0}, r.via.AsSlice()...)
			req.AddData(nl.NewRtAttr(unix.RTA_VIA, b))
		} else {
			req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.via.WithZone("").AsSlice()))
		}
	}
	if r.link != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(r.link))))
	}
	return c.Do(req)
}

// routes lists the routes of ours in a namespace. The kernel filters by
// protocol where it can, so that a host's full routing table is not read.
func routes(c *netns.Conn) ([]route, error) {
	var out []route
	for _, family := range []uint8{unix.AF_INET6, unix.AF_INET} {
		msgs, err := c.Dump(func() *nl.NetlinkRequest {
			req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
			msg := &nl.RtMsg{}
			msg.Family = family
			msg.Protocol = plan.RouteProtocol
			req.AddData(msg)
			return req
		}, unix.RTM_NEWROUTE)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if r, ok := parseRoute(m); ok {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// parseRoute decodes an RTM_NEWROUTE message; false for what is not ours.
func parseRoute(msg []byte) (route, bool) {
	if len(msg) < unix.SizeofRtMsg {
		return route{}, false
	}
	head := nl.DeserializeRtMsg(msg)
	if head.Protocol != plan.RouteProtocol || head.Flags&unix.RTM_F_CLONED != 0 {
		return route{}, false
	}
	r := route{unreachable: head.Type == unix.RTN_UNREACHABLE, table: int(head.Table)}
	dst := netip.IPv4Unspecified()
	if head.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	err := EachAttr(msg[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_GATEWAY:
			r.via, _ = netip.AddrFromSlice(v)
		case unix.RTA_VIA:
			if len(v) > 2 {
				r.via, _ = netip.AddrFromSlice(v[2:])
			}
		case unix.RTA_OIF:
			r.link = int(u32(v))
		case unix.RTA_TABLE:
			r.table = int(u32(v))
		case unix.RTA_PRIORITY:
			r.metric = int(u32(v))
		}
	})
	if head.Family == unix.AF_INET6 && r.metric == metric6 {
		r.metric = 0
	}
	if r.table == unix.RT_TABLE_MAIN {
		r.table = 0
	}
	if r.unreachable {
		r.link = 0 // IPv6 says lo
	}
	r.prefix = netip.PrefixFrom(dst, int(head.Dst_len))
	return r, err == nil && r.prefix.IsValid() && (r.table == 0 || r.table == plan.PinTable)
}
