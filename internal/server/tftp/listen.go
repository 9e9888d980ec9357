package tftp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// nameHolder is how often the program in the way is looked for: that means
// reading through all processes.
const nameHolder = 30 * time.Second

// tables are where the sockets are that may be in the way of ours.
var tables = []listen.Table{listen.UDP6, listen.UDP4}

// port is the well-known port of one gateway address.
type port struct {
	network *network
	addr    netip.Addr
	sock    *os.File // nil while it cannot be had
	index   uint32   // of the link that a link-local address is bound to
	problem *vnet.Problem
	named   time.Duration // when the program in the way was last looked for
}

func (p *port) close() {
	if p.sock != nil {
		_ = p.sock.Close()
	}
	p.sock = nil
}

// lacks reports whether the network's sockets are to be looked at: one is
// missing, or may be bound to a link or a namespace that was made anew.
func (n *network) lacks() bool {
	if n.ns != "" {
		return true
	}
	for a, p := range n.ports {
		if p.sock == nil || a.Is6() && a.IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// retry opens what could not be opened, or has lost its link.
func (s *Server) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.networks {
		if n.lacks() {
			s.openPorts(n)
		}
	}
}

// openPorts opens the sockets that the network lacks; s is locked.
func (s *Server) openPorts(n *network) {
	err := s.conf.InNS(n.ns, func() error {
		if ino := netnsInode(); ino != n.netns {
			for _, p := range n.ports { // the namespace was made anew
				p.close()
			}
			n.netns = ino
		}
		for _, p := range n.ports {
			s.openPort(p)
		}
		return nil
	})
	for _, p := range n.ports {
		if err != nil && p.sock == nil {
			p.problem = &vnet.Problem{Kind: vnet.ErrHost, Field: "boot.root", Msg: "boot files cannot be served: " + err.Error()}
		}
	}
}

// openPort runs in the network's namespace.
func (s *Server) openPort(p *port) {
	var index uint32
	if p.addr.Is6() && p.addr.IsLinkLocalUnicast() {
		i, err := linkIndex(p.network.link)
		if err != nil {
			p.close()
			p.problem = &vnet.Problem{Kind: vnet.ErrUnavailable, Field: "boot.root", Family: vnet.IPv6,
				Msg: fmt.Sprintf("boot files wait for the link %s", p.network.link)}
			return
		}
		index = i
	}
	if p.sock != nil && p.index == index {
		return
	}
	p.close()
	at := netip.AddrPortFrom(p.addr, s.conf.Port)
	sock, err := bind(at, index, false)
	if errors.Is(err, unix.EADDRINUSE) && !listen.Taken(at, tables...) {
		// A holder of the wildcard address that shares: the kernel gives what
		// is for our address to us.
		sock, err = bind(at, index, true)
	}
	s.judge(p, at, err)
	if err != nil {
		return
	}
	p.sock, p.index = sock, index
	s.work.Go(func() { s.read(p, sock) })
}

// judge records what is wrong with a port, or that nothing is.
func (s *Server) judge(p *port, at netip.AddrPort, err error) {
	if err == nil {
		p.problem = nil
		return
	}
	taken, now := errors.Is(err, unix.EADDRINUSE), s.conf.Boot()
	if taken && p.problem != nil && now-p.named < nameHolder {
		return
	}
	problem := &vnet.Problem{Kind: vnet.ErrHost, Field: "boot.root", Family: vnet.FamilyOf(at.Addr()),
		Msg: "boot files cannot be served: " + err.Error()}
	if taken {
		p.named = now
		problem.Kind = vnet.ErrInUse
		problem.Msg = fmt.Sprintf("port %d of %s is taken by %s", at.Port(), at.Addr(), listen.InTheWay(at, tables...))
		problem.Hint = "stop it, or make it listen on its own addresses only"
	}
	if p.problem == nil || *p.problem != *problem {
		s.conf.Log.Warn("tftp: cannot listen", "network", p.network.id, "address", at, "problem", problem.Msg)
	}
	p.problem = problem
}

// problems returns what is wrong with the network.
func (n *network) problems() []vnet.Problem {
	var out []vnet.Problem
	if n.rootErr != nil {
		out = append(out, vnet.Problem{Kind: vnet.ErrHost, Field: "boot.root",
			Msg:  fmt.Sprintf("the boot files in %s cannot be read: %v", n.root, cause(n.rootErr)),
			Hint: "make the directory, or set boot.root to where they are"})
	}
	if len(n.ports) == 0 && len(n.prefixes) > 0 {
		out = append(out, vnet.Problem{Kind: vnet.ErrUnavailable, Field: "boot.root",
			Msg:  "nobody can reach the boot files: the network has no gateway address here",
			Hint: "serve them from where its gateway is, and say boot.server"})
	}
	for _, a := range slices.SortedFunc(maps.Keys(n.ports), netip.Addr.Compare) {
		if p := n.ports[a].problem; p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// cause returns what is below a *os.PathError, whose path is said already.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
