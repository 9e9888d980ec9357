package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// routes hears what a host's kernel says of default routes (rtnetlink(7)), and
// notes when.
type routes struct {
	fd    int
	mu    sync.Mutex
	heard []routeMessage
}

// routeMessage says that a default route of the main table is there, or is no
// longer.
type routeMessage struct {
	at     time.Time
	family byte
	gone   bool
	link   uint32
}

// The groups of rtnetlink, from linux/rtnetlink.h.
const groupsRoutes = 0x40 | 0x400 // RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE

func hearRoutes(netns string) (*routes, error) {
	r := &routes{fd: -1}
	err := within(netns, func() (err error) {
		r.fd, err = syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		wait := syscall.NsecToTimeval(int64(100 * time.Millisecond)) // for close
		return errors.Join(
			syscall.SetsockoptTimeval(r.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait),
			os.NewSyscallError("bind", syscall.Bind(r.fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: groupsRoutes})))
	})
	return r, err
}

// follow notes messages until stop is closed.
func (r *routes) follow(stop <-chan struct{}) error {
	defer syscall.Close(r.fd)
	room := make([]byte, 1<<16)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		n, _, err := syscall.Recvfrom(r.fd, room, 0)
		at := time.Now()
		switch {
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(room[:n])
		if err != nil {
			return err
		}
		for i := range messages {
			r.note(&messages[i], at)
		}
	}
}

// note keeps a message that is of a default route.
func (r *routes) note(m *syscall.NetlinkMessage, at time.Time) {
	kind := m.Header.Type
	if kind != syscall.RTM_NEWROUTE && kind != syscall.RTM_DELROUTE || len(m.Data) < syscall.SizeofRtMsg {
		return
	}
	// struct rtmsg: family, length of the destination, …, the table.
	if m.Data[1] != 0 || m.Data[4] != syscall.RT_TABLE_MAIN {
		return
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return
	}
	for _, a := range attributes {
		if a.Attr.Type == syscall.RTA_OIF && len(a.Value) == 4 {
			r.mu.Lock()
			r.heard = append(r.heard, routeMessage{at, m.Data[0], kind == syscall.RTM_DELROUTE, binary.NativeEndian.Uint32(a.Value)})
			r.mu.Unlock()
		}
	}
}

// forget begins anew.
func (r *routes) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = nil
}

// change is when the kernel first said that a family's default route by a link
// is there, or gone.
func (r *routes) change(family byte, link uint32, gone bool) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.heard {
		if m.family == family && m.link == link && m.gone == gone {
			return m.at, true
		}
	}
	return time.Time{}, false
}

// linkIndex is the number of a namespace's link.
func linkIndex(netns, name string) (index uint32, err error) {
	err = within(netns, func() error {
		l, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		index = uint32(l.Index)
		return nil
	})
	return index, err
}
