package agent

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/agent/learn"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Ears is how the agent hears guests and asks them: *hear.Listener and
// *hear.Prober of the host's namespace.
type Ears struct {
	C    func() <-chan hear.Heard
	Send func(hear.Probe) error
	// In, if set, hears what is refused in another namespace.
	In func(ns string) (*hear.Listener, error)
}

// hearing feeds what guests say to the learning engine and carries out what it
// decides. It belongs to the loop.
type hearing struct {
	a      *Agent
	ears   *Ears
	engine *learn.Engine
	timer  *time.Timer

	links    map[int]plan.Link   // bridge ports, by index
	names    map[int]string      // of all links, by index
	indexes  map[string]int      // of all links, by name
	bridges  map[string]vnet.ID  // network by bridge device
	services map[vnet.ID]*served // networks in service
	devices  map[string]vnet.ID  // port by host device
	macs     map[macKey]vnet.ID  // port by MAC
	ports    map[vnet.ID]*plan.Guest
	near     *neighbours
	inside   map[string]*hear.Listener // of routers' namespaces
	looked   time.Time
	stale    map[vnet.ID]bool // networks whose known addresses changed
}

type served struct {
	svc    *plan.Service
	linked netip.Addr // the gateway's link-local address, source of probes
}

type macKey struct {
	network vnet.ID
	mac     vnet.MAC
}

func newHearing(a *Agent, ears *Ears) *hearing {
	h := &hearing{
		a: a, ears: ears, links: map[int]plan.Link{}, names: map[int]string{}, indexes: map[string]int{}, bridges: map[string]vnet.ID{}, services: map[vnet.ID]*served{},
		devices: map[string]vnet.ID{}, macs: map[macKey]vnet.ID{}, ports: map[vnet.ID]*plan.Guest{}, stale: map[vnet.ID]bool{},
		near: newNeighbours(ears != nil), inside: map[string]*hear.Listener{},
	}
	h.engine = learn.New(learn.Config{Trace: func(n vnet.ID, addr netip.Addr, from, to learn.State, why string) {
		a.log.Debug("address", "network", n, "address", addr, "from", from, "to", to, "why", why)
	}})
	return h
}

// heard is where packets come from; nil, which blocks for ever, without ears.
func (h *hearing) heard() <-chan hear.Heard {
	if h.ears == nil {
		return nil
	}
	return h.ears.C()
}

// take works one packet in.
func (h *hearing) take(p hear.Heard) {
	if p.Out != 0 {
		h.withheld(p)
		return
	}
	if p.Refused {
		h.refused(p)
		return
	}
	ev, err := hear.Parse(p.EtherType, p.Packet)
	if err != nil || ev == nil {
		h.a.log.Debug("heard what is not understood", "link", p.Link, "mac", p.MAC, "error", err)
		return
	}
	if _, known := h.links[p.Link]; !known {
		h.lookAgain(p.Time)
	}
	holder, ok := h.holderAt(p.Link, p.MAC)
	if !ok {
		h.a.log.Debug("heard somebody on no network of ours", "link", p.Link, "mac", p.MAC)
		return
	}
	if s := h.services[holder.Network]; s != nil {
		h.near.hear(s.svc.Link, h.senderOf(holder), ev)
	}
	if l := h.links[p.Link]; holder.Port == "" || h.guest(holder.Port).Device == "" {
		h.a.strangeLink(l, holder.Network, p.MAC)
	}
	h.refresh()
	h.carryOut(h.engine.Hear(p.Time, holder, ev))
}

// senderOf is who a frame came from, to the servers. A port that we made for
// somebody else's device says only whose MAC was heard there first: others
// behind it, as on a bridge inside a bridge, are themselves.
func (h *hearing) senderOf(who learn.Holder) listen.Sender {
	p := h.a.snap.Ports[who.Port]
	if p != nil && p.MAC != who.MAC && p.Tags[adoptedTag] != "" {
		who.Port = h.macs[macKey{who.Network, who.MAC}]
	}
	return listen.Sender{MAC: who.MAC, Port: who.Port}
}

// withheld takes a router advertisement that the rules kept from a port which
// does not take its default route from there.
func (h *hearing) withheld(p hear.Heard) {
	if _, known := h.links[p.Out]; !known {
		h.lookAgain(p.Time)
	}
	port, ok := h.devices[h.links[p.Out].Name]
	if !ok {
		return
	}
	if h.a.srv.radv.Withheld(h.guest(port).Network, port, p.MAC, p.Packet) {
		h.a.log.Debug("outside router's advertisement rewritten", "port", port, "router", p.MAC)
	}
}

