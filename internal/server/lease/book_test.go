package lease

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func subnet(prefix string, ranges ...vnet.Range) plan.Subnet {
	p := netip.MustParsePrefix(prefix)
	f := vnet.IPv6
	if p.Addr().Is4() {
		f = vnet.IPv4
	}
	return plan.Subnet{ID: vnet.ID(prefix), Family: f, Prefix: p, Gateway: p.Addr().Next(), Ranges: ranges}
}

func newTestBook(subnets ...plan.Subnet) *Book {
	b := NewBook(Rules{
		Family: subnets[0].Family, How: "test",
		Serves: func(*plan.Subnet) bool { return true },
		Client: func(b []byte, l *pack.Lease) []byte { return l.AppendClient(b) },
		Key:    func(r *vnet.Reservation) Key { return Key{MAC: r.MAC} },
	})
	b.Set(plan.Service{Network: "net", Admit: vnet.AdmitAny, Subnets: subnets})
	return b
}

// give is what a server does for a client: choose, and bind what was chosen.
func (b *Book) give(client string, now time.Time) (netip.Addr, bool) {
	sub := &b.svc.Subnets[0]
	a, ok := b.Choose(client, sub, nil, true, now)
	if ok {
		l := b.Lease(a, sub.ID, now.Add(time.Hour))
		l.Client = client
		b.Bind(l, client)
	}
	return a, ok
}

func TestUsable(t *testing.T) {
	for _, tc := range []struct {
		prefix, address string
		want            bool
	}{
		{"2001:db8::/64", "2001:db8::2", true},
		{"2001:db8::/64", "2001:db8::", false},                    // RFC 4291 section 2.6.1
		{"2001:db8::/64", "2001:db8::1", false},                   // the gateway's
		{"2001:db8::/64", "2001:db8:0:1::2", false},               // another subnet
		{"2001:db8::/64", "2001:db8::5054:ff:feaa:1", false},      // made from a MAC
		{"2001:db8::/64", "2001:db8::fdff:ffff:ffff:ff85", false}, // RFC 2526
		{"2001:db8::/127", "2001:db8::", true},                    // RFC 6164
		{"2001:db8::/64", "192.0.2.9", false},
		{"192.0.2.0/24", "192.0.2.2", true},
		{"192.0.2.0/24", "192.0.2.0", false},
		{"192.0.2.0/24", "192.0.2.255", false},
		{"192.0.2.0/31", "192.0.2.0", true}, // RFC 3021
		{"192.0.2.0/24", "2001:db8::2", false},
	} {
		b := newTestBook(subnet(tc.prefix))
		if got := b.Usable(&b.svc.Subnets[0], ip(tc.address)); got != tc.want {
			t.Errorf("%s in %s: %v, want %v", tc.address, tc.prefix, got, tc.want)
		}
	}
}

// Hashes are a promise to clients of servers that have forgotten everything.
func TestHashNeverChanges(t *testing.T) {
	if a, b := hash("mac:52:54:00:00:00:01", 0), hash("mac:52:54:00:00:00:01", 15); a != 0xce6910f8a37db55c || b != 0x36026b1fc0b8c315 {
		t.Errorf("%#x %#x", a, b)
	}
}

func TestPoolGivesEveryAddressOnce(t *testing.T) {
	for prefix, want := range map[string]int{"2001:db8::/118": 1022, "192.0.2.0/24": 253} {
		b := newTestBook(subnet(prefix))
		seen := make(map[netip.Addr]bool)
		for i := range want {
			a, ok := b.give(fmt.Sprint(i), start)
			if !ok || seen[a] {
				t.Fatalf("%s: client %d got %v (again: %v)", prefix, i, a, seen[a])
			}
			seen[a] = true
		}
		if a, ok := b.give("late", start); ok {
			t.Errorf("%s: %v from an empty pool", prefix, a)
		}
		// The first that were freed are given again in that order, but one that
		// comes back gets its own.
		first := b.table.Find("7", vnet.ID(prefix)).Address()
		b.End(b.table.At(first), start)
		b.End(b.table.Find("9", vnet.ID(prefix)), start)
		if a, _ := b.give("9", start); a != b.table.Find("9", vnet.ID(prefix)).Address() || a == first {
			t.Errorf("%s: who came back got %v", prefix, a)
		}
		if a, _ := b.give("late", start); a != first {
			t.Errorf("%s: got %v, the longest idle is %v", prefix, a, first)
		}
	}
}

func TestWidePools(t *testing.T) {
	for _, prefix := range []string{"2001:db8::/32", "2001:db8::/64", "2001:db8::/65"} {
		s := subnet(prefix)
		p := newPool(&s)
		if size := p.spans[0].size; prefix != "2001:db8::/65" && size != math.MaxUint64 || prefix == "2001:db8::/65" && size != 1<<63 {
			t.Errorf("%s: %d addresses", prefix, size)
		}
		if a := p.at(p.spans[0].size - 1); !p.contains(a) || !s.Prefix.Contains(a) {
			t.Errorf("%s: the last address is %v", prefix, a)
		}
	}
	bad := subnet("2001:db8::/64", vnet.Range{First: ip("2001:db8::9"), Last: ip("2001:db8::1")}, vnet.Range{},
		vnet.Range{First: ip("192.0.2.1"), Last: ip("192.0.2.2")}, vnet.Range{First: ip("2001:db8:1::1"), Last: ip("2001:db8:1::2")})
	if p := newPool(&bad); len(p.spans) != 0 {
		t.Errorf("ranges that are none: %v", p.spans)
	}
}

