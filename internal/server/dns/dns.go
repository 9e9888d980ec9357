// Package dns answers guests' name queries: the names and addresses of their
// project's networks and what operators added to them, everything else by way
// of forwarders or the host's own resolvers.
//
// The engine (engine.go, inquiry.go and what they use) is a function of state,
// message and time; listen.go, poll.go, tcp.go and forward.go speak and decide
// nothing. DESIGN.md says why there is one socket per gateway address and one
// reader for all of them.
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// InNS runs f on a thread inside the network namespace of that name under
// /run/netns, "" being the host's own, and returns f's error. Sockets that f
// opens stay in the namespace; f starts no goroutines.
type InNS func(ns string, f func() error) error

// Config is what a Server needs from its surroundings.
type Config struct {
	InNS InNS             // nil: everything happens in the process's own namespace
	Log  *slog.Logger     // nil: no log
	Now  func() time.Time // nil: time.Now
	// Resolved, if set, is told the domains and reverse zones of the networks
	// in the host's namespace, and is closed with the server.
	Resolved *Resolved
	// Port is the port to listen on; 0 means 53. For tests.
	Port uint16
}

// Record is an address of a name.
type Record struct {
	// Name is a label within the zone's domain. A managed record may have a
	// fully qualified name, with or without the last dot; any other name with
	// a dot is passed over.
	Name    string
	Address netip.Addr
	// Port is the port that has the name, "" for a guest without one.
	Port vnet.ID
	// MAC tells guests without a port apart; it may be zero.
	MAC vnet.MAC
	// Managed marks a name that an operator chose. Names that guests chose
	// never override or join it, and the first guest to have a name keeps it.
	Managed bool
}

// Zone is the name service of one network.
type Zone struct {
	Network vnet.ID
	Project vnet.ID
	NS      string // namespace of the gateway addresses
	Link    string // gateway link; scope of link-local addresses
	Domain  string // of the guests, with or without the last dot; "": bare names only
	// Listen are the gateway addresses. They may come later than the zone.
	Listen []netip.Addr
	// Prefixes are the network's prefixes: reverse lookups within them are
	// answered here, and queries from elsewhere refused.
	Prefixes []netip.Prefix
	Records  []Record
	// Extra are the operator's own records: they stand before any name in
	// Records, see vnet.NameRecord.
	Extra []vnet.NameRecord
	// Forwarders say whom the network's guests' other questions are passed to;
	// whoever is not named there is asked of the host's resolvers.
	Forwarders []vnet.Forwarder
	// Upwards asks them also for names of Domain that are not known here.
	Upwards bool
	// DNS64 is a NAT64 prefix below which IPv6 addresses are made (RFC 6147).
	DNS64 netip.Prefix
	// Only64: guests reach no IPv6 outside but what DNS64 makes, so that of
	// names that are not ours only IPv4 addresses are of use.
	Only64 bool
	// Encrypted are resolvers that guests may find (RFC 9462).
	Encrypted []vnet.EncryptedDNS
}

// Server is the name server of all networks of a host. Its methods may be
// called from any goroutine.
type Server struct {
	conf    Config
	mu      sync.RWMutex // guards engine's zones and views
	engine  *engine
	forward *forwarder
	sockets *sockets
	flying  flying
	streams streams
	life    context.Context // ends with Close
	end     context.CancelFunc
	work    sync.WaitGroup
}

// New returns a running server without zones.
func New(conf Config) *Server {
	if conf.InNS == nil {
		conf.InNS = func(_ string, f func() error) error { return f() }
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Now == nil {
		conf.Now = time.Now
	}
	if conf.Port == 0 {
		conf.Port = port
	}
	s := &Server{conf: conf, engine: newEngine()}
	s.life, s.end = context.WithCancel(context.Background())
	s.forward = newForwarder(s.life, conf)
	s.sockets = newSockets(conf, s.packet, s.stream)
	s.forward.isOwn = s.sockets.isOwn
	s.work.Go(s.retry)
	return s
}

// SetZone makes z the name service of its network. An address that cannot be
// bound is a Problem, not an error, and is tried again.
func (s *Server) SetZone(z Zone) {
	z.Listen, z.Prefixes = slices.Clone(z.Listen), slices.Clone(z.Prefixes)
	compiled := compile(z)
	s.mu.Lock()
	old := s.engine.zones[z.Network]
	s.engine.setZone(compiled)
	s.mu.Unlock()
	s.sockets.set(z.Network, z.NS, z.Link, z.Listen)
	if old != nil && old.NS == "" && (z.NS != "" || old.Link != z.Link) && s.conf.Resolved != nil {
		s.conf.Resolved.Remove(old.Link)
	}
	s.register(compiled)
}

// RemoveZone ends the name service of the network.
func (s *Server) RemoveZone(network vnet.ID) {
	s.mu.Lock()
	z := s.engine.zones[network]
	s.engine.removeZone(network)
	s.mu.Unlock()
	s.sockets.remove(network)
	if z != nil && z.NS == "" && s.conf.Resolved != nil {
		s.conf.Resolved.Remove(z.Link)
	}
}

// maxReverse bounds the reverse zones that resolved is told of one prefix: a
// prefix that ends inside a label has as many as 128.
const maxReverse = 16

// register tells systemd-resolved whom to ask for z's names.
func (s *Server) register(z *zone) {
	if s.conf.Resolved == nil || z.NS != "" {
		return
	}
	domains := []string{z.domain}
	for _, p := range z.Prefixes {
		if reverse := ipam.ReverseZones(p); len(reverse) <= maxReverse {
			domains = append(domains, reverse...)
		}
	}
	s.conf.Resolved.Set(z.Link, z.Listen, domains)
}

// SetHost says which addresses the host itself has, besides the gateways: it
// may ask about its guests, and the kernel chooses the address that it asks
// from. The caller must not change the slice any more.
func (s *Server) SetHost(addrs []netip.Addr) {
	host := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		host[a.WithZone("")] = true
	}
	s.forward.setHost(host)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine.host = host
}

// SetUpstreams names the resolvers that are asked for everything that is not
// ours, in order of preference. Addresses of our own are passed over. A change
// empties the cache, for the old answers belong to another network.
func (s *Server) SetUpstreams(servers []netip.AddrPort) {
	s.mu.Lock()
	changed := s.engine.setUpstreams(servers)
	s.mu.Unlock()
	if changed {
		s.forward.forgive()
		s.engine.cache.clear()
	}
}

// Problems says which networks' name service does not listen everywhere it
// should, and which program is in the way.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem { return s.sockets.problems() }

// Close ends all service and waits for it. No other method may be called
// afterwards.
func (s *Server) Close() error {
	s.end()
	err := s.sockets.close()
	s.streams.close()
	s.work.Wait()
	if s.conf.Resolved != nil {
		err = errors.Join(err, s.conf.Resolved.Close())
	}
	return err
}

// retryEvery is how often addresses that could not be bound are tried again.
const retryEvery = 2 * time.Second

func (s *Server) retry() {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
			s.sockets.retry()
		}
	}
}
