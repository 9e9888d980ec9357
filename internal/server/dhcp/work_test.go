package dhcp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// talker is an engine that has something to say.
type talker struct {
	mute
	say []Reply
}

func (t *talker) Work(time.Time) ([]Reply, time.Duration) { return t.say, time.Minute }

// wire is a transport that has one link.
type wire struct{ sent []netip.Addr }

func (*wire) Index(string) (int, error) { return 7, nil }
func (*wire) Join(string, int) error    { return nil }
func (*wire) Leave(int)                 {}
func (*wire) Close() error              { return nil }
func (w *wire) Send(index int, _ vnet.MAC, r Reply) error {
	if index == 7 {
		w.sent = append(w.sent, r.To)
	}
	return nil
}

// An engine that speaks by itself does so on its network's link.
func TestWork(t *testing.T) {
	w := &wire{}
	to := netip.MustParseAddr("fe80::7")
	e := &talker{newMute(vnet.IPv6)().(mute), []Reply{{To: to}}}
	s := newServer(Config{
		Name: "DHCP", Family: vnet.IPv6, Engine: func() Engine { return e },
		Open: func(func(func() error) error, func(...listen.Packet)) (Transport, error) { return w, nil },
	})
	s.SetNetwork(plan.Service{
		Network: "net", Link: "br0", Subnets: []plan.Subnet{{ID: "sub", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("2001:db8::/64")}},
	})
	s.nets.Lock()
	defer s.nets.Unlock()
	if next := s.work(s.nets.Get("net")); next != time.Minute || !slices.Equal(w.sent, []netip.Addr{to}) {
		t.Errorf("sent to %v, next in %v", w.sent, next)
	}
}

// Leases that ended are used again in the order in which they ended, in
// whatever order they were loaded.
func TestLoadLeasesInOrder(t *testing.T) {
	s := newServer(Config{Name: "DHCP", Family: vnet.IPv6, Engine: newMute(vnet.IPv6)})
	sub := plan.Subnet{ID: "sub", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("2001:db8::/126"), Ranges: []vnet.Range{
		{First: netip.MustParseAddr("2001:db8::1"), Last: netip.MustParseAddr("2001:db8::3")},
	}}
	s.engine("net").Leases().Set(plan.Service{Network: "net", Subnets: []plan.Subnet{sub}})
	now := s.now()
	var ls []*pack.Lease
	for i, a := range []string{"2001:db8::2", "2001:db8::3", "2001:db8::1"} {
		ls = append(ls, pack.Of(&vnet.Lease{
			Network: "net", Subnet: "sub", Family: vnet.IPv6, Address: netip.MustParseAddr(a), Client: a, Expires: now.Add(-time.Duration(10*i+1) * time.Minute),
		}))
	}
	s.LoadLeases(ls)
	b := s.engine("net").Leases()
	if a, ok := b.Choose("new", b.Subnet("sub"), nil, true, now); !ok || a != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("got %v, the longest idle is 2001:db8::1", a)
	}
}
