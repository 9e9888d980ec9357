package dhcp6

import (
	"crypto/hmac"
	"crypto/md5" // the protocol has no other
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
)

// The Reconfiguration Key Authentication Protocol (RFC 9915 section 20.4) and
// its times (section 7.6).
const (
	authRKAP  = 3 // protocol
	authMD5   = 1 // algorithm: HMAC-MD5
	rkapKey   = 1 // type of the value: a key
	rkapHMAC  = 2 // type of the value: a digest
	rkapBytes = 16

	recTimeout = 2 * time.Second // REC_TIMEOUT
	recMax     = 8               // REC_MAX_RC

	// recDelay is how long after a change guests are told, so that what belongs
	// together is told together; recPace and recBurst spread it.
	recDelay = 300 * time.Millisecond
	recPace  = 50 * time.Millisecond
	recBurst = 64
)

// acceptor is a client that accepts reconfigure messages.
type acceptor struct {
	raw  ipam.DUID
	peer netip.Addr
	kind byte      // what it is to do: renew, or ask for information
	tell bool      // it has not come yet since the last change
	due  time.Time // when it is told next
	sent int       // how often it was
}

// acceptors are the clients of a network that accept reconfigure messages.
type acceptors struct {
	secret  []byte // that the clients' keys are made of; nil: nobody is told
	clients map[string]*acceptor
	changed bool // since Work last looked
	last    uint64
}

// heard notes what a message says of its client's willingness, and that it
// came.
func (a *acceptors) heard(r *request) {
	x := a.clients[r.duid]
	switch r.kind {
	case kindRequest, kindRenew, kindRebind, kindSolicit, kindInform:
	default:
		return
	}
	if x != nil && r.kind != kindSolicit {
		x.tell = false
	}
	if !r.accept || a.secret == nil || r.raw == "" || len(r.hops) > 0 || r.kind == kindSolicit && !r.rapid {
		return
	}
	if x == nil {
		if len(a.clients) >= maxKnown {
			return
		}
		x = &acceptor{}
		a.clients[r.duid] = x
	}
	x.raw, x.peer, x.kind = r.raw, r.peer, kindRenew
	if r.kind == kindInform {
		x.kind = kindInform
	}
}

// key is a client's key. It follows from the secret, so that none is kept.
func (a *acceptors) key(raw ipam.DUID) []byte {
	h := hmac.New(sha256.New, a.secret)
	_, _ = h.Write([]byte(raw))
	return h.Sum(nil)[:rkapBytes]
}

// authorise gives a client that accepts reconfigure messages the key that they
// will have (RFC 9915 sections 18.3.9, 20.4.1 and 21.20).
func (e *engine) authorise(w *writer, r *request, kind byte) {
	if !r.accept || e.accepts.secret == nil || r.raw == "" || len(r.hops) > 0 {
		return
	}
	w.option(optAccept, nil)
	if kind == kindReply {
		e.accepts.auth(w, rkapKey, e.accepts.key(r.raw), e.now)
	}
}

// auth writes an authentication option (RFC 9915 sections 21.11 and 20.4.2).
func (a *acceptors) auth(w *writer, kind byte, value []byte, now time.Time) {
	a.last = max(a.last+1, uint64(now.UnixNano())) // replay detection: it grows
	w.begin(optAuth)
	w.b = append(w.b, authRKAP, authMD5, 0)
	w.b = binary.BigEndian.AppendUint64(w.b, a.last)
	w.b = append(append(w.b, kind), value...)
	w.end()
}

// Work tells the clients that accept it that there is news (RFC 9915 section
// 18.3.11), each again until it comes.
func (e *engine) Work(now time.Time) (send []dhcp.Reply, next time.Duration) {
	a := &e.accepts
	if a.changed {
		a.changed = false
		for _, x := range a.clients {
			x.tell, x.sent, x.due = true, 0, now.Add(recDelay)
		}
	}
	for duid, x := range a.clients {
		switch {
		case !x.tell:
			continue
		case x.sent == recMax:
			delete(a.clients, duid) // it is gone
			continue
		case x.due.After(now):
		case len(send) == recBurst:
			return send, recPace
		default:
			send = append(send, e.reconfigure(x, now))
			x.due = now.Add(recTimeout << x.sent)
			x.sent++
		}
		if wait := max(x.due.Sub(now), recPace); next == 0 || wait < next {
			next = wait
		}
	}
	return send, next
}

// reconfigure builds a Reconfigure message. Its digest covers the whole of it,
// with zeros where the digest goes.
func (e *engine) reconfigure(x *acceptor, now time.Time) dhcp.Reply {
	w := &writer{b: []byte{kindReconfigure, 0, 0, 0}}
	w.option(optClientID, []byte(x.raw))
	w.option(optServerID, e.duid)
	w.option(optReconfigure, []byte{x.kind})
	e.accepts.auth(w, rkapHMAC, make([]byte, rkapBytes), now)
	h := hmac.New(md5.New, e.accepts.key(x.raw))
	_, _ = h.Write(w.b)
	copy(w.b[len(w.b)-rkapBytes:], h.Sum(nil))
	return dhcp.Reply{To: x.peer, Data: w.b}
}

// newsFor reports whether guests must ask again at once: another prefix, or
// other options. Lifetimes that move are no news.
func newsFor(old, now *plan.Service) bool {
	same := slices.EqualFunc(old.Subnets, now.Subnets, func(a, b plan.Subnet) bool {
		return a.ID == b.ID && a.Prefix == b.Prefix && a.Guests == b.Guests && a.Deprecated == b.Deprecated && a.Delegate == b.Delegate
	})
	return !same || !slices.EqualFunc(toldBy(old), toldBy(now), func(a, b option) bool {
		return a.code == b.code && slices.Equal(a.body, b.body)
	})
}
