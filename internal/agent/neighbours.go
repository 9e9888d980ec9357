package agent

import (
	"net/netip"
	"sync"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/vnet"
)

// maxNeighbours bounds the link-local addresses that are remembered; guests
// that use more lose the oldest by chance.
const maxNeighbours = 1 << 16

// neighbours remembers which MAC used which link-local address on which
// gateway link, as heard at the guests' ports. The DHCPv6 server asks it, from
// goroutines of its own.
type neighbours struct {
	mu   sync.RWMutex
	macs map[neighbour]vnet.MAC
}

type neighbour struct {
	link string
	addr netip.Addr
}

func newNeighbours() *neighbours { return &neighbours{macs: map[neighbour]vnet.MAC{}} }

// hear remembers the sender of a packet.
func (n *neighbours) hear(link string, mac vnet.MAC, ev hear.Event) {
	var addr netip.Addr
	switch ev := ev.(type) {
	case *hear.Solicitation:
		if addr = ev.Source; ev.DAD() {
			addr = ev.Target
		}
	case *hear.Advertisement:
		addr = ev.Source
	case *hear.RouterSolicitation:
		addr = ev.Source
	case *hear.DHCP:
		addr = ev.Source
	}
	if !addr.IsValid() || !addr.Is6() || !addr.IsLinkLocalUnicast() {
		return
	}
	k := neighbour{link, addr.WithZone("")}
	n.mu.RLock()
	same := n.macs[k] == mac
	n.mu.RUnlock()
	if same {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.macs) >= maxNeighbours {
		for old := range n.macs {
			delete(n.macs, old)
			break
		}
	}
	n.macs[k] = mac
}

// lookup says which MAC uses an address.
func (n *neighbours) lookup(link string, a netip.Addr) (vnet.MAC, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	mac, ok := n.macs[neighbour{link, a.WithZone("")}]
	return mac, ok
}
