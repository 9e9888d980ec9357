package lease

import (
	"iter"
	"maps"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// owner is who an address is kept for.
type owner struct {
	port        vnet.ID // or
	reservation vnet.ID
}

// Key is what a reservation is found by: exactly one of MAC, DUID and Name is
// set.
type Key struct {
	MAC  vnet.MAC
	DUID string // hex with colons, in lower case
	IA   bool   // with DUID: only for the IA with this IAID
	IAID uint32
	Name string // one DNS label, in lower case
}

// SetGuest takes what is known of a port.
func (b *Book) SetGuest(g plan.Guest) {
	b.RemoveGuest(g.Port)
	b.guests[g.Port] = &g
	if !g.MAC.IsZero() {
		b.byMAC[g.MAC] = g.Port
	}
	if g.Relay != "" {
		b.byLine[LineBytes(g.Relay)] = g.Port
	}
	for _, a := range g.Addresses {
		if b.ours(a.Address) {
			b.owned[a.Address], b.ownedIn = owner{port: g.Port}, nil
		}
	}
}

// RemoveGuest forgets a port.
func (b *Book) RemoveGuest(port vnet.ID) {
	g, ok := b.guests[port]
	if !ok {
		return
	}
	delete(b.guests, port)
	if b.rules.Forgotten != nil {
		b.rules.Forgotten(port)
	}
	if b.byMAC[g.MAC] == port {
		delete(b.byMAC, g.MAC)
	}
	if id := LineBytes(g.Relay); b.byLine[id] == port {
		delete(b.byLine, id)
	}
	for _, a := range g.Addresses {
		if b.owned[a.Address] == (owner{port: port}) {
			b.ownedIn = nil
			delete(b.owned, a.Address)
			delete(b.conflicts, a.Address)
		}
	}
	b.ownReserved()
}

// Guests returns how many ports are known.
func (b *Book) Guests() int { return len(b.guests) }

// Guest returns what is known of a port, only to be read, or nil.
func (b *Book) Guest(port vnet.ID) *plan.Guest { return b.guests[port] }

// PortOf returns the port with that MAC, or "".
func (b *Book) PortOf(mac vnet.MAC) vnet.ID { return b.byMAC[mac] }

// SetReservations replaces the network's reservations; those of the other
// family are passed over.
func (b *Book) SetReservations(rs []vnet.Reservation) {
	b.ownedIn = nil
	maps.DeleteFunc(b.owned, func(_ netip.Addr, o owner) bool { return o.port == "" })
	b.reservations, b.reserved = rs, make(map[Key][]int)
	for i, r := range rs {
		if k := b.rules.Key(&r); k != (Key{}) && b.ours(r.Address) {
			b.reserved[k] = append(b.reserved[k], i)
		}
	}
	b.ownReserved()
}

// ownReserved keeps reserved addresses that no port has.
func (b *Book) ownReserved() {
	for _, r := range b.reservations {
		if _, ok := b.owned[r.Address]; !ok && b.ours(r.Address) {
			b.owned[r.Address], b.ownedIn = owner{reservation: r.ID}, nil
		}
	}
}

// HasReservations reports whether anything is reserved.
func (b *Book) HasReservations() bool { return len(b.reserved) > 0 }

// Reserved returns the addresses of the key's reservations that no port has,
// in the order in which they were set.
func (b *Book) Reserved(k Key) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, i := range b.reserved[k] {
			if a := b.reservations[i].Address; b.owned[a].port == "" && !yield(a) {
				return
			}
		}
	}
}

// Owned reports whether an address is kept for a port or a reservation.
func (b *Book) Owned(a netip.Addr) bool { _, ok := b.owned[a]; return ok }

// ownedInside reports whether somebody owns an address of a piece.
func (b *Book) ownedInside(piece netip.Prefix) bool {
	if b.ownedIn == nil {
		b.ownedIn = make(map[netip.Prefix]int)
		for a := range b.owned {
			for _, c := range b.table.space.cuts {
				if c.prefix.Contains(a) {
					b.ownedIn[netip.PrefixFrom(a, c.length).Masked()]++
				}
			}
		}
	}
	return b.ownedIn[piece] > 0
}

// Conflict notes that a guest found its port's address in use elsewhere.
func (b *Book) Conflict(a netip.Addr, now time.Time) {
	if len(b.conflicts) < MaxOffers {
		b.conflicts[a] = now
	}
}

// Conflicts returns the addresses that were lately found in use elsewhere.
func (b *Book) Conflicts(now time.Time) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for a, at := range b.conflicts {
			if now.Sub(at) < Quarantine && !yield(a) {
				return
			}
		}
	}
}
