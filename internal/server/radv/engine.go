package radv

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
)

// allNodes is where multicast advertisements go.
var allNodes = netip.MustParseAddr("ff02::1")

// message is one advertisement to be sent.
type message struct {
	to   netip.Addr // on the network's link
	data []byte     // ICMPv6, or with a device an Ethernet frame
	// device is the port device that the frame goes out by; "": the network's
	// link.
	device string
}

// engine is the advertising side of one network. Its methods neither block nor
// look at a clock. The messages they return are only to be read, and only until
// the next call.
type engine struct {
	rand   *rand.Rand
	limit  *limiter
	guests *roster
	salt   uint64 // tells its guests from those of other networks in limit

	svc     plan.Service
	content content
	cache   [variants]rendered
	// link is whether there is a link to send on.
	link bool
	// left counts the quick advertisements still due after a change.
	left int
	// next is when the next unsolicited advertisement is due; negative: never.
	next time.Duration
	// last is when the last one was sent; negative: none yet.
	last time.Duration
	// fails counts the attempts to multicast that failed since the last one
	// that did not.
	fails int
	// gone is what was taken away, called back until guests have forgotten it.
	gone []recall
	// round is who is still to be told in the round of port-device frames that
	// is under way, the next of them at step.
	round []target
	step  time.Duration
	// hasty is when a change was last told ahead of the multicast; negative:
	// never.
	hasty time.Duration

	// rivals is in what each other router contradicts us.
	rivals   map[netip.Addr]string
	listened time.Duration // when another was last looked at

	out []message // reused
}

// maxGone bounds what is remembered to be called back.
const maxGone = 64

// rendered is a variant's messages, which are the same from..until.
type rendered struct {
	data        [][]byte
	from, until time.Duration // until 0: for ever
}

// newEngine returns an engine that has nothing to say yet.
func newEngine(r *rand.Rand, l *limiter, guests *roster) *engine {
	return &engine{rand: r, limit: l, guests: guests, salt: r.Uint64(), next: -1, last: -1, hasty: -1}
}

// set takes the wish of the network. The messages are the farewell of a
// network that is not to advertise any more, or of the address it had.
func (e *engine) set(svc plan.Service, now Instant) []message {
	if e.svc.RA.Send == svc.RA.Send && reflect.DeepEqual(e.svc, svc) {
		return nil
	}
	if e.svc.RA.Send && !svc.RA.Send {
		out := e.withdraw(now)
		e.svc = svc
		return out
	}
	before := e.svc
	var out []message
	if before.RA.Send && before.MAC != svc.MAC && before.MAC.IsUnicast() {
		out = e.moved(now)
	}
	e.svc = svc
	if !svc.RA.Send {
		return nil
	}
	next := contentOf(&svc, &e.content, now)
	if before.RA.Send && before.MAC == svc.MAC && reflect.DeepEqual(before.RA, svc.RA) && reflect.DeepEqual(e.content, next) {
		return nil // what changed is not told in advertisements
	}
	e.forget(&next, now)
	e.content = next
	e.announce(now)
	return out
}

// forget moves what next lacks to gone, and takes back what has returned.
func (e *engine) forget(next *content, now Instant) {
	there := map[string]bool{}
	for _, r := range next.recalls(now.Boot) {
		there[r.key] = true
	}
	for _, p := range next.prefixes { // also one whose time is over
		there["prefix "+p.prefix.String()] = true
	}
	e.gone = slices.DeleteFunc(e.gone, func(r recall) bool { return there[r.key] || r.until <= now.Boot })
	for _, r := range e.content.recalls(now.Boot) {
		if !there[r.key] {
			e.gone = append(e.gone, r)
		}
	}
	if n := len(e.gone) - maxGone; n > 0 {
		e.gone = e.gone[n:]
	}
}

// active reports whether there is anything to advertise.
func (e *engine) active() bool { return e.svc.RA.Send }

// setLink says whether there is a link to send on; a new one is told at once.
func (e *engine) setLink(up bool, now Instant) {
	e.link = up
	if up {
		e.last, e.fails = -1, 0
	}
	e.announce(now)
}

// announce schedules the quick advertisements that follow a change.
func (e *engine) announce(now Instant) {
	e.cache = [variants]rendered{}
	e.round = nil
	if !e.svc.RA.Send || !e.link || e.svc.RA.Policy.UnicastOnly {
		e.next = -1
		return
	}
	e.left = initialCount
	if e.next = e.earliest(now.Boot); e.next > now.Boot {
		e.hasten(now)
	}
}

