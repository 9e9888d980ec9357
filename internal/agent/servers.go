package agent

import (
	"log/slog"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp4"
	"github.com/sextant-net/sextant/internal/server/dhcp6"
	"github.com/sextant-net/sextant/internal/server/dns"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/server/ndproxy"
	"github.com/sextant-net/sextant/internal/server/radv"
	"github.com/sextant-net/sextant/internal/server/tftp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// servers holds the protocol servers and what each network and guest was last
// told as, so that nothing is said twice.
type servers struct {
	radv  *radv.Server
	dhcp4 *dhcp4.Server
	dhcp6 *dhcp6.Server
	dns   *dns.Server
	tftp  *tftp.Server
	links *listen.Links // which they all watch
	// accepts are the guests that the DHCPv6 server may tell of changes.
	accepts *acceptKeeper
	// ndproxy is nil while no network shares an uplink's prefix.
	ndproxy *ndproxy.Server
	proxy   *atomic.Pointer[ndproxy.Server] // the same, for any goroutine

	services map[vnet.ID]*plan.Service
	guests   map[vnet.ID]*plan.Guest
	zones    map[vnet.ID]toldZone
	reserved map[vnet.ID][]vnet.Reservation
}

// serverConfig is what all protocol servers share.
type serverConfig struct {
	InNS      func(ns string, f func() error) error
	Claims    *claims
	Host      string
	DUID      []byte // of the DHCPv6 server
	StateDir  string // what it must remember is kept here
	Log       *slog.Logger
	Now       func() time.Time
	Neighbour func(link string, ip netip.Addr) (listen.Sender, bool)
	Station   func(link string, mac vnet.MAC) (listen.Sender, bool)
}

func newServers(c serverConfig) *servers {
	granted, accepts := c.Claims.owed.note, newAcceptKeeper(c.StateDir, c.Log)
	links, proxy := listen.NewLinks(), new(atomic.Pointer[ndproxy.Server])
	return &servers{
		links: links, proxy: proxy,
		radv: radv.New(radv.Config{InNS: c.InNS, Links: links, Neighbour: c.Neighbour, Log: c.Log.With("server", "ra"), Now: c.Now}),
		dhcp4: dhcp4.New(dhcp4.Config{InNS: c.InNS, Links: links, Station: c.Station, Claims: quick{c.Claims}, Granted: granted, Host: c.Host,
			Log: c.Log.With("server", "dhcp4"), Now: c.Now}),
		dhcp6: dhcp6.New(dhcp6.Config{InNS: c.InNS, Links: links, Claims: unheld{quick{c.Claims}, proxy}, Granted: granted, Host: c.Host, DUID: c.DUID,
			Secret: accepts.secret, Memory: accepts, Neighbour: c.Neighbour, Log: c.Log.With("server", "dhcp6"), Now: c.Now}),
		accepts: accepts,
		dns: dns.New(dns.Config{InNS: c.InNS, Log: c.Log.With("server", "dns"), Now: c.Now,
			Resolved: dns.NewResolved(c.Log.With("server", "resolved"))}), // the host's own resolver learns our domains
		tftp:     tftp.New(tftp.Config{InNS: c.InNS, Log: c.Log.With("server", "tftp")}),
		services: map[vnet.ID]*plan.Service{},
		guests:   map[vnet.ID]*plan.Guest{},
		zones:    map[vnet.ID]toldZone{},
		reserved: map[vnet.ID][]vnet.Reservation{},
	}
}

// setService tells the servers what a network is now; nil ends its service.
// Withdraw says that the network itself stops, so that guests forget it.
func (s *servers) setService(network vnet.ID, svc *plan.Service, leases []*pack.Lease) {
	old := s.services[network]
	switch {
	case svc == nil && old == nil:
		return
	case svc == nil:
		delete(s.services, network)
		delete(s.zones, network)
		delete(s.reserved, network)
		s.radv.Withdraw(network)
		s.radv.RemoveNetwork(network)
		s.dhcp4.RemoveNetwork(network)
		s.dhcp6.RemoveNetwork(network)
		s.dns.RemoveZone(network)
		s.tftp.RemoveNetwork(network)
		return
	case old != nil && reflect.DeepEqual(old, svc):
		return
	}
	s.services[network] = svc
	s.radv.SetNetwork(*svc)
	s.dhcp4.SetNetwork(*svc)
	s.dhcp6.SetNetwork(*svc)
	s.tftp.SetNetwork(*svc)
	if old == nil {
		s.dhcp4.LoadLeases(leasesOf(leases, vnet.HowDHCPv4))
		s.dhcp4.LoadLeases(leasesOf(leases, vnet.HowFixed)) // somebody has these already
		s.dhcp6.LoadLeases(leasesOf(leases, vnet.HowDHCPv6))
	}
}

func leasesOf(all []*pack.Lease, how vnet.How) []*pack.Lease {
	var out []*pack.Lease
	for _, l := range all {
		if l.How() == how {
			out = append(out, l)
		}
	}
	return out
}

// setGuest tells the servers what is known of a port; g is nil when the port
// is gone, which then was the network's.
func (s *servers) setGuest(port vnet.ID, g *plan.Guest) {
	old := s.guests[port]
	if g == nil {
		if old == nil {
			return
		}
		delete(s.guests, port)
		s.radv.RemoveGuest(old.Network, port)
		s.dhcp4.RemoveGuest(old.Network, port)
		s.dhcp6.RemoveGuest(old.Network, port)
		return
	}
	if old != nil && reflect.DeepEqual(old, g) {
		return
	}
	s.guests[port] = g
	s.radv.SetGuest(*g)
	s.dhcp4.SetGuest(*g)
	s.dhcp6.SetGuest(*g)
}

// setReservations tells the DHCP servers a network's reservations.
func (s *servers) setReservations(network vnet.ID, rs []vnet.Reservation) {
	if s.services[network] == nil || reflect.DeepEqual(s.reserved[network], rs) {
		return
	}
	s.reserved[network] = rs
	s.dhcp4.SetReservations(network, rs)
	s.dhcp6.SetReservations(network, rs)
}

// lease passes on that a lease came or changed by the store's account.
func (s *servers) lease(l *pack.Lease) {
	if s.services[l.Network()] == nil {
		return
	}
	switch l.How() {
	case vnet.HowDHCPv4, vnet.HowFixed: // it passes over those of IPv6
		s.dhcp4.Load(l)
	case vnet.HowDHCPv6:
		s.dhcp6.Load(l)
	}
}

// leaseGone passes on that a lease went.
func (s *servers) leaseGone(l *pack.Lease) {
	w := l.Whole()
	w.Deleting = &w.Updated
	s.lease(pack.Of(w))
}

// share has a server that gave a lease keep it as we do.
func (s *servers) share(l *pack.Lease) {
	if s.services[l.Network()] == nil {
		return
	}
	switch l.How() {
	case vnet.HowDHCPv4:
		s.dhcp4.Share(l)
	case vnet.HowDHCPv6:
		s.dhcp6.Share(l)
	}
}

// problems collects what keeps each network from being served.
func (s *servers) problems() map[vnet.ID][]vnet.Problem {
	out := map[vnet.ID][]vnet.Problem{}
	for _, m := range []map[vnet.ID][]vnet.Problem{s.radv.Problems(), s.dhcp4.Problems(), s.dhcp6.Problems(), s.dns.Problems(), s.tftp.Problems()} {
		for id, ps := range m {
			out[id] = append(out[id], ps...)
		}
	}
	if s.ndproxy != nil {
		for id, ps := range s.ndproxy.Problems() {
			out[id] = append(out[id], ps...)
		}
	}
	return out
}

func (s *servers) close() []error {
	errs := []error{s.radv.Close(), s.dhcp4.Close(), s.dhcp6.Close(), s.dns.Close(), s.tftp.Close()}
	if s.ndproxy != nil {
		errs = append(errs, s.ndproxy.Close())
	}
	return errs
}
