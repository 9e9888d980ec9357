package ndproxy

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// trialLife is how long somebody outside has to say that an address is its
	// own (RETRANS_TIMER, RFC 4862 section 5.1).
	trialLife = time.Second
	// retryFirst and retryLast are how soon a contested address is tried again:
	// at first soon, since a guest that moved to this host from another is
	// answered for by both for a moment.
	retryFirst, retryLast = 2 * time.Second, time.Minute
)

// trialRate is how fast addresses are tried and announced, which the whole
// uplink hears.
var trialRate = rate{5 * time.Millisecond, 32}

// guest is an address that the agent told of. It is answered for at once, and
// tried meanwhile: a guest that did no duplicate address detection must not
// take a neighbour's address away. What was tried is the guest's as long as the
// agent says so.
type guest struct {
	side      int
	settled   bool // it was tried, and nobody else had it
	contested bool // somebody else had it: it is not answered for
	moved     bool // the uplink has a new MAC, which is to be told
	queued    bool // it is in trials.queue
	seen      bool // somebody else answered in the running trial
	retry     time.Duration
}

// trials are the addresses that are to be tried or announced, and those that
// are.
type trials struct {
	queue   []netip.Addr
	running []trial // all take as long, so the first ends first
	later   map[netip.Addr]time.Duration
	pace    bucket
	next    time.Duration // when the pace allows the next; 0: now
}

type trial struct {
	addr  netip.Addr
	guest *guest
	end   time.Duration
}

// setGuest says that a network's guest has an address. Of one that is not in a
// prefix that the network shares nothing is kept.
func (e *engine) setGuest(a netip.Addr, network vnet.ID, now time.Duration) *output {
	o := e.begin(now)
	a = a.WithZone("")
	n, ok := e.byNetwork[network]
	p := e.sharedOf(a, n)
	g := e.guests[a]
	switch {
	case !ok || p == nil:
		if g != nil {
			e.drop(a)
		}
		return o
	case g != nil:
		g.side = n
		return o
	}
	g = &guest{side: n}
	e.guests[a] = g
	e.absentNo(a)
	if mac, ok := e.outside.get(0, a, now); ok {
		g.contested = true
		e.tell(Contested, a, n, 0, mac)
	}
	if e.own[a] {
		e.tell(Duplicate, a, n, 0, e.sides[0].mac)
	}
	if join := e.groups.add(a); join.IsValid() {
		o.join = append(o.join, join)
	}
	e.trials.add(a, g, e.guests)
	if !g.contested {
		e.resolve(a, p, n, vnet.MAC{})
	}
	e.tryGuests()
	return o
}

// removeGuest says that a network's guest has an address no more.
func (e *engine) removeGuest(a netip.Addr, network vnet.ID, now time.Duration) *output {
	o := e.begin(now)
	a = a.WithZone("")
	if g := e.guests[a]; g != nil && e.sides[g.side].network == network {
		e.drop(a)
	}
	return o
}

// drop forgets a guest.
func (e *engine) drop(a netip.Addr) {
	delete(e.guests, a)
	delete(e.trials.later, a)
	leave, join := e.groups.remove(a)
	if leave.IsValid() {
		e.out.leave = append(e.out.leave, leave)
	}
	if join.IsValid() {
		e.out.join = append(e.out.join, join)
	}
}

// contest notes that somebody outside uses a guest's address.
func (e *engine) contest(a netip.Addr, g *guest, mac vnet.MAC) {
	if g.settled {
		e.tell(Duplicate, a, g.side, 0, mac)
		return
	}
	if !g.contested {
		e.tell(Contested, a, g.side, 0, mac)
	}
	g.contested, g.seen = true, true
}

// add has an address tried.
func (t *trials) add(a netip.Addr, g *guest, all map[netip.Addr]*guest) {
	if g.queued {
		return
	}
	if len(t.queue) > 2*len(all)+64 { // mostly of guests that came and went
		t.tidy(all)
	}
	g.queued = true
	t.queue = append(t.queue, a)
}

// tidy leaves each waiting address once in the queue.
func (t *trials) tidy(all map[netip.Addr]*guest) {
	t.queue = t.queue[:0]
	for a, g := range all {
		if g.queued {
			t.queue = append(t.queue, a)
		}
	}
}

// moved has all addresses announced anew.
func (t *trials) moved(all map[netip.Addr]*guest) {
	for a, g := range all {
		g.moved = true
		t.add(a, g, all)
	}
}

// linked says that the uplink is a link that nothing was heard on yet.
func (e *engine) linked(now time.Duration) *output {
	o := e.begin(now)
	e.forgetAll()
	for a, g := range e.guests {
		g.settled = false
		e.trials.add(a, g, e.guests)
	}
	e.tryGuests()
	return o
}

// deadline is when the next trial begins or ends.
func (t *trials) deadline() (at time.Duration, ok bool) {
	earliest := func(d time.Duration) {
		if !ok || d < at {
			at, ok = d, true
		}
	}
	if len(t.queue) > 0 {
		earliest(t.next)
	}
	if len(t.running) > 0 {
		earliest(t.running[0].end)
	}
	for _, d := range t.later {
		earliest(d)
	}
	return at, ok
}

// tryGuests ends and begins trials, and announces.
func (e *engine) tryGuests() {
	t := &e.trials
	for len(t.running) > 0 && t.running[0].end <= e.now {
		r := t.running[0]
		t.running = t.running[1:]
		if e.guests[r.addr] == r.guest {
			e.tried(r.addr, r.guest)
		}
	}
	for a, at := range t.later {
		if g := e.guests[a]; at <= e.now && g != nil {
			delete(t.later, a)
			t.add(a, g, e.guests)
		}
	}
	for len(t.queue) > 0 {
		a := t.queue[0]
		g := e.guests[a]
		if g != nil && g.queued {
			if !t.pace.allow(trialRate, e.now) {
				t.next = e.now + trialRate.every
				return
			}
			g.queued = false
			e.try(a, g)
		}
		t.queue = t.queue[1:]
	}
	t.queue, t.next = nil, 0
}

// try asks outside for the address, or announces one that is settled.
func (e *engine) try(a netip.Addr, g *guest) {
	if g.settled {
		e.announce(a, g)
		return
	}
	g.seen = false
	e.trials.running = append(e.trials.running, trial{a, g, e.now + trialLife})
	if q := e.questions[questionKey{a, g.side}]; q == nil || q.plain { // else the guest's own is under way
		e.solicit(0, a, true, nil)
	}
}

// tried ends a trial.
func (e *engine) tried(a netip.Addr, g *guest) {
	t := &e.trials
	if g.seen {
		g.retry = min(max(2*g.retry, retryFirst), retryLast)
		if t.later == nil {
			t.later = map[netip.Addr]time.Duration{}
		}
		t.later[a] = e.now + g.retry
		return
	}
	if g.contested {
		e.tell(Cleared, a, g.side, 0, vnet.MAC{})
		e.outside.drop(0, a)
	}
	g.settled, g.contested, g.retry = true, false, 0
	t.add(a, g, e.guests)
}

// announce tells routers outside of an address before packets come for it (RFC
// 9131 section 6.1.1); a new MAC of ours everybody (RFC 4861 section 7.2.6),
// with the Override flag, since it takes the place of the old one.
func (e *engine) announce(a netip.Addr, g *guest) {
	to, flags := allRouters, byte(flagRouter)
	if g.moved {
		to, flags = allNodes, flagRouter|flagOverride
		g.moved = false
	}
	e.advertise(0, multicastMAC(to), e.sides[0].addr, to, a, flags)
}
