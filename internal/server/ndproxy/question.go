package ndproxy

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// maxQuestions bounds what is asked at the same time; what comes beyond it
	// is not asked, and its asker repeats itself.
	maxQuestions = 256
	// maxAskers bounds who waits for one answer.
	maxAskers = 4
	// askTimes and askEvery: RETRANS_TIMER is a second (RFC 4861 section 10),
	// and the asker repeats itself, too.
	askTimes = 2
	askEvery = time.Second
	// dadLife is how long answers to duplicate address detection are told: who
	// asks waits for a second (RFC 4862 section 5.1), some for more.
	dadLife = 1500 * time.Millisecond
	// vouchLife is how long the agent has to tell of a guest that was found: an
	// asker waits for three seconds (MAX_MULTICAST_SOLICIT, RFC 4861 section 10).
	vouchLife = 3 * time.Second
)

// questionKey is what was asked, and on which side.
type questionKey struct {
	addr netip.Addr
	on   int
}

// question is one that was carried to the other sides and has no answer yet.
type question struct {
	prefix *shared
	asking []asking
	tries  int  // how often it was carried, but for duplicate address detection
	plain  bool // not only duplicate address detection
	found  bool // a guest has it that nobody told of yet
	next   time.Duration
}

// asking is somebody who waits for an answer.
type asking struct {
	from netip.Addr
	mac  vnet.MAC
	dad  bool
}

func solicitedNode(a netip.Addr) netip.Addr { return ipam.SolicitedNode(a) }

// ask carries a question to the other sides of its prefix. Every repetition of
// duplicate address detection is carried, other questions are repeated by us.
func (e *engine) ask(on int, m *message, p *shared) {
	dad := m.dad()
	k := questionKey{m.target, on}
	q := e.questions[k]
	if q == nil {
		if _, no := e.absent.get(on, m.target, e.now); no || len(e.questions) >= maxQuestions {
			return
		}
	}
	if on != 0 && (q == nil || dad) && !e.askers.of(e.seed, on, m.mac).allow(askerRate, e.now) {
		return
	}
	first := q == nil || !dad && !q.plain
	if !first && !dad {
		q.wait(m)
		return
	}
	if !e.carry(m.target, on, p, dad, m.nonce) {
		return
	}
	if q == nil {
		q = &question{prefix: p}
		e.questions[k] = q
	}
	q.wait(m)
	if dad {
		q.next = max(q.next, e.now+dadLife)
		return
	}
	q.plain, q.tries, q.next = true, 1, e.now+askEvery
}

// wait adds who asks to those that wait.
func (q *question) wait(m *message) {
	a := asking{m.from, m.replyTo(), m.dad()}
	for _, b := range q.asking {
		if a == b {
			return
		}
	}
	if len(q.asking) < maxAskers {
		q.asking = append(q.asking, a)
	}
}

// carry sends a question to all sides of a prefix but one, as the rates allow.
// It reports whether any was reached.
func (e *engine) carry(a netip.Addr, but int, p *shared, dad bool, nonce []byte) (any bool) {
	if but != 0 && e.toward[0].allow(outsideRate, e.now) {
		e.solicit(0, a, dad, nonce)
		any = true
	}
	for _, n := range p.sides {
		if n != but && e.toward[1].allow(insideRate, e.now) {
			e.solicit(n, a, dad, nonce)
			any = true
		}
	}
	return any
}

// resolve answers whoever waits on other sides for an address that is on a
// side.
func (e *engine) resolve(a netip.Addr, p *shared, on int, mac vnet.MAC) {
	if len(e.questions) == 0 {
		return
	}
	e.settle(questionKey{a, 0}, on, mac)
	for _, n := range p.sides {
		e.settle(questionKey{a, n}, on, mac)
	}
}

// settle ends a question that was answered on a side. Where the address is a
// guest's that nobody told of yet, only who does duplicate address detection is
// answered: for the others it leads nowhere before it has a route.
func (e *engine) settle(k questionKey, on int, mac vnet.MAC) {
	q := e.questions[k]
	if q == nil || k.on == on {
		return
	}
	found := on != 0 && e.guests[k.addr] == nil
	if found {
		e.tell(Found, k.addr, on, on, mac)
		e.outside.drop(0, k.addr)
	}
	waiting := q.asking[:0]
	for _, to := range q.asking {
		if found && !to.dad {
			waiting = append(waiting, to)
			continue
		}
		e.answer(k.on, k.addr, to)
		if to.dad {
			e.tell(Duplicate, k.addr, on, k.on, to.mac)
		}
	}
	if q.asking = waiting; len(waiting) == 0 {
		delete(e.questions, k)
		return
	}
	if !q.found {
		q.found, q.next = true, e.now+vouchLife
	}
}

// pursue repeats questions and ends those that nobody answers.
func (e *engine) pursue() {
	for k, q := range e.questions {
		switch {
		case q.next > e.now:
		case q.found:
			delete(e.questions, k)
		case q.plain && q.tries < askTimes:
			e.carry(k.addr, k.on, q.prefix, false, nil)
			q.tries++
			q.next = e.now + askEvery
		default:
			delete(e.questions, k)
			if q.plain {
				e.absent.put(k.on, k.addr, struct{}{}, e.now+absentLife)
			}
		}
	}
}
