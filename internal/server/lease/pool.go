package lease

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// hashTries is how many addresses derived from the client are tried before
	// the range is swept.
	hashTries = 16
	// sweepSteps bounds the work of one request.
	sweepSteps = 4096
	// sweepRest is how long a wholly swept pool is not swept again: until then
	// only idle addresses are given.
	sweepRest = time.Minute
)

// pool chooses dynamic addresses of one subnet. A client's addresses follow
// from its key, so that it is likely to get the same one even from a server
// that has forgotten everything; each address of the range is looked at once
// before those that others had are used again, the longest idle first.
type pool struct {
	spans []span
	// span and offset are where the sweep is; swept is when it last ended.
	span   int
	offset uint64
	swept  time.Time
}

// span is a range of addresses.
type span struct {
	vnet.Range
	size uint64 // at least 1; saturates
}

// newPool returns the pool of a subnet: its ranges, or all of it.
func newPool(sub *plan.Subnet) *pool {
	ranges := sub.Ranges
	if len(ranges) == 0 {
		ranges = []vnet.Range{ipam.RangeOf(sub.Prefix)}
	}
	p := &pool{}
	for _, r := range ranges {
		if n := ipam.Size(r); n > 0 && sub.Prefix.Contains(r.First) && sub.Prefix.Contains(r.Last) {
			p.spans = append(p.spans, span{r, n})
		}
	}
	return p
}

// contains reports whether the address may be given from the pool at all.
func (p *pool) contains(a netip.Addr) bool {
	return slices.ContainsFunc(p.spans, func(s span) bool { return s.Contains(a) })
}

// pick returns a free address for the client. free tells whether an address
// may be given and nothing is known of it; reuse returns an address that is
// idle, if there is one.
func (p *pool) pick(client string, now time.Time, free func(netip.Addr) bool, reuse func() (netip.Addr, bool)) (netip.Addr, bool) {
	total := uint64(0)
	for _, s := range p.spans {
		if total += s.size; total < s.size {
			total = math.MaxUint64
		}
	}
	if total == 0 {
		return netip.Addr{}, false
	}
	for i := range hashTries {
		if a := p.at(hash(client, i) % total); free(a) {
			return a, true
		}
	}
	if p.swept.IsZero() || now.Sub(p.swept) > sweepRest || now.Before(p.swept) {
		for range sweepSteps {
			if p.span == len(p.spans) {
				p.span, p.offset, p.swept = 0, 0, now
				break
			}
			s := p.spans[p.span]
			a := add(s.First, p.offset)
			if p.offset++; p.offset >= s.size {
				p.span, p.offset = p.span+1, 0
			}
			if free(a) {
				return a, true
			}
		}
	}
	return reuse()
}

// at returns the n-th address of the pool.
func (p *pool) at(n uint64) netip.Addr {
	for _, s := range p.spans {
		if n < s.size {
			return add(s.First, n)
		}
		n -= s.size
	}
	return p.spans[len(p.spans)-1].First
}

// hash is the i-th number of a client. It must never change: it is what makes
// addresses the same after everything was lost.
func hash(client string, i int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(client))
	_, _ = h.Write([]byte{byte(i)})
	// FNV's high bits are weak for short inputs: finish as SplitMix64 does.
	x := h.Sum64()
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// add returns a + n.
func add(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	low := binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[8:], low+n)
	if low+n < low {
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+1)
	}
	return netip.AddrFrom16(b)
}
