package lease

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Admits reports whether somebody without a port or reservation may have a
// dynamic address.
func (b *Book) Admits() bool { return b.svc.Admit == vnet.AdmitAny }

// Gives reports whether new dynamic addresses, or prefixes, come from the
// subnet.
func (b *Book) Gives(sub *plan.Subnet) bool {
	return (b.Serves(sub) || b.Delegates(sub)) && !sub.Deprecated && b.pools[placeOf(sub)] != nil
}

// Delegates reports whether guests get prefixes of the subnet.
func (b *Book) Delegates(sub *plan.Subnet) bool {
	return sub.Family == b.rules.Family && pieceOf(sub) > 0
}

// Piece is the length of the prefixes that guests get of a subnet, 0 for one
// of which they get addresses.
func (b *Book) Piece(sub *plan.Subnet) int { return pieceOf(sub) }

// Wish is what somebody wants of a subnet.
type Wish struct {
	Client string // key of the client
	// Holder is whom it counts against; empty: nobody.
	Holder string
	// Known says that the client is a port, for which the last prefixes of a
	// pool are kept.
	Known bool
	// Addresses are what the client would like, in this order.
	Addresses []netip.Addr
	// Fresh is false for who only prolongs what it has or names.
	Fresh bool
	// Beside is how many the holder is being given elsewhere.
	Beside int
	// Inherits, if set, says which of the holder's other entries a client that
	// has none takes over, or of those of Former, whom the holder was before.
	Inherits func(*Entry) bool
	Former   string
}

// Choose returns a dynamic address of a subnet that gives some: the one that
// the client has or had, else the first of its wishes that is free, else, if
// fresh, one from the pool.
func (b *Book) Choose(client string, sub *plan.Subnet, wishes []netip.Addr, fresh bool, now time.Time) (netip.Addr, bool) {
	return b.Pick(&Wish{Client: client, Addresses: wishes, Fresh: fresh, Known: true}, sub, now)
}

// Pick is Choose for a holder that may have so many: what the client has it
// keeps, also beyond the limit. Of a subnet that delegates it returns the first
// address of a prefix.
func (b *Book) Pick(w *Wish, sub *plan.Subnet, now time.Time) (netip.Addr, bool) {
	p := b.pools[placeOf(sub)]
	e := b.table.FindIn(w.Client, sub)
	if e == nil && w.Inherits != nil {
		if e = b.heirloom(w, w.Holder, sub); e == nil && w.Former != "" {
			e = b.heirloom(w, w.Former, sub)
		}
	}
	had := e != nil && e.Lease.Length() == p.piece && b.Usable(sub, e.Address())
	if had && e.State != Idle {
		return e.Address(), true
	}
	if !b.room(w) || !w.Known && b.keptForPorts(p, sub) {
		return netip.Addr{}, false
	}
	if had && !b.table.overlaps(p.prefix(e.Address()), string(b.table.clientOf(e))) {
		return e.Address(), true
	}
	for _, a := range w.Addresses {
		if b.free(sub, a) {
			return a, true
		}
	}
	if !w.Fresh {
		return netip.Addr{}, false
	}
	if a, ok := b.identified(w.Client, sub); ok && p.contains(a) && b.free(sub, a) {
		return a, true
	}
	return p.pick(w.Client, now,
		func(a netip.Addr) bool { return b.free(sub, a) },
		func() (netip.Addr, bool) {
			return b.table.oldestIdle(sub.ID, func(a netip.Addr) bool {
				return b.table.At(a).Lease.Length() == p.piece && b.Usable(sub, a) && !b.table.overlaps(p.prefix(a), "")
			})
		})
}

// heirloom returns what the client takes over in a subnet of what a holder has,
// or nil.
func (b *Book) heirloom(w *Wish, holder string, sub *plan.Subnet) *Entry {
	var found *Entry
	for e := range b.table.Of(holder) {
		if b.table.IsOf(e, "") || b.table.placeOf(e) != placeOf(sub) || e.Lease.Length() != b.pools[placeOf(sub)].piece || !w.Inherits(e) {
			continue
		}
		if found == nil || found.State == Idle && e.State == Bound {
			found = e
		}
	}
	return found
}

// room reports whether the holder may have one more.
func (b *Book) room(w *Wish) bool {
	limit := b.svc.DHCP.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	held := b.table.Held(w.Holder) + w.Beside
	if w.Former != "" {
		held += b.table.Held(w.Former)
	}
	return w.Holder == "" || held < limit
}

// keptForPorts reports whether the rest of a pool of prefixes is for ports:
// as many as there are ports, at most half of all.
func (b *Book) keptForPorts(p *pool, sub *plan.Subnet) bool {
	if p.piece == 0 {
		return false
	}
	size := p.size()
	return uint64(b.table.Live(sub.ID))+min(uint64(len(b.guests)), size/2) >= size
}