func TestOwners(t *testing.T) {
	b := newTestBook(subnet("2001:db8::/64"))
	mac := vnet.MAC{0x52, 0x54, 0, 0, 0, 1}
	a := ip("2001:db8::77")
	b.SetReservations([]vnet.Reservation{{MAC: mac, Address: a}, {Address: ip("192.0.2.7")}})
	if got := slices.Collect(b.Reserved(Key{MAC: mac})); !slices.Equal(got, []netip.Addr{a}) || b.Owned(ip("192.0.2.7")) {
		t.Errorf("reserved %v", got)
	}
	b.SetGuest(plan.Guest{Port: "p", MAC: mac, Addresses: []plan.GuestAddress{{Address: a}}})
	if got := slices.Collect(b.Reserved(Key{MAC: mac})); len(got) != 0 {
		t.Errorf("a port's address is reserved for somebody else: %v", got)
	}
	b.Conflict(a, start)
	if n := len(slices.Collect(b.Conflicts(start.Add(Quarantine - 1)))); n != 1 {
		t.Errorf("%d conflicts", n)
	}
	b.RemoveGuest("p")
	if !b.Owned(a) || b.PortOf(mac) != "" || b.Guests() != 0 || len(slices.Collect(b.Conflicts(start))) != 0 {
		t.Error("a port that is gone is remembered, or the reservation is not")
	}
	b.SetReservations(nil)
	if b.Owned(a) {
		t.Error("a reservation that is gone is remembered")
	}
}

// Whatever happens, the indexes of the table agree with each other.
func TestTableProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newTestBook(subnet("2001:db8::/124"))
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "seconds")) * time.Second)
			client := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "client")
			e := b.table.Find(client, "2001:db8::/124")
			switch op := rapid.IntRange(0, 5).Draw(t, "op"); {
			case op == 0:
				b.give(client, now.Add(time.Duration(rapid.IntRange(-3000, 3000).Draw(t, "longer"))*time.Second))
			case op == 1:
				if a, ok := b.Choose(client, &b.svc.Subnets[0], nil, true, now); ok {
					b.Offer(vnet.Lease{Address: a, Subnet: "2001:db8::/124"}, client, now)
				}
			case op == 2:
				b.table.Expire(now)
			case op == 3 && e != nil:
				b.End(e, now)
			case op == 4 && e != nil:
				b.Decline(e, now)
			case op == 5:
				b.Avoid(ip("2001:db8::5"), "2001:db8::/124", now)
			}
			checkTable(t, b.table)
		}
	})
}

func (t *Table) countIdle() (n int) {
	for _, l := range t.idles {
		n += l.Len()
	}
	return n
}

func checkTable(t *rapid.T, tab *Table) {
	offers, idles := 0, 0
	for e := range tab.byAddress.All() {
		client := string(tab.clientOf(e))
		if tab.At(e.Address()) != e || client != "" && tab.Find(client, e.Lease.Subnet()) != e {
			t.Fatalf("entry %+v is not found by its client", e)
		}
		switch {
		case e.State == Offered:
			offers++
		case e.State == Idle:
			idles++
		}
		if queued := e.pos >= 0; queued != (e.State != Idle) || queued && (tab.deadlines[e.pos].e != e || tab.deadlines[e.pos].at > e.until) {
			t.Fatalf("entry %+v is in the wrong queue", e)
		}
	}
	clients := 0
	for e := range tab.byClient.All() {
		if clients++; tab.At(e.Address()) != e {
			t.Fatalf("client's entry %+v is not found by its address", e)
		}
	}
	checkHolders(t, tab)
	if offers != tab.Offers() || idles != tab.countIdle() || tab.Len() != idles+len(tab.deadlines) {
		t.Fatalf("%d offers of %d, %d idle of %d, %d entries", tab.Offers(), offers, tab.countIdle(), idles, tab.Len())
	}
}

// checkHolders: what is counted of a holder is what there is.
func checkHolders(t *rapid.T, tab *Table) {
	live, all := map[string]int{}, map[string]int{}
	for e := range tab.byAddress.All() {
		holder := string(tab.holderOf(e))
		all[holder]++
		if e.isLive() {
			live[holder]++
		}
	}
	delete(all, "")
	for holder, n := range all {
		found := 0
		for e := range tab.Of(holder) {
			if found++; tab.At(e.Address()) != e || string(tab.holderOf(e)) != holder {
				t.Fatalf("%q does not hold %+v", holder, e)
			}
		}
		if h := tab.head(holder); found != n || tab.Held(holder) != live[holder] || int(h.live+h.idle) != n {
			t.Fatalf("%q has %d, counted %d of %d live and %d", holder, n, tab.Held(holder), live[holder], found)
		}
	}
	if tab.holders.Len() != len(all) {
		t.Fatalf("%d holders, want %d", tab.holders.Len(), len(all))
	}
}

func BenchmarkGive(b *testing.B) {
	book := newTestBook(subnet("2001:db8::/64"))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		book.give(fmt.Sprint(i), start)
	}
}
