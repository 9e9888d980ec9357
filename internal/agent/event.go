package agent

import (
	"fmt"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// event tells people that something happened to an object.
func (a *Agent) event(target vnet.Ref, what, format string, args ...any) {
	now := a.cfg.Now()
	msg := fmt.Sprintf(format, args...)
	name := string(target.ID)
	if o := a.snap.Get(target); o != nil && o.GetMeta().Name != "" {
		name = o.GetMeta().Name
	}
	a.log.Info(msg, "event", what, string(target.Kind), name)
	a.rep.event(&vnet.Event{
		Meta: vnet.Meta{Created: now}, Time: now, Host: a.cfg.Host, // the store's IDs sort by time
		Target: target, What: what, Msg: fmt.Sprintf("%s %s: %s", target.Kind, name, msg),
	})
}

// prefixAt is an address with its subnet's prefix length.
func prefixAt(a netip.Addr, p netip.Prefix) netip.Prefix { return netip.PrefixFrom(a, p.Bits()) }
