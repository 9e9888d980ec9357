package radv

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// message is one advertisement to be sent on the network's link.
type message struct {
	to   netip.Addr
	data []byte
}

// engine is the advertising side of one network. Its methods neither block nor
// look at a clock.
type engine struct {
	rand *rand.Rand
	svc  plan.Service
	// link is whether there is a link to send on.
	link bool
	// left counts the quick advertisements still due after a change.
	left int
	// next is when the next multicast advertisement is due; negative: never.
	next time.Duration
	// last is when the last one was sent; negative: none yet.
	last time.Duration
	// fails counts the attempts to multicast that failed since the last one
	// that did not.
	fails int
	// gone are prefixes that were taken away, called back until the last
	// address of theirs has run out.
	gone []gonePrefix
}

type gonePrefix struct {
	prefix netip.Prefix
	until  time.Duration
}

// newEngine returns an engine that has nothing to say yet.
func newEngine(r *rand.Rand) *engine { return &engine{rand: r, next: -1, last: -1} }

// set takes the wish of the network. The messages are the farewell of a
// network that is not to advertise any more.
func (e *engine) set(svc plan.Service, now Instant) []message {
	if e.svc.RA.Send == svc.RA.Send && reflect.DeepEqual(e.svc, svc) {
		return nil
	}
	if e.svc.RA.Send && !svc.RA.Send {
		out := e.withdraw(now)
		e.svc = svc
		return out
	}
	e.forget(svc, now)
	e.svc = svc
	e.announce(now)
	return nil
}

// forget moves prefixes that svc lacks to gone, and takes back those that have
// returned.
func (e *engine) forget(svc plan.Service, now Instant) {
	has := func(svc *plan.Service, p netip.Prefix) bool {
		return slices.ContainsFunc(svc.Subnets, func(s plan.Subnet) bool { return s.Prefix.Masked() == p })
	}
	e.gone = slices.DeleteFunc(e.gone, func(g gonePrefix) bool { return has(&svc, g.prefix) })
	if !e.svc.RA.Send {
		return
	}
	for _, s := range e.svc.Subnets {
		if p := s.Prefix.Masked(); s.Family == vnet.IPv6 && !has(&svc, p) {
			e.gone = append(e.gone, gonePrefix{p, now.Boot + validLimit})
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
	if !e.svc.RA.Send || !e.link {
		e.next = -1
		return
	}
	e.left = initialCount
	e.next = e.earliest(now.Boot)
}

// earliest is the first moment from t on at which RFC 4861 section 6.2.6 lets
// us multicast.
func (e *engine) earliest(t time.Duration) time.Duration {
	if e.last < 0 {
		return t
	}
	return max(t, e.last+minDelay)
}

// errSolicitation is any fault of a solicitation (RFC 4861 section 6.1.1).
var errSolicitation = errors.New("no valid router solicitation")

// solicit answers a router solicitation that came from the address with that
// hop limit.
func (e *engine) solicit(b []byte, from netip.Addr, hopLimit int, now Instant) ([]message, error) {
	if hopLimit != 255 {
		return nil, errSolicitation
	}
	if len(b) < 8 || len(b) > 1280 || b[0] != 133 || b[1] != 0 {
		return nil, errSolicitation
	}
	m, err := ndp.ParseMessage(b)
	if err != nil {
		return nil, err
	}
	rs, ok := m.(*ndp.RouterSolicitation)
	if !ok {
		return nil, errSolicitation
	}
	if from.IsUnspecified() && slices.ContainsFunc(rs.Options, func(o ndp.Option) bool {
		l, ok := o.(*ndp.LinkLayerAddress)
		return ok && l.Direction == ndp.Source
	}) {
		return nil, errSolicitation
	}
	if !e.svc.RA.Send || !e.link {
		return nil, nil
	}
	if from.IsLinkLocalUnicast() {
		return e.build(from.WithZone(""), now, false), nil
	}
	// No address to answer to, or one from which the kernel would not choose a
	// link-local source: everybody hears it, within the rate limit.
	at := e.earliest(now.Boot + time.Duration(e.rand.Int64N(int64(maxReplyDelay))))
	if e.next < 0 || at < e.next {
		e.next = at
	}
	return nil, nil
}

// tick returns the multicast advertisement that is due and schedules the next.
func (e *engine) tick(now Instant) []message {
	if e.next < 0 || now.Boot < e.next {
		return nil
	}
	e.gone = slices.DeleteFunc(e.gone, func(g gonePrefix) bool { return g.until <= now.Boot })
	e.last = now.Boot
	interval := minInterval + time.Duration(e.rand.Int64N(int64(maxInterval-minInterval)))
	if e.left > 0 {
		e.left--
	}
	if e.left > 0 {
		interval = min(interval, initialInterval)
	}
	e.next = now.Boot + interval
	return e.build(allNodes, now, false)
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
	var out []message
	if e.svc.RA.Send && e.link {
		out = e.build(allNodes, now, true)
	}
	e.svc = plan.Service{}
	e.gone, e.next, e.left = nil, -1, 0
	return out
}

// deadline is when tick wants to be called; ok is false for never.
func (e *engine) deadline() (at time.Duration, ok bool) { return e.next, e.next >= 0 }

func (e *engine) build(to netip.Addr, now Instant, final bool) []message {
	var gone []netip.Prefix
	for _, g := range e.gone {
		gone = append(gone, g.prefix)
	}
	ra := advertisement(&e.svc, gone, now.Wall, final)
	b, err := ndp.MarshalMessage(ra)
	if err != nil {
		// Only the options about names can fail; a router without them is
		// better than none.
		ra.Options = slices.DeleteFunc(ra.Options, func(o ndp.Option) bool {
			_, dnssl := o.(*ndp.DNSSearchList)
			return dnssl
		})
		if b, err = ndp.MarshalMessage(ra); err != nil {
			return nil
		}
	}
	return []message{{to, b}}
}
