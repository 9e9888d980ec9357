// Package learn decides which addresses guests really use, from what
// kernel/hear heard them say: SLAAC addresses of every kind, and ones
// configured by hand. The first to come owns an address (RFC 6620).
//
// The Engine is a function of state, event and time. It has no sockets, no
// clock and no store: the caller feeds it and carries out what it returns.
package learn

import (
	"container/heap"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// dadWait is how long after a guest's last duplicate address detection
	// packet the address is taken, if nobody defends it: RetransTimer (RFC
	// 4862 section 5.1, RFC 4861 section 10).
	dadWait = time.Second
	// offLinkWait is the same in a prefix that is shared with an uplink: there
	// each address needs a route of its own, which is to be there when the guest
	// begins to use it.
	offLinkWait = 700 * time.Millisecond
	// arpWait is the same for IPv4: PROBE_MAX (RFC 5227 section 1.1) and a
	// bit. An announcement ends it at once.
	arpWait = 2500 * time.Millisecond
	// settle is how long an address in use waits before it is taken: a guest
	// speaks the moment it has its DHCP lease, and the word of that lease may
	// still be on its way to us.
	settle = 300 * time.Millisecond
	// probeWait is how long a guest has to answer a probe, maxMisses how many
	// unanswered ones mean that the address is free.
	probeWait = time.Second
	maxMisses = 3
	// fresh is how lately a guest was heard with an address that needs no
	// asking when it takes another.
	fresh = 10 * time.Second
	// contestEvery bounds how often somebody else can have an owner probed.
	contestEvery = 5 * time.Second
	// mostAhead is how many guests may be asked before their turn, with others:
	// their answers come together.
	mostAhead = 64
	// MaxPerPort is how many addresses one port may have learnt.
	MaxPerPort = 64
	// DefaultProbeEvery is how long a guest may be silent before it is asked.
	DefaultProbeEvery = time.Minute
)

// Holder is a guest's NIC, as far as it is known.
type Holder struct {
	Link    int // index of the bridge port; tells holders apart
	Network vnet.ID
	Port    vnet.ID // "" for a guest without a port
	MAC     vnet.MAC
}

// Release is an address that a guest no longer uses.
type Release struct {
	Network vnet.ID
	Address netip.Addr
	Why     string
}

// Probe asks a guest about an address; the caller adds our own addresses.
type Probe struct {
	Holder
	Target netip.Addr
}

// Result is what is to be done, releases before claims.
type Result struct {
	Releases []Release
	// Replaced are addresses that were learnt and have another owner now: a
	// DHCP lease or a port. Whoever made that owner has replaced our claim; so
	// release one only if it still says slaac or fixed.
	Replaced []Release
	// Claims are leases without Meta and Host. A claim that the store refuses
	// is told to the engine by Refused.
	Claims []vnet.Lease
	Probes []Probe
	// Seeks are questions about addresses that nobody holds: of a guest that had
	// them before, or may have them. A Link of 0 means that it is not known where
	// the guest is.
	Seeks []Probe
}

func (r *Result) add(o Result) {
	r.Releases = append(r.Releases, o.Releases...)
	r.Replaced = append(r.Replaced, o.Replaced...)
	r.Claims = append(r.Claims, o.Claims...)
	r.Probes = append(r.Probes, o.Probes...)
	r.Seeks = append(r.Seeks, o.Seeks...)
}

// Config sets an Engine's knobs.
type Config struct {
	// ProbeEvery is how long a guest may be silent before its addresses are
	// probed; 0 means DefaultProbeEvery.
	ProbeEvery time.Duration
	// Trace, if set, is told of each change of an address's state.
	Trace func(network vnet.ID, a netip.Addr, from, to State, why string)
}

// Engine holds what was learnt. It is not safe for concurrent use.
type Engine struct {
	conf     Config
	networks map[vnet.ID]*network
	entries  map[key]*entry
	links    map[int]*link
	due      dues

	absent map[guest]*absent
	back   map[*absent]bool // those that are asked
	missed int              // addresses of all absent
}

