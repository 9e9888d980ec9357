package radv

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// solicitation is who asks for an advertisement.
type solicitation struct {
	from     netip.Addr
	hopLimit int
	mac      vnet.MAC // the frame's, as the guest's port told it; zero: not known
	port     vnet.ID  // where it came in; "": no port, or not known
}

// errSolicitation is any fault of a solicitation (RFC 4861 section 6.1.1).
var errSolicitation = errors.New("no valid router solicitation")

// maxSolicitation is the longest solicitation that is read, in bytes.
const maxSolicitation = 1280

// sourceOf checks a router solicitation (RFC 4861 section 6.1.1; the kernel has
// looked at the checksum) and returns its source link-layer address, zero if it
// has none. Options that are not known are passed over.
func sourceOf(b []byte, s solicitation) (mac vnet.MAC, err error) {
	if s.hopLimit != 255 || len(b) < 8 || len(b) > maxSolicitation || b[0] != 133 || b[1] != 0 {
		return mac, errSolicitation
	}
	for b = b[8:]; len(b) > 0; {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return vnet.MAC{}, errSolicitation
		}
		n := 8 * int(b[1])
		if b[0] == optSource {
			if s.from.IsUnspecified() {
				return vnet.MAC{}, errSolicitation
			}
			if n == 8 {
				mac = vnet.MAC(b[2:8])
			}
		}
		b = b[n:]
	}
	return mac, nil
}

// solicit answers a router solicitation.
func (e *engine) solicit(b []byte, s solicitation, now Instant) ([]message, error) {
	said, err := sourceOf(b, s)
	if err != nil {
		return nil, err
	}
	if !e.svc.RA.Send || !e.link {
		return nil, nil
	}
	g, known := e.guestOf(s, said)
	direct := g != nil && !g.DefaultRoute && g.Device != ""
	switch {
	case !s.from.IsLinkLocalUnicast():
		// No address to answer to, or one from which the kernel would not choose
		// a link-local source: everybody hears it, within the rate limit.
		if !e.svc.RA.Policy.UnicastOnly {
			e.soon(now)
			return nil, nil
		}
		if g == nil || g.Device == "" || !e.allow(s, now) {
			return nil, nil
		}
		return e.answer(g, s.mac, allNodes, now), nil
	case !known && e.guests.deviants > 0:
		// It may be the guest that must not be told all: each hears its own.
		e.soon(now)
		return nil, nil
	case !e.allow(s, now):
		return nil, nil
	case direct:
		// At its own port, whose rules let no other advertisement through.
		return e.answer(g, s.mac, s.from.WithZone(""), now), nil
	}
	return e.to(s.from.WithZone(""), g.variant(now.Boot), now), nil
}

// answer tells one guest on its device, at the MAC it asked with.
func (e *engine) answer(g *guest, mac vnet.MAC, to netip.Addr, now Instant) []message {
	if !mac.IsUnicast() {
		mac = g.MAC
	}
	e.out = e.frames(e.out[:0], g.Device, mac, to, e.render(g.variant(now.Boot), now))
	return e.out
}

// guestOf tells the guest by the port it spoke at, else by its frame's MAC,
// else by what it says its MAC is, else by the MAC its address is made of. known
// is false if none of them is there.
func (e *engine) guestOf(s solicitation, said vnet.MAC) (g *guest, known bool) {
	if g := e.guests.ports[s.port]; g != nil {
		return g, true
	}
	mac := s.mac
	if mac.IsZero() {
		mac = said
	}
	if mac.IsZero() && s.from.IsLinkLocalUnicast() {
		mac, _ = ipam.MACOf(vnet.InterfaceID(s.from))
	}
	return e.guests.macs[mac], !mac.IsZero()
}

// soon has everybody told within MAX_RA_DELAY_TIME, as the rate limit allows
// (RFC 4861 section 6.2.6).
func (e *engine) soon(now Instant) {
	at := e.earliest(now.Boot + time.Duration(e.rand.Int64N(int64(maxReplyDelay))))
	if e.svc.RA.Policy.UnicastOnly {
		return
	}
	if e.next < 0 || at < e.next {
		e.next = at
	}
}

// allow reports whether whoever asks has not asked too often.
func (e *engine) allow(s solicitation, now Instant) bool {
	k := asker{e.salt, s.mac, s.from}
	if !s.mac.IsZero() {
		k.addr = netip.Addr{}
	}
	return e.limit.allow(maphash.Comparable(e.limit.seed, k), now.Boot)
}

type asker struct {
	salt uint64
	mac  vnet.MAC
	addr netip.Addr
}

// A guest solicits three times when its link comes up (RFC 4861 section
// 6.3.7); a bench of its own may do so more often, a flood is cut.
const (
	askEvery   = 20 * time.Millisecond
	askBurst   = 100
	askBuckets = 1 << 14
)

// limiter bounds how often each source is answered, in a fixed amount of
// memory whoever asks: each source has two buckets by a hash that nobody outside
// can foretell, and shares them with others. A bucket holds when a burst will be
// paid for, and the emptier one counts: others would have to meet a source in
// both to have it cut.
type limiter struct {
	seed    maphash.Seed
	buckets [askBuckets]time.Duration
}

func newLimiter() *limiter { return &limiter{seed: maphash.MakeSeed()} }

func (l *limiter) allow(hash uint64, now time.Duration) bool {
	a, b := &l.buckets[hash%askBuckets], &l.buckets[hash>>32%askBuckets]
	paid := max(min(*a, *b), now)
	if paid-now >= askBurst*askEvery {
		return false
	}
	paid += askEvery
	*a, *b = max(*a, paid), max(*b, paid)
	return true
}
