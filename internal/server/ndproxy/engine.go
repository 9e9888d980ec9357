package ndproxy

import (
	"hash/maphash"
	"math"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// outsideLife is how long a neighbour outside is believed in without being
	// heard.
	outsideLife = 2 * time.Minute
	// absentLife is how long an address that nobody had is not asked for again.
	// Who takes it ends that sooner. It is short, since what a guest says may be
	// lost: a scan of the whole prefix is bounded by the rates.
	absentLife = 3 * time.Second
	// toldLife is how long an event about an address is not repeated, foundLife
	// how long the one that somebody was found.
	toldLife  = time.Minute
	foundLife = 3 * time.Second
)

// engine proxies neighbour discovery between one uplink and its guests. Times
// are those since boot.
type engine struct {
	layout
	seed maphash.Seed
	now  time.Duration

	guests    map[netip.Addr]*guest
	trials    trials
	groups    groups
	questions map[questionKey]*question
	finds     map[netip.Addr]finding

	outside *memory[vnet.MAC] // neighbours heard on the uplink
	absent  *memory[struct{}] // who was asked for in vain, by the side that asked
	told    *memory[struct{}] // events, by kind

	askers, senders *buckets
	defend, events  bucket
	toward          [2]bucket // unknown addresses asked for: on the uplink, on guests' links

	out output
}

// output is what an engine wants done. It is good until the engine is called
// again.
type output struct {
	frames      []frame
	bytes       []byte
	join, leave []netip.Addr // groups on the uplink
	events      []Event
	found       []answered
}

// frame is one to send on a side: bytes from start to end.
type frame struct{ side, start, end int }

// data returns the bytes of a frame.
func (o *output) data(f frame) []byte { return o.bytes[f.start:f.end] }

func newEngine() *engine {
	e := &engine{
		seed: maphash.MakeSeed(), guests: map[netip.Addr]*guest{}, questions: map[questionKey]*question{}, finds: map[netip.Addr]finding{},
		groups: groups{all: map[netip.Addr]*group{}}, askers: new(buckets), senders: new(buckets),
	}
	e.layout = lay(Uplink{})
	e.forgetAll()
	return e
}

// forgetAll empties what was heard.
func (e *engine) forgetAll() {
	e.outside = &memory[vnet.MAC]{seed: e.seed}
	e.absent, e.told = &memory[struct{}]{seed: e.seed}, &memory[struct{}]{seed: e.seed}
	clear(e.questions)
}

// begin starts an input.
func (e *engine) begin(now time.Duration) *output {
	e.now = now
	o := &e.out
	o.frames, o.bytes, o.join, o.leave, o.events = o.frames[:0], o.bytes[:0], o.join[:0], o.leave[:0], o.events[:0]
	o.found = o.found[:0]
	return o
}

// set says what the uplink and its sides are. Saying the same twice changes
// nothing; guests whose network is gone, or whose prefix, are forgotten.
func (e *engine) set(u Uplink, now time.Duration) *output {
	o := e.begin(now)
	old := e.layout
	e.layout = lay(u)
	if !e.layout.same(&old) {
		e.forgetAll()
		e.giveUp(math.MaxInt64)
		for a, g := range e.guests {
			n, ok := e.byNetwork[old.sides[g.side].network]
			if p := e.sharedOf(a, n); !ok || p == nil {
				e.drop(a)
				continue
			}
			g.side = n
		}
	}
	for a := range e.own {
		if g := e.guests[a]; g != nil {
			e.tell(Duplicate, a, g.side, 0, e.sides[0].mac)
		}
	}
	if was := old.sides[0].mac; was != e.sides[0].mac && !was.IsZero() {
		e.trials.moved(e.guests)
	}
	return o
}

// forget forgets a neighbour outside.
func (e *engine) forget(a netip.Addr) {
	e.outside.drop(0, a)
	e.absentNo(a)
}

// absentNo takes back that nobody has an address.
func (e *engine) absentNo(a netip.Addr) {
	for n := range e.sides {
		e.absent.drop(n, a)
	}
}

// heard takes a frame that came in by a side.
func (e *engine) heard(on int, b []byte, now time.Duration) *output {
	o := e.begin(now)
	if on >= len(e.sides) {
		return o
	}
	m, err := parse(b)
	// Access points and broken bridges reflect what we send.
	if err != nil || m.mac == e.sides[on].mac {
		return o
	}
	if on != 0 && !e.senders.of(e.seed, on, m.mac).allow(guestRate, now) {
		return o
	}
	if on == 0 && !m.advertise && !m.from.IsLinkLocalUnicast() && e.sharedOf(m.from, 0) != nil {
		e.sighted(m.from, m.mac)
	}
	p := e.sharedOf(m.target, on)
	switch {
	case p == nil:
	case m.advertise && on == 0:
		e.sighted(m.target, m.mac)
		e.resolve(m.target, p, 0, m.mac)
	case m.advertise:
		e.claimed(on, &m, p)
	case m.dad():
		e.wanted(on, &m, p)
	case on == 0:
		e.askedOutside(&m, p)
	default:
		e.askedInside(on, &m, p)
	}
	return o
}

