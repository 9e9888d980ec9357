package lease

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// State is where a dynamic address is in its life.
type State uint8

// The states of an address.
const (
	Offered  State = iota // promised to a client for a short while, in memory only
	Bound                 // leased
	Declined              // found in use elsewhere, kept back until its deadline
	Foreign               // in use by somebody who did not ask us
	Idle                  // expired or released, remembered for its last client
)

// Entry is what is known of one dynamic address. Those in a table are only to
// be read. There may be a hundred thousand: of whom it is, an entry says only
// what its lease does not, and the lease it shares with whoever else keeps that.
type Entry struct {
	// Lease is what was given. When it was made and when it ends is not kept
	// up to date here.
	Lease *pack.Lease
	names *names // nil: client and holder follow from the lease
	until int64  // deadline in nanoseconds since 1970; 0: none

	next, prev *Entry // of the same holder
	// Of all of a holder, kept in the first: how many are live and idle.
	live, idle int32

	elem  *list.Element
	pos   int32 // in the heap, or -1
	State State
	given bool // offered: the client had it before
}

// names are whose an address is and whom it counts against.
type names struct{ client, holder string }

// nobody is a client and a holder that are none.
var nobody = &names{}

// Address is the entry's address, the first one of a prefix.
func (e *Entry) Address() netip.Addr { return e.Lease.Address() }

// Until is when the entry's state ends; zero: never.
func (e *Entry) Until() time.Time {
	if e.until == 0 {
		return time.Time{}
	}
	return time.Unix(0, e.until).UTC()
}

func (e *Entry) setUntil(t time.Time) {
	if e.until = 0; !t.IsZero() {
		e.until = t.UnixNano()
	}
}

// isLive reports whether nobody else may have the address.
func (e *Entry) isLive() bool { return e.State != Idle }

// bits is the length of the prefix that the entry takes up.
func (e *Entry) bits() int {
	if n := e.Lease.Length(); n > 0 {
		return n
	}
	return e.Address().BitLen()
}

// entry makes an entry of a lease.
func (b *Book) entry(l *pack.Lease, client, holder string, s State, until time.Time) *Entry {
	e := &Entry{State: s, pos: -1}
	e.setUntil(until)
	b.table.setLease(e, l, client, holder)
	return e
}

// setLease says what an entry's lease is, whose, and whom it counts against.
// One that is in the table must go on being found by the same.
func (t *Table) setLease(e *Entry, l *pack.Lease, client, holder string) {
	e.Lease, e.names = l, nil
	if client == "" && holder == "" {
		e.names = nobody
	} else if string(t.clientOf(e)) != client || string(t.holderOf(e)) != holder {
		e.names = &names{client, holder}
	}
}

// clientOf is the key of an entry's client; empty: nobody's. It is good until
// the next call.
func (t *Table) clientOf(e *Entry) []byte {
	t.client = t.client[:0]
	if e.names != nil {
		t.client = append(t.client, e.names.client...)
	} else {
		t.client = t.rules.Client(t.client, e.Lease)
	}
	return t.client
}

// holderOf is whom an entry counts against: a port, a MAC or whatever the
// client is known by; empty: nobody. It is good until the next call.
func (t *Table) holderOf(e *Entry) []byte {
	t.holder = t.holder[:0]
	if e.names != nil {
		t.holder = append(t.holder, e.names.holder...)
	} else {
		t.holder = t.rules.appendHolder(t.holder, e.Lease)
	}
	return t.holder
}

// IsOf reports whether an entry is the client's; "": nobody's.
func (t *Table) IsOf(e *Entry, client string) bool { return string(t.clientOf(e)) == client }

// seed keeps clients from choosing what collides.
var seed = maphash.MakeSeed()

// Whole is the lease of an entry.
func (b *Book) Whole(e *Entry) vnet.Lease {
	w := e.Lease.Whole()
	l := b.Lease(w.Address, w.Subnet, e.Until())
	l.Length, l.Via, l.Port, l.DUID, l.Client = w.Length, w.Via, w.Port, w.DUID, w.Client
	l.Hostname, l.IAID, l.MAC = w.Hostname, w.IAID, w.MAC
	return l
}

// Rename gives an entry to the same guest under another key and, for DHCPv4,
// client identifier.
func (b *Book) Rename(e *Entry, client, id string) {
	l, holder := b.Whole(e), string(b.table.holderOf(e))
	l.Client = id
	b.table.Put(b.entry(pack.Of(&l), client, holder, e.State, e.Until()))
}

// says reports whether a lease that is packed says the same as another one, but
// for when it was given and ends: it can be kept instead.
func says(p *pack.Lease, l *vnet.Lease) bool {
	return p.SameGuest(l) && p.Subnet() == l.Subnet && p.Length() == l.Length && p.Via() == l.Via && p.Network() == l.Network
}

// Share has an entry that says the same keep a lease as others do.
func (b *Book) Share(l *pack.Lease) {
	e := b.table.At(l.Address())
	if e == nil || e.Lease == l || e.State != Bound {
		return
	}
	if says(l, e.Lease.Whole()) {
		e.Lease = l
		if b.rules.Loaded != nil {
			b.rules.Loaded(l)
		}
	}
}
