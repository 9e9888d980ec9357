package agent

import (
	"net/netip"

	"github.com/sextant-net/sextant/internal/agent/learn"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/plan"
)

// In a prefix that is shared with an uplink a guest has IPv6 only if it is known
// what it has, and a guest says that once, when it takes the address. Whatever
// was missed then is asked for: when its link is back, when it sends, and, by
// the proxy of neighbour discovery, when somebody outside wants it.

// returned asks the guest behind a bridge port, which was not there or had no
// carrier, for what it had before.
func (h *hearing) returned(l plan.Link) {
	if network, ours := h.bridges[l.Master]; ours {
		h.carryOut(h.engine.LinkBack(h.a.cfg.Now(), learn.Holder{Link: l.Index, Network: network, Port: h.devices[l.Name]}))
	}
}

// refused takes a guest's packet that the rules did not let out, since nobody is
// known to have its source. Anybody can send from anywhere: it only says whom to
// ask.
func (h *hearing) refused(p hear.Heard) {
	from, err := hear.Source(p.EtherType, p.Packet)
	if err != nil {
		return
	}
	if h.names[p.Bridge] == "" {
		h.lookAgain(p.Time)
	}
	holder, ok := h.holderAt(p.Link, p.MAC)
	if !ok {
		network, ours := h.bridges[h.names[p.Bridge]]
		if !ours {
			return
		}
		holder = learn.Holder{Network: network, MAC: p.MAC}
	}
	h.seek(holder, from)
}

// seek asks a guest whether it has an address.
func (h *hearing) seek(who learn.Holder, a netip.Addr) {
	h.refresh()
	h.carryOut(h.engine.Seek(who, a))
}