// sighted notes that somebody outside uses an address.
func (e *engine) sighted(a netip.Addr, mac vnet.MAC) {
	if e.own[a] {
		return // the kernel sees to it
	}
	e.has(0, a, mac)
	if g := e.guests[a]; g != nil {
		e.contest(a, g, mac)
		return
	}
	e.outside.put(0, a, mac, e.now+outsideLife)
	e.absentNo(a)
}

// claimed handles an advertisement of a guest. What nobody asked for is not
// believed: the agent hears it as well, and knows whose address it is.
func (e *engine) claimed(on int, m *message, p *shared) {
	if e.own[m.target] {
		e.tell(Duplicate, m.target, 0, on, m.mac)
		return
	}
	e.has(on, m.target, m.mac)
	if g := e.guests[m.target]; g != nil {
		if g.side != on {
			e.tell(Duplicate, m.target, g.side, on, m.mac)
		}
		return
	}
	e.resolve(m.target, p, on, m.mac)
}

// wanted handles duplicate address detection. Who has the address for certain
// is spoken for at once; else the question is carried to all other sides, as it
// is: whoever has the address answers, and whoever wants it, too, learns of it
// (RFC 4862 section 5.4.3).
func (e *engine) wanted(on int, m *message, p *shared) {
	a := m.target
	e.has(on, a, m.mac)
	g := e.guests[a]
	switch {
	case e.own[a] && on == 0:
	case e.own[a]:
		e.answer(on, a, asking{mac: m.mac, dad: true})
		e.tell(Duplicate, a, 0, on, m.mac)
	case g != nil && g.side != on && !g.contested:
		e.answer(on, a, asking{mac: m.mac, dad: true})
		e.tell(Duplicate, a, g.side, on, m.mac)
	default:
		e.absentNo(a)
		e.ask(on, m, p)
	}
}

// askedOutside handles a question of the uplink's.
func (e *engine) askedOutside(m *message, p *shared) {
	a := m.target
	if e.own[a] {
		return
	}
	if g := e.guests[a]; g != nil {
		if !g.contested {
			e.answer(0, a, asking{from: m.from, mac: m.replyTo()})
		}
		return
	}
	if _, ok := e.outside.get(0, a, e.now); !ok {
		e.ask(0, m, p)
	}
}

// askedInside handles a question of a guest's. Guests have no reason to ask,
// since the prefix is not on-link for them, but some are set up by hand.
func (e *engine) askedInside(on int, m *message, p *shared) {
	a := m.target
	known := e.own[a]
	if g := e.guests[a]; g != nil && !known {
		if g.side == on {
			return // it answers itself
		}
		known = true
	}
	if !known {
		_, known = e.outside.get(0, a, e.now)
	}
	if known {
		e.answer(on, a, asking{from: m.from, mac: m.replyTo()})
		return
	}
	e.ask(on, m, p)
}

// answer says on a side that an address is at our MAC. As a proxy's, the
// advertisement never has the Override flag: the one of the node itself, if it
// is there after all, wins (RFC 4861 section 7.2.8). The sender is a router
// (section 4.4).
func (e *engine) answer(on int, a netip.Addr, to asking) {
	s := &e.sides[on]
	switch {
	case !to.dad:
		e.advertise(on, to.mac, s.addr, to.from, a, flagRouter|flagSolicited)
	case on != 0:
		// Only the guest that asks hears it (RFC 6085).
		e.advertise(on, to.mac, s.addr, allNodes, a, flagRouter)
	case e.defend.allow(defendRate, e.now):
		e.advertise(0, multicastMAC(allNodes), s.addr, allNodes, a, flagRouter)
	}
}

func (e *engine) advertise(on int, dst vnet.MAC, from, to, target netip.Addr, flags byte) {
	o := &e.out
	start := len(o.bytes)
	o.bytes = advertisement(o.bytes, dst, e.sides[on].mac, from, to, target, flags)
	o.frames = append(o.frames, frame{on, start, len(o.bytes)})
}

// solicit asks on a side for an address; dad: as somebody who wants it.
func (e *engine) solicit(on int, target netip.Addr, dad bool, nonce []byte) {
	o, s := &e.out, &e.sides[on]
	from := s.addr
	if dad {
		from = unspecified
	}
	start := len(o.bytes)
	o.bytes = solicitation(o.bytes, multicastMAC(solicitedNode(target)), s.mac, from, target, nonce)
	o.frames = append(o.frames, frame{on, start, len(o.bytes)})
}

// tick does what is due.
func (e *engine) tick(now time.Duration) *output {
	o := e.begin(now)
	e.tryGuests()
	e.pursue()
	e.giveUp(now)
	return o
}

// deadline is when tick is to be called; false: when something has come in.
func (e *engine) deadline() (at time.Duration, ok bool) {
	at, ok = e.trials.deadline()
	for _, q := range e.questions {
		if !ok || q.next < at {
			at, ok = q.next, true
		}
	}
	for _, f := range e.finds {
		if !ok || f.end < at {
			at, ok = f.end, true
		}
	}
	return at, ok
}

// allMulti reports whether the uplink is to hear all multicast.
func (e *engine) allMulti() bool { return e.groups.tooMany() }
