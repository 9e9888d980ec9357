package lease

import (
	"iter"

	"github.com/sextant-net/sextant/internal/vnet"
)

// holding is what one holder has: its entries in no order, and how many of
// them count.
type holding struct {
	first      *Entry
	live, idle int32
}

// Holder is whom a lease counts against: its port, else its MAC, else its
// client; empty for those of nobody. Addresses that are only seen in use are
// counted apart, since guests need no leave for them.
func Holder(l *vnet.Lease, how vnet.How, client string) string {
	kind := ""
	if l.How != how && l.How != "" {
		kind = "seen "
	}
	switch {
	case l.Port != "":
		return kind + "port:" + string(l.Port)
	case !l.MAC.IsZero():
		return kind + "mac:" + l.MAC.String()
	case client == "":
		return ""
	}
	return kind + "client:" + client
}

func (h *holding) count(e *Entry, by int) {
	if e.live() {
		h.live += int32(by)
	} else {
		h.idle += int32(by)
	}
}

// hold enters an entry with its holder.
func (t *Table) hold(e *Entry) {
	if e.Holder == "" {
		return
	}
	h := t.holders[e.Holder]
	e.prev, e.next = nil, h.first
	if h.first != nil {
		h.first.prev = e
	}
	h.first = e
	t.holders[e.Holder] = h
}

// unhold undoes hold.
func (t *Table) unhold(e *Entry) {
	h, ok := t.holders[e.Holder]
	if !ok {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		h.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.next, e.prev = nil, nil
	if t.holders[e.Holder] = h; h.first == nil {
		delete(t.holders, e.Holder)
	}
}

// Held returns how many addresses count against a holder.
func (t *Table) Held(holder string) int {
	return int(t.holders[holder].live)
}

// remembers reports whether one more address may be kept for a holder that
// does not use it: else one that takes and releases again and again would have
// those of all others forgotten.
func (t *Table) remembers(holder string) bool {
	return t.holders[holder].idle < maxHolderIdle
}

// Of returns what a holder has and had, the newest first, a bounded number of
// them. The table must not be changed meanwhile.
func (t *Table) Of(holder string) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		e := t.holders[holder].first
		for range maxLooked {
			if e == nil || !yield(e) {
				return
			}
			e = e.next
		}
	}
}
