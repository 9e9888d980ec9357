// Package rpc is the server's side of libvirt's remote protocol, as far as a
// network driver needs it: what virsh and libvirt's daemons speak with
// virtnetworkd. It decides nothing about networks; a Handler does.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a server is made with. The zero value of a field means the
// default that is named beside it.
type Options struct {
	Handler Handler
	Log     *slog.Logger // nil: slog.Default()

	// LibVersion is the version of libvirt's API that clients are told:
	// 1,000,000 * major + 1,000 * minor + release. Default: 11.3.0.
	LibVersion uint64

	MaxClients  int // connections of all users but root, and of root; 5000
	MaxPerUser  int // connections of one user but root; half of MaxClients
	MaxUnopened int // connections of one user but root that were not opened yet; 1000
	MaxRequests int // calls of one connection that are not answered yet; 5
	// MaxMemory bounds the bytes of all long messages that are being received,
	// and likewise of all that wait to be written; 256 MiB.
	MaxMemory int64
	// MaxEvents bounds the bytes of events that wait for one connection; 1 MiB.
	MaxEvents int64

	OpenTimeout    time.Duration // from the connection to its opening; 30 s
	MessageTimeout time.Duration // from a message's first byte to its last, and for some of it to be taken; 30 s

	// KeepAliveInterval is how long a client that answers pings may be silent
	// before it gets one, 5 s, less than 0 for never; KeepAliveCount how many
	// in a row it may leave unanswered, 5.
	KeepAliveInterval time.Duration
	KeepAliveCount    int

	// Peer says who is at the other end of a connection; default: PeerOf.
	Peer func(net.Conn) (Peer, error)
}

func (o *Options) fill() {
	set(&o.Log, slog.Default())
	set(&o.LibVersion, 11_003_000)
	set(&o.MaxClients, 5000)
	set(&o.MaxPerUser, o.MaxClients/2)
	set(&o.MaxUnopened, 1000)
	set(&o.MaxRequests, 5)
	set(&o.MaxMemory, 256<<20)
	set(&o.MaxEvents, 1<<20)
	set(&o.OpenTimeout, 30*time.Second)
	set(&o.MessageTimeout, 30*time.Second)
	set(&o.KeepAliveInterval, 5*time.Second)
	set(&o.KeepAliveCount, 5)
	if o.Peer == nil {
		o.Peer = PeerOf
	}
}

func set[T comparable](field *T, to T) {
	if *field == *new(T) {
		*field = to
	}
}

// Server speaks with clients on any number of listeners.
type Server struct {
	opts    Options
	ctx     context.Context // of calls; ends when Shutdown gives up
	cancel  context.CancelFunc
	nextID  atomic.Uint64
	written atomic.Int64 // bytes that wait to be written
	taken   atomic.Int64 // bytes of long messages that are being received
	wg      sync.WaitGroup

	mu        sync.Mutex
	down      bool
	listeners map[net.Listener]bool
	conns     map[uint64]*conn
	users     map[uint32]*user
	others    int // connections of users but root
}

// user counts the connections of one user.
type user struct{ conns, unopened int }

// NewServer makes a server that has no listener yet.
func NewServer(o Options) *Server {
	o.fill()
	s := &Server{opts: o, listeners: map[net.Listener]bool{}, conns: map[uint64]*conn{}, users: map[uint32]*user{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("the libvirt server was shut down")

// Serve takes connections from the listener, which may come from systemd,
// until Shutdown or an error of the listener, and closes it. On a read-only
// listener, virtnetworkd-sock-ro, clients may change nothing.
func (s *Server) Serve(l net.Listener, readOnly bool) error {
	defer l.Close()
	s.mu.Lock()
	if s.down {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = true
	s.mu.Unlock()
	for {
		c, err := accept(s.ctx, l)
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.listeners, l)
			if s.down {
				return ErrClosed
			}
			return err
		}
		s.admit(c, readOnly)
	}
}

// accept waits a moment when there are no descriptors left, rather than give
// up the door for what may be over soon.
func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		c, err := l.Accept()
		var temporary interface{ Temporary() bool }
		if err == nil || errors.Is(err, net.ErrClosed) || !errors.As(err, &temporary) || !temporary.Temporary() {
			return c, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// admit begins a connection, or closes it if there are too many.
func (s *Server) admit(nc net.Conn, readOnly bool) {
	peer, err := s.opts.Peer(nc)
	if err != nil {
		s.opts.Log.Warn("a libvirt client of whom nothing is known was refused", "error", err)
		nc.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[peer.UID]
	if u == nil {
		u = &user{}
	}
	if why := s.tooMany(peer, u); s.down || why != "" {
		s.opts.Log.Warn("a libvirt client was refused", "uid", peer.UID, "pid", peer.PID, "reason", why)
		nc.Close()
		return
	}
	s.users[peer.UID] = u
	u.conns++
	u.unopened++
	if peer.UID != 0 {
		s.others++
	}
	c := newConn(s, nc, peer, readOnly)
	s.conns[c.id] = c
	s.wg.Go(c.serve)
}

// tooMany says which limit one more connection would break. Root's connections
// have a limit of their own, so that no other user can keep root out.
func (s *Server) tooMany(peer Peer, u *user) string {
	switch {
	case peer.UID != 0 && u.unopened >= s.opts.MaxUnopened:
		return "too many connections of this user have not been opened"
	case peer.UID == 0 && u.conns >= s.opts.MaxClients, peer.UID != 0 && s.others >= s.opts.MaxClients:
		return "too many clients"
	case peer.UID != 0 && u.conns >= s.opts.MaxPerUser:
		return "too many clients of this user"
	}
	return ""
}

// known notes that a connection was opened, or is gone before it was.
func (c *conn) known() {
	if c.opened.Swap(true) {
		return
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.users[c.peer.UID].unopened--
}

// forget takes a connection off the lists.
func (s *Server) forget(c *conn) {
	c.known()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.id)
	u := s.users[c.peer.UID]
	if u.conns--; u.conns == 0 {
		delete(s.users, c.peer.UID)
	}
	if c.peer.UID != 0 {
		s.others--
	}
}

// connections lists those there are.
func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		out = append(out, c)
	}
	return out
}

// Shutdown takes no more connections and no more calls, waits until those
// under way are answered, and closes the connections. When ctx ends before, it
// gives up the calls and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.down = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	for _, c := range s.connections() {
		c.stopReading()
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	for _, c := range s.connections() {
		c.drop("the server ends")
	}
	return ctx.Err()
}
