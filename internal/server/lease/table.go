package lease

import (
	"container/heap"
	"container/list"
	"net/netip"
	"time"

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
// be read.
type Entry struct {
	Lease  Record
	Client string // key of the client; empty: nobody's
	// Holder is whom the address counts against: a port, a MAC or whatever the
	// client is known by; empty: nobody.
	Holder string
	State  State
	Until  time.Time // deadline; zero: none

	given      bool  // offered: the client had it before
	pos        int32 // in the heap, or -1
	elem       *list.Element
	next, prev *Entry // of the same holder
}

// live reports whether nobody else may have the address.
func (e *Entry) live() bool { return e.State != Idle }

// bits is the length of the prefix that the entry takes up.
func (e *Entry) bits() int {
	if e.Lease.Length > 0 {
		return e.Lease.Length
	}
	return e.Lease.Address.BitLen()
}

// clientKey finds a client's address in a subnet.
type clientKey struct {
	client string
	subnet vnet.ID
}

// Table indexes a network's dynamic addresses by address, by client, by holder
// and by deadline. Every operation is O(log n) or better.
type Table struct {
	byAddress map[netip.Addr]*Entry
	byClient  map[clientKey]*Entry
	holders   map[string]holding
	deadlines deadlines
	// idles are the idle entries of each subnet, the longest idle first.
	idles  map[vnet.ID]*list.List
	lives  map[vnet.ID]int // entries of each subnet that are not idle
	offers int             // entries that are only offered
	space  space
}

func newTable() *Table {
	return &Table{
		byAddress: make(map[netip.Addr]*Entry), byClient: make(map[clientKey]*Entry), holders: make(map[string]holding),
		idles: make(map[vnet.ID]*list.List), lives: make(map[vnet.ID]int), space: newSpace(),
	}
}

// At returns what is known of an address, or nil.
func (t *Table) At(a netip.Addr) *Entry { return t.byAddress[a] }

// Len returns how many addresses something is known of.
func (t *Table) Len() int { return len(t.byAddress) }

// Offers returns how many addresses are only offered.
func (t *Table) Offers() int { return t.offers }

// Live returns how many addresses of a subnet are not free for others.
func (t *Table) Live(subnet vnet.ID) int { return t.lives[subnet] }

// Find returns the client's entry in a subnet, or nil.
func (t *Table) Find(client string, subnet vnet.ID) *Entry {
	return t.byClient[clientKey{client, subnet}]
}

// Put adds an entry, replacing whatever held its address and whatever else the
// client had in that subnet: what it may still use, until it was to renew, is
// kept back for that long.
func (t *Table) Put(e *Entry) {
	if old := t.byAddress[e.Lease.Address]; old != nil {
		t.Remove(old)
	}
	k := clientKey{e.Client, e.Lease.Subnet}
	if e.Client != "" {
		switch old := t.byClient[k]; {
		case old != nil && old.State == Bound:
			t.leave(old)
			old.Client, old.State = "", Foreign
			t.enter(old)
		case old != nil:
			t.Remove(old)
		}
		t.byClient[k] = e
	}
	t.byAddress[e.Lease.Address] = e
	e.pos, e.elem = -1, nil
	t.hold(e)
	t.enter(e)
}

// Remove forgets an entry.
func (t *Table) Remove(e *Entry) {
	t.leave(e)
	t.unhold(e)
	if t.byAddress[e.Lease.Address] == e {
		delete(t.byAddress, e.Lease.Address)
	}
	if k := (clientKey{e.Client, e.Lease.Subnet}); t.byClient[k] == e {
		delete(t.byClient, k)
	}
}

// enter puts an entry into the queues of its state.
func (t *Table) enter(e *Entry) {
	t.count(e, 1)
	if e.State == Idle {
		l := t.idles[e.Lease.Subnet]
		if l == nil {
			l = list.New()
			t.idles[e.Lease.Subnet] = l
		}
		e.elem = l.PushBack(e)
		return
	}
	t.await(e)
}

// leave takes an entry out of them.
func (t *Table) leave(e *Entry) {
	t.count(e, -1)
	if e.pos >= 0 {
		heap.Remove(&t.deadlines, int(e.pos))
	}
	if e.elem != nil {
		t.forgetIdle(e)
	}
}

// forgetIdle takes an entry out of the idle ones.
func (t *Table) forgetIdle(e *Entry) {
	l := t.idles[e.Lease.Subnet]
	if l.Remove(e.elem); l.Len() == 0 {
		delete(t.idles, e.Lease.Subnet)
	}
	e.elem = nil
}

// count adds an entry to, or takes it from, all that is counted.
func (t *Table) count(e *Entry, by int) {
	if h, ok := t.holders[e.Holder]; ok {
		h.count(e, by)
		t.holders[e.Holder] = h
	}
	if !e.live() {
		return
	}
	if e.State == Offered {
		t.offers += by
	}
	if t.lives[e.Lease.Subnet] += by; t.lives[e.Lease.Subnet] == 0 {
		delete(t.lives, e.Lease.Subnet)
	}
	t.space.count(e, by)
}

// Release makes an entry idle: free for others, kept for its client while
// there is room. What was only offered or never had a client is forgotten.
func (t *Table) Release(e *Entry) {
	if e.State == Offered && !e.given || e.Client == "" || e.State == Declined || e.State == Foreign ||
		!t.remembers(e.Holder) {
		t.Remove(e)
		return
	}
	t.leave(e)
	e.State, e.Until = Idle, time.Time{}
	t.enter(e)
	if l := t.idles[e.Lease.Subnet]; l.Len() > maxIdle {
		t.Remove(l.Front().Value.(*Entry))
	}
}

// oldestIdle returns the address in the subnet that nobody has used for longest
// and that is usable. It looks at a bounded number of entries.
func (t *Table) oldestIdle(subnet vnet.ID, usable func(netip.Addr) bool) (netip.Addr, bool) {
	l := t.idles[subnet]
	if l == nil {
		return netip.Addr{}, false
	}
	elem := l.Front()
	for range sweepSteps {
		if elem == nil {
			break
		}
		if a := elem.Value.(*Entry).Lease.Address; usable(a) {
			return a, true
		}
		elem = elem.Next()
	}
	return netip.Addr{}, false
}

// Expire releases every entry whose deadline has passed.
func (t *Table) Expire(now time.Time) {
	for len(t.deadlines) > 0 && t.deadlines[0].at <= now.UnixNano() {
		e := t.deadlines[0].e
		if e.Until.After(now) { // prolonged meanwhile
			t.deadlines[0].at = e.Until.UnixNano()
			heap.Fix(&t.deadlines, 0)
			continue
		}
		t.Release(e)
	}
}

// bind makes an entry that is in the table a lease, or prolongs it. A deadline
// that only moves away is left in the heap until it comes.
func (t *Table) bind(e *Entry, l Record, until time.Time) {
	t.count(e, -1)
	if e.elem != nil {
		t.forgetIdle(e)
	}
	e.Lease, e.State, e.Until, e.given = l, Bound, until, false
	t.count(e, 1)
	switch {
	case e.pos < 0:
		t.await(e)
	case until.IsZero():
		heap.Remove(&t.deadlines, int(e.pos))
	case until.UnixNano() < t.deadlines[e.pos].at:
		t.deadlines[e.pos].at = until.UnixNano()
		heap.Fix(&t.deadlines, int(e.pos))
	}
}

// await puts an entry into the heap if it ends.
func (t *Table) await(e *Entry) {
	if !e.Until.IsZero() {
		heap.Push(&t.deadlines, deadline{e.Until.UnixNano(), e})
	}
}

// deadline is when an entry ends, at the earliest, in nanoseconds since 1970.
type deadline struct {
	at int64
	e  *Entry
}

// deadlines is a heap of entries by deadline.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].e.pos, d[j].e.pos = int32(i), int32(j)
}

// Push is for package heap.
func (d *deadlines) Push(x any) {
	n := x.(deadline)
	n.e.pos = int32(len(*d))
	*d = append(*d, n)
}

// Pop is for package heap.
func (d *deadlines) Pop() any {
	old := *d
	n := old[len(old)-1]
	old[len(old)-1] = deadline{}
	*d = old[:len(old)-1]
	n.e.pos = -1
	return n
}
