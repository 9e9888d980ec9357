package radv

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// maxRivals bounds the other routers of a network that are remembered.
const maxRivals = 8

// overhear takes another router's advertisement (RFC 4861 section 6.2.7) and
// returns in what it contradicts ours, "" if in nothing, or nothing new. What
// either leaves open contradicts nothing.
func (e *engine) overhear(b []byte, s solicitation, now Instant) string {
	if !e.svc.RA.Send || now.Boot < e.listened+rivalEvery || s.hopLimit != 255 || !isAdvertisement(b) || !s.from.IsLinkLocalUnicast() {
		return ""
	}
	e.listened = now.Boot
	ours := e.render(whole, now)
	if len(ours) == 0 {
		return ""
	}
	what := strings.Join(contradictions(ours, b), ", ")
	from := s.from.WithZone("")
	if e.rivals[from] == what {
		return ""
	}
	if e.rivals == nil || len(e.rivals) >= maxRivals {
		e.rivals = map[netip.Addr]string{}
	}
	e.rivals[from] = what
	return what
}

// contradictions compares what section 6.2.7 names: hop limit, M and O, times,
// MTU, and the lifetimes of prefixes that both advertise.
func contradictions(ours [][]byte, b []byte) (out []string) {
	differ := func(what string, x, y uint32) {
		if x != 0 && y != 0 && x != y {
			out = append(out, fmt.Sprintf("%s %d, ours %d", what, y, x))
		}
	}
	a := ours[0]
	differ("hop limit", uint32(a[4]), uint32(b[4]))
	for _, f := range []struct {
		name string
		bit  byte
	}{{"M", 0x80}, {"O", 0x40}} {
		if (a[5]^b[5])&f.bit != 0 {
			out = append(out, fmt.Sprintf("flag %s %t, ours %t", f.name, b[5]&f.bit != 0, a[5]&f.bit != 0))
		}
	}
	differ("reachable time", binary.BigEndian.Uint32(a[8:]), binary.BigEndian.Uint32(b[8:]))
	differ("retransmit time", binary.BigEndian.Uint32(a[12:]), binary.BigEndian.Uint32(b[12:]))
	mine := map[string][]byte{}
	for _, m := range ours {
		for o := range options(m) {
			mine[optionKey(o)] = o
		}
	}
	for o := range options(b) {
		m := mine[optionKey(o)]
		switch {
		case m == nil || len(m) != len(o):
		case o[0] == optMTU:
			differ("MTU", binary.BigEndian.Uint32(m[4:]), binary.BigEndian.Uint32(o[4:]))
		case o[0] == optPrefix:
			differ("valid lifetime of "+optionKey(o), binary.BigEndian.Uint32(m[4:]), binary.BigEndian.Uint32(o[4:]))
			differ("preferred lifetime of "+optionKey(o), binary.BigEndian.Uint32(m[8:]), binary.BigEndian.Uint32(o[8:]))
		}
	}
	return out
}

// optionKey is what an option is about: its type or, for prefixes, which.
func optionKey(o []byte) string {
	if o[0] == optPrefix && len(o) == 32 && o[2] <= 128 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2])).Masked().String()
	}
	return fmt.Sprint(o[0])
}

// options yields the options of an advertisement until the first that is none.
func options(b []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for b := b[headerLen:]; len(b) >= 8 && b[1] != 0 && len(b) >= 8*int(b[1]); b = b[8*int(b[1]):] {
			if !yield(b[:8*int(b[1])]) {
				return
			}
		}
	}
}

// moved returns the farewell of a router whose MAC and link-local address
// become others (RFC 4861 section 6.2.8), from the old ones: guests are not to
// keep a default route that leads nowhere. What it advertised stays, the new
// one says the same.
func (e *engine) moved(now Instant) []message {
	if !e.link {
		return nil
	}
	last := [][]byte{e.content.headerFor(aside)}
	out := e.out[:0]
	for _, t := range e.targets(now) {
		out = e.frames(out, t.device, t.mac, allNodes, last)
	}
	e.out = out
	return out
}

// rivalEvery bounds how often other routers are looked at.
const rivalEvery = time.Second
