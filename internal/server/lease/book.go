package lease

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Rules are what the families' protocols differ in. All are required but
// Forgotten, Loaded and Changed.
type Rules struct {
	Family vnet.Family
	How    vnet.How // what leases of the protocol say of themselves
	Host   string   // likewise; may be empty
	// Serves reports whether guests of a subnet of the family get addresses by
	// the protocol.
	Serves func(*plan.Subnet) bool
	// Client appends the key of a lease's client to b.
	Client func(b []byte, l *pack.Lease) []byte
	// Key is what a reservation is found by; zero: by nothing.
	Key func(*vnet.Reservation) Key
	// Forgotten, if set, is told of a port that goes or changes, and Loaded of
	// a lease that was made durable earlier.
	Forgotten func(port vnet.ID)
	Loaded    func(*pack.Lease)
	// Changed, if set, is told that the wish of the network is another one; old
	// is what it was.
	Changed func(old *plan.Service)
}

// Book is what is known of the addresses of one network in one family.
type Book struct {
	rules   *Rules
	svc     plan.Service
	stopped bool // since the last Set
	pools   map[place]*pool
	shapes  map[place]plan.Subnet // what each pool was made of
	table   *Table

	guests map[vnet.ID]*plan.Guest
	byMAC  map[vnet.MAC]vnet.ID
	byLine map[string]vnet.ID // as LineBytes has it
	owned  map[netip.Addr]owner
	// ownedIn counts the owned addresses in each piece of the pools of
	// prefixes; nil: to be counted again.
	ownedIn map[netip.Prefix]int

	reservations []vnet.Reservation
	reserved     map[Key][]int
	// conflicts are addresses of ports that a guest found in use elsewhere.
	conflicts map[netip.Addr]time.Time
}

// NewBook returns the book of a network of which nothing is known.
func NewBook(r Rules) *Book {
	return &Book{
		rules: &r, pools: make(map[place]*pool), shapes: make(map[place]plan.Subnet), table: newTable(&r),
		guests: make(map[vnet.ID]*plan.Guest), byMAC: make(map[vnet.MAC]vnet.ID),
		byLine: make(map[string]vnet.ID), owned: make(map[netip.Addr]owner),
		conflicts: make(map[netip.Addr]time.Time),
	}
}

// Leases returns b, for interfaces of what b is embedded in.
func (b *Book) Leases() *Book { return b }

// Set takes the wish of the network.
func (b *Book) Set(svc plan.Service) {
	there := map[place]bool{}
	for i := range svc.Subnets {
		sub := &svc.Subnets[i]
		if sub.Family != b.rules.Family {
			continue
		}
		at := placeOf(sub)
		there[at] = true
		if old, known := b.shapes[at]; known && pieceOf(&old) == pieceOf(sub) && reflect.DeepEqual(old.Ranges, sub.Ranges) && slices.Equal(old.Held, sub.Held) {
			continue
		}
		b.pools[at], b.shapes[at] = newPool(sub), *sub
	}
	old := b.svc
	b.svc, b.stopped = svc, false
	for at := range b.pools {
		if !there[at] {
			delete(b.pools, at)
			delete(b.shapes, at)
		}
	}
	b.setCuts()
	if len(svc.Subnets) > 0 { // what is stopped comes back as it was
		b.table.setPlaces(placesOf(&svc, b.rules.Family))
	}
	if b.rules.Changed != nil {
		b.rules.Changed(&old)
	}
}

// setCuts tells the table which pieces are cut now.
func (b *Book) setCuts() {
	var cuts []cut
	for i := range b.svc.Subnets {
		s := &b.svc.Subnets[i]
		if p := b.pools[placeOf(s)]; p != nil && s.Family == b.rules.Family && p.piece > 0 {
			cuts = append(cuts, cut{s.Prefix.Masked(), p.piece})
		}
	}
	if !slices.Equal(cuts, b.table.space.cuts) {
		b.table.setCuts(cuts)
		b.ownedIn = nil
	}
}

// Stop ends the service; ports, reservations and leases are kept.
func (b *Book) Stop() {
	b.Set(plan.Service{})
	b.stopped = true
}

// Unneeded reports whether a network that is not served has nothing left that
// would be missed if it were served again.
func (b *Book) Unneeded() bool {
	return len(b.guests) == 0 && (b.stopped || b.table.Len() == 0)
}

