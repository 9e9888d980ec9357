package attach

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// flagsFile tells the flags of IPv6 routes, which netlink does not: the kernel
// knows by them which are its own, made from advertisements. One that was moved
// has them, but no longer says so by its protocol.
const flagsFile = "/proc/thread-self/net/ipv6_route"

// read reads what a link carries.
func (h *Host) read(c *netns.Conn, index int, name string) (*state, error) {
	s, err := readState(c, index, name)
	if err == nil {
		_ = h.spaces.Do("", func() error { markAdvertised(s.Routes, name); return nil })
	}
	return s, err
}

// markAdvertised gives the routes that the kernel made from advertisements the
// protocol that says so. It runs in the host's namespace.
func markAdvertised(routes [][]byte, link string) {
	b, err := os.ReadFile(flagsFile)
	if err != nil {
		return
	}
	own := advertisedIn(string(b), link)
	for _, m := range routes {
		r, err := readRoute(m)
		if err == nil && r.family == unix.AF_INET6 && r.table == unix.RT_TABLE_MAIN && own[ownRoute{r.dst, r.gateway, r.metric}] {
			m[routeProtocol] = protocolRA
		}
	}
}

// ownRoute is what tells a route over a link from the others there.
type ownRoute struct {
	dst     netip.Prefix
	gateway netip.Addr
	metric  uint32
}

// advertisedIn finds the routes over a link that the kernel made from
// advertisements. A line has the destination, its length, the source, its
// length, the gateway, the metric, two counters, the flags and the link; all
// numbers are hexadecimal.
func advertisedIn(text, link string) map[ownRoute]bool {
	out := map[ownRoute]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 10 || f[9] != link {
			continue
		}
		dst, gateway := hexAddr(f[0]), hexAddr(f[4])
		bits, err1 := strconv.ParseUint(f[1], 16, 8)
		metric, err2 := strconv.ParseUint(f[5], 16, 32)
		flags, err3 := strconv.ParseUint(f[8], 16, 32)
		if err1 != nil || err2 != nil || err3 != nil || !dst.IsValid() || !gateway.IsValid() || flags&rtfAddrconf == 0 || flags&(rtfDefault|rtfRouteInfo) == 0 {
			continue
		}
		if p := netip.PrefixFrom(dst, int(bits)); p.IsValid() {
			out[ownRoute{p, gateway, uint32(metric)}] = true
		}
	}
	return out
}

func hexAddr(s string) netip.Addr {
	b, err := hex.DecodeString(s)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(b)
	if !a.Is6() {
		return netip.Addr{}
	}
	return a
}
