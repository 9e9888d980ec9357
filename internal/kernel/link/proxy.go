package link

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
)

// ndaProtocol is NDA_PROTOCOL, who made a neighbour entry (Linux 5.2).
const ndaProtocol = 12

// makeProxy has the kernel answer for an address on the link.
func (l *Links) makeProxy(i plan.ProxyNeighbour) error {
	return l.proxy(i, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// deleteProxy ends that.
func (l *Links) deleteProxy(i plan.ProxyNeighbour) error {
	err := l.proxy(i, unix.RTM_DELNEIGH, 0)
	if errors.Is(err, unix.ENOENT) || gone(err) {
		return nil
	}
	return err
}

func (l *Links) proxy(i plan.ProxyNeighbour, kind, flags int) error {
	c, err := l.spaces.Conn(i.NS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	d, found, err := lookup(c, i.Link)
	what := "answer for " + i.Address.String() + " on " + i.Link
	if err != nil {
		return kernelError(what, err)
	}
	if !found {
		if kind == unix.RTM_DELNEIGH {
			return nil
		}
		return missing(i.NS, i.Link)
	}
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddData(&netlink.Ndmsg{Family: familyOf(i.Address), Index: uint32(d.index), Flags: unix.NTF_PROXY})
	req.AddData(nl.NewRtAttr(unix.NDA_DST, i.Address.AsSlice()))
	req.AddData(nl.NewRtAttr(ndaProtocol, nl.Uint8Attr(plan.RouteProtocol)))
	return kernelError(what, c.Do(req))
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// proxies reports the addresses that we have the kernel answer for.
func (a *actual) proxies(c *netns.Conn, ns string, byIndex map[int]device) error {
	msgs, err := c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
		req.AddData(&netlink.Ndmsg{Flags: unix.NTF_PROXY})
		return req
	}, unix.RTM_NEWNEIGH)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if len(m) < unix.SizeofNdMsg || m[10]&unix.NTF_PROXY == 0 { // ndm_flags
			continue
		}
		i := plan.ProxyNeighbour{NS: ns, Link: byIndex[int(binary.NativeEndian.Uint32(m[4:8]))].name}
		ours := false
		if err := EachAttr(m[unix.SizeofNdMsg:], func(kind uint16, v []byte) {
			switch kind {
			case unix.NDA_DST:
				i.Address, _ = netip.AddrFromSlice(v)
			case ndaProtocol:
				ours = len(v) == 1 && v[0] == plan.RouteProtocol
			}
		}); err != nil {
			return err
		}
		if !ours || i.Link == "" || !i.Address.IsValid() {
			continue
		}
		if w, ok := a.want[i.Key()].(plan.ProxyNeighbour); ok {
			i.Owner = w.Owner
		}
		a.put(i)
	}
	return nil
}
