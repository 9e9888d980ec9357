package dns

import (
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// boundTo returns the sockets of the calling thread's namespace that are bound
// to the port.
func boundTo(port uint16) []listen.Bound {
	return listen.BoundTo(port, listen.UDP6, listen.UDP4, listen.TCP6, listen.TCP4)
}

// exactlyTaken reports whether somebody holds the very address, rather than
// the wildcard.
func exactlyTaken(at netip.AddrPort) bool {
	return slices.ContainsFunc(boundTo(at.Port()), func(b listen.Bound) bool { return b.Addr == at })
}

// holder says which programs are in the way of at.
func holder(at netip.AddrPort) string {
	inTheWay := slices.DeleteFunc(boundTo(at.Port()), func(b listen.Bound) bool {
		return b.Addr != at && !b.Addr.Addr().IsUnspecified()
	})
	if who := listen.Holders(inTheWay); who != "" {
		return who
	}
	return "another program"
}
