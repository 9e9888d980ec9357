package netns

import (
	"errors"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// dumpTries bounds how often a dump that the kernel calls inconsistent, since
// something changed meanwhile, is asked for again.
const dumpTries = 10

// Conn is a route netlink socket of one namespace. It is safe for concurrent
// use; requests wait for each other.
type Conn struct {
	handle *nl.SocketHandle
	socks  map[int]*nl.SocketHandle
	inode  uint64
}

// Conn returns the socket of the namespace. Those of the host's and of our
// own namespaces are kept; a guest's is the caller's to Release, since an open
// socket would keep a guest's namespace alive after the guest.
func (s *Set) Conn(ns string) (*Conn, error) {
	f, err := s.Open(ns)
	if err != nil {
		s.Forget(ns)
		return nil, err
	}
	defer f.Close()
	inode := inodeOf(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[ns]; c != nil {
		if c.inode == inode {
			return c, nil
		}
		// Another namespace has taken the name.
		c.close()
		delete(s.conns, ns)
	}
	c, err := open(f)
	if err != nil {
		return nil, enterError(ns, err)
	}
	c.inode = inode
	if kept(ns) {
		s.conns[ns] = c
	}
	return c, nil
}

// Release gives back a socket that Conn returned for the namespace.
func (s *Set) Release(ns string, c *Conn) {
	if !kept(ns) {
		c.close()
	}
}

// Forget closes the kept socket of a namespace, if there is one.
func (s *Set) Forget(ns string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[ns]; c != nil && ns != "" {
		c.close()
		delete(s.conns, ns)
	}
}

// kept reports whether the namespace's socket is kept open.
func kept(ns string) bool { return ns == "" || strings.HasPrefix(ns, plan.NetnsPrefix) }

func inodeOf(f *os.File) uint64 {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	return st.Ino
}

func open(f *os.File) (*Conn, error) {
	sock, err := nl.GetNetlinkSocketAt(vns.NsHandle(f.Fd()), vns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	// The kernel's own words for what it refuses; a kernel without them is
	// less talkative, no more.
	_ = sock.SetExtAck(true)
	// Kernel-side filters of dumps (Linux 4.20); an older one sends everything.
	_ = unix.SetsockoptInt(sock.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	// Best effort: a dump of thousands of links comes in bursts.
	_ = sock.SetReceiveBufferSize(1<<20, true)
	h := &nl.SocketHandle{Socket: sock}
	return &Conn{handle: h, socks: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: h}}, nil
}

func (c *Conn) close() { c.handle.Close() }

// Do sends the request and returns the kernel's error, nil for none.
func (c *Conn) Do(req *nl.NetlinkRequest) error {
	req.Sockets = c.socks
	req.Flags |= unix.NLM_F_ACK
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// Get sends the request and returns the answers of that type.
func (c *Conn) Get(req *nl.NetlinkRequest, answer uint16) ([][]byte, error) {
	req.Sockets = c.socks
	return req.Execute(unix.NETLINK_ROUTE, answer)
}

// Dump sends what build makes with NLM_F_DUMP and returns the answers of that
// type; a dump that a change interrupted is asked for again.
func (c *Conn) Dump(build func() *nl.NetlinkRequest, answer uint16) ([][]byte, error) {
	for try := 1; ; try++ {
		req := build()
		req.Flags |= unix.NLM_F_DUMP
		req.Sockets = c.socks
		msgs, err := req.Execute(unix.NETLINK_ROUTE, answer)
		if err == nil {
			return msgs, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, err
		}
		if try == dumpTries {
			// Something changes without pause. What was read is as good as
			// any; the next resync looks again.
			return msgs, nil
		}
	}
}

// Each is Dump for what may be too much to keep: f sees each answer as it
// comes. It may see answers twice when a dump is asked for again; begin is
// called before each attempt.
func (c *Conn) Each(build func() *nl.NetlinkRequest, answer uint16, begin func(), f func(msg []byte)) error {
	for try := 1; ; try++ {
		begin()
		req := build()
		req.Flags |= unix.NLM_F_DUMP
		req.Sockets = c.socks
		err := req.ExecuteIter(unix.NETLINK_ROUTE, answer, func(msg []byte) bool { f(msg); return true })
		if err == nil || errors.Is(err, netlink.ErrDumpInterrupted) && try == dumpTries {
			return nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
}

// NSID returns the number by which links of this namespace name the namespace
// with that file; -1 if the kernel has given it none, which means that no link
// crosses between the two.
func (c *Conn) NSID(f *os.File) (int, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNSID, 0)
	req.AddData(nl.NewRtGenMsg())
	req.AddData(nl.NewRtAttr(netlink.NETNSA_FD, nl.Uint32Attr(uint32(f.Fd()))))
	msgs, err := c.Get(req, unix.RTM_NEWNSID)
	if err != nil {
		return -1, vnet.Errorf(vnet.ErrHost, "number of a network namespace: %w", err)
	}
	for _, m := range msgs {
		if len(m) == 0 {
			continue
		}
		// rtgenmsg is one byte, padded to four.
		attrs, err := nl.ParseRouteAttr(m[min(len(m), 4):])
		if err != nil {
			return -1, vnet.Errorf(vnet.ErrHost, "number of a network namespace: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == netlink.NETNSA_NSID && len(a.Value) >= 4 {
				return int(int32(nl.NativeEndian().Uint32(a.Value))), nil
			}
		}
	}
	return -1, nil
}
