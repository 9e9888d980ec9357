package pack

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// seed keeps guests from choosing what collides.
var seed = maphash.MakeSeed()

// HashID is what leases are found by in a Set that ByID makes.
func HashID(id vnet.ID) uint64 {
	if u, ok := uuidOf(id); ok || id == "" {
		return maphash.Bytes(seed, u[:])
	}
	return maphash.String(seed, string(id))
}

// ByID makes a set of leases that are found by their IDs.
func ByID() *Set[Lease] {
	return NewSet(func(p *Lease) uint64 {
		if odd := p.odd(); odd != nil {
			return HashID(odd.ID)
		}
		return maphash.Bytes(seed, p.id[:])
	})
}

// HashAddress is a hash of an address.
func HashAddress(a netip.Addr) uint64 {
	b := a.As16()
	return maphash.Bytes(seed, b[:])
}

// Compare orders leases by age, those of one moment by ID.
func Compare(a, b *Lease) int {
	if (a.flags|b.flags)&flagOdd != 0 {
		return cmp.Or(a.made().Compare(b.made()), cmp.Compare(a.ID(), b.ID()))
	}
	return cmp.Or(cmp.Compare(a.created, b.created), bytes.Compare(a.id[:], b.id[:]))
}

func (p *Lease) made() time.Time {
	if odd := p.odd(); odd != nil {
		return odd.Created
	}
	return timeOf(p.created)
}

// IsAt reports whether the lease is of that address of that network.
func (p *Lease) IsAt(network vnet.ID, a netip.Addr) bool {
	return p.Address() == a && p.Network() == network
}

// HashAt is what leases are found by in a Set that ByAddress makes.
func HashAt(network vnet.ID, a netip.Addr) uint64 {
	return HashAddress(a) ^ maphash.String(seed, string(network))
}

// ByAddress makes a set of leases that are found by network and address.
func ByAddress() *Set[Lease] {
	return NewSet(func(p *Lease) uint64 { return HashAt(p.Network(), p.Address()) })
}
