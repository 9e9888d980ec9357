package attach

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// The messages of nexthop objects, and the attribute that picks neighbours of a
// link.
const (
	rtmNewNexthop = 104
	rtmGetNexthop = 106
	ndaIfindex    = 8
)

// state is what a link carries of the host's network, in the kernel's own
// messages.
type state struct {
	Addresses  [][]byte `json:"addresses,omitempty"`
	Nexthops   [][]byte `json:"nexthops,omitempty"`
	Routes     [][]byte `json:"routes,omitempty"`
	Rules      [][]byte `json:"rules,omitempty"`
	Neighbours [][]byte `json:"neighbours,omitempty"`
}

// families are those of the kernel's messages.
var families = []byte{unix.AF_INET, unix.AF_INET6}

// dump asks for all messages of a kind.
func dump(c *netns.Conn, ask int, answer uint16, head []byte) ([][]byte, error) {
	msgs, err := c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(ask, 0)
		req.AddRawData(head)
		return req
	}, answer)
	// A kernel without IPv6, or without nexthop objects, has none of them.
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	return msgs, err
}

// readState reads what the link carries.
func readState(c *netns.Conn, index int, name string) (*state, error) {
	s := &state{}
	here := swap{fromIndex: index, toIndex: index, from: name, to: name}
	msgs, err := dump(c, unix.RTM_GETADDR, unix.RTM_NEWADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		if at, _, _, err := readAddress(m); err == nil && at == index {
			s.Addresses = append(s.Addresses, m)
		}
	}
	msgs, err = dump(c, rtmGetNexthop, rtmNewNexthop, make([]byte, sizeofNexthop))
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		if _, ok, err := moveNexthop(m, here); err == nil && ok {
			s.Nexthops = append(s.Nexthops, m)
		}
	}
	for _, family := range families {
		if s.Routes, err = appendRoutes(s.Routes, c, family, index); err != nil {
			return nil, err
		}
		head := make([]byte, sizeofRule)
		head[0] = family
		if msgs, err = dump(c, unix.RTM_GETRULE, unix.RTM_NEWRULE, head); err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if _, ok, err := moveRule(m, here); err == nil && ok {
				s.Rules = append(s.Rules, m)
			}
		}
		if s.Neighbours, err = appendNeighbours(s.Neighbours, c, family, here); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// appendRoutes reads the routes over a link; the kernel picks them, so that a
// host with a full table has not to be asked for all of it.
func appendRoutes(out [][]byte, c *netns.Conn, family byte, index int) ([][]byte, error) {
	head := make([]byte, unix.SizeofRtMsg)
	head[routeFamily] = family
	msgs, err := dump(c, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, paste(head, []attribute{{unix.RTA_OIF, asWord(uint32(index))}}))
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		r, err := readRoute(m)
		if err == nil && r.over(index) && binary.NativeEndian.Uint32(m[routeFlags:])&unix.RTM_F_CLONED == 0 {
			out = append(out, m)
		}
	}
	return out, nil
}

// appendNeighbours reads the neighbours on a link, those that it answers for
// others too.
func appendNeighbours(out [][]byte, c *netns.Conn, family byte, here swap) ([][]byte, error) {
	for _, proxy := range []byte{0, unix.NTF_PROXY} {
		head := make([]byte, unix.SizeofNdMsg)
		head[0], head[neighFlags] = family, proxy
		msgs, err := dump(c, unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, head)
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if _, ok, err := moveNeighbour(m, here); err == nil && ok {
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// routes takes the routes apart; those that cannot be read are passed over.
func (s *state) routes() []route {
	out := make([]route, 0, len(s.Routes))
	for _, m := range s.Routes {
		if r, err := readRoute(m); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// routed reports whether a route of the kernel's own leads to an address's
// prefix: one that was made with it.
func (s *state) routed(a addressOf) bool {
	dst := a.prefix.Masked()
	if a.peer.IsValid() {
		dst = netip.PrefixFrom(a.peer, a.prefix.Bits()).Masked()
	}
	for _, r := range s.routes() {
		if r.dst == dst && r.protocol == unix.RTPROT_KERNEL && r.kind == unix.RTN_UNICAST {
			return true
		}
	}
	return dst.IsSingleIP()
}