// lookAgain takes the links of the moment: those that we made ourselves are no
// news to the watcher. Strangers' packets cannot make it happen often.
func (h *hearing) lookAgain(now time.Time) {
	if now.Sub(h.looked) < 50*time.Millisecond {
		return
	}
	h.looked = now
	h.setLinks(h.a.cfg.Finder.Facts().Links)
}

// holderAt is the guest behind a bridge port.
func (h *hearing) holderAt(link int, mac vnet.MAC) (learn.Holder, bool) {
	l, ok := h.links[link]
	if !ok {
		return learn.Holder{}, false
	}
	network, ok := h.bridges[l.Master]
	if !ok {
		return learn.Holder{}, false
	}
	port, ok := h.devices[l.Name]
	if !ok {
		port = h.macs[macKey{network, mac}]
	}
	return learn.Holder{Link: link, Network: network, Port: port, MAC: mac}, true
}

// setLinks takes the host's links in; guests whose link went, or lost its
// carrier, use no address any more, and are asked when it is back.
func (h *hearing) setLinks(links map[string]plan.Link) {
	now := map[int]plan.Link{}
	clear(h.names)
	clear(h.indexes)
	for _, l := range links {
		h.names[l.Index], h.indexes[l.Name] = l.Name, l.Index
		if l.Master != "" && l.Carrier {
			now[l.Index] = l
		}
	}
	for index := range h.links {
		if _, there := now[index]; !there {
			h.carryOut(h.engine.LinkGone(h.a.cfg.Now(), index))
		}
	}
	was := h.links
	h.links = now
	for index, l := range now {
		if _, there := was[index]; !there {
			h.returned(l)
		}
	}
}

// network says that a network is served, or served differently.
func (h *hearing) network(svc *plan.Service) {
	known := h.services[svc.Network] != nil
	h.services[svc.Network] = &served{svc: svc, linked: linkLocal(svc.MAC)}
	h.bridges[svc.Bridge] = svc.Network
	h.stale[svc.Network] = true
	h.carryOut(h.engine.SetNetwork(h.a.cfg.Now(), svc.Network, svc.Subnets))
	if svc.NS != "" {
		h.listen()
	}
	if !known {
		h.adopt(svc.Network)
	}
}

func (h *hearing) networkGone(id vnet.ID) {
	s := h.services[id]
	if s == nil {
		return
	}
	h.carryOut(h.engine.RemoveNetwork(h.a.cfg.Now(), id))
	delete(h.services, id)
	delete(h.stale, id)
	delete(h.bridges, s.svc.Bridge)
	if s.svc.NS != "" {
		h.listen()
	}
}

func (h *hearing) port(g *plan.Guest) {
	h.portGone(g.Port)
	h.ports[g.Port] = g
	h.macs[macKey{g.Network, g.MAC}] = g.Port
	if g.Device != "" {
		h.devices[g.Device] = g.Port
	}
	h.stale[g.Network] = true
	if l, there := h.links[h.indexes[g.Device]]; there {
		h.returned(l)
	}
}

// guest is what is known of a port, of one that is not there nothing.
func (h *hearing) guest(port vnet.ID) *plan.Guest {
	if g := h.ports[port]; g != nil {
		return g
	}
	return &plan.Guest{}
}

func (h *hearing) portGone(id vnet.ID) {
	g, ok := h.ports[id]
	if !ok {
		return
	}
	delete(h.ports, id)
	delete(h.macs, macKey{g.Network, g.MAC})
	if h.devices[g.Device] == id {
		delete(h.devices, g.Device)
	}
	h.stale[g.Network] = true
}

// lease says that the store has a lease; released that it has it no more.
func (h *hearing) lease(l *pack.Lease) {
	if h.given(l) {
		h.carryOut(h.engine.Know(h.a.cfg.Now(), l.Network(), l.Address()))
	}
}

func (h *hearing) released(l *pack.Lease) {
	if h.given(l) && h.a.index.ownerOf(l.Network(), l.Address()) == "" {
		h.engine.Unknow(l.Network(), l.Address())
	}
}

// given reports whether a lease was given rather than seen, in a network that is
// served and whose known addresses need not be gathered anew anyway.
func (h *hearing) given(l *pack.Lease) bool {
	return (l.How() == vnet.HowDHCPv4 || l.How() == vnet.HowDHCPv6) && h.services[l.Network()] != nil && !h.stale[l.Network()]
}

// reset forgets nothing: the same networks and ports follow at once.
func (h *hearing) reset() {
	for id := range h.services {
		h.stale[id] = true
	}
}

