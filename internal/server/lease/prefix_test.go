package lease

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// pieces is a subnet of which guests get prefixes.
func pieces(id, prefix string, length int) plan.Subnet {
	return plan.Subnet{ID: vnet.ID(id), Family: vnet.IPv6, Prefix: netip.MustParsePrefix(prefix), Guests: vnet.GuestsDelegation, Delegate: length}
}

// take gives a client something of a subnet, as long as there is anything.
func (b *Book) take(w Wish, subnet vnet.ID, now time.Time) (netip.Prefix, bool) {
	sub := b.Subnet(subnet)
	a, ok := b.Pick(&w, sub, now)
	if !ok {
		return netip.Prefix{}, false
	}
	l := b.Lease(a, sub.ID, now.Add(time.Hour))
	l.Client, l.Length = w.Client, b.Piece(sub)
	b.BindTo(w.Holder, l, w.Client)
	return b.pools[placeOf(sub)].prefix(a), true
}

func TestPoolOfPrefixesGivesEachOnce(t *testing.T) {
	for _, s := range []plan.Subnet{pieces("a", "2001:db8::/48", 56), pieces("b", "2001:db8::/56", 64), pieces("c", "2001:db8::/56", 0)} {
		b := newTestBook(s)
		seen := make(map[netip.Prefix]bool)
		for i := range 256 {
			p, ok := b.take(Wish{Client: fmt.Sprint(i), Fresh: true}, s.ID, start)
			if !ok || seen[p] || p.Masked() != p || !s.Prefix.Contains(p.Addr()) || p.Bits() != max(s.Delegate, 56) && s.Delegate != 0 {
				t.Fatalf("%s: client %d got %v, %v", s.ID, i, p, ok)
			}
			seen[p] = true
		}
		if p, ok := b.take(Wish{Client: "late", Fresh: true}, s.ID, start); ok {
			t.Errorf("%v from an empty pool", p)
		}
	}
	for _, s := range []plan.Subnet{pieces("a", "2001:db8::/56", 48), pieces("b", "2001:db8::/32", 129)} {
		b := newTestBook(s)
		if p, ok := b.take(Wish{Client: "x", Fresh: true}, s.ID, start); ok {
			t.Errorf("/%d of %v: %v", s.Delegate, s.Prefix, p)
		}
	}
	one := newTestBook(pieces("a", "2001:db8::/56", 56))
	if p, ok := one.take(Wish{Client: "x", Fresh: true}, "a", start); !ok || p != netip.MustParsePrefix("2001:db8::/56") {
		t.Errorf("the whole: %v %v", p, ok)
	}
}

// Nothing that the network itself has is given away.
func TestPrefixesThatAreTaken(t *testing.T) {
	s := pieces("a", "2001:db8::/62", 64)
	s.Gateway, s.Reserved = ip("2001:db8:0:0::1"), []netip.Addr{ip("2001:db8:0:1::5")}
	b := newTestBook(s, subnet("2001:db8:0:2::/64"))
	p, ok := b.take(Wish{Client: "x", Fresh: true}, "a", start)
	if !ok || p != netip.MustParsePrefix("2001:db8:0:3::/64") {
		t.Errorf("got %v %v", p, ok)
	}
	b = newTestBook(pieces("a", "2001:db8::/63", 64))
	b.SetGuest(plan.Guest{Port: "p", Addresses: []plan.GuestAddress{{Address: ip("2001:db8::77")}}})
	if p, ok := b.take(Wish{Client: "x", Fresh: true}, "a", start); !ok || p != netip.MustParsePrefix("2001:db8:0:1::/64") {
		t.Errorf("got %v %v", p, ok)
	}
	b.RemoveGuest("p")
	if p, ok := b.take(Wish{Client: "y", Fresh: true}, "a", start); !ok || p != netip.MustParsePrefix("2001:db8::/64") {
		t.Errorf("after the port went: %v %v", p, ok)
	}
}

// Whatever is edited, what different clients have never overlaps.
func TestPrefixesNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newTestBook(pieces("a", "2001:db8::/56", 60))
		b.svc.DHCP.Limit = 1000
		now := start
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "seconds")) * time.Second)
			b.table.Expire(now)
			client := rapid.StringMatching("[a-h]").Draw(t, "client")
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0:
				s := pieces("a", "2001:db8::/56", rapid.SampledFrom([]int{56, 57, 60, 62, 64}).Draw(t, "length"))
				if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
					s.Guests, s.Delegate = vnet.GuestsStateful, 0
				}
				svc := b.svc
				svc.Subnets = []plan.Subnet{s}
				b.Set(svc)
			case 1:
				if e := b.table.Find(client, "a"); e != nil {
					b.End(e, now)
				}
			case 2:
				if e := b.table.Find(client, "a"); e != nil && e.State == Bound {
					b.Decline(e, now)
				}
			default:
				wish := netip.PrefixFrom(ip("2001:db8::").Next(), 60).Masked().Addr()
				b.take(Wish{Client: client, Holder: client, Known: true, Fresh: true, Addresses: []netip.Addr{wish}}, "a", now)
			}
			checkSpace(t, b)
		}
	})
}

