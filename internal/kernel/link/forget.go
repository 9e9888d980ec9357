package link

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
)

// forget removes what the kernel remembers of connections by an outside
// prefix, once: none can begin by it any more.
func (l *Links) forget(i plan.Forgotten) error {
	err := l.spaces.Do(i.NS, func() error {
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET6, leavesBy(i.Outside))
		return err
	})
	if err == nil {
		l.forgotten[i] = true
	}
	return kernelError("forget connections by "+i.Outside.String(), err)
}

// leavesBy matches connections, but for TCP, that have an address of the prefix
// outside: those that guests began are answered there, and those that the
// outside began lead there.
type leavesBy netip.Prefix

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (p leavesBy) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	in := func(ip net.IP) bool {
		a, ok := netip.AddrFromSlice(ip)
		return ok && netip.Prefix(p).Contains(a)
	}
	return f.Forward.Protocol != unix.IPPROTO_TCP && (in(f.Reverse.DstIP) || in(f.Forward.DstIP))
}
