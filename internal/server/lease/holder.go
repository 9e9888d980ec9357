package lease

import (
	"bytes"
	"hash/maphash"
	"iter"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Holder is whom a lease counts against: its port, else its MAC, else its
// client; empty for those of nobody. Addresses that are only seen in use are
// counted apart, since guests need no leave for them.
func Holder(l *vnet.Lease, how vnet.How, client string) string {
	b, known := appendGuest(make([]byte, 0, 64), l.How != how && l.How != "", l.Port, l.MAC)
	switch {
	case known:
		return string(b)
	case client == "":
		return ""
	}
	return string(b) + "client:" + client
}

// appendGuest appends a holder that is a port or a MAC, and reports whether
// there is either; else only what says that the address was seen.
func appendGuest(b []byte, seen bool, port vnet.ID, mac vnet.MAC) ([]byte, bool) {
	if seen {
		b = append(b, "seen "...)
	}
	switch {
	case port != "":
		return append(append(b, "port:"...), port...), true
	case !mac.IsZero():
		return mac.Append(append(b, "mac:"...)), true
	}
	return b, false
}

// appendHolder appends the Holder of a lease of which nothing else is said.
func (r *Rules) appendHolder(b []byte, l *pack.Lease) []byte {
	begun := len(b)
	how := l.How()
	b, known := appendGuest(b, how != r.How && how != "", l.Port(), l.MAC())
	if known {
		return b
	}
	b = append(b, "client:"...)
	named := len(b)
	if b = r.Client(b, l); len(b) == named {
		return b[:begun]
	}
	return b
}

// count counts another entry of the holder whose first one e is.
func (e *Entry) count(other *Entry, by int) {
	if other.isLive() {
		e.live += int32(by)
	} else {
		e.idle += int32(by)
	}
}

// head returns the first entry of a holder, or nil.
func (t *Table) head(holder string) *Entry {
	t.wanted = append(t.wanted[:0], holder...)
	return t.headWanted()
}

// headOf returns the first entry of an entry's holder, or nil.
func (t *Table) headOf(e *Entry) *Entry {
	t.wanted = append(t.wanted[:0], t.holderOf(e)...)
	return t.headWanted()
}

func (t *Table) headWanted() *Entry {
	if len(t.wanted) == 0 {
		return nil
	}
	return t.holders.Find(maphash.Bytes(seed, t.wanted), func(e *Entry) bool { return bytes.Equal(t.holderOf(e), t.wanted) })
}

// hold enters an entry with its holder.
func (t *Table) hold(e *Entry) {
	e.next, e.prev, e.live, e.idle = nil, nil, 0, 0
	switch h := t.headOf(e); {
	case h != nil:
		t.holders.Replace(h, e)
		e.live, e.idle, e.next, h.prev = h.live, h.idle, h, e
	case len(t.wanted) > 0:
		t.holders.Add(e)
	}
}

// unhold undoes hold.
func (t *Table) unhold(e *Entry) {
	switch {
	case e.prev != nil:
		e.prev.next = e.next
	case e.next != nil:
		if t.holders.Replace(e, e.next) {
			e.next.live, e.next.idle = e.live, e.idle
		}
	default:
		t.holders.Remove(e)
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.next, e.prev = nil, nil
}

// Held returns how many addresses count against a holder.
func (t *Table) Held(holder string) int {
	if h := t.head(holder); h != nil {
		return int(h.live)
	}
	return 0
}

// remembers reports whether one more address may be kept for an entry's holder
// that does not use it: else one that takes and releases again and again would have
// those of all others forgotten.
func (t *Table) remembers(e *Entry) bool {
	h := t.headOf(e)
	return h == nil || h.idle < maxHolderIdle
}

// Of returns what a holder has and had, the newest first, a bounded number of
// them. The table must not be changed meanwhile.
func (t *Table) Of(holder string) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		e := t.head(holder)
		for range maxLooked {
			if e == nil || !yield(e) {
				return
			}
			e = e.next
		}
	}
}
