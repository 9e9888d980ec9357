package dhcp6

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
	"time"

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

// span is a run of addresses.
type span struct {
	first netip.Addr
	size  uint64 // at least 1; saturates
}

// newPool returns the pool of a subnet.
func newPool(sub *plan.Subnet) *pool {
	p := &pool{}
	for _, r := range spansOf(sub) {
		first, last := r.First, r.Last
		if !first.IsValid() || !last.IsValid() || first.Is4() != last.Is4() || last.Less(first) ||
			!sub.Prefix.Contains(first) || !sub.Prefix.Contains(last) {
			continue
		}
		size := distance(first, last)
		if size < math.MaxUint64 {
			size++
		}
		p.spans = append(p.spans, span{first, size})
	}
	return p
}

// contains reports whether the address may be given from the pool at all.
func (p *pool) contains(a netip.Addr) bool {
	for _, s := range p.spans {
		if !a.Less(s.first) && distance(s.first, a) < s.size && a.Is4() == s.first.Is4() {
			return true
		}
	}
	return false
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
			a := add(s.first, p.offset)
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
			return add(s.first, n)
		}
		n -= s.size
	}
	return p.spans[len(p.spans)-1].first
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

// distance returns b - a, which must not be negative, or the greatest number.
func distance(a, b netip.Addr) uint64 {
	if a.Is4() && b.Is4() {
		x, y := a.As4(), b.As4()
		return uint64(binary.BigEndian.Uint32(y[:]) - binary.BigEndian.Uint32(x[:]))
	}
	x, y := a.As16(), b.As16()
	xh, xl := binary.BigEndian.Uint64(x[:8]), binary.BigEndian.Uint64(x[8:])
	yh, yl := binary.BigEndian.Uint64(y[:8]), binary.BigEndian.Uint64(y[8:])
	if yl < xl {
		yh--
	}
	if yh != xh {
		return math.MaxUint64
	}
	return yl - xl
}

// spansOf returns the ranges of a subnet: its own, or all of it.
func spansOf(sub *plan.Subnet) []vnet.Range {
	if len(sub.Ranges) > 0 {
		return sub.Ranges
	}
	return defaultSpans(sub.Prefix.Masked())
}
