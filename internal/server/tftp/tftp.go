// Package tftp serves boot files to guests, read-only: RFC 1350 with the
// options of RFC 2347 (blksize of 2348, timeout and tsize of 2349, windowsize
// of 7440), over both families, on port 69 of each gateway address of the
// networks that have a boot.root.
//
// engine.go is a transfer as a function of state, message and time; request.go
// the messages; file.go what may be read; limits.go who may have a transfer.
// listen.go and conn.go speak and decide nothing. DESIGN.md says why this is no
// library's.
package tftp

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Config is what a Server needs from its surroundings.
type Config struct {
	InNS listen.InNS  // nil: everything happens in the process's own namespace
	Log  *slog.Logger // nil: no log
	// Boot is the time since boot; nil: CLOCK_BOOTTIME.
	Boot func() time.Duration
	// Port is the port to listen on; 0 means 69. For tests.
	Port uint16
}

// Server serves the boot files of all networks of a host. Its methods may be
// called from any goroutine.
type Server struct {
	conf Config
	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup
	wake chan struct{} // there is a root to look at

	mu       sync.Mutex // guards what follows
	networks map[vnet.ID]*network
	talks    talks
	closed   bool
}

// network is one network that boots from here.
type network struct {
	id       vnet.ID
	ns, link string
	root     string
	mtu      int
	prefixes []netip.Prefix // of guests
	netns    uint64         // inode of the namespace that the sockets are in
	ports    map[netip.Addr]*port
	rootErr  error // why root cannot be read
}

// New returns a running server without networks.
func New(conf Config) *Server {
	if conf.InNS == nil {
		conf.InNS = func(_ string, f func() error) error { return f() }
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	if conf.Boot == nil {
		conf.Boot = listen.BootTime
	}
	if conf.Port == 0 {
		conf.Port = wellKnown
	}
	s := &Server{conf: conf, networks: map[vnet.ID]*network{}, talks: newTalks()}
	s.life, s.end = context.WithCancel(context.Background())
	s.wake = make(chan struct{}, 1)
	s.work.Go(s.keep)
	return s
}

// SetNetwork makes svc's boot files the network's, or ends its service if it
// has no boot.root. What cannot be had is a Problem, and is tried again.
// Transfers go on with the file that they began with.
func (s *Server) SetNetwork(svc plan.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	n := s.networks[svc.Network]
	if n != nil && (svc.Boot.Root == "" || n.ns != svc.NS || n.link != svc.Link) {
		s.remove(n)
		n = nil
	}
	if svc.Boot.Root == "" {
		return
	}
	if n == nil {
		n = &network{id: svc.Network, ns: svc.NS, link: svc.Link, ports: map[netip.Addr]*port{}}
		s.networks[svc.Network] = n
	}
	n.root, n.mtu, n.prefixes = svc.Boot.Root, svc.MTU, nil
	var want []netip.Addr
	for _, sub := range svc.Subnets {
		if sub.Delegate != 0 {
			continue
		}
		n.prefixes = append(n.prefixes, sub.Prefix)
		if a := sub.Gateway.Unmap().WithZone(""); a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() {
			want = append(want, a)
		}
	}
	for a, p := range n.ports {
		if !slices.Contains(want, a) {
			p.close()
			delete(n.ports, a)
		}
	}
	for _, a := range want {
		if n.ports[a] == nil {
			n.ports[a] = &port{network: n, addr: a}
		}
	}
	if n.lacks() {
		s.openPorts(n)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// RemoveNetwork ends the network's service and its transfers.
func (s *Server) RemoveNetwork(id vnet.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.networks[id]; n != nil {
		s.remove(n)
	}
}

// remove is called with s locked.
func (s *Server) remove(n *network) {
	delete(s.networks, n.id)
	for _, p := range n.ports {
		p.close()
	}
	for _, t := range s.talks.of(n.id) {
		t.stop()
	}
}

// Problems says which networks' boot files cannot be had, or not at every
// address.
func (s *Server) Problems() map[vnet.ID][]vnet.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[vnet.ID][]vnet.Problem{}
	for id, n := range s.networks {
		if ps := n.problems(); len(ps) > 0 {
			out[id] = ps
		}
	}
	return out
}

// Close ends all transfers and waits for them. No other method may be called
// afterwards.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, n := range s.networks {
		s.remove(n)
	}
	s.mu.Unlock()
	s.end()
	s.work.Wait()
	return nil
}

// checkEvery is how often roots are looked at, and addresses tried that could
// not be bound.
const checkEvery = 2 * time.Second

// keep looks after what can come and go, until Close.
func (s *Server) keep() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
			s.retry()
		case <-s.wake:
		}
		s.checkRoots()
	}
}

// checkRoots looks whether each root can be read. Nothing is locked meanwhile:
// a file system may keep us waiting.
func (s *Server) checkRoots() {
	s.mu.Lock()
	roots := map[string]error{}
	for _, n := range s.networks {
		roots[n.root] = nil
	}
	s.mu.Unlock()
	for root := range roots {
		roots[root] = checkRoot(root)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.networks {
		err, looked := roots[n.root]
		if !looked {
			continue // set meanwhile, and to be looked at again
		}
		if err != nil && n.rootErr == nil {
			s.conf.Log.Warn("tftp: boot files cannot be read", "network", n.id, "root", n.root, "err", err)
		}
		n.rootErr = err
	}
}
