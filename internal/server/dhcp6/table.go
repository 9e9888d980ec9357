package dhcp6

import (
	"container/heap"
	"container/list"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// state is where a dynamic address is in its life.
type state int

const (
	offered  state = iota // promised to a client for a short while, in memory only
	bound                 // leased
	declined              // found in use elsewhere, kept back until its deadline
	foreign               // in use by somebody who did not ask us
	idle                  // expired or released, remembered for its last client
)

// entry is what is known of one dynamic address.
type entry struct {
	lease  vnet.Lease // valid in every state but offered, where it has address, subnet and client only
	client string     // key of the client
	state  state
	until  time.Time // deadline; zero: none
	pos    int       // in the heap, or -1
	elem   *list.Element
}

// clientKey finds a client's address in a subnet.
type clientKey struct {
	client string
	subnet vnet.ID
}

// table indexes a network's dynamic addresses by address, by client and by
// deadline. Every operation is O(log n) or better.
type table struct {
	byAddress map[netip.Addr]*entry
	byClient  map[clientKey]*entry
	deadlines deadlines
	// idles are the idle entries, the longest idle first.
	idles *list.List
	// offers counts the entries that are only offered.
	offers int
}

func newTable() *table {
	return &table{
		byAddress: make(map[netip.Addr]*entry), byClient: make(map[clientKey]*entry), idles: list.New(),
	}
}

// find returns the client's entry in a subnet, or nil.
func (t *table) find(client string, subnet vnet.ID) *entry {
	return t.byClient[clientKey{client, subnet}]
}

// put adds an entry, replacing whatever held its address and whatever else the
// client had in that subnet.
func (t *table) put(e *entry) {
	if old := t.byAddress[e.lease.Address]; old != nil {
		t.remove(old)
	}
	k := clientKey{e.client, e.lease.Subnet}
	if e.client != "" {
		if old := t.byClient[k]; old != nil {
			t.remove(old)
		}
		t.byClient[k] = e
	}
	t.byAddress[e.lease.Address] = e
	e.pos, e.elem = -1, nil
	if e.state == idle {
		e.elem = t.idles.PushBack(e)
		return
	}
	if e.state == offered {
		t.offers++
	}
	if !e.until.IsZero() {
		heap.Push(&t.deadlines, e)
	}
}

// remove forgets an entry.
func (t *table) remove(e *entry) {
	t.unlink(e)
	if t.byAddress[e.lease.Address] == e {
		delete(t.byAddress, e.lease.Address)
	}
	if k := (clientKey{e.client, e.lease.Subnet}); t.byClient[k] == e {
		delete(t.byClient, k)
	}
}

// unlink takes an entry out of the queues of its state.
func (t *table) unlink(e *entry) {
	if e.state == offered {
		t.offers--
	}
	if e.pos >= 0 {
		heap.Remove(&t.deadlines, e.pos)
	}
	if e.elem != nil {
		t.idles.Remove(e.elem)
		e.elem = nil
	}
}

// release makes an entry idle: free for others, kept for its client while
// there is room. What was only offered or never had a client is forgotten.
func (t *table) release(e *entry) {
	if e.state == offered || e.client == "" || e.state == declined || e.state == foreign {
		t.remove(e)
		return
	}
	t.unlink(e)
	e.state, e.until = idle, time.Time{}
	e.elem = t.idles.PushBack(e)
	if t.idles.Len() > maxIdle {
		t.remove(t.idles.Front().Value.(*entry))
	}
}

// expire releases every entry whose deadline has passed.
func (t *table) expire(now time.Time) {
	for len(t.deadlines) > 0 && !t.deadlines[0].until.After(now) {
		t.release(t.deadlines[0])
	}
}

// deadlines is a heap of entries by deadline.
type deadlines []*entry

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].until.Before(d[j].until) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].pos, d[j].pos = i, j
}

// Push is for package heap.
func (d *deadlines) Push(x any) {
	e := x.(*entry)
	e.pos = len(*d)
	*d = append(*d, e)
}

// Pop is for package heap.
func (d *deadlines) Pop() any {
	old := *d
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	e.pos = -1
	return e
}
