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
			// Who has no address yet is known by where its frames come in.
			n.stations.set(station{unique.Make(link), who.MAC}, unique.Make(who.Port))
			return
		}
	}
	if !addr.Is6() || !addr.IsLinkLocalUnicast() && !addr.IsGlobalUnicast() {
		return
	}
	n.seen.set(neighbour{unique.Make(link), addr.As16()}, sender{unique.Make(who.Port), who.MAC})
}

// recent remembers what was last set, maxNeighbours things at most: half of
// them now and the half before. What is forgotten was set before all of those.
// One map from which things are taken by chance would grow for ever.
type recent[K, V comparable] struct {
	mu          sync.RWMutex
	now, before map[K]V
}

func (r *recent[K, V]) get(k K) (V, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if v, ok := r.now[k]; ok {
		return v, true
	}
	v, ok := r.before[k]
	return v, ok
}

// set remembers v. Most of what is heard was set lately, which keeps nobody who
// asks waiting.
func (r *recent[K, V]) set(k K, v V) {
	r.mu.RLock()
	old, lately := r.now[k]
	r.mu.RUnlock()
	if lately && old == v {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= maxNeighbours/2 {
		r.now, r.before = map[K]V{}, r.now
	}
	r.now[k] = v
}

// station says where a MAC's frames came in, and whether guests are heard at
// all.
func (n *neighbours) station(link string, mac vnet.MAC) (listen.Sender, bool) {
	port, known := n.stations.get(station{unique.Make(link), mac})
	if !known {
		return listen.Sender{}, n.heard
	}
	return listen.Sender{MAC: mac, Port: port.Value()}, n.heard
}

// lookup says who uses an address, and whether guests are heard at all.
func (n *neighbours) lookup(link string, a netip.Addr) (listen.Sender, bool) {
	who, known := n.seen.get(neighbour{unique.Make(link), a.As16()})
	if !known {
		return listen.Sender{}, n.heard
	}
	return listen.Sender{MAC: who.mac, Port: who.port.Value()}, n.heard
}
