package agent

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// quick is how the servers claim: without the store where this host holds that
// part of the range, else with it.
type quick struct{ *claims }

// Commit asks that a lease become durable and unique.
func (q quick) Commit(l vnet.Lease, done func(error)) {
	if done != nil && q.owed.give(l, done) {
		return
	}
	q.asked(&l)
	q.claims.Commit(l, done)
}

// askedMany is after how many new leases that the store was asked for a network
// wants a part of its ranges, or more of it.
const askedMany = 4

// asked counts the new leases of each network that the store must be asked for.
func (c *claims) asked(l *vnet.Lease) {
	k := leaseKey{l.Network, l.Address}
	c.mu.Lock()
	many := false
	if l.Length == 0 && c.foreign[k] == "" && !c.knows(k) {
		c.strange[l.Network]++
		if many = c.strange[l.Network] == askedMany; many {
			delete(c.strange, l.Network)
		}
	}
	c.mu.Unlock()
	if many {
		c.wants(l.Network)
	}
}

// said is what we last said of a lease of ours.
type said struct {
	as      vnet.ID
	updated int64  // nanoseconds since 1970
	expires int64  // likewise; 0: never
	guest   uint32 // a checksum of whose it is
}

// told is what was last said of a lease of ours, by the store if held is set.
type told struct {
	said
	held *pack.Lease
}

// id is the lease's.
func (t *told) id() vnet.ID {
	if t.held != nil {
		return t.held.ID()
	}
	return t.as
}

// names reports whether the same guest has the lease.
func (t *told) names(l *vnet.Lease) bool {
	if t.held != nil {
		return t.held.SameGuest(l)
	}
	return t.guest == guestSum(l)
}

// knows reports whether an address is ours already; locked.
func (c *claims) knows(k leaseKey) bool {
	_, ok := c.last(k)
	return ok
}

func saidBy(l *vnet.Lease) said {
	k := said{as: l.ID, updated: l.Updated.UnixNano(), guest: guestSum(l)}
	if !l.Expires.IsZero() {
		k.expires = l.Expires.UnixNano()
	}
	return k
}

// guestSeed makes what guestSum is of this process only.
var guestSeed = maphash.MakeSeed()

// guestSum is a checksum of whose a lease is.
func guestSum(l *vnet.Lease) uint32 {
	var buf [192]byte
	b := append(buf[:0], l.MAC[:]...)
	b = binary.BigEndian.AppendUint32(b, l.IAID)
	for _, s := range [...]string{string(l.Port), l.DUID, l.Client, l.Hostname, string(l.How)} {
		b = append(append(b, s...), 0)
	}
	return uint32(maphash.Bytes(guestSeed, b))
}
