package lease

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Admits reports whether somebody without a port or reservation may have a
// dynamic address.
func (b *Book) Admits() bool { return b.svc.Admit == vnet.AdmitAny }

// Gives reports whether new dynamic addresses come from the subnet.
func (b *Book) Gives(sub *plan.Subnet) bool {
	return b.Serves(sub) && !sub.Deprecated && b.pools[sub.ID] != nil
}

// Choose returns a dynamic address of a subnet that gives some: the one that
// the client has or had, else the first of its wishes that is free, else, if
// fresh, one from the pool.
func (b *Book) Choose(client string, sub *plan.Subnet, wishes []netip.Addr, fresh bool, now time.Time) (netip.Addr, bool) {
	if e := b.table.Find(client, sub.ID); e != nil && b.Usable(sub, e.Lease.Address) {
		return e.Lease.Address, true
	}
	for _, a := range wishes {
		if b.free(sub, a) {
			return a, true
		}
	}
	if !fresh {
		return netip.Addr{}, false
	}
	return b.pools[sub.ID].pick(client, now,
		func(a netip.Addr) bool { return b.free(sub, a) },
		func() (netip.Addr, bool) {
			return b.table.oldestIdle(sub.ID, func(a netip.Addr) bool { return b.Usable(sub, a) })
		})
}

// Usable reports whether the address may be a dynamic one of the subnet.
func (b *Book) Usable(sub *plan.Subnet, a netip.Addr) bool {
	p := b.pools[sub.ID]
	return p != nil && b.ours(a) && p.contains(a) && a != sub.Gateway && a != sub.Router &&
		!slices.Contains(sub.Reserved, a) && !special(sub.Prefix, a) && !b.Owned(a)
}

// free reports whether the address is usable and nothing is known of it.
func (b *Book) free(sub *plan.Subnet, a netip.Addr) bool {
	return b.table.At(a) == nil && b.Usable(sub, a)
}

// special reports whether nobody may get the address of the prefix: it is
// reserved, or was made from a MAC and belongs to whoever has that MAC.
func special(p netip.Prefix, a netip.Addr) bool {
	return ipam.ReservedIn(p, a) || a.Is6() && vnet.InterfaceID(a)>>24&0xffff == 0xfffe
}

// Offer keeps an address for a client for a short while. Of the lease, it
// takes address and subnet and what names the client.
func (b *Book) Offer(l vnet.Lease, client string, now time.Time) {
	b.table.Put(&Entry{Lease: l, Client: client, State: Offered, Until: now.Add(OfferTime)})
}

// Bind enters a lease that was claimed.
func (b *Book) Bind(l vnet.Lease, client string) {
	b.table.Put(&Entry{Lease: l, Client: client, State: Bound, Until: l.Expires})
}

// Avoid keeps an address back for a while whose claim failed because somebody
// else has it.
func (b *Book) Avoid(a netip.Addr, subnet vnet.ID, now time.Time) {
	b.table.Put(&Entry{Lease: vnet.Lease{Address: a, Subnet: subnet}, State: Foreign, Until: now.Add(foreignTime)})
}

// Decline keeps an address back that its client found in use elsewhere, and
// returns the lease that says so to everybody.
func (b *Book) Decline(e *Entry, now time.Time) vnet.Lease {
	l := e.Lease
	l.Network, l.Project, l.Host = b.svc.Network, b.svc.Project, b.rules.Host
	l.Family, l.How, l.Declined, l.Expires = b.rules.Family, b.rules.How, true, now.Add(Quarantine)
	b.table.Put(&Entry{Lease: l, State: Declined, Until: l.Expires})
	return l
}

// End makes an entry idle and returns its lease as it ended.
func (b *Book) End(e *Entry, now time.Time) vnet.Lease {
	l := e.Lease
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