// intervals are MinRtrAdvInterval and MaxRtrAdvInterval (RFC 4861 section
// 6.2.1), and the least time between two multicast advertisements (section
// 6.2.6).
func (e *engine) intervals() (least, most, delay time.Duration) {
	p := &e.svc.RA.Policy
	most = policyOr(p.MaxInterval, maxInterval)
	least = most * 33 / 100
	if most < 9*time.Second {
		least = most
	}
	least = min(policyOr(p.MinInterval, least), most)
	return least, most, policyOr(p.MinDelay, minDelay)
}

// earliest is the first moment from t on at which RFC 4861 section 6.2.6 lets
// us multicast.
func (e *engine) earliest(t time.Duration) time.Duration {
	if e.last < 0 {
		return t
	}
	_, _, delay := e.intervals()
	return max(t, e.last+delay)
}

// tick returns the unsolicited advertisement that is due, or the next frames of
// a round that is under way, and schedules what follows.
func (e *engine) tick(now Instant) []message {
	if len(e.round) > 0 {
		return e.goOn(now)
	}
	if e.next < 0 || now.Boot < e.next {
		return nil
	}
	e.last = now.Boot
	least, most, delay := e.intervals()
	interval := least
	if most > least {
		interval += time.Duration(e.rand.Int64N(int64(most - least)))
	}
	if e.left > 0 {
		e.left--
	}
	if e.left > 0 {
		interval = min(interval, initialInterval)
	}
	e.next = now.Boot + max(interval, delay)
	if e.guests.deviants > 0 {
		e.round, e.step = e.targets(now), now.Boot
		return e.goOn(now)
	}
	return e.to(allNodes, whole, now)
}

// failed says that a multicast advertisement of tick could not be sent.
func (e *engine) failed(now Instant) {
	if e.next < 0 {
		return
	}
	e.fails++
	e.left = min(e.left+1, initialCount)
	e.last = -1
	e.next = now.Boot + min(time.Duration(e.fails)*retryInterval, minDelay)
}

// worked says that a multicast advertisement of tick was sent.
func (e *engine) worked() { e.fails = 0 }

// withdraw returns the last advertisement (RFC 4861 section 6.2.5) and falls
// silent until the next set.
func (e *engine) withdraw(now Instant) []message {
	out := e.out[:0]
	if e.svc.RA.Send && e.link {
		last := e.farewell(now)
		if e.guests.deviants > 0 || e.svc.RA.Policy.UnicastOnly {
			for _, t := range e.targets(now) {
				out = e.frames(out, t.device, t.mac, allNodes, last)
			}
		} else {
			for _, b := range last {
				out = append(out, message{to: allNodes, data: b})
			}
		}
	}
	e.svc, e.content, e.cache = plan.Service{}, content{}, [variants]rendered{}
	e.gone, e.round, e.rivals, e.next, e.left = nil, nil, nil, -1, 0
	e.out = out
	return out
}

// farewell calls everything back.
func (e *engine) farewell(now Instant) [][]byte {
	var options [][]byte
	for _, r := range append(e.content.recalls(now.Boot), e.gone...) {
		options = append(options, r.option)
	}
	return split(e.content.headerFor(aside), e.content.source, options, e.content.mostMessage)
}

// deadline is when tick wants to be called; ok is false for never.
func (e *engine) deadline() (at time.Duration, ok bool) {
	if len(e.round) > 0 {
		return e.step, true
	}
	return e.next, e.next >= 0
}

// to is a variant as messages on the network's link.
func (e *engine) to(a netip.Addr, v variant, now Instant) []message {
	out := e.out[:0]
	for _, b := range e.render(v, now) {
		out = append(out, message{to: a, data: b})
	}
	e.out = out
	return out
}

// render is a variant's messages at a moment. They are made anew when what
// they say changes: a lifetime in whole seconds.
func (e *engine) render(v variant, now Instant) [][]byte {
	c := &e.cache[v]
	if c.data != nil && now.Boot >= c.from && (c.until == 0 || now.Boot < c.until) {
		return c.data
	}
	options, until := e.content.options(v, now.Boot)
	for _, r := range e.gone {
		if r.until > now.Boot && (r.local || v != aside) {
			options = append(options, r.option)
			until = sooner(until, r.until)
		}
	}
	*c = rendered{split(e.content.headerFor(v), e.content.source, options, e.content.mostMessage), now.Boot, until}
	return c.data
}

// setGuest takes in what is known of a port; it reports whether there is now
// more to be told.
func (e *engine) setGuest(g plan.Guest, now Instant) bool {
	old := e.guests.ports[g.Port]
	e.guests.set(g)
	if old == nil || old.DefaultRoute == g.DefaultRoute {
		return false
	}
	if !g.DefaultRoute && e.svc.RA.Send {
		// It is told that the resolvers are no longer its.
		e.guests.ports[g.Port].forgets = now.Boot + max(e.content.dnsLifetime, e.content.pref64Life)
	}
	e.announce(now)
	return true
}