type key struct {
	network vnet.ID
	addr    netip.Addr
}

// network is where addresses may be learnt.
type network struct {
	subnets []plan.Subnet
	known   known
}

// link is what is remembered of one bridge port.
type link struct {
	entries map[*entry]bool
	// eui64 says that its link-local address is made of the MAC, so that a
	// SLAAC address that is not must be a temporary one.
	eui64 bool
}

// New returns an engine that knows no network yet.
func New(conf Config) *Engine {
	if conf.ProbeEvery <= 0 {
		conf.ProbeEvery = DefaultProbeEvery
	}
	return &Engine{
		conf: conf, networks: map[vnet.ID]*network{}, entries: map[key]*entry{}, links: map[int]*link{},
		absent: map[guest]*absent{}, back: map[*absent]bool{},
	}
}

// SetNetwork says what prefixes the network has; nobody changes them afterwards.
// Addresses that lie in none of them any more are released.
func (e *Engine) SetNetwork(now time.Time, id vnet.ID, subnets []plan.Subnet) Result {
	n := e.network(id)
	n.subnets = subnets
	return e.review(now, id, func(a netip.Addr) string {
		if n.subnetOf(a) == nil {
			return "prefix gone"
		}
		return ""
	})
}

// RemoveNetwork releases all that was learnt on the network.
func (e *Engine) RemoveNetwork(now time.Time, id vnet.ID) Result {
	r := e.review(now, id, func(netip.Addr) string { return "network gone" })
	delete(e.networks, id)
	for who, g := range e.absent {
		if who.network == id {
			e.forget(g)
		}
	}
	return r
}

// SetKnown says which addresses of the network have owners already: ports'
// own, DHCP leases, reservations. They are not learnt; what was learnt of them
// is Replaced.
func (e *Engine) SetKnown(now time.Time, id vnet.ID, addresses []netip.Addr) Result {
	n := e.network(id)
	n.known = known{}
	for _, a := range addresses {
		n.known.add(a)
	}
	r := e.review(now, id, func(a netip.Addr) string {
		if n.known.has(a) {
			return "known otherwise"
		}
		return ""
	})
	return Result{Replaced: r.Releases}
}

// Know adds one address to those that have owners.
func (e *Engine) Know(now time.Time, id vnet.ID, a netip.Addr) Result {
	e.network(id).known.add(a)
	x := e.entries[key{id, a}]
	if x == nil {
		return Result{}
	}
	x.rival = nil
	return Result{Replaced: e.drop(now, x, "known otherwise").Releases}
}

// Unknow takes one address from those that have owners: its lease has ended.
// Whoever goes on using it is learnt when next heard.
func (e *Engine) Unknow(id vnet.ID, a netip.Addr) { e.network(id).known.remove(a) }

func (e *Engine) network(id vnet.ID) *network {
	n := e.networks[id]
	if n == nil {
		n = &network{}
		e.networks[id] = n
	}
	return n
}

// review drops the network's entries for which why says a reason.
func (e *Engine) review(now time.Time, id vnet.ID, why func(netip.Addr) string) Result {
	var r Result
	for k, x := range e.entries {
		if k.network != id {
			continue
		}
		if reason := why(k.addr); reason != "" {
			x.rival = nil
			r.add(e.drop(now, x, reason))
		}
	}
	return r
}

// LinkGone releases what the guest on the link used: the link has gone, or has
// lost its carrier. For a while it is remembered: see LinkBack.
func (e *Engine) LinkGone(now time.Time, index int) Result {
	var r Result
	for _, x := range e.entries {
		if x.rival != nil && x.rival.Link == index {
			x.rival = nil
		}
	}
	if l := e.links[index]; l != nil {
		for x := range l.entries {
			if x.state == Held && x.rival == nil {
				e.miss(now, x.holder, x.addr, x.temporary)
			}
			r.add(e.drop(now, x, "link gone"))
		}
		delete(e.links, index)
	}
	for g := range e.back {
		if g.holder.Link == index { // gone again
			g.asks = 0
			delete(e.back, g)
		}
	}
	return r
}

