package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// tables are where the sockets are that may be in the way of ours.
var tables = []listen.Table{listen.UDP6, listen.UDP4, listen.TCP6, listen.TCP4}

// nameHolder is how often the program in the way is looked for: that means
// reading through all processes.
const nameHolder = 30 * time.Second

// sockets are the listening sockets of all networks.
type sockets struct {
	conf   Config
	packet func(*socket, *peer, []byte)
	stream func(*socket, *peer, net.Conn)
	work   sync.WaitGroup

	mu       sync.Mutex
	poller   *poller // nil until the first network
	byFD     map[int]*socket
	resting  map[*socket]bool // see rest
	networks map[vnet.ID]*listener
	own      map[place]int // how many networks listen on the address
	closed   bool
}

// listener is what one network listens on.
type listener struct {
	network   vnet.ID
	ns, link  string
	netns     uint64 // inode of the namespace that the sockets are in
	addresses map[netip.Addr]*listening
}

// listening is one gateway address: a UDP and a TCP socket, each nil while it
// cannot be had.
type listening struct {
	udp, tcp *socket
	problem  *vnet.Problem
	named    time.Time // when the program in the way was last looked for
}

func newSockets(conf Config, packet func(*socket, *peer, []byte), stream func(*socket, *peer, net.Conn)) *sockets {
	return &sockets{
		conf: conf, packet: packet, stream: stream,
		byFD: map[int]*socket{}, resting: map[*socket]bool{},
		networks: map[vnet.ID]*listener{}, own: map[place]int{},
	}
}

// set makes the network listen on exactly these addresses.
func (s *sockets) set(network vnet.ID, ns, link string, listen []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	l := s.networks[network]
	if l != nil && (l.ns != ns || l.link != link) {
		s.end(l)
		l = nil
	}
	if l == nil {
		l = &listener{network: network, ns: ns, link: link, addresses: map[netip.Addr]*listening{}}
		s.networks[network] = l
	}
	want := map[netip.Addr]bool{}
	for _, a := range listen {
		if a = a.Unmap().WithZone(""); a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() {
			want[a] = true
		}
	}
	for a, on := range l.addresses {
		if !want[a] {
			s.endOne(on)
			s.forget(l, a)
		}
	}
	for a := range want {
		if l.addresses[a] == nil {
			l.addresses[a] = &listening{}
			s.own[l.at(a)]++
		}
	}
	// A namespace may have been made anew under its name; the host's never is.
	if l.ns != "" || l.lacks() {
		s.open(l)
	}
}

// lacks reports whether a socket is missing.
func (l *listener) lacks() bool {
	for _, on := range l.addresses {
		if on.udp == nil || on.tcp == nil {
			return true
		}
	}
	return false
}

// remove ends the network's sockets.
func (s *sockets) remove(network vnet.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.networks[network]; l != nil {
		s.end(l)
		delete(s.networks, network)
	}
}

// retry opens what could not be opened, or has lost its link.
func (s *sockets) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.networks {
		for a, on := range l.addresses {
			if a.IsLinkLocalUnicast() && on.udp != nil && linkIndex(on.udp.fd, l.link) != on.udp.index {
				s.endOne(on)
			}
		}
		if l.lacks() && !s.closed {
			s.open(l)
		}
	}
	for sock := range s.resting {
		if s.byFD[sock.fd] == sock {
			_ = s.poller.change(unix.EPOLL_CTL_ADD, sock.fd)
		}
	}
	clear(s.resting)
}

// open opens what l lacks.
func (s *sockets) open(l *listener) {
	err := s.start()
	if err == nil {
		err = s.conf.InNS(l.ns, func() error {
			s.openInside(l)
			return nil
		})
	}
	if err != nil {
		for _, on := range l.addresses {
			if on.udp == nil || on.tcp == nil {
				on.problem = &vnet.Problem{Kind: vnet.ErrHost, Field: "dns", Msg: "the name server cannot listen: " + err.Error()}
			}
		}
	}
}

// start makes the poller, which only a host with networks needs.
func (s *sockets) start() error {
	if s.poller != nil {
		return nil
	}
	p, err := newPoller()
	if err != nil {
		return err
	}
	s.poller = p
	s.work.Go(func() { s.poll(p) })
	return nil
}

// openInside runs in l's namespace.
func (s *sockets) openInside(l *listener) {
	if ino := netnsInode(); ino != l.netns {
		for _, on := range l.addresses { // the namespace was made anew
			s.endOne(on)
		}
		l.netns = ino
	}
	for a, on := range l.addresses {
		if on.udp != nil && on.tcp != nil {
			continue
		}
		var index uint32
		if a.IsLinkLocalUnicast() && a.Is6() {
			link, err := net.InterfaceByName(l.link)
			if err != nil {
				on.problem = &vnet.Problem{Kind: vnet.ErrUnavailable, Field: "dns", Msg: fmt.Sprintf("the name server waits for the link %s", l.link), Family: vnet.IPv6}
				continue
			}
			index = uint32(link.Index)
		}
		at := netip.AddrPortFrom(a, s.conf.Port)
		var errs [2]error
		if on.udp == nil {
			on.udp, errs[0] = s.listen(l, at, index, false)
		}
		if on.tcp == nil {
			on.tcp, errs[1] = s.listen(l, at, index, true)
		}
		s.judge(l, at, on, errs)
	}
}

