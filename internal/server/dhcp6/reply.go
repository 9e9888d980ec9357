package dhcp6

import (
	"time"

	"github.com/sextant-net/sextant/internal/server/dhcp"
)

// start begins an answer, inside those of all relays, with the identifiers of
// both sides.
func (e *engine) start(r *request, kind byte) *writer {
	w := &e.out
	w.b, w.open = w.b[:0], w.open[:0]
	w.wrap(r.hops)
	w.b = append(w.b, kind)
	w.b = append(w.b, r.id[:]...)
	if r.raw != "" {
		w.begin(optClientID)
		w.b = append(w.b, r.raw...)
		w.end()
	}
	w.option(optServerID, e.duid)
	return w
}

// finish ends an answer, to where the message came from.
func (e *engine) finish(r *request, w *writer) dhcp.Effects {
	for len(w.open) > 0 {
		w.end()
	}
	e.reply[0] = dhcp.Reply{To: r.from, Port: r.port, Data: w.b}
	return dhcp.Effects{Send: e.reply[:]}
}

// send builds an Advertise or a Reply with addresses and options (RFC 9915
// section 18.3.9).
func (e *engine) send(r *request, kind byte, answers []answer) dhcp.Effects {
	w := e.start(r, kind)
	if kind == kindReply && r.kind == kindSolicit {
		w.option(optRapidCommit, nil)
	}
	t1, t2 := e.timers(answers)
	for i := range answers {
		w.answer(&answers[i], t1, t2)
	}
	e.configure(w, r, kind)
	return e.finish(r, w)
}

// sendStatus builds a Reply that only says how it went.
func (e *engine) sendStatus(r *request, status uint16, answers []answer) dhcp.Effects {
	w := e.start(r, kindReply)
	w.status(status)
	for i := range answers {
		w.answer(&answers[i], 0, 0)
	}
	return e.finish(r, w)
}

// renewMoving is T1 of guests whose prefixes follow an uplink: those that cannot
// be told of a new one at once (Reconfigure) find it so soon.
const renewMoving = 5 * time.Minute

// timers returns T1 and T2 of all IAs of a message, which are to be the same
// (RFC 9915 section 18.3.2): as the network has them, else 0.5 and 0.8 of the
// shortest preferred lifetime (section 21.4), and never beyond that; T1 sooner
// where prefixes move.
func (e *engine) timers(answers []answer) (t1, t2 time.Duration) {
	shortest := time.Duration(0)
	for i := range answers {
		for j := range answers[i].gives {
			if p := answers[i].gives[j].preferred; p > 0 && (shortest == 0 || p < shortest) {
				shortest = p
			}
		}
	}
	if t2 = e.Service().DHCP.Rebind.Std(); t2 == 0 {
		t2 = shortest * 4 / 5
	}
	if t1 = e.Service().DHCP.Renew.Std(); t1 == 0 {
		if t1 = shortest / 2; e.Service().Moves {
			t1 = min(t1, renewMoving)
		}
	}
	t2 = min(t2, shortest)
	return min(t1, t2).Truncate(time.Second), t2.Truncate(time.Second)
}

// answer writes an IA_NA or IA_PD (RFC 9915 sections 21.4, 21.6, 21.21, 21.22).
func (w *writer) answer(a *answer, t1, t2 time.Duration) {
	if len(a.gives) == 0 {
		t1, t2 = 0, 0
	}
	if a.ia.prefixes {
		w.begin(optIAPD)
	} else {
		w.begin(optIANA)
	}
	w.uint32(a.ia.iaid)
	w.uint32(seconds(t1))
	w.uint32(seconds(t2))
	for i := range a.gives {
		g := &a.gives[i]
		addr := g.address.As16()
		if a.ia.prefixes {
			w.begin(optIAPrefix)
			w.uint32(seconds(g.preferred))
			w.uint32(seconds(g.valid))
			w.b = append(w.b, byte(g.length))
			w.b = append(w.b, addr[:]...)
		} else {
			w.begin(optIAAddr)
			w.b = append(w.b, addr[:]...)
			w.uint32(seconds(g.preferred))
			w.uint32(seconds(g.valid))
		}
		w.end()
	}
	if a.status != statusSuccess {
		w.status(a.status)
	}
	w.end()
}

// seconds writes a time as options have it; 0xffffffff would be forever.
func seconds(d time.Duration) uint32 { return uint32(min(d/time.Second, 0xfffffffe)) }
