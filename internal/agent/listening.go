package agent

import (
	"slices"

	"github.com/sextant-net/sextant/internal/agent/learn"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/plan"
)

// Guests are heard at their ports, which are the host's own. What is refused to
// them in a router's namespace is logged there, and heard by a listener for each
// namespace in which a network shares an uplink's prefix.

// listen hears what is refused in the namespaces of those networks, and in no
// other.
func (h *hearing) listen() {
	if h.ears == nil || h.ears.In == nil {
		return
	}
	wanted := map[string]bool{}
	for _, s := range h.services {
		if s.svc.NS != "" && slices.ContainsFunc(s.svc.Subnets, func(sub plan.Subnet) bool { return sub.OffLink && !sub.Cut }) {
			wanted[s.svc.NS] = true
		}
	}
	for ns, l := range h.inside {
		if !wanted[ns] {
			delete(h.inside, ns)
			_ = l.Close()
		}
	}
	for ns := range wanted {
		if h.inside[ns] != nil {
			continue
		}
		l, err := h.ears.In(ns)
		if err != nil {
			h.a.log.Warn("what is refused to guests is not heard", "namespace", ns, "error", err)
			continue
		}
		h.inside[ns] = l
		go h.follow(ns, l)
	}
}

// listenAnew takes in that namespaces were made anew under their old names.
func (h *hearing) listenAnew() {
	h.deafen()
	h.listen()
}

// deafen ends listening, so that another may listen: a group has one listener.
func (h *hearing) deafen() {
	for ns, l := range h.inside {
		delete(h.inside, ns)
		_ = l.Close()
	}
}

// follow hands on what a listener hears until it is closed.
func (h *hearing) follow(ns string, l *hear.Listener) {
	for p := range l.C() {
		select {
		case h.a.calls <- func() { h.refusedIn(ns, p) }:
		case <-h.a.ctx.Done():
			return
		}
	}
}

// refusedIn is refused for a packet in a router's namespace, whose links say
// nothing here. The network is the one whose gateway it was sent to.
func (h *hearing) refusedIn(ns string, p hear.Heard) {
	from, err := hear.Source(p.EtherType, p.Packet)
	if err != nil || !p.Refused {
		return
	}
	for network, s := range h.services {
		if s.svc.NS == ns && s.svc.MAC == p.Gateway {
			h.seek(learn.Holder{Network: network, MAC: p.MAC}, from)
			return
		}
	}
}
