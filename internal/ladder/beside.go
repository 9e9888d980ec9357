package ladder

import (
	"fmt"

	"github.com/sextant-net/sextant/internal/vnet"
)

// tellBeside says on which rung a network stands that wishes bridged IPv6 beside
// an IPv4 that is not: on bridged while there is a bridge to join, else on
// proxied. Both act at once: the guests' router is another one in either case.
func (u *uplifts) tellBeside(r *reach) {
	dec := u.d.decisions[r.wish.Network]
	if r.wish.Wire != "" {
		dec.Rung6 = vnet.EgressBridged
		dec.Why6 = fmt.Sprintf("bridged: by name; guests are on %s and its router's", r.wish.Wire)
		return
	}
	dec.Rung6 = vnet.EgressProxied
	switch {
	case r.active != nil && r.source != nil:
		dec.Why6 = fmt.Sprintf("proxied: not bridged, since %s; %s", r.wish.NoWire, r.source.named())
	case r.active != nil:
		dec.Why6 = fmt.Sprintf("proxied: not bridged, since %s; %s, as before", r.wish.NoWire, r.active.Prefix)
	default:
		dec.Why6 = fmt.Sprintf("proxied: not bridged, since %s; but %s", r.wish.NoWire, r.short)
		dec.Problems = append(dec.Problems, vnet.Problem{Kind: vnet.ErrUnavailable, Field: "ipv6", Family: vnet.IPv6,
			Msg: join(r.wish.NoWire, r.short), Hint: "share the uplink, or say ipv6=auto to have what it carries"})
	}
}
