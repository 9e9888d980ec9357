package agent

import (
	"sync/atomic"

	"github.com/sextant-net/sextant/internal/server/ndproxy"
	"github.com/sextant-net/sextant/internal/vnet"
)

// unheld is how the DHCPv6 server claims: an address in a prefix that is shared
// with an uplink only if nobody is found there who has it. The guest's own
// duplicate address detection comes after it was given, and not every guest does
// any.
type unheld struct {
	quick
	// proxy is nil while no network shares an uplink's prefix.
	proxy *atomic.Pointer[ndproxy.Server]
}

// Commit asks that a lease become durable and unique.
func (u unheld) Commit(l vnet.Lease, done func(error)) {
	proxy := u.proxy.Load()
	if proxy == nil || l.Length > 0 || done == nil {
		u.quick.Commit(l, done)
		return
	}
	proxy.Find(l.Network, l.Address, func(by vnet.MAC) {
		if !by.IsZero() {
			done(vnet.Errorf(vnet.ErrExists, "%v on the uplink, or in another network, has %v", by, l.Address))
			return
		}
		u.quick.Commit(l, done)
	})
}
