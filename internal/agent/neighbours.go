package agent

import (
	"net/netip"
	"sync"
	"unique"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// maxNeighbours bounds the addresses that are remembered.
const maxNeighbours = 50000

// neighbours remembers which guest, by port and MAC, used which IPv6 address
// on which gateway link, and where the MACs of DHCPv4 clients came in, as heard
// at the guests' ports. The servers ask it, from goroutines of their own.
type neighbours struct {
	mu       sync.RWMutex
	seen     recent[neighbour, sender]
	stations recent[station, unique.Handle[vnet.ID]]
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
	return &neighbours{heard: heard}
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
	same := n.seen.has(k, now)
	n.mu.RUnlock()
	if same {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen.set(k, now)
}

// hearStation remembers where a DHCPv4 client's frames come in: it has no
// address yet.
func (n *neighbours) hearStation(link string, who listen.Sender) {
	k, port := station{unique.Make(link), who.MAC}, unique.Make(who.Port)
	n.mu.RLock()
	same := n.stations.has(k, port)
	n.mu.RUnlock()
	if same {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stations.set(k, port)
}

// recent remembers what was last set, maxNeighbours things at most: half of
// them now and the half before. What is forgotten was set before all of those.
// One map from which things are taken by chance would grow for ever.
type recent[K, V comparable] struct{ now, before map[K]V }

// has reports whether that was set lately.
func (r *recent[K, V]) has(k K, v V) bool {
	old, ok := r.now[k]
	return ok && old == v
}

func (r *recent[K, V]) get(k K) (V, bool) {
	if v, ok := r.now[k]; ok {
		return v, true
	}
	v, ok := r.before[k]
	return v, ok
}

func (r *recent[K, V]) set(k K, v V) {
	if r.now == nil || len(r.now) >= maxNeighbours/2 {
		r.now, r.before = map[K]V{}, r.now
	}
	r.now[k] = v
}

// station says where a MAC's frames came in, and whether guests are heard at
// all.
func (n *neighbours) station(link string, mac vnet.MAC) (listen.Sender, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	port, known := n.stations.get(station{unique.Make(link), mac})
	if !known {
		return listen.Sender{}, n.heard
	}
	return listen.Sender{MAC: mac, Port: port.Value()}, n.heard
}

// lookup says who uses an address, and whether guests are heard at all.
func (n *neighbours) lookup(link string, a netip.Addr) (listen.Sender, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	who, known := n.seen.get(neighbour{unique.Make(link), a.As16()})
	if !known {
		return listen.Sender{}, n.heard
	}
	return listen.Sender{MAC: who.mac, Port: who.port.Value()}, n.heard
}
