package dhcp6

import (
	"crypto/hmac"
	"crypto/md5" // the protocol has no other
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
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

// Acceptor is what is to be remembered of a client that accepts reconfigure
// messages for longer than a server lives: who has our key waits for us to use
// it, and asks again late.
type Acceptor struct {
	DUID ipam.DUID
	Peer netip.Addr // link-local
	Info bool       // it asked for information alone
	// Came is what its network told when it came last, as a number: it differs
	// from what is told now for who has to come again.
	Came uint64
}

// Memory keeps what must outlast the server, so that guests hear of a change
// that comes with its restart, or before the restart when not all had come yet.
// Its methods are called with the server's lock held: they must not block.
type Memory interface {
	// Acceptors returns those of a network.
	Acceptors(network vnet.ID) []Acceptor
	// Keep adds or replaces one, by its DUID.
	Keep(network vnet.ID, a Acceptor)
	// Drop forgets one.
	Drop(network vnet.ID, duid ipam.DUID)
	// Number returns a number that is greater than every one before, also of
	// earlier servers, and not less than atLeast (RFC 9915 section 20.3).
	Number(atLeast uint64) uint64
}

// acceptor is a client that accepts reconfigure messages.
type acceptor struct {
	Acceptor
	tell bool      // it has not come yet since the last change
	due  time.Time // when it is told next
	sent int       // how often it was
}

// acceptors are the clients of a network that accept reconfigure messages.
type acceptors struct {
	secret  []byte // that the clients' keys are made of; nil: nobody is told
	memory  Memory // nil: none
	network vnet.ID
	clients map[string]*acceptor
	news    uint64 // what the network tells, as a number
	changed bool   // since Work last looked
	last    uint64
}

// set takes in that the network is another one; the first time, who accepted
// reconfigure messages of an earlier server.
func (a *acceptors) set(svc *plan.Service) {
	if len(svc.Subnets) == 0 {
		return
	}
	if a.network != svc.Network && a.memory != nil && a.secret != nil {
		a.network = svc.Network
		for _, k := range a.memory.Acceptors(svc.Network) {
			if len(a.clients) < maxKnown {
				a.clients[k.DUID.String()] = &acceptor{Acceptor: k}
			}
		}
	}
	a.news = newsOf(svc)
	for _, x := range a.clients {
		a.changed = a.changed || x.Came != a.news
	}
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
	var now Acceptor
	if x != nil {
		now = x.Acceptor
	}
	if x != nil && r.kind != kindSolicit {
		x.tell, now.Came = false, a.news
	}
	if r.accept && a.secret != nil && r.raw != "" && len(r.hops) == 0 && (r.kind != kindSolicit || r.rapid) {
		if x == nil {
			if len(a.clients) >= maxKnown {
				return
			}
			x, now.Came = &acceptor{}, a.news
			a.clients[r.duid] = x
		}
		now.DUID, now.Peer, now.Info = r.raw, r.peer, r.kind == kindInform
	}
	if x != nil && x.Acceptor != now {
		x.Acceptor = now
		if a.memory != nil {
			a.memory.Keep(a.network, now)
		}
	}
}

// drop forgets a client that does not come.
func (a *acceptors) drop(duid string, x *acceptor) {
	delete(a.clients, duid)
	if a.memory != nil {
		a.memory.Drop(a.network, x.DUID)
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
	if a.memory != nil {
		a.last = a.memory.Number(a.last)
	}
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
			x.tell, x.sent, x.due = x.Came != a.news, 0, now.Add(recDelay)
		}
	}
	for duid, x := range a.clients {
		switch {
		case !x.tell:
			continue
		case x.sent == recMax:
			a.drop(duid, x) // it is gone
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
	kind := byte(kindRenew)
	if x.Info {
		kind = kindInform
	}
	w := &writer{b: []byte{kindReconfigure, 0, 0, 0}}
	w.option(optClientID, []byte(x.DUID))
	w.option(optServerID, e.duid)
	w.option(optReconfigure, []byte{kind})
	e.accepts.auth(w, rkapHMAC, make([]byte, rkapBytes), now)
	h := hmac.New(md5.New, e.accepts.key(x.DUID))
	_, _ = h.Write(w.b)
	copy(w.b[len(w.b)-rkapBytes:], h.Sum(nil))
	return dhcp.Reply{To: x.Peer, Data: w.b}
}

// newsFor reports whether guests must ask again at once: another prefix, or
// other options. Lifetimes that move are no news.
func newsFor(old, now *plan.Service) bool { return newsOf(old) != newsOf(now) }

// newsOf is what guests of a network are told, as a number: the same for the
// same, also in another process.
func newsOf(svc *plan.Service) uint64 {
	h := fnv.New64a()
	for i := range svc.Subnets {
		s := &svc.Subnets[i]
		fmt.Fprintln(h, s.ID, s.Prefix, s.Guests, s.Deprecated, s.Delegate)
	}
	for _, o := range toldBy(svc) {
		fmt.Fprintf(h, "%d %x\n", o.code, o.body)
	}
	return h.Sum64()
}
