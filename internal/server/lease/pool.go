package lease

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
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
//
// A pool of pieces gives prefixes, each known by its first address.
type pool struct {
	spans []span
	piece int   // length of the pieces; 0: single addresses
	held  *pool // the part that is given first; nil: none
	// span and offset are where the sweep is; swept is when it last ended.
	span   int
	offset uint64
	swept  time.Time
}

// span is a range of addresses, or a prefix that pieces are cut from.
type span struct {
	vnet.Range
	whole netip.Prefix // with pieces
	size  uint64       // addresses or pieces, at least 1; saturates
}

// newPool returns the pool of a subnet: its ranges, or all of it.
func newPool(sub *plan.Subnet) *pool {
	if n := pieceOf(sub); n > 0 {
		p := &pool{piece: n}
		if count, _ := ipam.SubnetCount(sub.Prefix, n); count > 0 {
			p.spans = []span{{ipam.RangeOf(sub.Prefix), sub.Prefix.Masked(), count}}
		}
		return p
	}
	ranges := sub.Ranges
	if len(ranges) == 0 {
		ranges = []vnet.Range{ipam.RangeOf(sub.Prefix)}
	}
	p := &pool{spans: spansOf(sub.Prefix, ranges)}
	if held := spansOf(sub.Prefix, sub.Held); len(held) > 0 {
		p.held = &pool{spans: held}
	}
	return p
}

func spansOf(p netip.Prefix, ranges []vnet.Range) []span {
	var out []span
	for _, r := range ranges {
		if n := ipam.Size(r); n > 0 && p.Contains(r.First) && p.Contains(r.Last) {
			out = append(out, span{Range: r, size: n})
		}
	}
	return out
}

// pieceOf is the length of the prefixes that guests get of a subnet; 0: none.
func pieceOf(sub *plan.Subnet) int {
	switch {
	case sub.Guests != vnet.GuestsDelegation || !sub.Prefix.Addr().Is6():
		return 0
	case sub.Delegate == 0:
		return max(defaultPiece, sub.Prefix.Bits())
	}
	return sub.Delegate
}

// contains reports whether the address may be given from the pool at all.
func (p *pool) contains(a netip.Addr) bool {
	for i := range p.spans {
		if p.spans[i].Contains(a) {
			return p.piece == 0 || netip.PrefixFrom(a, p.piece).Masked().Addr() == a
		}
	}
	return false
}

// prefix is what is given with an address of the pool.
func (p *pool) prefix(a netip.Addr) netip.Prefix {
	if p.piece > 0 {
		return netip.PrefixFrom(a, p.piece)
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// size is how much there is in the pool; it saturates.
func (p *pool) size() uint64 {
	total := uint64(0)
	for i := range p.spans {
		if total += p.spans[i].size; total < p.spans[i].size {
			return math.MaxUint64
		}
	}
	return total
}

// at returns the n-th address of a span.
func (s *span) at(piece int, n uint64) netip.Addr {
	if piece == 0 {
		return add(s.First, n)
	}
	p, err := ipam.NthSubnet(s.whole, piece, n)
	if err != nil {
		return s.First
	}
	return p.Addr()
}

// pick returns a free address for the client. free tells whether an address
// may be given and nothing is known of it; reuse returns an address that is
// idle, if there is one.
func (p *pool) pick(client string, now time.Time, free func(netip.Addr) bool, reuse func() (netip.Addr, bool)) (netip.Addr, bool) {
	if p.held != nil {
		none := func() (netip.Addr, bool) { return netip.Addr{}, false }
		if a, ok := p.held.pick(client, now, free, none); ok {
			return a, true
		}
	}
	total := p.size()
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
			s := &p.spans[p.span]
			a := s.at(p.piece, p.offset)
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
	for i := range p.spans {
		s := &p.spans[i]
		if n < s.size {
			return s.at(p.piece, n)
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
