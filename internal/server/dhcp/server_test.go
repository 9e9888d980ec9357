package dhcp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// mute is an engine that serves what it is told to and answers nothing.
type mute struct{ *lease.Book }

func (m mute) Active() bool                                             { return m.ServesAny() }
func (mute) Receive(listen.Packet, time.Time) (Effects, error)          { return Effects{}, nil }
func (mute) Committed(c Claim, err error, now time.Time) (none Effects) { return none }
func (mute) Abandon()                                                   {}

func newMute(f vnet.Family) func() Engine {
	return func() Engine {
		return mute{lease.NewBook(lease.Rules{
			Family: f,
			Serves: func(*plan.Subnet) bool { return true },
			Client: func(b []byte, l *pack.Lease) []byte { return l.AppendClient(b) },
			Key:    func(*vnet.Reservation) lease.Key { return lease.Key{} },
		})}
	}
}

// A network that stops and starts again still knows its ports; one that is
// deleted, with its ports, leaves nothing.
func TestNetworkStopsAndGoes(t *testing.T) {
	for family, prefix := range map[vnet.Family]netip.Prefix{
		vnet.IPv6: netip.MustParsePrefix("2001:db8:1::/64"), vnet.IPv4: netip.MustParsePrefix("192.0.2.0/24"),
	} {
		t.Run(family.String(), func(t *testing.T) {
			s := newServer(Config{
				Name: "DHCP", Family: family, Engine: newMute(family),
				Open: func(func(func() error) error, func(...listen.Packet)) (Transport, error) {
					return nil, errors.New("no sockets here")
				},
			})
			svc := plan.Service{Network: "net", Link: "br0", Subnets: []plan.Subnet{{ID: "sub", Family: family, Prefix: prefix}}}
			// A port may come first.
			s.SetGuest(plan.Guest{Port: "port1", Network: "net", Addresses: []plan.GuestAddress{{Address: prefix.Addr().Next()}}})
			s.SetNetwork(svc)
			if p := s.Problems()["net"]; len(p) != 1 || p[0].Kind != vnet.ErrHost {
				t.Errorf("problems %v", p)
			}
			s.RemoveNetwork("net")
			s.SetNetwork(svc)
			if n := s.engine("net").Leases().Guests(); n != 1 {
				t.Errorf("%d ports after a stop and a start", n)
			}
			s.RemoveNetwork("net")
			s.RemoveGuest("net", "port1")
			s.RemoveGuest("net", "port2")
			if s.nets.Get("net") != nil || len(s.early) != 0 || s.nets.Namespaces() != 0 {
				t.Errorf("left: %v, %v, %d sockets", s.nets.Get("net"), s.early, s.nets.Namespaces())
			}
		})
	}
}
