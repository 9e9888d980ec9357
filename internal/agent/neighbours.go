package agent

import (
	"net/netip"
	"sync"
	"unique"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// maxNeighbours bounds the addresses that are remembered; guests that use more
// lose one by chance. It is what a map holds at its fullest: a few thousand more
// would double it.
const maxNeighbours = 50000

// neighbours remembers which guest, by port and MAC, used which IPv6 address
// on which gateway link, and where the MACs of DHCPv4 clients came in, as heard
// at the guests' ports. The servers ask it, from goroutines of their own.
type neighbours struct {
	mu       sync.RWMutex
	seen     map[neighbour]sender
	stations map[station]unique.Handle[vnet.ID]
	// heard says that guests are heard at all: a kernel without NFLOG cannot.
	heard bool
}

// neighbour, sender and station are as small as they can be: there may be a
// hundred thousand.
type neighbour struct {
	link unique.Handle[string]
	addr [16]byte
}

// sender is a listen.Sender.
type sender struct {
	port unique.Handle[vnet.ID]
	mac  vnet.MAC
}

type station struct {
	link unique.Handle[string]
	mac  vnet.MAC
}

func newNeighbours(heard bool) *neighbours {
	return &neighbours{heard: heard, seen: map[neighbour]sender{}, stations: map[station]unique.Handle[vnet.ID]{}}
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
		if addr = ev.Source; ev.Family == vnet.IPv4 {
			n.hearStation(link, who)
			return
		}
	}
	if !addr.Is6() || !addr.IsLinkLocalUnicast() && !addr.IsGlobalUnicast() {
		return
	}
	k, now := neighbour{unique.Make(link), addr.As16()}, sender{unique.Make(who.Port), who.MAC}
	n.mu.RLock()
	same := n.seen[k] == now
	n.mu.RUnlock()
	if same {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	makeRoom(n.seen)
	n.seen[k] = now
}

// hearStation remembers where a DHCPv4 client's frames come in: it has no
// address yet.
func (n *neighbours) hearStation(link string, who listen.Sender) {
	k, port := station{unique.Make(link), who.MAC}, unique.Make(who.Port)
	n.mu.RLock()
	old, known := n.stations[k]
	n.mu.RUnlock()
	if known && old == port {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	makeRoom(n.stations)
	n.stations[k] = port
}

// makeRoom bounds what is remembered.
func makeRoom[K comparable, V any](m map[K]V) {
	if len(m) < maxNeighbours {
		return
	}
	for old := range m {
		delete(m, old)
		return
	}
}

// station says where a MAC's frames came in, and whether guests are heard at
// all.
func (n *neighbours) station(link string, mac vnet.MAC) (listen.Sender, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	port, known := n.stations[station{unique.Make(link), mac}]
	if !known {
		return listen.Sender{}, n.heard
	}
	return listen.Sender{MAC: mac, Port: port.Value()}, n.heard
}

// lookup says who uses an address, and whether guests are heard at all.
func (n *neighbours) lookup(link string, a netip.Addr) (listen.Sender, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	who, known := n.seen[neighbour{unique.Make(link), a.As16()}]
	if !known {
		return listen.Sender{}, n.heard
	}
	return listen.Sender{MAC: who.mac, Port: who.port.Value()}, n.heard
}