func checkSpace(t *rapid.T, b *Book) {
	var live []netip.Prefix
	inside := make(map[netip.Prefix]int)
	lengths := make(map[int]int)
	for e := range b.table.byAddress.All() {
		if !e.isLive() {
			continue
		}
		a := e.Address()
		live = append(live, netip.PrefixFrom(a, e.bits()))
		if e.Lease.Length() > 0 {
			lengths[e.Lease.Length()]++
		}
		for _, c := range b.table.space.cuts {
			if e.bits() > c.length && c.prefix.Contains(a) {
				inside[netip.PrefixFrom(a, c.length).Masked()]++
			}
		}
	}
	for i, p := range live {
		if j := slices.IndexFunc(live[:i], p.Overlaps); j >= 0 {
			t.Fatalf("%v and %v overlap", p, live[j])
		}
	}
	if fmt.Sprint(inside) != fmt.Sprint(b.table.space.inside) || fmt.Sprint(lengths) != fmt.Sprint(b.table.space.lengths) {
		t.Fatalf("counted %v %v, there are %v %v", b.table.space.inside, b.table.space.lengths, inside, lengths)
	}
}

// A client whose prefix is of a length that is given no more gets another one;
// what it has until it renews is nobody else's meanwhile.
func TestPrefixOfAnotherLengthIsKeptBack(t *testing.T) {
	b := newTestBook(pieces("a", "2001:db8::/60", 64))
	old, _ := b.take(Wish{Client: "x", Fresh: true}, "a", start)
	svc := b.svc
	svc.Subnets = []plan.Subnet{pieces("a", "2001:db8::/60", 62)}
	b.Set(svc)
	for _, c := range []string{"x", "y", "z", "late"} {
		p, ok := b.take(Wish{Client: c, Fresh: true}, "a", start)
		if ok != (c != "late") || ok && p.Overlaps(old) {
			t.Errorf("%s got %v %v, x may still use %v", c, p, ok, old)
		}
	}
	now := start.Add(time.Hour)
	b.table.Expire(now)
	if p, ok := b.take(Wish{Client: "late", Fresh: true}, "a", now); !ok {
		t.Errorf("after its time: %v", p)
	}
}

func TestLimitOfAHolder(t *testing.T) {
	b := newTestBook(subnet("2001:db8::/64"))
	got := func(holder string, clients ...string) (n int) {
		for _, c := range clients {
			if _, ok := b.take(Wish{Client: c, Holder: holder, Fresh: true}, "2001:db8::/64", start); ok {
				n++
			}
		}
		return n
	}
	var many []string
	for i := range 2 * DefaultLimit {
		many = append(many, fmt.Sprint("client", i))
	}
	if n := got("one", many...); n != DefaultLimit || b.table.Held("one") != DefaultLimit {
		t.Errorf("%d addresses", n)
	}
	if n := got("two", "x", "y"); n != 2 {
		t.Errorf("another holder got %d", n)
	}
	if n := got("one", many[:3]...); n != 3 {
		t.Errorf("at its limit it keeps %d of 3", n)
	}
	b.Decline(b.table.Find(many[0], "2001:db8::/64"), start)
	if n := got("one", "new"); n != 0 {
		t.Error("declining gives room for more")
	}
	b.End(b.table.Find(many[1], "2001:db8::/64"), start)
	if n := got("one", "new", "newer"); n != 1 {
		t.Errorf("after a release %d more", n)
	}
}

// A restart changes nothing: who had what, what is kept back, and in which
// order the rest is used again.
func TestRestart(t *testing.T) {
	s := subnet("2001:db8::/64", vnet.Range{First: ip("2001:db8::10"), Last: ip("2001:db8::13")})
	b := newTestBook(s)
	leases := make(map[string]vnet.Lease)
	for i, c := range []string{"a", "b", "c", "d"} {
		sub := b.Subnet(s.ID)
		a, _ := b.Choose(c, sub, nil, true, start)
		l := b.Lease(a, sub.ID, start.Add(time.Duration(i+1)*time.Hour))
		l.Client = c
		b.Bind(l, c)
		leases[c] = l
	}
	d := b.Decline(b.table.Find("d", s.ID), start.Add(2*time.Hour+time.Minute))

	now := start.Add(2*time.Hour + 2*time.Minute) // those of a and b have expired
	b = newTestBook(s)
	for _, l := range []vnet.Lease{leases["a"], leases["b"], leases["c"], d} {
		b.Load(pack.Of(&l), now)
	}
	sub := b.Subnet(s.ID)
	if a, _ := b.Choose("b", sub, nil, true, now); a != leases["b"].Address {
		t.Errorf("b comes back to %v, had %v", a, leases["b"].Address)
	}
	if a, _ := b.Choose("new", sub, nil, true, now); a != leases["a"].Address {
		t.Errorf("a stranger gets %v, the longest idle is %v", a, leases["a"].Address)
	}
	b.give("new", now)
	b.give("newer", now)
	if a, ok := b.Choose("newest", sub, nil, true, now); ok {
		t.Errorf("a declined address is given: %v", a)
	}
	now = d.Expires.Add(time.Second)
	b.table.Expire(now)
	if a, ok := b.Choose("newest", sub, nil, true, now); !ok || a != d.Address {
		t.Errorf("after the quarantine: %v %v", a, ok)
	}
}