// refresh tells the engine which addresses have owners already.
func (h *hearing) refresh() {
	for id := range h.stale {
		var known []netip.Addr
		for _, p := range h.a.snap.PortsOf(id) {
			for _, a := range h.guest(p.ID).Addresses {
				known = append(known, a.Address)
			}
		}
		for _, l := range h.a.snap.LeasesOf(id) {
			if l.How() == vnet.HowDHCPv4 || l.How() == vnet.HowDHCPv6 {
				known = append(known, l.Address())
			}
		}
		h.carryOut(h.engine.SetKnown(h.a.cfg.Now(), id, known))
	}
	clear(h.stale)
}

// adopt takes up what was learnt before a restart: the guests behind our own
// ports are asked, the others are learnt anew when they speak.
func (h *hearing) adopt(network vnet.ID) {
	for _, p := range h.a.snap.LeasesOf(network) {
		if p.Host() != h.a.cfg.Host || p.How() != vnet.HowSLAAC && p.How() != vnet.HowFixed {
			continue
		}
		l := p.Whole()
		holder, ok := h.holderOf(l)
		if !ok {
			h.a.claim.Release(*l)
			h.engine.Miss(h.a.cfg.Now(), learn.Holder{Network: network, Port: l.Port, MAC: l.MAC}, l.Address, l.Temporary)
			continue
		}
		h.carryOut(h.engine.Adopt(h.a.cfg.Now(), holder, *l))
	}
}

func (h *hearing) holderOf(l *vnet.Lease) (learn.Holder, bool) {
	dev := ""
	if p := h.a.snap.Ports[l.Port]; p != nil && p.Binding != nil {
		if dev = p.Binding.Device; p.Binding.Plug == vnet.PlugVeth {
			dev = plan.PortName(p.ID)
		}
	}
	link, ok := h.a.facts.Links[dev]
	if !ok || !link.Carrier {
		return learn.Holder{}, false
	}
	return learn.Holder{Link: link.Index, Network: l.Network, Port: l.Port, MAC: l.MAC}, true
}

// carryOut does what the engine decided, and winds its clock.
func (h *hearing) carryOut(r learn.Result) {
	for _, rel := range r.Releases {
		h.a.claim.Release(vnet.Lease{Network: rel.Network, Address: rel.Address})
	}
	for _, rel := range r.Replaced {
		// A DHCP lease that took the address over is the same object: it stays.
		if l := h.learnt(rel.Network, rel.Address); l != nil {
			h.a.claim.Release(*l)
		}
	}
	for _, l := range r.Claims {
		h.a.claimLearnt(l)
	}
	for _, p := range append(r.Probes, r.Seeks...) {
		h.probe(p)
	}
	h.wind()
}

// learnt returns the lease of a learnt address, nil if it is none any more.
func (h *hearing) learnt(network vnet.ID, a netip.Addr) *vnet.Lease {
	l := h.a.snap.Lease(h.a.claim.holder(network, a))
	if l == nil || l.How() != vnet.HowSLAAC && l.How() != vnet.HowFixed {
		return nil
	}
	return l.Whole()
}

// probe asks a guest about an address.
func (h *hearing) probe(p learn.Probe) {
	s := h.services[p.Network]
	if h.ears == nil || s == nil {
		return
	}
	if p.Link == 0 { // the bridge knows better where the guest is
		p.Link = h.indexes[s.svc.Bridge]
	}
	q := hear.Probe{Link: p.Link, Target: p.Target, MAC: p.MAC, Gateway: s.svc.MAC, Source: s.linked}
	if p.Target.Is4() {
		q.Source = netip.Addr{}
		for _, sub := range s.svc.Subnets {
			if sub.Prefix.Contains(p.Target) {
				q.Source = sub.Gateway
			}
		}
	}
	if err := h.ears.Send(q); err != nil {
		h.a.log.Debug("probe not sent", "address", p.Target, "error", err)
	}
}

// wind sets the timer for the engine's next deadline.
func (h *hearing) wind() {
	next := h.engine.Next()
	if h.timer != nil {
		h.timer.Stop()
	}
	if next.IsZero() {
		return
	}
	h.timer = time.AfterFunc(max(0, next.Sub(h.a.cfg.Now())), func() {
		h.a.do(func() { h.tick(h.a.cfg.Now()) })
	})
}

func (h *hearing) tick(now time.Time) {
	h.refresh()
	h.carryOut(h.engine.Tick(now))
}

// linkLocal is the link-local address that the kernel makes of a MAC (RFC 4291
// appendix A).
func linkLocal(m vnet.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}
