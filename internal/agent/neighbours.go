package agent

import (
	"net/netip"
	"sync"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/server/listen"
)

// maxNeighbours bounds the addresses that are remembered; guests
// that use more lose the oldest by chance.
const maxNeighbours = 1 << 16

// neighbours remembers which guest, by port and MAC, used which IPv6 address
// on which gateway link, as heard at the guests' ports. The DHCPv6
// server asks it, from goroutines of its own.
type neighbours struct {
	mu   sync.RWMutex
	seen map[neighbour]listen.Sender
	// links are those of which anybody was heard.
	links map[string]bool
}

type neighbour struct {
	link string
	addr netip.Addr
}

func newNeighbours() *neighbours {
	return &neighbours{seen: map[neighbour]listen.Sender{}, links: map[string]bool{}}
}

// hear remembers the sender of a packet.
func (n *neighbours) hear(link string, who listen.Sender, ev hear.Event) {
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
	if !addr.Is6() || !addr.IsLinkLocalUnicast() && !addr.IsGlobalUnicast() {
		return
	}
	k := neighbour{link, addr.WithZone("")}
	n.mu.RLock()
	same := n.seen[k] == who
	n.mu.RUnlock()
	if same {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.seen) >= maxNeighbours {
		for old := range n.seen {
			delete(n.seen, old)
			break
		}
	}
	n.seen[k], n.links[link] = who, true
}

// lookup says who uses an address, and whether guests of the link are heard.
func (n *neighbours) lookup(link string, a netip.Addr) (listen.Sender, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.seen[neighbour{link, a.WithZone("")}], n.links[link]
}
