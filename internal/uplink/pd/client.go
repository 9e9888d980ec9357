package pd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Config is what a Client is made of. DUID is required.
type Config struct {
	DUID []byte // of this host, with its two type bytes
	IAID uint32 // tells uplinks of one host apart
	// Hint is the prefix, or with an unspecified address the length alone, that
	// is wished; not valid: none.
	Hint netip.Prefix
	Rand *rand.Rand // nil: seeded at random
	// Trace, if set, is told of every transition.
	Trace func(from, to State, why string)
}

// State is where a Client is.
type State int

// The states.
const (
	Stopped State = iota
	Soliciting
	Requesting
	Bound
	Renewing
	Rebinding
	Releasing
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"stopped", "soliciting", "requesting", "bound", "renewing", "rebinding", "releasing"}[s]
}

// Client asks one provider's servers, on one uplink, for prefixes.
type Client struct {
	cfg   Config
	state State
	xid   dhcpv6.TransactionID
	timer retransmission
	held  *Held
	// best is the best advertisement so far.
	best     *answer
	solMaxRT time.Duration
	// base is when both clocks were last seen to agree.
	base Instant
	// refused is whom not to ask again at once.
	refused []byte
	noted   map[string]bool
}

// Step is what a step of a Client wants done.
type Step struct {
	Send    [][]byte // to ff02::1:2, port 547, from port 546
	Changed bool     // Held is another one now
	Notes   []string // for events, each said once
}

// New makes a client that holds what it held before a crash, if anything.
func New(cfg Config, held *Held) *Client {
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Trace == nil {
		cfg.Trace = func(State, State, string) {}
	}
	return &Client{cfg: cfg, held: held.clone(), solMaxRT: soliciting.mrt, timer: retransmission{rand: cfg.Rand}, noted: map[string]bool{}}
}

// State is where the client is.
func (c *Client) State() State { return c.state }

// Held returns what is held now, nil if nothing is.
func (c *Client) Held() *Held { return c.held.clone() }

// move is the only place where the state changes.
func (c *Client) move(to State, why string) {
	c.cfg.Trace(c.state, to, why)
	c.state = to
}

// Start begins to ask, or, with something held, to have it confirmed: after a
// restart, a resume, or when the link was somewhere else meanwhile (RFC 9915
// section 18.2.12).
func (c *Client) Start(now Instant) Step {
	out := Step{Changed: c.Follow(now)}
	if c.held != nil && c.held.valid(now.Wall) {
		c.begin(Rebinding, confirming, now.Boot, "what is held is to be confirmed")
		return out.and(c.Tick(now))
	}
	if c.held != nil {
		c.held, out.Changed = nil, true
		c.note(&out, noteOver)
	}
	c.solicit(now, "nothing is held")
	return out
}

// Follow keeps what is held by the time since boot: when somebody sets the
// wall clock, its deadlines are moved with it. It reports whether they were.
// Every step does so; before Held is read between two steps, it is asked for.
func (c *Client) Follow(now Instant) bool {
	if c.held == nil || c.base.Wall.IsZero() {
		c.base = now
		return false
	}
	jump := c.base.Follow(now)
	if jump == 0 {
		return false
	}
	c.held = c.held.Shifted(jump)
	return true
}

// solicit starts over; what is held stays so until another is given.
func (c *Client) solicit(now Instant, why string) {
	s := soliciting
	s.mrt = c.solMaxRT
	c.best = nil
	c.begin(Soliciting, s, now.Boot+time.Duration(c.cfg.Rand.Int64N(int64(solicitDelay))), why)
}

// begin enters a state in which a new message is repeated.
func (c *Client) begin(to State, s schedule, at time.Duration, why string) {
	c.move(to, why)
	for i := range c.xid {
		c.xid[i] = byte(c.cfg.Rand.Uint32())
	}
	c.timer.start(s, at)
}

// Stop falls silent. What is held stays so until its time is over.
func (c *Client) Stop() {
	if c.state != Stopped {
		c.move(Stopped, "stopped")
	}
}

// Release gives back what is held (section 18.2.7).
func (c *Client) Release(now Instant) Step {
	c.Follow(now)
	if c.held == nil {
		c.Stop()
		return Step{}
	}
	c.begin(Releasing, releasing, now.Boot, "given back")
	out := Step{Send: [][]byte{c.build(dhcpv6.MessageTypeRelease, c.held.Server, c.held.Prefixes, now)}}
	c.timer.sent(now.Boot)
	return out
}

