package lease

import (
	"container/heap"
	"container/list"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Table indexes a network's dynamic addresses by address, by client, by holder
// and by deadline. Every operation is O(log n) or better.
type Table struct {
	rules     *Rules
	byAddress *pack.Set[Entry]
	byClient  *pack.Set[Entry] // and place; those of somebody
	places    places
	holders   *pack.Set[Entry] // the first of each holder
	deadlines deadlines
	// idles are the idle entries of each subnet, the longest idle first.
	idles  map[vnet.ID]*list.List
	lives  map[vnet.ID]int // entries of each subnet that are not idle
	offers int             // entries that are only offered
	space  space

	// Of the entry that was last looked at, and of the one whose holder's first
	// entry was last looked for.
	client, holder, wanted []byte
}

func newTable(r *Rules) *Table {
	t := &Table{
		rules: r, idles: make(map[vnet.ID]*list.List), lives: make(map[vnet.ID]int), space: newSpace(),
		byAddress: pack.NewSet(func(e *Entry) uint64 { return pack.HashAddress(e.Address()) }),
	}
	t.byClient = pack.NewSet(func(e *Entry) uint64 { return inPlace(maphash.Bytes(seed, t.clientOf(e)), t.placeOf(e)) })
	t.holders = pack.NewSet(func(e *Entry) uint64 { return maphash.Bytes(seed, t.holderOf(e)) })
	return t
}

// At returns what is known of an address, or nil.
func (t *Table) At(a netip.Addr) *Entry {
	return t.byAddress.Find(pack.HashAddress(a), func(e *Entry) bool { return e.Address() == a })
}

// Len returns how many addresses something is known of.
func (t *Table) Len() int { return t.byAddress.Len() }

// Offers returns how many addresses are only offered.
func (t *Table) Offers() int { return t.offers }

// Live returns how many addresses of a subnet are not free for others.
func (t *Table) Live(subnet vnet.ID) int { return t.lives[subnet] }

// Put adds an entry, replacing whatever held its address and whatever else the
// client had in that prefix of the subnet, or in one that is in service no
// longer: what it may still use, until it was to renew, is kept back for that
// long.
func (t *Table) Put(e *Entry) {
	if old := t.At(e.Address()); old != nil {
		t.Remove(old)
	}
	if client := string(t.clientOf(e)); client != "" {
		here := t.placeOf(e)
		t.supersede(client, here)
		t.supersede(client, place{subnet: here.subnet})
		t.byClient.Add(e)
	}
	t.byAddress.Add(e)
	e.pos, e.elem = -1, nil
	t.hold(e)
	t.enter(e)
}

// supersede takes from a client what it had in a place.
func (t *Table) supersede(client string, p place) {
	switch old := t.findAt(client, p); {
	case old != nil && old.State == Bound:
		t.leave(old)
		t.byClient.Remove(old)
		old.names, old.State = &names{"", string(t.holderOf(old))}, Foreign
		t.enter(old)
	case old != nil:
		t.Remove(old)
	}
}

// Remove forgets an entry.
func (t *Table) Remove(e *Entry) {
	t.leave(e)
	t.unhold(e)
	t.byAddress.Remove(e)
	t.byClient.Remove(e)
}

// enter puts an entry into the queues of its state.
func (t *Table) enter(e *Entry) {
	t.count(e, 1)
	if e.State == Idle {
		l := t.idles[e.Lease.Subnet()]
		if l == nil {
			l = list.New()
			t.idles[e.Lease.Subnet()] = l
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
	l := t.idles[e.Lease.Subnet()]
	if l.Remove(e.elem); l.Len() == 0 {
		delete(t.idles, e.Lease.Subnet())
	}
	e.elem = nil
}

// count adds an entry to, or takes it from, all that is counted.
func (t *Table) count(e *Entry, by int) {
	if h := t.headOf(e); h != nil {
		h.count(e, by)
	}
	if !e.isLive() {
		return
	}
	if e.State == Offered {
		t.offers += by
	}
	subnet := e.Lease.Subnet()
	if t.lives[subnet] += by; t.lives[subnet] == 0 {
		delete(t.lives, subnet)
	}
	t.space.count(e, by)
}

// Release makes an entry idle: free for others, kept for its client while
// there is room. What was only offered or never had a client is forgotten.
func (t *Table) Release(e *Entry) {
	if e.State == Offered && !e.given || t.IsOf(e, "") || e.State == Declined || e.State == Foreign ||
		!t.remembers(e) {
		t.Remove(e)
		return
	}
	t.leave(e)
	e.State, e.until = Idle, 0
	t.enter(e)
	if l := t.idles[e.Lease.Subnet()]; l.Len() > maxIdle {
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
		if a := elem.Value.(*Entry).Address(); usable(a) {
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
		if e.until > now.UnixNano() { // prolonged meanwhile
			t.deadlines[0].at = e.until
			heap.Fix(&t.deadlines, 0)
			continue
		}
		t.Release(e)
	}
}

// Next returns when Expire is to be called next, or earlier; zero: no entry ends.
func (t *Table) Next() time.Time {
	if len(t.deadlines) == 0 {
		return time.Time{}
	}
	return time.Unix(0, t.deadlines[0].at)
}

// bind makes an entry that is in the table a lease, or prolongs it. A deadline
// that only moves away is left in the heap until it comes.
func (t *Table) bind(e *Entry, l *pack.Lease, client, holder string, until time.Time) {
	t.count(e, -1)
	if e.elem != nil {
		t.forgetIdle(e)
	}
	t.setLease(e, l, client, holder)
	e.State, e.given = Bound, false
	e.setUntil(until)
	t.count(e, 1)
	switch {
	case e.pos < 0:
		t.await(e)
	case e.until == 0:
		heap.Remove(&t.deadlines, int(e.pos))
	case e.until < t.deadlines[e.pos].at:
		t.deadlines[e.pos].at = e.until
		heap.Fix(&t.deadlines, int(e.pos))
	}
}

// await puts an entry into the heap if it ends.
func (t *Table) await(e *Entry) {
	if e.until != 0 {
		heap.Push(&t.deadlines, deadline{e.until, e})
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