// listen opens one socket. A UDP port whose holder has the wildcard address
// and lets others share (SO_REUSEADDR) is shared: the kernel gives queries to
// our address to us.
func (s *sockets) listen(l *listener, at netip.AddrPort, index uint32, tcp bool) (*socket, error) {
	fd, err := bind(at, index, tcp, false)
	if !tcp && errors.Is(err, unix.EADDRINUSE) && !listen.Taken(at, tables...) {
		fd, err = bind(at, index, tcp, true)
	}
	if err != nil {
		return nil, err
	}
	sock := &socket{network: l.network, link: l.link, tcp: tcp, index: index, fd: fd}
	s.byFD[fd] = sock
	if err := s.poller.change(unix.EPOLL_CTL_ADD, fd); err != nil {
		delete(s.byFD, fd)
		return nil, errors.Join(err, sock.close())
	}
	return sock, nil
}

// judge records what is wrong with an address, or that nothing is.
func (s *sockets) judge(l *listener, at netip.AddrPort, on *listening, errs [2]error) {
	err := errors.Join(errs[0], errs[1])
	if err == nil {
		if on.problem != nil {
			s.conf.Log.Info("dns: listens now", "network", l.network, "address", at)
		}
		on.problem = nil
		return
	}
	taken := errors.Is(err, unix.EADDRINUSE)
	now := s.conf.Now()
	if taken && on.problem != nil && now.Sub(on.named) < nameHolder {
		return
	}
	p := &vnet.Problem{Kind: vnet.ErrHost, Field: "dns", Msg: "the name server cannot listen: " + err.Error(), Family: vnet.IPv4}
	if at.Addr().Is6() {
		p.Family = vnet.IPv6
	}
	if taken {
		on.named = now
		who := listen.InTheWay(at, tables...)
		p.Kind = vnet.ErrInUse
		p.Msg = fmt.Sprintf("port %d of %s is taken by %s", at.Port(), at.Addr(), who)
		if errs[0] == nil {
			p.Msg += " (TCP only; UDP queries are answered)"
		}
		p.Hint = "stop it, or make it listen on its own addresses only"
	}
	if on.problem == nil || *on.problem != *p {
		s.conf.Log.Warn("dns: cannot listen", "network", l.network, "address", at, "problem", p.Msg)
	}
	on.problem = p
}

// problems returns what is wrong, by network.
func (s *sockets) problems() map[vnet.ID][]vnet.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[vnet.ID][]vnet.Problem{}
	for id, l := range s.networks {
		var troubled []netip.Addr
		for a, x := range l.addresses {
			if x.problem != nil {
				troubled = append(troubled, a)
			}
		}
		slices.SortFunc(troubled, netip.Addr.Compare)
		for _, a := range troubled {
			out[id] = append(out[id], *l.addresses[a].problem)
		}
	}
	return out
}

// place is an address in a namespace. Link-local ones have a link as well:
// fe80::1 is ours on one and the provider's router on another.
type place struct {
	ns   string
	addr netip.Addr
}

// at is where the address of the network is.
func (l *listener) at(a netip.Addr) place {
	if a.Is6() && a.IsLinkLocalUnicast() {
		a = a.WithZone(l.link)
	}
	return place{l.ns, a}
}

// isOwn reports whether a network listens on the address in the namespace.
func (s *sockets) isOwn(ns string, a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own[place{ns, a}] > 0
}

func (s *sockets) find(fd int) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byFD[fd]
}

// rest stops listening for connections until the next retry, while there are
// no descriptors for them: else the poller would spin.
func (s *sockets) rest(sock *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byFD[sock.fd] == sock {
		_ = s.poller.change(unix.EPOLL_CTL_DEL, sock.fd)
		s.resting[sock] = true
		s.conf.Log.Warn("dns: no file descriptor for a connection", "network", sock.network)
	}
}

func (s *sockets) end(l *listener) {
	for a, on := range l.addresses {
		s.endOne(on)
		s.forget(l, a)
	}
}

// forget takes the address from the network.
func (s *sockets) forget(l *listener, a netip.Addr) {
	delete(l.addresses, a)
	at := l.at(a)
	if s.own[at]--; s.own[at] == 0 {
		delete(s.own, at)
	}
}

func (s *sockets) endOne(on *listening) {
	for _, sock := range []*socket{on.udp, on.tcp} {
		if sock != nil {
			delete(s.byFD, sock.fd)
			_ = sock.close() // which takes it out of the epoll set
		}
	}
	on.udp, on.tcp = nil, nil
}

// close ends every socket and the poller.
func (s *sockets) close() error {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.networks {
		s.end(l)
	}
	clear(s.networks)
	p := s.poller
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	err := p.file.Close()
	s.work.Wait()
	return err
}

// netnsInode identifies the calling thread's network namespace.
func netnsInode() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}