// Deadline is when Tick wants to be called; ok is false for never.
func (c *Client) Deadline(now Instant) (at time.Duration, ok bool) {
	sooner := func(t time.Duration) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	wall := func(t time.Time) { sooner(now.Boot + max(0, t.Sub(now.Wall))) }
	if c.held != nil {
		if t, some := c.held.next(); some {
			wall(t)
		}
		switch {
		case c.state == Bound && !c.held.Renew.IsZero():
			wall(c.held.Renew)
		case c.state == Renewing && !c.held.Rebind.IsZero():
			wall(c.held.Rebind)
		}
	}
	switch c.state {
	case Soliciting, Requesting, Renewing, Rebinding, Releasing:
		sooner(c.timer.next)
	}
	return at, ok
}

// Tick does what is due.
func (c *Client) Tick(now Instant) Step {
	out := Step{Changed: c.Follow(now)}
	if c.expire(now, &out) {
		return out
	}
	switch {
	case c.state == Bound && passed(c.held.Renew, now.Wall):
		c.begin(Renewing, renewing, now.Boot, "T1")
	case c.state == Renewing && passed(c.held.Rebind, now.Wall):
		c.begin(Rebinding, rebinding, now.Boot, "T2")
	}
	if c.state == Stopped || c.state == Bound || now.Boot < c.timer.next {
		return out
	}
	if c.timer.spent(now.Boot) {
		c.giveUp(now, &out)
		return out
	}
	if c.state == Soliciting && c.best != nil {
		c.choose(now)
	}
	out.Send = append(out.Send, c.message(now))
	c.timer.sent(now.Boot)
	return out
}

func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// expire lets go of what is over, and reports whether that was all.
func (c *Client) expire(now Instant, out *Step) bool {
	if c.held == nil {
		return false
	}
	before := len(c.held.Prefixes)
	if c.held.valid(now.Wall) {
		out.Changed = out.Changed || len(c.held.Prefixes) != before
		return false
	}
	c.held, out.Changed = nil, true
	if c.state != Stopped {
		c.note(out, noteOver)
		c.solicit(now, "valid lifetime over")
	}
	return true
}

// noteOver is said when guests lose what they had.
const noteOver = "the delegated prefix has run out and was not renewed"

// giveUp ends what was tried often enough.
func (c *Client) giveUp(now Instant, out *Step) {
	switch c.state {
	case Releasing:
		c.held, out.Changed = nil, true
		c.Stop()
	case Requesting:
		c.refused = c.best.server
		c.solicit(now, "the server does not answer a Request")
	case Rebinding:
		c.solicit(now, "nobody here knows what we hold")
	}
}

// message is what the state sends.
func (c *Client) message(now Instant) []byte {
	switch c.state {
	case Requesting:
		return c.build(dhcpv6.MessageTypeRequest, c.best.server, asOffered(c.best, now.Wall), now)
	case Renewing:
		return c.build(dhcpv6.MessageTypeRenew, c.held.Server, c.held.Prefixes, now)
	case Rebinding:
		return c.build(dhcpv6.MessageTypeRebind, nil, c.held.Prefixes, now)
	case Releasing:
		return c.build(dhcpv6.MessageTypeRelease, c.held.Server, c.held.Prefixes, now)
	}
	return c.build(dhcpv6.MessageTypeSolicit, nil, c.hint(), now)
}

// hint is what a Solicit wishes (section 18.2.4, RFC 8168): what is still
// held, else what was configured.
func (c *Client) hint() []Prefix {
	if c.held != nil {
		return c.held.Prefixes
	}
	if !c.cfg.Hint.IsValid() {
		return nil
	}
	zero := time.Unix(0, 0)
	return []Prefix{{Prefix: c.cfg.Hint, Preferred: zero, Valid: zero}}
}

func asOffered(a *answer, now time.Time) []Prefix {
	out, _ := take(a, now)
	return out
}

