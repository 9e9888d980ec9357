package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/reconcile"
	"github.com/sextant-net/sextant/internal/vnet"
)

// obedient is a kernel in which everything is as it is wished, at once.
type obedient struct{}

func (obedient) Want([]plan.Item)           {}
func (obedient) Errors() map[plan.Key]error { return nil }
func (obedient) Reconcile(context.Context, []plan.Item, []plan.Key) reconcile.Result[plan.Key] {
	return reconcile.Result[plan.Key]{}
}
func (obedient) Resync(context.Context, bool) (reconcile.Result[plan.Key], error) {
	return reconcile.Result[plan.Key]{}, nil
}

// quiet is a host on which nothing happens.
type quiet struct{ facts plan.Facts }

func (q *quiet) Facts() *plan.Facts           { return &q.facts }
func (q *quiet) Changed() <-chan watch.Change { return nil }
func (q *quiet) Own() func()                  { return func() {} }

// forgetful takes everything and keeps nothing.
type forgetful struct{ Store }

func (forgetful) Observe(context.Context, []vnet.Object) error { return nil }
func (forgetful) Claim(_ context.Context, put []vnet.Object, release []vnet.Ref) []error {
	return make([]error, len(put)+len(release))
}

// newLarge returns an agent whose loop the test plays.
func newLarge(b *testing.B) *Agent {
	b.Helper()
	q := &quiet{facts: plan.Facts{Features: map[string]bool{vnet.FeatureIPv6: true}, Links: map[string]plan.Link{}}}
	a, err := New(Config{
		Host: "h1", Kernel: obedient{}, Finder: q, Store: forgetful{}, DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1},
		InNS: func(string, func() error) error { return errors.New("no sockets here") },
	})
	if err != nil {
		b.Fatal(err)
	}
	a.takeFacts()
	return a
}

// largeNetwork is a network as the store tells it.
func largeNetwork(i int) []vnet.Object {
	id := vnet.ID(fmt.Sprintf("%08x-0000-4000-8000-000000000001", i))
	four := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
	six := netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x12, 6: byte(i >> 8), 7: byte(i)})
	return []vnet.Object{
		&vnet.Network{
			Meta: vnet.Meta{ID: id, Name: fmt.Sprintf("net%d", i), Project: "p1"}, Bridge: fmt.Sprintf("sx%d", i), Number: i + 1,
			MAC: vnet.MAC{0x52, 0x54, 0, 0, byte(i >> 8), byte(i)}, Domain: fmt.Sprintf("net%d.internal", i), Admit: vnet.AdmitAny,
			IPv4: vnet.FamilyPolicy{Mode: vnet.EgressAuto}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressAuto},
			LeaseTime: vnet.Duration(vnet.DefaultLease),
		},
		&vnet.Activation{Meta: vnet.Meta{ID: id + "a"}, Network: id, Host: "h1", Started: true},
		&vnet.Subnet{
			Meta: vnet.Meta{ID: id + "4"}, Network: id, Family: vnet.IPv4, Source: vnet.SourceFixed,
			Prefix: netip.PrefixFrom(four, 24), Guests: vnet.GuestsDHCP, Primary: true,
		},
		&vnet.Subnet{
			Meta: vnet.Meta{ID: id + "6"}, Network: id, Family: vnet.IPv6, Source: vnet.SourceFixed,
			Prefix: netip.PrefixFrom(six, 64), Guests: vnet.GuestsStateful, Primary: true,
		},
	}
}

// largeLease is the n-th lease of the i-th network: every other one is DHCPv6's.
func largeLease(i, n int, now time.Time) *vnet.Lease {
	id := fmt.Sprintf("%08x-0000-4000-8000-000000000001", i)
	mac := vnet.MAC{0x52, 0x54, byte(i >> 8), byte(i), 0, byte(n / 2)}
	l := &vnet.Lease{
		Meta:    vnet.Meta{ID: vnet.ID(fmt.Sprintf("%08x-%04x-4000-9000-000000000002", i, n)), Project: vnet.ID([]byte("p1")), Created: now, Updated: now, Revision: int64(i*100 + n)},
		Network: vnet.ID(id), Host: string([]byte("h1")), MAC: mac, Hostname: fmt.Sprintf("guest-%d-%d", i, n/2), Expires: now.Add(time.Hour),
	}
	if n%2 == 0 {
		l.Address = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(n + 2)})
		l.Subnet, l.Family, l.How, l.HostPart = vnet.ID(id+"4"), vnet.IPv4, vnet.HowDHCPv4, uint64(n+2)
		l.Client = fmt.Sprintf("01%012x", n)
		return l
	}
	l.Address = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x12, 6: byte(i >> 8), 7: byte(i), 8: 0x12, 14: 0x31, 15: byte(n)})
	l.Subnet, l.Family, l.How, l.IAID = vnet.ID(id+"6"), vnet.IPv6, vnet.HowDHCPv6, uint32(n)
	l.DUID = fmt.Sprintf("00:01:00:01:2c:10:%02x:%02x:52:54:00:00:00:%02x", byte(i>>8), byte(i), n)
	return l
}

// live is the heap in use, all garbage collected.
func live() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory says what a network and a lease cost the agent. It asserts
// nothing; with SEXTANT_HEAP=FILE it writes a heap profile.
func BenchmarkMemory(b *testing.B) {
	const networks, each = 1000, 100
	for range b.N {
		a := newLarge(b)
		begun := live()
		u := vnet.Update{Reset: true, Revision: 1, Put: []vnet.Object{
			&vnet.Installation{ULA: netip.MustParsePrefix("fd12::/48")}, &vnet.Project{Meta: vnet.Meta{ID: "p1", Name: "default"}},
		}}
		for i := range networks {
			u.Put = append(u.Put, largeNetwork(i)...)
		}
		a.take(u)
		u.Put = nil
		a.work(context.Background(), true)
		if n := len(a.srv.services); n != networks {
			b.Fatalf("%d networks are served", n)
		}
		a.rep.queue = map[vnet.ID]vnet.Object{}
		a.ears.refresh()
		made := live()
		now := time.Now().Round(0).UTC()
		for n := range each {
			for i := range networks {
				a.take(vnet.Update{Revision: int64(i), Put: []vnet.Object{largeLease(i, n, now)}})
			}
		}
		for i := range networks {
			a.ears.refresh()
			a.late = newLate()
			a.zones[vnet.ID(fmt.Sprintf("%08x-0000-4000-8000-000000000001", i))] = false
		}
		a.work(context.Background(), false)
		a.rep.queue = map[vnet.ID]vnet.Object{}
		given := live()
		b.ReportMetric((made-begun)/networks, "B/network")
		b.ReportMetric((given-made)/(networks*each), "B/lease")
		if file := os.Getenv("SEXTANT_HEAP"); file != "" {
			f, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			if err := errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close()); err != nil {
				b.Fatal(err)
			}
		}
		runtime.KeepAlive(a)
		if err := errors.Join(a.srv.close()...); err != nil {
			b.Fatal(err)
		}
	}
}