// Usable reports whether the address may be a dynamic one of the subnet, or
// the first of a prefix.
func (b *Book) Usable(sub *plan.Subnet, a netip.Addr) bool {
	p := b.pools[placeOf(sub)]
	if p == nil || !b.ours(a) || !p.contains(a) {
		return false
	}
	if p.piece > 0 {
		return b.usablePiece(sub, p.prefix(a))
	}
	return a != sub.Gateway && a != sub.Router && !slices.Contains(sub.Reserved, a) && !special(sub.Prefix, a) && !b.Owned(a)
}

// usablePiece reports whether nothing of the host's or of the network's own is
// in a piece.
func (b *Book) usablePiece(sub *plan.Subnet, piece netip.Prefix) bool {
	if piece.Contains(sub.Gateway) || slices.ContainsFunc(sub.Reserved, piece.Contains) || b.ownedInside(piece) {
		return false
	}
	for i := range b.svc.Subnets {
		o := &b.svc.Subnets[i]
		if placeOf(o) != placeOf(sub) && o.Family == sub.Family && o.Prefix.Overlaps(piece) {
			return false
		}
	}
	return true
}

// free reports whether the address is usable and nothing is known of it.
func (b *Book) free(sub *plan.Subnet, a netip.Addr) bool {
	return b.table.At(a) == nil && b.Usable(sub, a) && !b.table.overlaps(b.pools[placeOf(sub)].prefix(a), "")
}

// special reports whether nobody may get the address of the prefix: it is
// reserved, or was made from a MAC and belongs to whoever has that MAC.
func special(p netip.Prefix, a netip.Addr) bool {
	return ipam.ReservedIn(p, a) || a.Is6() && vnet.InterfaceID(a)>>24&0xffff == 0xfffe
}

// Offer keeps an address for a client for a short while. Of the lease, it
// takes address, length and subnet and what names the client.
func (b *Book) Offer(l vnet.Lease, client string, now time.Time) {
	b.OfferTo(Holder(&l, b.rules.How, client), l, client, now)
}

// OfferTo is Offer to a holder that the lease does not tell.
func (b *Book) OfferTo(holder string, l vnet.Lease, client string, now time.Time) {
	old := b.table.At(l.Address)
	e := b.entry(pack.Of(&l), client, holder, Offered, now.Add(OfferTime))
	e.given = old != nil && b.table.IsOf(old, client) && (old.State == Idle || old.given)
	b.table.Put(e)
}

// Remembers reports whether an offer of the subnet is worth being remembered:
// in wide pools no two clients are offered the same, and in the others no more
// than a quarter is kept for those that may never ask for it.
func (b *Book) Remembers(sub *plan.Subnet) bool {
	p := b.pools[placeOf(sub)]
	if p == nil || b.table.Offers() >= MaxOffers {
		return false
	}
	size := p.size()
	return size < rareOffers && uint64(b.table.Offers()) < max(1, size/4)
}

// Bind enters a lease that was claimed.
func (b *Book) Bind(l vnet.Lease, client string) {
	b.BindTo(Holder(&l, b.rules.How, client), l, client)
}

// BindTo is Bind to a holder that the lease does not tell.
func (b *Book) BindTo(holder string, l vnet.Lease, client string) {
	if e := b.table.At(l.Address); e != nil && b.table.IsOf(e, client) && string(b.table.holderOf(e)) == holder && e.Lease.Subnet() == l.Subnet && e.Lease.Length() == l.Length {
		p := e.Lease
		if !says(p, &l) {
			p = pack.Of(&l)
		}
		b.table.bind(e, p, client, holder, l.Expires) // as most of them were offered before
		return
	}
	b.table.Put(b.entry(pack.Of(&l), client, holder, Bound, l.Expires))
}

// Avoid keeps an address back for a while whose claim failed because somebody
// else has it.
func (b *Book) Avoid(a netip.Addr, subnet vnet.ID, now time.Time) {
	l := b.Lease(a, subnet, time.Time{})
	b.table.Put(b.entry(pack.Of(&l), "", "", Foreign, now.Add(foreignTime)))
}

// Decline keeps an address back that its client found in use elsewhere, and
// returns the lease that says so to everybody.
func (b *Book) Decline(e *Entry, now time.Time) vnet.Lease {
	l := b.Whole(e)
	l.Declined, l.Expires = true, now.Add(Quarantine)
	b.table.Put(b.entry(pack.Of(&l), "", string(b.table.holderOf(e)), Declined, l.Expires))
	return l
}

// End makes an entry idle and returns its lease as it ended.
func (b *Book) End(e *Entry, now time.Time) vnet.Lease {
	l := b.Whole(e)
	b.table.Release(e)
	l.Expires = now
	return l
}

// Lease returns a lease of an address without its client.
func (b *Book) Lease(a netip.Addr, subnet vnet.ID, expires time.Time) vnet.Lease {
	l := vnet.Lease{
		Network: b.svc.Network, Subnet: subnet, Host: b.rules.Host, Address: a, Family: b.rules.Family,
		How: b.rules.How, Expires: expires,
	}
	l.Project = b.svc.Project
	return l
}