// Adopt takes up what was learnt before a restart. The guest is probed within
// a moment; Adopt says nothing of leases that are no longer fit.
func (e *Engine) Adopt(now time.Time, h Holder, lease vnet.Lease) Result {
	a := lease.Address
	n := e.networks[h.Network]
	if n == nil || !n.mayLearn(a) || e.entries[key{h.Network, a}] != nil || !e.room(h) {
		return Result{Releases: []Release{{h.Network, a, "not fit to keep"}}}
	}
	x := e.insert(h, a)
	x.state, x.temporary, x.heard = Held, lease.Temporary, now
	e.schedule(x, now.Add(spread(a, probeWait)))
	return Result{}
}

// Refused takes back a claim that the store refused.
func (e *Engine) Refused(network vnet.ID, a netip.Addr) {
	if x := e.entries[key{network, a}]; x != nil {
		e.trace(x, Free, "refused")
		e.remove(x)
	}
}

// Next returns when Tick is to be called next; zero: not before something
// happens.
func (e *Engine) Next() time.Time {
	next := e.nextAsk()
	if len(e.due) > 0 && (next.IsZero() || e.due[0].at.Before(next)) {
		next = e.due[0].at
	}
	return next
}

// Tick does what is due.
func (e *Engine) Tick(now time.Time) Result {
	r := e.askAgain(now)
	asked := false
	for len(e.due) > 0 && !e.due[0].at.After(now) {
		x := e.due[0]
		asked = asked || x.silent()
		r.add(e.expire(now, x))
	}
	if asked {
		r.add(e.askAhead(now))
	}
	return r
}

// askAhead asks those, too, whose turn is soon: a hundred guests that are asked
// together wake the host once.
func (e *Engine) askAhead(now time.Time) Result {
	var soon []*entry
	for until := now.Add(e.conf.ProbeEvery / 12); len(e.due) > 0 && len(soon) < mostAhead && !e.due[0].at.After(until); {
		soon = append(soon, heap.Pop(&e.due).(*entry))
	}
	var r Result
	for _, x := range soon {
		if heap.Push(&e.due, x); x.silent() {
			r.add(e.probe(now, x))
		}
	}
	return r
}

// Len returns how many addresses are held, and how many are awaited.
func (e *Engine) Len() (held, tentative int) {
	for _, x := range e.entries {
		if x.state == Held {
			held++
		} else {
			tentative++
		}
	}
	return held, tentative
}

func (e *Engine) schedule(x *entry, at time.Time) {
	x.at = at
	heap.Fix(&e.due, x.index)
}

func (e *Engine) insert(h Holder, a netip.Addr) *entry {
	x := &entry{key: key{h.Network, a}, holder: h}
	e.entries[x.key] = x
	l := e.link(h.Link)
	l.entries[x] = true
	heap.Push(&e.due, x)
	return x
}

func (e *Engine) remove(x *entry) {
	delete(e.entries, x.key)
	if l := e.links[x.holder.Link]; l != nil {
		delete(l.entries, x)
	}
	heap.Remove(&e.due, x.index)
}

func (e *Engine) link(index int) *link {
	l := e.links[index]
	if l == nil {
		l = &link{entries: map[*entry]bool{}}
		e.links[index] = l
	}
	return l
}

func (e *Engine) room(h Holder) bool {
	l := e.links[h.Link]
	return l == nil || len(l.entries) < MaxPerPort
}

func (e *Engine) trace(x *entry, to State, why string) {
	if e.conf.Trace != nil && x.state != to {
		e.conf.Trace(x.network, x.addr, x.state, to, why)
	}
}