// What the store says of a lease soon after it was given changes nothing, and
// least of all for the worse.
func TestEcho(t *testing.T) {
	b := newTestBook(subnet("2001:db8::/64"))
	a, _ := b.give("x", start)
	e := b.table.At(a)
	l := b.Whole(e)
	l.Client = "x"
	b.Load(pack.Of(&l), start)
	earlier := l
	earlier.Expires = l.Expires.Add(-time.Minute)
	b.Load(pack.Of(&earlier), start)
	if got := b.table.At(a); got != e || !got.Until().Equal(start.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	for what, change := range map[string]func(*vnet.Lease){
		"longer": func(l *vnet.Lease) { l.Expires = l.Expires.Add(time.Hour) }, "declined": func(l *vnet.Lease) { l.Declined = true },
		"another's": func(l *vnet.Lease) { l.Client = "y" }, "named": func(l *vnet.Lease) { l.Hostname = "n" },
	} {
		b.Load(pack.Of(&l), start)
		before := b.table.At(a)
		n := l
		change(&n)
		if b.Load(pack.Of(&n), start); b.table.At(a) == before {
			t.Errorf("%s: not taken in", what)
		}
	}
}

// TestShare: an entry keeps the lease of others that says the same, and finds
// its client by it.
func TestShare(t *testing.T) {
	b := newTestBook(subnet("2001:db8::/64"))
	a, _ := b.give("x", start)
	e := b.table.At(a)
	l := b.Whole(e)
	l.ID, l.Updated = "l1", start
	theirs := pack.Of(&l)
	if b.Share(theirs); e.Lease != theirs || b.table.Find("x", "2001:db8::/64") != e {
		t.Error("it is not shared")
	}
	l.Expires = l.Expires.Add(time.Hour)
	if b.Bind(l, "x"); e.Lease != theirs || !e.Until().Equal(l.Expires) {
		t.Error("it is not shared any more once it was prolonged")
	}
	l.Hostname = "other"
	if b.Share(pack.Of(&l)); e.Lease != theirs {
		t.Error("what says something else is shared")
	}
}

// An offer that nobody takes up does not cost a client the memory of what it
// had.
func TestOfferKeepsMemory(t *testing.T) {
	b := newTestBook(subnet("2001:db8::/64"))
	a, _ := b.give("x", start)
	b.End(b.table.At(a), start)
	b.Offer(vnet.Lease{Address: a, Subnet: "2001:db8::/64"}, "x", start)
	b.table.Expire(start.Add(OfferTime + time.Second))
	if e := b.table.Find("x", "2001:db8::/64"); e == nil || e.State != Idle {
		t.Errorf("%+v", e)
	}
	b.Offer(vnet.Lease{Address: ip("2001:db8::99"), Subnet: "2001:db8::/64"}, "y", start)
	b.table.Expire(start.Add(OfferTime + time.Second))
	if b.table.Find("y", "2001:db8::/64") != nil {
		t.Error("what was only offered is remembered")
	}
}

func TestRemembers(t *testing.T) {
	for prefix, want := range map[string]int{"2001:db8::/64": 0, "2001:db8::/120": 64, "2001:db8::/113": MaxOffers, "2001:db8::/127": 1} {
		b := newTestBook(subnet(prefix))
		n := 0
		for i := range 3 * MaxOffers {
			sub := b.Subnet(vnet.ID(prefix))
			if !b.Remembers(sub) {
				break
			}
			n++
			b.Offer(vnet.Lease{Address: b.pools[placeOf(sub)].at(uint64(i)), Subnet: sub.ID}, fmt.Sprint(i), start)
		}
		if n != want {
			t.Errorf("%s: %d offers are remembered, want %d", prefix, n, want)
		}
	}
}

func TestLines(t *testing.T) {
	b := newTestBook(subnet("2001:db8::/64"))
	b.SetGuest(plan.Guest{Port: "p", Relay: "eth0/7"})
	b.SetGuest(plan.Guest{Port: "q", Relay: "0x0aff"})
	b.SetGuest(plan.Guest{Port: "r", Relay: "0xzz"})
	for id, want := range map[string]vnet.ID{"eth0/7": "p", "\x0a\xff": "q", "0x0aff": "", "0xzz": "r", "": ""} {
		if got := b.PortOfLine(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
	b.RemoveGuest("p")
	if got := b.PortOfLine("eth0/7"); got != "" {
		t.Errorf("a port that is gone: %q", got)
	}
}