// Service is the wish of the network, only to be read.
func (b *Book) Service() *plan.Service { return &b.svc }

// Table is the network's dynamic leases.
func (b *Book) Table() *Table { return b.table }

// ours reports whether the address is of the book's family.
func (b *Book) ours(a netip.Addr) bool {
	if b.rules.Family == vnet.IPv4 {
		return a.Is4()
	}
	return a.Is6()
}

// Subnet returns a subnet of the family by its ID, or nil; of several prefixes
// the first.
func (b *Book) Subnet(id vnet.ID) *plan.Subnet {
	for i := range b.svc.Subnets {
		if s := &b.svc.Subnets[i]; s.ID == id && s.Family == b.rules.Family {
			return s
		}
	}
	return nil
}

// SubnetAt returns a subnet of the family by its ID and what is in it, or nil:
// it may be served in several prefixes.
func (b *Book) SubnetAt(id vnet.ID, a netip.Addr) *plan.Subnet {
	for i := range b.svc.Subnets {
		if s := &b.svc.Subnets[i]; s.ID == id && s.Family == b.rules.Family && s.Prefix.Contains(a) {
			return s
		}
	}
	return nil
}

// SubnetOf returns the subnet of the family that an address is in, or nil. A
// prefix that guests get pieces of is on no link: it has no addresses.
func (b *Book) SubnetOf(a netip.Addr) *plan.Subnet {
	for i := range b.svc.Subnets {
		s := &b.svc.Subnets[i]
		if s.Family == b.rules.Family && s.Guests != vnet.GuestsDelegation && s.Prefix.Contains(a) {
			return s
		}
	}
	return nil
}

// Serves reports whether guests of the subnet get addresses by the protocol.
func (b *Book) Serves(s *plan.Subnet) bool { return s.Family == b.rules.Family && b.rules.Serves(s) }

// ServesAny reports whether guests of any subnet do.
func (b *Book) ServesAny() bool {
	for i := range b.svc.Subnets {
		if s := &b.svc.Subnets[i]; b.Serves(s) || b.Delegates(s) {
			return true
		}
	}
	return false
}

// Load takes a lease that is durable already; those of the other family are
// passed over, one with Meta.Deleting set is forgotten.
func (b *Book) Load(l *pack.Lease, now time.Time) {
	a := l.Address()
	if l.Family() != b.rules.Family || !b.ours(a) {
		return
	}
	old := b.table.At(a)
	if l.Ending() {
		// What was only seen says nothing of what we gave since.
		if old != nil && old.State != Offered && (l.How() == b.rules.How || old.State != Bound) {
			b.table.Release(old)
		}
		return
	}
	if b.rules.Loaded != nil {
		b.rules.Loaded(l)
	}
	client := string(b.rules.Client(nil, l))
	holder := string(b.rules.appendHolder(nil, l))
	if old != nil && client != "" && b.table.IsOf(old, client) {
		holder = string(b.table.holderOf(old)) // which the lease may not tell
	}
	if b.isEcho(old, l, client, holder) {
		b.Share(l)
		return
	}
	state, until := Bound, l.Expires()
	switch {
	case l.Declined():
		state, client = Declined, ""
	case l.How() != b.rules.How:
		if old != nil && old.State == Bound {
			return // what we gave, seen in use; or somebody who has no right to it
		}
		state, client = Foreign, ""
	}
	if !until.IsZero() && !until.After(now) {
		if client == "" {
			return
		}
		state, until = Idle, time.Time{}
	}
	b.table.Put(b.entry(l, client, holder, state, until))
}

// isEcho reports whether a lease says no more than is known: most of them come
// back from the store soon after they were claimed.
func (b *Book) isEcho(old *Entry, l *pack.Lease, client, holder string) bool {
	return old != nil && old.State == Bound && !l.Declined() && l.How() == b.rules.How &&
		b.table.IsOf(old, client) && string(b.table.holderOf(old)) == holder && old.Lease.Subnet() == l.Subnet() && old.Lease.Length() == l.Length() &&
		old.Lease.Via() == l.Via() && old.Lease.Hostname() == l.Hostname() && !l.Expires().IsZero() && !l.Expires().After(old.Until())
}
