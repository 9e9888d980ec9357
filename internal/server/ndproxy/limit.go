package ndproxy

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// rate says how often something may happen: burst times at once, then one each
// every.
type rate struct {
	every time.Duration
	burst int
}

// Rates. Answers to one asker, one for each question, are not limited on the
// uplink: they amplify nothing, and a provider's router that comes back asks
// for all guests at once.
var (
	// guestRate is how often one MAC on a guests' link is listened to.
	guestRate = rate{time.Millisecond, 2000}
	// askerRate is how many questions one MAC may have relayed to the other
	// sides, and DAD likewise.
	askerRate = rate{20 * time.Millisecond, 100}
	// insideRate is how many frames guests get altogether for addresses that
	// nobody is known to have: a scan of the whole prefix makes no more.
	insideRate = rate{2 * time.Millisecond, 512}
	// outsideRate is the same for the uplink, whose provider may be picky.
	outsideRate = rate{10 * time.Millisecond, 256}
	// eventRate bounds events about duplicates.
	eventRate = rate{time.Second, 100}
	// DAD on the uplink is answered to all nodes there.
	defendRate = rate{2 * time.Millisecond, 512}
)

// bucket is when the last burst will be paid for.
type bucket time.Duration

// allow takes one out of the bucket.
func (b *bucket) allow(r rate, now time.Duration) bool {
	paid := max(time.Duration(*b), now)
	if paid-now >= time.Duration(r.burst)*r.every {
		return false
	}
	*b = bucket(paid + r.every)
	return true
}

// buckets are those of all askers, in a fixed amount of memory whoever asks:
// they are shared by a hash that nobody outside can foretell.
type buckets [1 << 10]bucket

// asker is who has a bucket.
type asker struct {
	side int
	mac  vnet.MAC
}

func (b *buckets) of(seed maphash.Seed, side int, mac vnet.MAC) *bucket {
	return &b[maphash.Comparable(seed, asker{side, mac})%uint64(len(b))]
}

// memory remembers something of addresses for a while, in a fixed amount of
// memory: an address that falls on another's place pushes it out, which costs a
// question.
type memory[V any] struct {
	seed  maphash.Seed
	cells [1 << 12]cell[V]
}

type memoryKey struct {
	side int
	addr netip.Addr
}

type cell[V any] struct {
	key   memoryKey
	value V
	until time.Duration // 0: empty
}

func (m *memory[V]) cell(side int, a netip.Addr) *cell[V] {
	return &m.cells[maphash.Comparable(m.seed, memoryKey{side, a})%uint64(len(m.cells))]
}

// get returns what is remembered of an address.
func (m *memory[V]) get(side int, a netip.Addr, now time.Duration) (v V, ok bool) {
	c := m.cell(side, a)
	if c.until <= now || c.key != (memoryKey{side, a}) {
		return v, false
	}
	return c.value, true
}

// put remembers until a moment.
func (m *memory[V]) put(side int, a netip.Addr, v V, until time.Duration) {
	*m.cell(side, a) = cell[V]{memoryKey{side, a}, v, until}
}

// drop forgets an address.
func (m *memory[V]) drop(side int, a netip.Addr) {
	if c := m.cell(side, a); c.key == (memoryKey{side, a}) {
		*c = cell[V]{}
	}
}
