package link

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// ifaProto is IFA_PROTO, who added an address (Linux 5.18). Older kernels
// pass it over.
const ifaProto = 11

// address is what the kernel says of one address.
type address struct {
	index  int
	prefix netip.Prefix
	flags  uint32
	scope  uint8
	proto  uint8
}

// makeAddress adds the address, without duplicate address detection.
func (l *Links) makeAddress(i plan.Address) error {
	c, err := l.spaces.Conn(i.NS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	what := "add address " + i.Prefix.String() + " to " + i.Link
	d, found, err := lookup(c, i.Link)
	if err != nil {
		return kernelError(what, err)
	}
	if !found {
		return missing(i.NS, i.Link)
	}
	err = sendAddress(c, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, d.index, i.Prefix)
	if !errors.Is(err, unix.EEXIST) {
		return l.addressError(c, what, i, err)
	}
	// IPv6 knows an address whatever its prefix length.
	have, err := addresses(c, d.index)
	if err != nil {
		return kernelError(what, err)
	}
	for _, a := range have {
		if a.index != d.index || a.prefix.Addr() != i.Prefix.Addr() || a.prefix == i.Prefix {
			continue
		}
		if err := sendAddress(c, unix.RTM_DELADDR, 0, d.index, a.prefix); err != nil {
			return kernelError(what, err)
		}
		return kernelError(what, sendAddress(c, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, d.index, i.Prefix))
	}
	return nil
}

// addressError adds what usually is behind a refusal.
func (l *Links) addressError(c *netns.Conn, what string, i plan.Address, err error) error {
	if err == nil {
		return nil
	}
	if i.Prefix.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		return vnet.Errorf(vnet.ErrHost, "%s: IPv6 is switched off there: %w", what, err).
			WithHint("sysctl -w net/ipv6/conf/%s/disable_ipv6=0", i.Link)
	}
	return kernelError(what, err)
}

// deleteAddress removes the address, if it is still there.
func (l *Links) deleteAddress(i plan.Address) error {
	c, err := l.spaces.Conn(i.NS)
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	what := "remove address " + i.Prefix.String() + " from " + i.Link
	d, found, err := lookup(c, i.Link)
	if err != nil || !found {
		return kernelError(what, err)
	}
	err = sendAddress(c, unix.RTM_DELADDR, 0, d.index, i.Prefix)
	if errors.Is(err, unix.EADDRNOTAVAIL) || isNoDevice(err) {
		return nil
	}
	return kernelError(what, err)
}

func sendAddress(c *netns.Conn, kind, flags, index int, p netip.Prefix) error {
	family := unix.AF_INET
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewIfAddrmsg(family)
	msg.Index = uint32(index)
	msg.Prefixlen = uint8(p.Bits())
	req.AddData(msg)
	ip := p.Addr().WithZone("").AsSlice()
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip))
	if kind == unix.RTM_NEWADDR {
		if p.Addr().Is6() {
			msg.Flags = unix.IFA_F_NODAD
		} else if p.Bits() < 31 { // RFC 3021: no broadcast address below /30
			req.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, broadcast(p)))
		}
		req.AddData(nl.NewRtAttr(ifaProto, nl.Uint8Attr(plan.RouteProtocol)))
	}
	return c.Do(req)
}

// broadcast is the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) []byte {
	b := p.Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(b[:], n)
	return b[:]
}

// addresses lists the addresses of a namespace, or of one of its links (0:
// all). Kernels before 4.20 list all in any case.
func addresses(c *netns.Conn, index int) ([]address, error) {
	msgs, err := c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, 0)
		msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
		msg.Index = uint32(index)
		req.AddData(msg)
		return req
	}, unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	var out []address
	for _, m := range msgs {
		if a, ok := parseAddress(m); ok {
			out = append(out, a)
		}
	}
	return out, nil
}

// parseAddress decodes an RTM_NEWADDR message; false for what is no IP address.
func parseAddress(msg []byte) (address, bool) {
	if len(msg) < unix.SizeofIfAddrmsg {
		return address{}, false
	}
	a := address{
		index: int(binary.NativeEndian.Uint32(msg[4:])),
		flags: uint32(msg[2]),
		scope: msg[3],
	}
	var local, addr netip.Addr
	err := EachAttr(msg[unix.SizeofIfAddrmsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			addr, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			a.flags = u32(v)
		case ifaProto:
			a.proto = u8(v)
		}
	})
	if local.IsValid() { // with a peer, IFA_ADDRESS is the peer's
		addr = local
	}
	a.prefix = netip.PrefixFrom(addr, int(msg[1]))
	return a, err == nil && a.prefix.IsValid()
}

// ours reports whether an address, on a link or in a namespace of ours, was
// added by us.
func (l *Links) ours(a address) bool {
	if l.addressProto {
		return a.proto == plan.RouteProtocol
	}
	// The kernel's own link-local addresses look like ours on old kernels.
	return a.flags&unix.IFA_F_PERMANENT != 0 && a.scope == unix.RT_SCOPE_UNIVERSE && !strings.HasPrefix(a.prefix.String(), "127.")
}
