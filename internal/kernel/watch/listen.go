package watch

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// receiveBuffer holds what the kernel says while we are busy.
const receiveBuffer = 4 << 20

// The notification groups listened to.
var (
	routeGroups = []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE}
	filterGroups = []int{unix.NFNLGRP_NFTABLES}
)

// listen begins to listen in a namespace, until the context ends.
func (w *Watcher) listen(ctx context.Context, group *sync.WaitGroup, ns string) error {
	table := map[int]shape{}
	if err := w.hear(ctx, group, ns, unix.NETLINK_ROUTE, routeGroups, func(kind uint16, msg []byte) {
		if ns == "" {
			w.host(kind, msg)
		} else {
			w.inside(table, kind, msg)
		}
	}); err != nil {
		return err
	}
	err := w.hear(ctx, group, ns, unix.NETLINK_NETFILTER, filterGroups, w.filter)
	if err != nil {
		// A kernel without nf_tables: applying says so, watching goes on.
		w.opt.Log.Warn("cannot watch the packet filter", "err", err)
	}
	return nil
}

// hear opens a socket and hands each message to f.
func (w *Watcher) hear(ctx context.Context, group *sync.WaitGroup, ns string, proto int, groups []int, f func(kind uint16, msg []byte)) error {
	var file *os.File
	err := w.spaces.Do(ns, func() (err error) {
		file, err = subscribe(proto, groups)
		return err
	})
	if err != nil {
		return vnet.Errorf(vnet.ErrHost, "listen to the kernel: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { file.Close() })
	group.Go(func() {
		defer stop()
		defer file.Close()
		buf := make([]byte, 1<<17)
		for {
			n, err := file.Read(buf)
			switch {
			case errors.Is(err, unix.ENOBUFS):
				w.lost(ns)
			case errors.Is(err, fs.ErrClosed):
				return
			case err != nil:
				w.opt.Log.Warn("listen to the kernel", "err", err)
				return
			default:
				eachMessage(buf[:n], f)
			}
		}
	})
	return nil
}

// subscribe opens a netlink socket in the calling thread's namespace.
func subscribe(proto int, groups []int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// eachMessage cuts what one read returned into messages.
func eachMessage(b []byte, f func(kind uint16, msg []byte)) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}

// host takes in a notification of the host's namespace.
func (w *Watcher) host(kind uint16, msg []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if s, ok := parseLink(msg); ok {
			w.hostLink(s, kind == unix.RTM_NEWLINK)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if a, ok := parseAddress(msg); ok {
			w.hostAddress(a, kind == unix.RTM_NEWADDR)
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		if _, ours := link.ParseRule(msg); ours {
			w.drift()
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, ok := parseRoute(msg)
		switch {
		case !ok:
		case r.proto == plan.RouteProtocol && !r.cloned:
			w.drift()
		case r.holds():
			w.stale = true
			w.touch()
		case r.counts() && !w.table.links[r.anyLink].ours():
			// With a full routing table most changes are of no interest.
			if r.prefix.Bits() == 0 || r.isPrivate() || w.routes.public <= publicMost {
				w.stale = true
				w.touch()
			}
		}
	}
}

func (w *Watcher) hostLink(s seen, there bool) {
	old, known := w.table.links[s.Index]
	if !there {
		delete(w.table.links, s.Index)
		if known && old.ours() {
			w.dated = true
			w.drift()
			return
		}
		w.stale = true // its routes went without a word (IPv4)
		w.touch()
		return
	}
	w.table.put(s)
	if s.ours() || old.ours() {
		if old.shape() != s.shape() {
			w.dated = true
			w.drift()
		}
		if known && old.Carrier != s.Carrier {
			w.touch()
		}
		return
	}
	if !known {
		w.touch()
		w.add(Change{NewLinks: []string{s.Name}})
		return
	}
	if old.shape() != s.shape() || old.Carrier != s.Carrier {
		w.stale = true // IPv4 routes go with a link that goes down, silently
		w.touch()
		if old.master != s.master && (w.table.links[old.master].ours() || w.table.links[s.master].ours()) {
			w.drift() // somebody's link left or joined a bridge of ours
		}
	}
}

func (w *Watcher) hostAddress(a address, there bool) {
	changed := w.table.address(a, there)
	if w.table.links[a.index].ours() {
		if !there || a.flags&unix.IFA_F_DADFAILED != 0 {
			w.drift()
		}
		return
	}
	if changed {
		w.stale = true // connected routes
		w.touch()
	}
}

// inside takes in a notification of a routing namespace of ours, where
// everything is ours.
func (w *Watcher) inside(known map[int]shape, kind uint16, msg []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind {
	case unix.RTM_NEWLINK:
		if s, ok := parseLink(msg); ok && known[s.Index] != s.shape() {
			known[s.Index] = s.shape()
			w.drift()
		}
	case unix.RTM_DELLINK:
		if s, ok := parseLink(msg); ok {
			delete(known, s.Index)
			w.drift()
		}
	case unix.RTM_DELADDR:
		w.drift()
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if r, ok := parseRoute(msg); ok && r.proto == plan.RouteProtocol && !r.cloned {
			w.drift()
		}
	}
}

// nfGenMsg is the size of struct nfgenmsg, which begins each message of the
// netfilter subsystems.
const nfGenMsg = 4

// filter takes in a notification of nf_tables.
func (w *Watcher) filter(kind uint16, msg []byte) {
	if kind>>8 != unix.NFNL_SUBSYS_NFTABLES || len(msg) < nfGenMsg || kind&0xff == unix.NFT_MSG_NEWGEN {
		return
	}
	// The first attribute of every other message is the table's name.
	name := ""
	_ = link.EachAttr(msg[nfGenMsg:], func(kind uint16, v []byte) {
		if kind == 1 {
			name = strings.TrimRight(string(v), "\x00")
		}
	})
	ours := name == plan.Table && (msg[0] == unix.NFPROTO_INET || msg[0] == unix.NFPROTO_BRIDGE)
	w.mu.Lock()
	defer w.mu.Unlock()
	if ours {
		w.drift()
	} else {
		w.add(Change{NFT: true})
	}
}

// Inside says in which routing namespaces of ours to watch for drift too.
// Those not named are left.
func (w *Watcher) Inside(ctx context.Context, names []string) {
	w.mu.Lock()
	old := w.spies
	w.spies = map[string]func(){}
	for _, n := range names {
		if stop, ok := old[n]; ok {
			w.spies[n] = stop
			delete(old, n)
		}
	}
	have := w.spies
	w.mu.Unlock()
	for _, stop := range old {
		stop()
	}
	for _, n := range names {
		if _, ok := have[n]; ok {
			continue
		}
		sub, cancel := context.WithCancel(ctx)
		if err := w.listen(sub, &sync.WaitGroup{}, n); err != nil {
			cancel()
			w.opt.Log.Warn("cannot watch a routing namespace", "netns", n, "err", err)
			continue
		}
		w.mu.Lock()
		w.spies[n] = cancel
		w.mu.Unlock()
	}
}