// Receive takes a message from port 547. An error is why it was ignored.
func (c *Client) Receive(b []byte, now Instant) (Step, error) {
	a, err := c.parse(b)
	if err != nil {
		return Step{}, err
	}
	out := Step{Changed: c.Follow(now)}
	if a.solMaxRT > 0 {
		c.solMaxRT = a.solMaxRT
	}
	switch {
	case c.state == Soliciting && a.kind == dhcpv6.MessageTypeAdvertise:
		c.advertised(a, now, &out)
	case c.state == Soliciting && a.kind == dhcpv6.MessageTypeReply && a.rapid:
		c.replied(a, now, &out)
	case a.kind != dhcpv6.MessageTypeReply:
		return out, errKind
	case c.state == Releasing:
		c.held, out.Changed = nil, true
		c.Stop()
	case c.state == Requesting && bytes.Equal(a.server, c.best.server), c.state == Rebinding,
		c.state == Renewing && bytes.Equal(a.server, c.held.Server):
		c.replied(a, now, &out)
	default:
		return out, errForeign
	}
	return out, nil
}

// replied takes a Reply (section 18.2.10.1).
func (c *Client) replied(a *answer, now Instant, out *Step) {
	switch {
	case a.status == iana.StatusUnspecFail, !a.hasIA && a.status != iana.StatusSuccess:
		return // the message goes again in its time
	case a.iaStatus == iana.StatusNoBinding && c.held != nil:
		c.lost(now, out, "the server does not know our prefix")
		return
	}
	prefixes, notes := take(a, now.Wall)
	for _, n := range notes {
		c.note(out, n)
	}
	switch {
	case len(prefixes) > 0:
		c.bind(a, prefixes, now, out)
	case c.held != nil && a.hasIA && a.iaStatus == iana.StatusSuccess && len(a.prefixes) > 0:
		c.lost(now, out, "the server took our prefix back") // lifetimes 0, or nothing usable
	case c.state == Soliciting:
		c.noteEnded(a, out)
	case c.state == Requesting:
		if c.noteEnded(a, out); len(a.prefixes) == 0 {
			c.note(out, "the provider's server has no prefix for us (NoPrefixAvail)")
		}
		c.refused = a.server
		c.solicit(now, "refused")
	}
}

// noteEnded says which prefixes are offered as if they were over already.
func (c *Client) noteEnded(a *answer, out *Step) {
	for _, o := range a.prefixes {
		if o.valid == 0 && o.preferred == 0 {
			c.note(out, fmt.Sprintf("the provider's prefix %s has no time left (lifetimes 0): not used", o.prefix))
		}
	}
}

// lost lets go of what the server no longer knows, and asks for another.
// RFC 9915 has a client send a Request to a server without the binding; one
// that starts over finds that server, too, and any better one.
func (c *Client) lost(now Instant, out *Step, why string) {
	c.note(out, why)
	c.held, out.Changed = nil, true
	c.solicit(now, why)
}

// bind takes what a server gave.
func (c *Client) bind(a *answer, prefixes []Prefix, now Instant, out *Step) {
	h := &Held{Server: a.server, Prefixes: prefixes}
	t1, t2 := a.t1, a.t2
	if t1 > t2 && t2 > 0 {
		t1, t2 = 0, 0 // section 21.21: not looked at
	}
	short := infinite
	for _, o := range a.prefixes {
		if o.preferred > 0 && o.preferred < short {
			short = o.preferred
		}
	}
	if short < infinite { // section 14.2: ours to choose where the server did not
		if t1 == 0 {
			t1 = short / 2
		}
		if t2 == 0 {
			t2 = max(t1, short*4/5)
		}
	}
	if t1 > 0 && t1 < infinite {
		h.Renew = now.Wall.Add(max(t1, leastRenew))
	}
	if t2 > 0 && t2 < infinite {
		h.Rebind = now.Wall.Add(max(t2, leastRenew))
	}
	out.Changed = true
	c.held, c.best, c.refused = h, nil, nil
	clear(c.noted)
	c.move(Bound, "the server gave what we hold")
}

// leastRenew keeps a server with tiny lifetimes from making us ask without end.
const leastRenew = 5 * time.Second

// note says something once, until the next success.
func (c *Client) note(out *Step, s string) {
	if len(c.noted) < 64 && !c.noted[s] {
		c.noted[s] = true
		out.Notes = append(out.Notes, s)
	}
}

// and joins two steps.
func (s Step) and(t Step) Step {
	s.Send = append(s.Send, t.Send...)
	s.Notes = append(s.Notes, t.Notes...)
	s.Changed = s.Changed || t.Changed
	return s
}
