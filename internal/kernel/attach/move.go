package attach

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// send sends a message of the kernel's form.
func send(c *netns.Conn, kind, flags int, msg []byte) error {
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddRawData(msg)
	return c.Do(req)
}

// there passes over that something is there already, or gone already.
func there(err error) error {
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func gone(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ESRCH, unix.EADDRNOTAVAIL, unix.ENODEV} {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL

// addAddresses puts the addresses on the other link, beside those that are on
// the one. The kernel lists those of IPv6 newest first.
func addAddresses(c *netns.Conn, from *state, s swap) error {
	var v4, v6 [][]byte
	for _, m := range from.Addresses {
		if m[0] == unix.AF_INET6 {
			v6 = append(v6, m)
		} else {
			v4 = append(v4, m)
		}
	}
	slices.Reverse(v6)
	for _, m := range append(v4, v6...) {
		_, a, flags, err := readAddress(m)
		if err != nil {
			return err
		}
		if flags&unix.IFA_F_DADFAILED != 0 {
			continue
		}
		moved, err := moveAddress(m, s, from.routed(a) && flags&unix.IFA_F_NOPREFIXROUTE == 0)
		if err != nil {
			return err
		}
		if err := there(send(c, unix.RTM_NEWADDR, create, moved)); err != nil {
			return fmt.Errorf("address %s on %s: %w", a.prefix, s.to, err)
		}
	}
	return nil
}

// addNeighbours saves the host asking for MACs that it knows.
func addNeighbours(c *netns.Conn, from *state, s swap) {
	for _, m := range from.Neighbours {
		if moved, ok, err := moveNeighbour(m, s); err == nil && ok {
			_ = send(c, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, moved)
		}
	}
}

// addRoutes puts the routes on the other link, after those over the one: until
// these are removed, they go on.
func addRoutes(spaces *netns.Set, c *netns.Conn, from *state, s swap) error {
	for _, m := range from.Nexthops {
		moved, ok, err := moveNexthop(m, s)
		if err != nil || !ok {
			return err
		}
		if err := send(c, rtmNewNexthop, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, moved); err != nil {
			return fmt.Errorf("nexthop object over %s: %w", s.to, err)
		}
	}
	left := slices.DeleteFunc(from.routes(), func(r route) bool { return !r.moves() })
	// Those without a gateway first: others lead by them.
	slices.SortStableFunc(left, func(a, b route) int {
		switch {
		case a.gateway.IsValid() == b.gateway.IsValid():
			return 0
		case b.gateway.IsValid():
			return -1
		}
		return 1
	})
	for try := 0; len(left) > 0; try++ {
		var again []route
		var last error
		for _, r := range left {
			if err := addRoute(spaces, c, r, s); err != nil {
				again, last = append(again, r), fmt.Errorf("route to %s in table %d over %s: %w", r.dst, r.table, s.to, err)
			}
		}
		if len(again) == len(left) && try > 0 {
			return last
		}
		left = again
	}
	return nil
}

func addRoute(spaces *netns.Set, c *netns.Conn, r route, s swap) error {
	if r.advertised() && r.table == unix.RT_TABLE_MAIN {
		if err := spaces.Do("", func() error { return addAdvertised(&r, s) }); err == nil || errors.Is(err, unix.EEXIST) {
			return nil
		}
	}
	moved, err := moveRoute(r.msg, s)
	if err != nil {
		return err
	}
	flags := unix.NLM_F_CREATE | unix.NLM_F_APPEND
	if r.replaced() {
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	}
	return there(send(c, unix.RTM_NEWROUTE, flags, moved))
}

// The flags of in6_rtmsg, linux/ipv6_route.h.
const (
	rtfUp        = 0x1
	rtfGateway   = 0x2
	rtfDefault   = 0x10000
	rtfAddrconf  = 0x40000
	rtfRouteInfo = 0x800000
	rtfExpires   = 0x400000
	prefShift    = 27
)

// in6Rtmsg is struct in6_rtmsg.
type in6Rtmsg struct {
	dst, src, gateway [16]byte
	kind              uint32
	dstLen, srcLen    uint16
	metric            uint32
	info              uintptr
	flags             uint32
	index             int32
}

// addAdvertised adds a route that the kernel made from an advertisement in such
// a way that it takes it for its own: the next advertisement refreshes or
// removes it. Only the old request can say so. It runs in the host's namespace.
func addAdvertised(r *route, s swap) error {
	m := in6Rtmsg{dst: r.dst.Addr().As16(), gateway: r.gateway.As16(), dstLen: uint16(r.dst.Bits()), metric: r.metric, index: int32(s.index(uint32(r.index)))}
	m.flags = rtfUp | rtfGateway | rtfAddrconf | uint32(r.pref)<<prefShift
	if r.dst.Bits() == 0 {
		m.flags |= rtfDefault
	} else {
		m.flags |= rtfRouteInfo
	}
	if r.expires > 0 && int32(r.expires) > 0 {
		m.flags |= rtfExpires
		m.info = uintptr(r.expires)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&m))); e != 0 {
		return e
	}
	return nil
}

// moveRules puts new rules in the place of those that name the link.
func moveRules(c *netns.Conn, from *state, s swap) error {
	for _, m := range from.Rules {
		moved, ok, err := moveRule(m, s)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := there(send(c, unix.RTM_NEWRULE, create, moved)); err != nil {
			return fmt.Errorf("rule for %s: %w", s.to, err)
		}
		if err := gone(send(c, unix.RTM_DELRULE, 0, m)); err != nil {
			return fmt.Errorf("rule for %s: %w", s.from, err)
		}
	}
	return nil
}

// strip takes from a link what the other one has by now: routes first, those of
// the kernel's too, since with some addresses they do not go by themselves.
func strip(c *netns.Conn, from *state, index int) error {
	var errs []error
	for _, r := range from.routes() {
		if r.moves() && !r.replaced() {
			here := swap{fromIndex: index, toIndex: index}
			m, err := moveRoute(r.msg, here)
			if err == nil {
				if r.advertised() {
					m[routeProtocol] = 0 // the kernel may say another one, see markAdvertised
				}
				err = gone(send(c, unix.RTM_DELROUTE, 0, m))
			}
			errs = append(errs, err)
		}
	}
	for _, m := range from.Addresses {
		m, err := sameAddress(m, index)
		if err == nil {
			err = gone(send(c, unix.RTM_DELADDR, 0, m))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// carries verifies that the link has what the other one had.
func carries(c *netns.Conn, from *state, s swap) error {
	now, err := readState(c, s.toIndex, s.to)
	if err != nil {
		return err
	}
	have := map[addressOf]bool{}
	for _, m := range now.Addresses {
		if _, a, _, err := readAddress(m); err == nil {
			have[a] = true
		}
	}
	for _, m := range from.Addresses {
		_, a, flags, err := readAddress(m)
		if err == nil && !have[a] && flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 && lifetime(m) > 1 {
			return fmt.Errorf("%s did not get the address %s", s.to, a.prefix)
		}
	}
	routes := now.routes()
	for _, r := range from.routes() {
		if r.moves() && !slices.ContainsFunc(routes, func(o route) bool { return o.same(&r) }) && (r.expires == 0 || int32(r.expires) > ticks) {
			return fmt.Errorf("%s did not get the route to %s", s.to, r.dst)
		}
	}
	return nil
}
